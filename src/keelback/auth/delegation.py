"""Who asks a component and whether they may: the API server is asked (TokenReview, SubjectAccessReview), as it alone
knows, and what it said is remembered for a while.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import msgspec

from keelback.api.authentication_v1 import TokenReview, TokenReviewSpec
from keelback.api.authorization_v1 import (
    NonResourceAttributes,
    ResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from keelback.auth.users import UserInfo
from keelback.client import Client
from keelback.component.http import Request
from keelback.concurrency.clock import Clock

# How long an answer is believed.
_KNOWN_SECONDS: Final = 120.0
_UNKNOWN_SECONDS: Final = 10.0
_ALLOWED_SECONDS: Final = 300.0
_DENIED_SECONDS: Final = 30.0
_MAX_HELD: Final = 1000

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class _Answers(Generic[K, V]):
    """Answers with the time until which they are believed."""

    clock: Clock
    _held: dict[K, tuple[float, V]] = field(default_factory=dict)

    def recall(self, key: K) -> tuple[float, V] | None:
        found = self._held.get(key)
        return found if found is not None and found[0] > self.clock.monotonic() else None

    def remember(self, key: K, answer: V, seconds: float) -> V:
        if len(self._held) >= _MAX_HELD:
            self._held.clear()
        self._held[key] = (self.clock.monotonic() + seconds, answer)
        return answer


class TokenReviews:
    """Knows callers by their bearer tokens."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._answers: _Answers[str, UserInfo | None] = _Answers(clock)

    async def user(self, request: Request) -> UserInfo | None:
        """Whose token the request has; None for a bad one. Raises what the API server's failure raises."""
        token = bearer_token(request)
        key = hashlib.sha256(token.encode()).hexdigest()
        held = self._answers.recall(key)
        if held is not None:
            return held[1]
        review = await self._client.create(TokenReview(spec=TokenReviewSpec(token=token)))
        if not review.status.authenticated:
            return self._answers.remember(key, None, _UNKNOWN_SECONDS)
        told = review.status.user
        user = UserInfo(told.username, told.uid, told.groups, told.extra)
        return self._answers.remember(key, user, _KNOWN_SECONDS)


def bearer_token(request: Request) -> str:
    """The token that a request is sent with; empty if there is none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class AccessReviews:
    """Decides what callers may do."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._answers: _Answers[bytes, bool] = _Answers(clock)

    async def allow(self, user: UserInfo, what: ResourceAttributes | NonResourceAttributes) -> bool:
        """Whether the user may do this. Raises what the API server's failure raises."""
        spec = SubjectAccessReviewSpec(
            user=user.name,
            uid=user.uid,
            groups=user.groups,
            extra=user.extra,
            resource_attributes=what if isinstance(what, ResourceAttributes) else None,
            non_resource_attributes=what if isinstance(what, NonResourceAttributes) else None,
        )
        key = msgspec.json.encode(spec)
        held = self._answers.recall(key)
        if held is not None:
            return held[1]
        review = await self._client.create(SubjectAccessReview(spec=spec))
        allowed = review.status.allowed
        return self._answers.remember(key, allowed, _ALLOWED_SECONDS if allowed else _DENIED_SECONDS)
