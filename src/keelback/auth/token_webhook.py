"""Bearer tokens that another server knows: it is sent a TokenReview and says whose they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from keelback.api.authentication_v1 import TokenReviewStatus
from keelback.auth.answer_cache import AnswerCache
from keelback.auth.authentication import Authenticated, AuthenticationFailed
from keelback.auth.review_webhook import ReviewFailed, ReviewWebhook
from keelback.auth.users import UserInfo
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock

VERSIONS: Final = ("v1", "v1beta1")
_KEPT: Final = 4096
_UNKNOWN: Final = "unknown"
_log = logger("token_webhook")


@dataclass(frozen=True, slots=True)
class TokenWebhookSettings:
    """`--authentication-token-webhook-config-file` and what belongs to it."""

    config_file: Path
    version: str = "v1beta1"
    cache_seconds: float = 120.0


class WebhookTokenAuthenticator:
    """Asks the server, at most once in `cache_seconds` for each token, known or not."""

    def __init__(
        self, webhook: ReviewWebhook, clock: Clock, cache_seconds: float, api_audiences: Sequence[str]
    ) -> None:
        self._webhook = webhook
        self._cache_seconds = cache_seconds
        self._api_audiences = tuple(api_audiences)
        self._cache: AnswerCache[Authenticated | str] = AnswerCache(clock, _KEPT)

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        wanted = tuple(audiences) or self._api_audiences

        async def ask() -> tuple[Authenticated | str, float]:
            known = await self._ask(token, wanted)
            return known or _UNKNOWN, self._cache_seconds

        # What is kept here for minutes need not be the token itself.
        key = hashlib.sha256(msgspec.json.encode((token, wanted))).digest()
        known = await self._cache.shared(key, ask)
        return known if isinstance(known, Authenticated) else None

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._webhook.close()

    async def _ask(self, token: str, wanted: tuple[str, ...]) -> Authenticated | None:
        try:
            status = _status(await self._webhook.ask({"token": token, "audiences": wanted}))
        except ReviewFailed as failure:
            _log.error("Failed to make webhook authenticator request", error=str(failure))
            raise AuthenticationFailed(str(failure)) from failure
        # A server that says nothing of audiences does not know of them.
        common = tuple(one for one in wanted if one in (status.audiences or self._api_audiences))
        if not common:
            return None
        if not status.authenticated:
            if status.error:
                raise AuthenticationFailed(status.error)
            return None
        user = status.user
        return Authenticated(UserInfo(user.username, user.uid, user.groups, user.extra), common)


def _status(tree: Mapping[str, Any]) -> TokenReviewStatus:
    try:
        return msgspec.convert(tree, TokenReviewStatus)
    except msgspec.ValidationError as error:
        raise ReviewFailed(f"the answer is no TokenReview: {error}") from error
