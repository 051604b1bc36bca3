"""Service-account tokens for pods by TokenRequest: kept until 80 % of their life is over, then asked for anew."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from keelback.api.authentication_v1 import BoundObjectReference, TokenRequestSpec
from keelback.api.authentication_v1 import TokenRequest as TokenRequestObject
from keelback.api.core_v1 import ServiceAccount
from keelback.client import Client
from keelback.concurrency.clock import Clock
from keelback.volume.protocol import TokenRequest

_MAX_AGE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class _Held:
    token: str
    issued_at: datetime
    expires_at: datetime

    def is_due(self, now: datetime) -> bool:
        life = self.expires_at - self.issued_at
        return now >= self.issued_at + life * 0.8 or now - self.issued_at >= _MAX_AGE


class TokenCache:
    """The tokens of this node's pods, in memory only."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[TokenRequest, _Held] = {}
        self._locks: dict[TokenRequest, asyncio.Lock] = {}

    async def token(self, request: TokenRequest) -> str:
        """A token that is good for a while yet. Raises StatusErrors."""
        async with self._locks.setdefault(request, asyncio.Lock()):
            now = self._clock.now()
            held = self._held.get(request)
            if held is None or held.is_due(now):
                try:
                    held = self._held[request] = await self._ask(request, now)
                except Exception:
                    # A token that is only due for renewal is better than none.
                    if held is None or held.expires_at <= now:
                        raise
            return held.token

    def forget(self, pod_uid: str) -> None:
        """The pod is gone."""
        for request in [one for one in self._held if one.pod_uid == pod_uid]:
            del self._held[request]
            self._locks.pop(request, None)

    async def _ask(self, request: TokenRequest, now: datetime) -> _Held:
        wanted = TokenRequestObject(
            spec=TokenRequestSpec(
                audiences=(request.audience,) if request.audience else (),
                expiration_seconds=request.expiration_seconds,
                bound_object_ref=BoundObjectReference(
                    api_version="v1", kind="Pod", name=request.pod_name, uid=request.pod_uid
                ),
            )
        )
        answer = await self._client.create_subresource(
            ServiceAccount, request.service_account, request.namespace, "token", wanted, TokenRequestObject
        )
        expires_at = answer.status.expiration_timestamp or now + timedelta(seconds=request.expiration_seconds)
        return _Held(answer.status.token, now, expires_at)
