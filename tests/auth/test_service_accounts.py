from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import Pod, Secret, ServiceAccount
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.auth.authentication import Authenticated, AuthenticationFailed, UnionTokenAuthenticator
from keelback.auth.jwt import InvalidToken, Signer, VerifyingKey, unverified_payload, verified_payload
from keelback.auth.service_accounts import (
    DEFAULT_ISSUER,
    Binding,
    Reference,
    ServiceAccountAuthenticator,
    TokenIssuer,
    discovery_documents,
)
from keelback.auth.users import UserInfo

T = TypeVar("T", bound=Object)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ACCOUNT = ServiceAccount(metadata=ObjectMeta(name="small", namespace="x", uid="u1"))


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


EC_KEY = _pem(ec.generate_private_key(ec.SECP256R1()))
OTHER_KEY = _pem(ec.generate_private_key(ec.SECP256R1()))
RSA_KEY = _pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))


class Objects:
    def __init__(self, *objects: Object) -> None:
        self.held = {self._key(type(obj), obj.metadata.namespace, obj.metadata.name): obj for obj in objects}

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        found = self.held.get(self._key(kind, namespace, name))
        if found is None:
            raise errors.NotFound.of(kind.__kind__, name)
        return msgspec.convert(msgspec.to_builtins(found), kind)

    @staticmethod
    def _key(kind: type[Object], namespace: str, name: str) -> tuple[str, str, str]:
        return (kind.__kind__.kind, namespace, name)


class FixedClock:
    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


def _issue(issuer: TokenIssuer, *, audiences: tuple[str, ...] = (), binding: Binding | None = None) -> str:
    return issuer.issue(
        ACCOUNT.metadata,
        now=NOW,
        token_id="id1",
        lifetime_seconds=3600,
        audiences=audiences,
        binding=binding or Binding(),
    ).token


def _authenticate(
    token: str,
    *objects: Object,
    key: bytes = EC_KEY,
    audiences: tuple[str, ...] = (),
    later: timedelta = timedelta(0),
) -> Authenticated:
    clock = FixedClock()
    clock.time += later
    authenticator = ServiceAccountAuthenticator([VerifyingKey.load(key)], Objects(*objects), clock)
    return asyncio.run(UnionTokenAuthenticator([authenticator]).authenticate_token(token, audiences))


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY])
def test_a_token_proves_its_service_account(key: bytes) -> None:
    known = _authenticate(_issue(TokenIssuer(key)), ACCOUNT, key=key)
    assert known == Authenticated(
        UserInfo(
            "system:serviceaccount:x:small",
            "u1",
            ("system:serviceaccounts", "system:serviceaccounts:x", "system:authenticated"),
            {"authentication.kubernetes.io/credential-id": ("JTI=id1",)},
        ),
        (DEFAULT_ISSUER,),
    )


def test_claims_are_those_of_kubernetes() -> None:
    pod, node = Reference("p", "u2"), Reference("n", "u3")
    token = _issue(TokenIssuer(EC_KEY), audiences=("a",), binding=Binding(pod=pod, node=node))
    assert msgspec.json.decode(unverified_payload(token)) == {
        "aud": ["a"],
        "exp": int(NOW.timestamp()) + 3600,
        "iat": int(NOW.timestamp()),
        "iss": DEFAULT_ISSUER,
        "jti": "id1",
        "kubernetes.io": {
            "namespace": "x",
            "node": {"name": "n", "uid": "u3"},
            "pod": {"name": "p", "uid": "u2"},
            "serviceaccount": {"name": "small", "uid": "u1"},
        },
        "nbf": int(NOW.timestamp()),
        "sub": "system:serviceaccount:x:small",
    }


def test_a_pods_token_is_extended_but_asks_to_be_renewed() -> None:
    issued = TokenIssuer(EC_KEY).issue(
        ACCOUNT.metadata,
        now=NOW,
        token_id="id1",
        lifetime_seconds=3607,
        binding=Binding(pod=Reference("p", "u2")),
    )
    claims = msgspec.json.decode(unverified_payload(issued.token))
    assert claims["exp"] == claims["iat"] + 31536000
    assert claims["kubernetes.io"]["warnafter"] == claims["iat"] + 3607
    assert issued.expires == NOW + timedelta(seconds=3607)


def test_a_token_dies_with_what_it_is_bound_to() -> None:
    token = _issue(TokenIssuer(EC_KEY), binding=Binding(pod=Reference("p", "u2")))
    pod = Pod(metadata=ObjectMeta(name="p", namespace="x", uid="u2"))
    user = _authenticate(token, ACCOUNT, pod).user
    assert user.extra["authentication.kubernetes.io/pod-name"] == ("p",)
    another = Pod(metadata=ObjectMeta(name="p", namespace="x", uid="u9"))
    for objects in ((ACCOUNT,), (pod,), (ACCOUNT, another)):
        with pytest.raises(AuthenticationFailed, match="service account token has been invalidated"):
            _authenticate(token, *objects)


def test_a_terminating_object_still_counts_for_a_minute() -> None:
    token = _issue(TokenIssuer(EC_KEY))
    leaving = ServiceAccount(metadata=ObjectMeta(name="small", namespace="x", uid="u1", deletion_timestamp=NOW))
    _authenticate(token, leaving, later=timedelta(seconds=59))
    with pytest.raises(AuthenticationFailed):
        _authenticate(token, leaving, later=timedelta(seconds=61))


@pytest.mark.parametrize(
    ("later", "text"),
    [
        (timedelta(seconds=3600 + 61), "service account token has expired"),
        (timedelta(seconds=-61), "service account token is not valid yet"),
    ],
)
def test_a_token_is_good_for_its_time(later: timedelta, text: str) -> None:
    with pytest.raises(AuthenticationFailed, match=rf"\[invalid bearer token, {text}\]"):
        _authenticate(_issue(TokenIssuer(EC_KEY)), ACCOUNT, later=later)


def test_a_token_for_others_is_refused_in_upstreams_words() -> None:
    token = _issue(TokenIssuer(EC_KEY))
    with pytest.raises(AuthenticationFailed) as refused:
        _authenticate(token, ACCOUNT, audiences=("other",))
    assert str(refused.value) == (
        f'[invalid bearer token, token audiences ["{DEFAULT_ISSUER}"] is invalid for the target audiences ["other"]]'
    )
    meant = _issue(TokenIssuer(EC_KEY), audiences=("other", "more"))
    assert _authenticate(meant, ACCOUNT, audiences=("other",)).audiences == ("other",)


def test_another_key_or_issuer_proves_nothing() -> None:
    with pytest.raises(AuthenticationFailed, match=r"^invalid bearer token$"):
        _authenticate(_issue(TokenIssuer(OTHER_KEY)), ACCOUNT)
    with pytest.raises(AuthenticationFailed, match=r"^invalid bearer token$"):
        _authenticate(_issue(TokenIssuer(EC_KEY, issuer="https://elsewhere")), ACCOUNT)
    with pytest.raises(AuthenticationFailed, match=r"^invalid bearer token$"):
        _authenticate("nonsense", ACCOUNT)


def test_a_secrets_token_lasts_as_long_as_the_secret_holds_it() -> None:
    token = TokenIssuer(EC_KEY).issue_legacy(ACCOUNT.metadata, "s")
    secret = Secret(metadata=ObjectMeta(name="s", namespace="x"), data={"token": token.encode()})
    assert _authenticate(token, ACCOUNT, secret).user.name == "system:serviceaccount:x:small"
    with pytest.raises(AuthenticationFailed):
        _authenticate(token, ACCOUNT)
    with pytest.raises(AuthenticationFailed):
        _authenticate(token, ACCOUNT, Secret(metadata=ObjectMeta(name="s", namespace="x"), data={"token": b"new"}))
    marked = ObjectMeta(name="s", namespace="x", labels={"kubernetes.io/legacy-token-invalid-since": "2026-01-01"})
    with pytest.raises(AuthenticationFailed, match=r"the token in secret x/s for service account x/small has been"):
        _authenticate(token, ACCOUNT, Secret(metadata=marked, data={"token": token.encode()}))


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY])
def test_a_changed_token_is_not_verified(key: bytes) -> None:
    signer = Signer(key)
    token = signer.sign({"sub": "a"})
    assert msgspec.json.decode(verified_payload(token, [signer.public])) == {"sub": "a"}
    header, _, signature = token.split(".")
    payload = signer.sign({"sub": "b"}).split(".")[1]
    for changed in (f"{header}.{payload}.{signature}", f"{header}.{payload}.", f"{header}.{payload}", ".."):
        with pytest.raises(InvalidToken):
            verified_payload(changed, [signer.public])


def test_a_token_cannot_choose_its_algorithm() -> None:
    signer = Signer(EC_KEY)
    _, payload, _ = signer.sign({"sub": "a"}).split(".")
    # {"alg":"none"}
    with pytest.raises(InvalidToken):
        verified_payload(f"eyJhbGciOiJub25lIn0.{payload}.", [signer.public])


PARTS = st.one_of(
    st.text(max_size=20),
    st.binary(max_size=40).map(lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
        lambda inner: st.dictionaries(st.sampled_from(["iss", "aud", "exp", "kubernetes.io", "alg", "kid"]), inner),
        max_leaves=6,
    ).map(lambda tree: base64.urlsafe_b64encode(json.dumps(tree).encode()).rstrip(b"=").decode()),
)


@given(st.lists(PARTS, min_size=1, max_size=4).map(".".join))
def test_whatever_is_presented_is_refused_and_never_a_traceback(token: str) -> None:
    with pytest.raises(AuthenticationFailed):
        _authenticate(token, ACCOUNT)


@given(st.data())
def test_no_changed_letter_goes_unnoticed(data: st.DataObject) -> None:
    token = _issue(TokenIssuer(EC_KEY))
    position = data.draw(st.integers(0, len(token) - 1))
    letter = data.draw(st.sampled_from("abcXYZ019-_."))
    changed = token[:position] + letter + token[position + 1 :]
    # The last letter of a part holds bits that base64 drops.
    is_dropped = position + 1 == len(token) or token[position + 1] == "."
    if changed != token and not is_dropped:
        with pytest.raises(AuthenticationFailed):
            _authenticate(changed, ACCOUNT)


def test_others_can_verify_by_the_published_keys() -> None:
    keys = [VerifyingKey.load(EC_KEY), VerifyingKey.load(RSA_KEY)]
    configuration, key_set = discovery_documents("https://i", "https://i/openid/v1/jwks", keys)
    assert msgspec.json.decode(configuration) == {
        "issuer": "https://i",
        "jwks_uri": "https://i/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "RS256"],
    }
    published = msgspec.json.decode(key_set)["keys"]
    assert [(key["kty"], key["alg"], key["kid"]) for key in published] == [
        ("EC", "ES256", keys[0].key_id),
        ("RSA", "RS256", keys[1].key_id),
    ]
