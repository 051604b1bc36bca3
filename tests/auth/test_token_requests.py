from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keelback.api.authentication_v1 import BoundObjectReference, TokenRequest, TokenRequestSpec
from keelback.api.core_v1 import Node, Pod, PodSpec, ServiceAccount
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.auth.jwt import unverified_payload
from keelback.auth.service_accounts import DEFAULT_ISSUER, TokenIssuer
from keelback.auth.token_requests import TokenRequests

T = TypeVar("T", bound=Object)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1()).private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)


class Objects:
    def __init__(self, *objects: Object) -> None:
        self.held = objects

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        for obj in self.held:
            if (obj.__kind__, obj.metadata.name, obj.metadata.namespace) == (kind.__kind__, name, namespace):
                return msgspec.convert(msgspec.to_builtins(obj), kind)
        raise errors.NotFound.of(kind.__kind__, name)


ACCOUNT = ServiceAccount(metadata=ObjectMeta(name="sa", namespace="x", uid="u1"))
POD = Pod(
    metadata=ObjectMeta(name="p", namespace="x", uid="u2"), spec=PodSpec(service_account_name="sa", node_name="n")
)
NODE = Node(metadata=ObjectMeta(name="n", uid="u3"))


def _create(*objects: Object, bound: BoundObjectReference | None = None, **spec: Any) -> TokenRequest:
    request = TokenRequest(spec=TokenRequestSpec(bound_object_ref=bound, **spec))
    requests = TokenRequests(TokenIssuer(KEY), Objects(*objects))
    return asyncio.run(requests.create("x", "sa", request, now=NOW, token_id="id1"))


def test_a_token_is_for_the_api_server_for_an_hour() -> None:
    made = _create(ACCOUNT)
    assert made.spec.audiences == (DEFAULT_ISSUER,)
    assert made.status.expiration_timestamp == NOW + timedelta(hours=1)
    assert (made.metadata.name, made.metadata.namespace) == ("sa", "x")


def test_a_pods_token_tells_the_pod_and_its_node() -> None:
    bound = BoundObjectReference(api_version="v1", kind="Pod", name="p", uid="u2")
    claims = msgspec.json.decode(unverified_payload(_create(ACCOUNT, POD, NODE, bound=bound).status.token))
    assert claims["kubernetes.io"]["pod"] == {"name": "p", "uid": "u2"}
    assert claims["kubernetes.io"]["node"] == {"name": "n", "uid": "u3"}


@pytest.mark.parametrize(
    ("objects", "bound", "error"),
    [
        ((), None, errors.NotFound),
        ((ACCOUNT,), BoundObjectReference(api_version="v1", kind="Pod", name="p"), errors.NotFound),
        ((ACCOUNT, POD), BoundObjectReference(api_version="v1", kind="Pod", name="p", uid="no"), errors.Conflict),
        ((ACCOUNT, POD), BoundObjectReference(api_version="v1", kind="Service", name="p"), errors.BadRequest),
        (
            (ACCOUNT, Pod(metadata=POD.metadata, spec=PodSpec(service_account_name="other"))),
            BoundObjectReference(api_version="v1", kind="Pod", name="p"),
            errors.BadRequest,
        ),
    ],
)
def test_a_token_is_bound_only_to_what_is_there(
    objects: tuple[Object, ...], bound: BoundObjectReference | None, error: type[errors.StatusError]
) -> None:
    with pytest.raises(error):
        _create(*objects, bound=bound)


@pytest.mark.parametrize(("seconds", "text"), [(599, "less than 10 minutes"), ((1 << 32) + 1, "larger than 2^32")])
def test_a_lifetime_has_bounds(seconds: int, text: str) -> None:
    with pytest.raises(errors.Invalid) as refused:
        _create(ACCOUNT, expiration_seconds=seconds)
    assert text in refused.value.message


@pytest.mark.parametrize(
    ("field", "metadata"), [("name", ObjectMeta(name="b")), ("namespace", ObjectMeta(namespace="y"))]
)
def test_a_request_may_name_no_other_account(field: str, metadata: ObjectMeta) -> None:
    requests = TokenRequests(TokenIssuer(KEY), Objects(ACCOUNT))
    with pytest.raises(errors.Invalid) as refused:
        asyncio.run(requests.create("x", "sa", TokenRequest(metadata=metadata), now=NOW, token_id="id1"))
    given = getattr(metadata, field)
    assert refused.value.message == (
        f'TokenRequest.authentication.k8s.io "sa" is invalid: metadata.{field}: Invalid value: "{given}": must match '
        f"the service account {field} if specified"
    )
