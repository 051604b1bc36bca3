"""The types of authentication/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping

from keelback.apimachinery.meta import Object, Time, Value, kind, written


class BoundObjectReference(Value):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""


class UserInfo(Value):
    extra: Mapping[str, tuple[str, ...]] = {}
    groups: tuple[str, ...] = ()
    uid: str = ""
    username: str = ""


class SelfSubjectReviewStatus(Value):
    user_info: UserInfo = written(UserInfo())


@kind("authentication.k8s.io/v1", "selfsubjectreviews", namespaced=False)
class SelfSubjectReview(Object):
    status: SelfSubjectReviewStatus = written(SelfSubjectReviewStatus())


class TokenRequestSpec(Value):
    audiences: tuple[str, ...] = ()
    bound_object_ref: BoundObjectReference | None = written(None)
    expiration_seconds: int = written(3600)


class TokenRequestStatus(Value):
    expiration_timestamp: Time | None = None
    token: str = ""


@kind("authentication.k8s.io/v1", "tokenrequests")
class TokenRequest(Object):
    spec: TokenRequestSpec = written(TokenRequestSpec())
    status: TokenRequestStatus = written(TokenRequestStatus())


class TokenReviewSpec(Value):
    audiences: tuple[str, ...] = ()
    token: str = written("")


class TokenReviewStatus(Value):
    audiences: tuple[str, ...] = ()
    authenticated: bool = False
    error: str = ""
    user: UserInfo = written(UserInfo())


@kind("authentication.k8s.io/v1", "tokenreviews", namespaced=False)
class TokenReview(Object):
    spec: TokenReviewSpec = written(TokenReviewSpec())
    status: TokenReviewStatus = written(TokenReviewStatus())
