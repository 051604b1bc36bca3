"""Clients that act as service accounts of `kube-system`, by tokens that whoever may make them asks for.

As `--use-service-account-credentials` of kube-controller-manager has it: each controller with its own rights.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field

import msgspec

from keelback.api.authentication_v1 import TokenRequest, TokenRequestSpec
from keelback.api.core_v1 import ServiceAccount
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import Client
from keelback.client.transport import StreamedResponse, Transport
from keelback.component.http import Connection, Request, Response
from keelback.concurrency.clock import Clock

NAMESPACE = "kube-system"
_LIFETIME_SECONDS = 3600
# A fifth of its life is left when a token is renewed, so that a server that is away for minutes does no harm.
_RENEWAL_SECONDS = 0.8 * _LIFETIME_SECONDS


@dataclass(slots=True)
class ServiceAccountToken:
    """One account's token, asked for at the first use and again before it ends. `maker` may make the account too."""

    account: str
    maker: Client
    clock: Clock
    _token: str = ""
    _renew_at: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def token(self) -> str:
        """The present token. Raises StatusError where it is refused, OSError where the server is not reached."""
        async with self._lock:
            if not self._token or self.clock.monotonic() >= self._renew_at:
                await self._renew()
            return self._token

    def forget(self) -> None:
        """Ask anew at the next use: the server refused the token."""
        self._renew_at = 0.0

    async def _renew(self) -> None:
        metadata = ObjectMeta(name=self.account, namespace=NAMESPACE)
        with suppress(errors.AlreadyExists):
            await self.maker.create(ServiceAccount(metadata=metadata))
        asked = TokenRequest(metadata=metadata, spec=TokenRequestSpec(expiration_seconds=_LIFETIME_SECONDS))
        made = await self.maker.create_subresource(
            ServiceAccount, self.account, NAMESPACE, "token", asked, TokenRequest
        )
        self._token, self._renew_at = made.status.token, self.clock.monotonic() + _RENEWAL_SECONDS


@dataclass(frozen=True, slots=True)
class ServiceAccountTransport:
    """A transport whose requests carry a service account's token. `inner` must not say who it is of itself."""

    inner: Transport
    account: ServiceAccountToken

    async def send(self, request: Request, *, timeout_seconds: float = 30.0) -> Response:
        """The complete response."""
        response = await self.inner.send(await self._authorized(request), timeout_seconds=timeout_seconds)
        if response.status == 401:
            self.account.forget()
        return response

    def stream(
        self, request: Request, *, timeout_seconds: float = 30.0, idle_seconds: float = 0.0
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """A response taken as it comes."""
        return self._stream(request, timeout_seconds, idle_seconds)

    async def upgrade(self, request: Request, *, timeout_seconds: float = 30.0) -> tuple[Response, Connection | None]:
        """Ask for another protocol."""
        return await self.inner.upgrade(await self._authorized(request), timeout_seconds=timeout_seconds)

    async def close(self) -> None:
        """Give up all connections."""
        await self.inner.close()

    async def _authorized(self, request: Request) -> Request:
        headers = {**request.headers, "authorization": f"Bearer {await self.account.token()}"}
        return msgspec.structs.replace(request, headers=headers)

    @asynccontextmanager
    async def _stream(
        self, request: Request, timeout_seconds: float, idle_seconds: float
    ) -> AsyncIterator[StreamedResponse]:
        authorized = await self._authorized(request)
        async with self.inner.stream(
            authorized, timeout_seconds=timeout_seconds, idle_seconds=idle_seconds
        ) as response:
            if response.status == 401:
                self.account.forget()
            yield response
