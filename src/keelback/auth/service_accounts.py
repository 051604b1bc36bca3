"""Service-account tokens: signing them, and knowing callers by them.

A token is bound to its service account and perhaps to a pod, a secret or a node: it dies with any of them. Signatures
are verified once per token; what the token is bound to is looked up every time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from keelback.api.core_v1 import Node, Pod, Secret, ServiceAccount
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta, narrow
from keelback.auth.authentication import Authenticated, AuthenticationFailed, Reader
from keelback.auth.jwt import InvalidToken, Signer, VerifyingKey, unverified_payload, verified_payload
from keelback.auth.token_uses import TokenUses
from keelback.auth.users import (
    CREDENTIAL_ID_KEY,
    NODE_NAME_KEY,
    NODE_UID_KEY,
    POD_NAME_KEY,
    POD_UID_KEY,
    UserInfo,
    service_account_groups,
    service_account_user_name,
)
from keelback.concurrency.clock import Clock

DEFAULT_ISSUER = "https://kubernetes.default.svc"
LEGACY_ISSUER = "kubernetes/serviceaccount"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
"""The label of Secrets whose tokens nobody has used for long: they sign nobody in, and are deleted later."""
# The lifetime that admission asks for in pods. Clients that do not reload tokens get a year; a warning after this.
WARN_AFTER_SECONDS = 3607
EXTENDED_SECONDS = 365 * 24 * 60 * 60
_AUTOMATIC_WARNING = (
    "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated "
    "secret-based tokens."
)
_LEEWAY = timedelta(minutes=1)
_REMEMBERED_TOKENS = 10_000


@narrow(ServiceAccount)
class _ServiceAccountIdentity(Object):
    """A service account, of which only the identity is of interest."""


@narrow(Pod)
class _PodIdentity(Object):
    """A pod, of which only the identity is of interest."""


@narrow(Node)
class _NodeIdentity(Object):
    """A node, of which only the identity is of interest."""


class Reference(msgspec.Struct, frozen=True, omit_defaults=True):
    """An object a token is bound to."""

    name: str = ""
    uid: str = ""


class _Private(msgspec.Struct, frozen=True, omit_defaults=True):
    namespace: str = ""
    node: Reference | None = None
    pod: Reference | None = None
    secret: Reference | None = None
    serviceaccount: Reference | None = None
    warnafter: int | None = None


class _Claims(msgspec.Struct, frozen=True):
    iss: str = ""
    sub: str = ""
    aud: str | list[str] = msgspec.field(default_factory=list)
    exp: int | None = None
    iat: int | None = None
    nbf: int | None = None
    jti: str = ""
    private: _Private | None = msgspec.field(default=None, name="kubernetes.io")
    legacy_namespace: str = msgspec.field(default="", name="kubernetes.io/serviceaccount/namespace")
    legacy_secret: str = msgspec.field(default="", name="kubernetes.io/serviceaccount/secret.name")
    legacy_name: str = msgspec.field(default="", name="kubernetes.io/serviceaccount/service-account.name")
    legacy_uid: str = msgspec.field(default="", name="kubernetes.io/serviceaccount/service-account.uid")

    @property
    def audiences(self) -> tuple[str, ...]:
        return (self.aud,) if isinstance(self.aud, str) else tuple(self.aud)


@dataclass(frozen=True, slots=True)
class Binding:
    """What else a token is bound to, apart from its service account."""

    pod: Reference | None = None
    secret: Reference | None = None
    node: Reference | None = None


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A signed token and when it should be renewed at the latest."""

    token: str
    expires: datetime


class TokenIssuer:
    """Signs tokens for service accounts in the name of one issuer."""

    def __init__(
        self,
        key_pem: bytes,
        issuer: str = DEFAULT_ISSUER,
        api_audiences: Sequence[str] = (),
        *,
        extends_expiration: bool = True,
    ) -> None:
        """Unless it extends them, pods' tokens for the API server are good for as long as was asked for, not a year."""
        self._signer = Signer(key_pem)
        self._extends_expiration = extends_expiration
        self.issuer = issuer
        self.api_audiences = tuple(api_audiences) or (issuer,)

    @property
    def public_key(self) -> VerifyingKey:
        """What verifies these tokens."""
        return self._signer.public

    def issue(
        self,
        service_account: ObjectMeta,
        *,
        now: datetime,
        token_id: str,
        lifetime_seconds: int,
        audiences: Sequence[str] = (),
        binding: Binding = Binding(),
    ) -> IssuedToken:
        """A token for the service account, for the API server itself unless `audiences` says otherwise.

        `token_id` must be new each time: it names the token in audit logs.
        """
        intended = tuple(audiences) or self.api_audiences
        issued_at = int(now.timestamp())
        expires = issued_at + lifetime_seconds
        warn_after = None
        if (
            self._extends_expiration
            and lifetime_seconds == WARN_AFTER_SECONDS
            and binding.pod is not None
            and set(intended) <= set(self.api_audiences)
        ):
            warn_after, expires = expires, issued_at + EXTENDED_SECONDS
        private = _Private(
            namespace=service_account.namespace,
            node=binding.node,
            pod=binding.pod,
            secret=binding.secret,
            serviceaccount=Reference(service_account.name, service_account.uid),
            warnafter=warn_after,
        )
        claims: Mapping[str, Any] = {
            "aud": intended,
            "exp": expires,
            "iat": issued_at,
            "iss": self.issuer,
            "jti": token_id,
            "kubernetes.io": private,
            "nbf": issued_at,
            "sub": service_account_user_name(service_account.namespace, service_account.name),
        }
        shown = expires if warn_after is None else warn_after
        return IssuedToken(self._signer.sign(claims), datetime.fromtimestamp(shown, UTC))

    def issue_legacy(self, service_account: ObjectMeta, secret_name: str) -> str:
        """The token of a Secret of type kubernetes.io/service-account-token: it lasts as long as the Secret."""
        claims = {
            "iss": LEGACY_ISSUER,
            "kubernetes.io/serviceaccount/namespace": service_account.namespace,
            "kubernetes.io/serviceaccount/secret.name": secret_name,
            "kubernetes.io/serviceaccount/service-account.name": service_account.name,
            "kubernetes.io/serviceaccount/service-account.uid": service_account.uid,
            "sub": service_account_user_name(service_account.namespace, service_account.name),
        }
        return self._signer.sign(claims)


class ServiceAccountAuthenticator:
    """Knows callers by service-account tokens of the given issuers."""

    def __init__(
        self,
        keys: Sequence[VerifyingKey],
        reader: Reader,
        clock: Clock,
        *,
        issuers: Sequence[str] = (DEFAULT_ISSUER,),
        api_audiences: Sequence[str] = (),
        uses: TokenUses | None = None,
    ) -> None:
        self._keys = tuple(keys)
        self._uses = uses
        self._reader = reader
        self._clock = clock
        self._issuers = frozenset((*issuers, LEGACY_ISSUER))
        self._api_audiences = tuple(api_audiences) or tuple(issuers)
        self._verified: dict[str, _Claims] = {}

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        claims = self._claims(token)
        if claims is None:
            return None
        wanted = tuple(audiences) or self._api_audiences
        # Tokens without audiences, as legacy ones are, are for the API server.
        meant_for = claims.audiences or self._api_audiences
        common = tuple(audience for audience in meant_for if audience in wanted)
        if not common:
            raise AuthenticationFailed(
                f"token audiences {_go_list(meant_for)} is invalid for the target audiences {_go_list(wanted)}"
            )
        if claims.iss == LEGACY_ISSUER:
            return await self._legacy(claims, token, common)
        user = await self._bound_user(claims)
        late_seconds = self._seconds_after_warning(claims)
        if self._uses is not None:
            self._uses.projected(is_stale=late_seconds > 0)
        if late_seconds > 0:
            text = f"subject: {claims.sub}, seconds after warning threshold: {late_seconds:.0f}"
            return Authenticated(user, common, audit_annotation=("authentication.k8s.io/stale-token", text))
        return Authenticated(user, common)

    def _claims(self, token: str) -> _Claims | None:
        claims = self._verified.get(token)
        if claims is not None:
            return claims
        try:
            claims = msgspec.json.decode(unverified_payload(token), type=_Claims)
        except (InvalidToken, msgspec.DecodeError, UnicodeDecodeError):
            return None
        if claims.iss not in self._issuers:
            return None
        try:
            verified_payload(token, self._keys)
        except InvalidToken as error:
            raise AuthenticationFailed("invalid bearer token") from error
        if len(self._verified) >= _REMEMBERED_TOKENS:
            self._verified.clear()
        self._verified[token] = claims
        return claims

    async def _bound_user(self, claims: _Claims) -> UserInfo:
        now = self._clock.now()
        if claims.exp is None or now > datetime.fromtimestamp(claims.exp, UTC) + _LEEWAY:
            raise AuthenticationFailed("service account token has expired")
        if claims.nbf is not None and now < datetime.fromtimestamp(claims.nbf, UTC) - _LEEWAY:
            raise AuthenticationFailed("service account token is not valid yet")
        private = claims.private
        if private is None or private.serviceaccount is None:
            raise AuthenticationFailed("service account token claims could not be validated")
        namespace, account = private.namespace, private.serviceaccount
        if claims.sub != service_account_user_name(namespace, account.name):
            raise AuthenticationFailed("service account token claims could not be validated")
        await self._must_be(_ServiceAccountIdentity, account, namespace)
        extra: dict[str, tuple[str, ...]] = {}
        if claims.jti:
            extra[CREDENTIAL_ID_KEY] = (f"JTI={claims.jti}",)
        if private.secret is not None:
            await self._must_be(Secret, private.secret, namespace)
        if private.pod is not None:
            await self._must_be(_PodIdentity, private.pod, namespace)
            extra |= {POD_NAME_KEY: (private.pod.name,), POD_UID_KEY: (private.pod.uid,)}
        if private.node is not None:
            # A token bound to a pod only tells the node it runs on; one bound to the node alone dies with it.
            if private.pod is None:
                await self._must_be(_NodeIdentity, private.node, "")
            extra[NODE_NAME_KEY] = (private.node.name,)
            if private.node.uid:
                extra[NODE_UID_KEY] = (private.node.uid,)
        return _user(namespace, account, extra)

    async def _must_be(self, kind: type[Object], reference: Reference, namespace: str) -> None:
        try:
            metadata = (await self._reader.get(kind, reference.name, namespace)).metadata
        except errors.NotFound:
            raise AuthenticationFailed("service account token has been invalidated") from None
        deleted = metadata.deletion_timestamp
        if metadata.uid != reference.uid or (deleted is not None and self._clock.now() > deleted + _LEEWAY):
            raise AuthenticationFailed("service account token has been invalidated")

    def _seconds_after_warning(self, claims: _Claims) -> float:
        """How long ago a client that reloads its token would have stopped using this one; 0 where it is good."""
        warn_after = None if claims.private is None else claims.private.warnafter
        return 0.0 if warn_after is None else max(0.0, self._clock.now().timestamp() - warn_after)

    async def _legacy(self, claims: _Claims, token: str, audiences: tuple[str, ...]) -> Authenticated:
        namespace = claims.legacy_namespace
        account = Reference(claims.legacy_name, claims.legacy_uid)
        if not namespace or not account.name or not account.uid or not claims.legacy_secret:
            raise AuthenticationFailed("service account token claims could not be validated")
        if claims.sub != service_account_user_name(namespace, account.name):
            raise AuthenticationFailed("service account token claims could not be validated")
        try:
            secret = await self._reader.get(Secret, claims.legacy_secret, namespace)
        except errors.NotFound:
            raise AuthenticationFailed("service account token has been invalidated") from None
        if secret.metadata.deletion_timestamp is not None or secret.data.get("token", b"") != token.encode():
            raise AuthenticationFailed("service account token has been invalidated")
        await self._must_be(_ServiceAccountIdentity, account, namespace)
        user = _user(namespace, account, {})
        if INVALID_SINCE in secret.metadata.labels:
            if self._uses is not None:
                self._uses.invalidated(secret)
            raise AuthenticationFailed(
                f"the token in secret {namespace}/{secret.metadata.name} for service account "
                f"{namespace}/{account.name} has been marked invalid. Use tokens from the TokenRequest API or manually "
                f"created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily "
                "allow use of this token"
            )
        return await self._noted(user, audiences, secret, account)

    async def _noted(
        self, user: UserInfo, audiences: tuple[str, ...], secret: Secret, account: Reference
    ) -> Authenticated:
        """The caller, and what there is to say of a legacy token; those that accounts list were made automatically."""
        held = await self._reader.get(ServiceAccount, account.name, secret.metadata.namespace)
        is_automatic = any(reference.name == secret.metadata.name for reference in held.secrets)
        if self._uses is not None:
            self._uses.legacy(secret, is_automatic=is_automatic)
        kind = "autogenerated" if is_automatic else "manual"
        return Authenticated(
            user,
            audiences,
            _AUTOMATIC_WARNING if is_automatic else "",
            (f"authentication.k8s.io/legacy-token-{kind}-secret", secret.metadata.name),
        )


def discovery_documents(issuer: str, jwks_uri: str, keys: Sequence[VerifyingKey]) -> tuple[bytes, bytes]:
    """The OpenID configuration and the key set with which others can verify this cluster's tokens."""
    configuration = {
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": list(dict.fromkeys(key.algorithm for key in keys)),
    }
    return msgspec.json.encode(configuration), msgspec.json.encode({"keys": [key.as_json() for key in keys]})


def _user(namespace: str, account: Reference, extra: Mapping[str, tuple[str, ...]]) -> UserInfo:
    name = service_account_user_name(namespace, account.name)
    return UserInfo(name, account.uid, service_account_groups(namespace), extra)


def _go_list(values: Sequence[str]) -> str:
    return "[" + " ".join(f'"{value}"' for value in values) + "]"
