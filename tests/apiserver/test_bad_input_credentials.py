"""Tokens that are forged, spent or for somebody else, presented to the whole server: each gets the same 401."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from keelback.auth.jwt import Signer
from keelback.component.http import Request, Response
from keelback.concurrency.clock import SystemClock
from keelback.testing.api import ADMINISTRATOR, api_server

UNAUTHORIZED = {
    "kind": "Status",
    "apiVersion": "v1",
    "metadata": {},
    "status": "Failure",
    "message": "Unauthorized",
    "reason": "Unauthorized",
    "code": 401,
}
WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
PODS = "/api/v1/namespaces/default/pods"
SECRETS = "/api/v1/namespaces/default/secrets"
NODES = "/api/v1/nodes"


class ShiftedClock(SystemClock):
    """The system's, set forward or back."""

    offset = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.offset


class World:
    """A server with a service account, a pod and a token bound to both."""

    def __init__(self, handle: Callable[[Request], Awaitable[Any]], clock: ShiftedClock, signer: Signer) -> None:
        self._handle = handle
        self.signer = signer
        self.clock = clock
        self.token = ""

    async def prepare(self) -> None:
        """Make the objects, and the token."""
        metadata = {"name": "robot"}
        await self.ask("POST", ACCOUNTS, {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata})
        containers = [{"name": "main", "image": "example:1"}]
        pod = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata}
        await self.ask("POST", PODS, {**pod, "spec": {"containers": containers, "serviceAccountName": "robot"}})
        self.token = await self.issue(boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "robot"})

    async def issue(self, **spec: Any) -> str:
        """A token from the TokenRequest API."""
        body = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
        _, made = await self.ask("POST", f"{ACCOUNTS}/robot/token", body)
        token: str = made["status"]["token"]
        return token

    async def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        """As the administrator, or as whoever the token says."""
        headers = {"content-type": "application/json"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        data = b"" if body is None else json.dumps(body).encode()
        identity = ADMINISTRATOR if token is None else None
        answer = await self._handle(Request(method, path, "", headers, data, identity=identity))
        assert isinstance(answer, Response)
        return answer.status, json.loads(answer.content())

    async def present(self, token: str) -> tuple[int, Any]:
        """Ask who one is, with a token."""
        body = {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}
        return await self.ask("POST", WHOAMI, body, token)


def _encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def _new_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


async def _by_another_key(world: World) -> str:
    return Signer(_new_key()).sign(_claims(world.token))


async def _without_signature(world: World) -> str:
    return f"{_encoded({'alg': 'none'})}.{_encoded(_claims(world.token))}."


async def _by_a_shared_secret(world: World) -> str:
    signed = f"{_encoded({'alg': 'HS256'})}.{_encoded(_claims(world.token))}"
    return f"{signed}.{_encoded(hmac.new(b'secret', signed.encode(), hashlib.sha256).digest())}"


async def _with_other_claims(world: World) -> str:
    head, _, signature = world.token.split(".")
    return f"{head}.{_encoded({**_claims(world.token), 'sub': 'system:serviceaccount:kube-system:admin'})}.{signature}"


async def _truncated(world: World) -> str:
    return world.token[:-8]


async def _with_a_tail(world: World) -> str:
    return f"{world.token}.x"


async def _for_others(world: World) -> str:
    return await world.issue(audiences=["vault"])


async def _expired(world: World) -> str:
    world.clock.offset = timedelta(hours=2)
    return world.token


async def _not_yet_valid(world: World) -> str:
    world.clock.offset = -timedelta(hours=2)
    return world.token


async def _of_a_deleted_pod(world: World) -> str:
    await world.ask("DELETE", f"{PODS}/robot", {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
    return world.token


async def _of_a_deleted_account(world: World) -> str:
    await world.ask("DELETE", f"{ACCOUNTS}/robot")
    return world.token


async def _of_an_account_made_anew(world: World) -> str:
    await world.ask("DELETE", f"{ACCOUNTS}/robot")
    metadata = {"name": "robot"}
    await world.ask("POST", ACCOUNTS, {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": metadata})
    return world.token


async def _of_a_deleted_secret(world: World) -> str:
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "bound"}}
    await world.ask("POST", SECRETS, secret)
    token = await world.issue(boundObjectRef={"kind": "Secret", "apiVersion": "v1", "name": "bound"})
    assert (await world.present(token))[0] == 201
    await world.ask("DELETE", f"{SECRETS}/bound")
    return token


async def _of_a_secret_made_anew(world: World) -> str:
    token = await _of_a_deleted_secret(world)
    await world.ask("POST", SECRETS, {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "bound"}})
    return token


async def _of_a_deleted_node(world: World) -> str:
    node = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": "bound"}}
    await world.ask("POST", NODES, node)
    token = await world.issue(boundObjectRef={"kind": "Node", "apiVersion": "v1", "name": "bound"})
    assert (await world.present(token))[0] == 201
    await world.ask("DELETE", f"{NODES}/bound")
    return token


def _resigned(world: World, **claims: Any) -> str:
    """The token with other claims, signed by the server's own key, as a flaw elsewhere might leave it."""
    return world.signer.sign({**_claims(world.token), **claims})


async def _of_another_issuer(world: World) -> str:
    return _resigned(world, iss="https://elsewhere.example.com")


async def _of_another_account(world: World) -> str:
    return _resigned(world, sub="system:serviceaccount:kube-system:default")


async def _without_an_end(world: World) -> str:
    claims = _claims(world.token)
    del claims["exp"]
    return world.signer.sign(claims)


async def _of_no_account(world: World) -> str:
    claims = _claims(world.token)
    del claims["kubernetes.io"]
    return world.signer.sign(claims)


async def _unknown_to_all(world: World) -> str:
    return "no-token-at-all"


def _in_world(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        clock = ShiftedClock()
        key = _new_key()
        async with api_server(clock, service_account_key_pem=key) as api:
            world = World(api.handle, clock, Signer(key))
            await world.prepare()
            await scenario(world)

    asyncio.run(main())


@pytest.mark.parametrize(
    "spoilt",
    [
        _by_another_key,
        _without_signature,
        _by_a_shared_secret,
        _with_other_claims,
        _truncated,
        _with_a_tail,
        _for_others,
        _expired,
        _not_yet_valid,
        _of_a_deleted_pod,
        _of_a_deleted_account,
        _of_an_account_made_anew,
        _of_a_deleted_secret,
        _of_a_secret_made_anew,
        _of_a_deleted_node,
        _of_another_issuer,
        _of_another_account,
        _of_no_account,
        _without_an_end,
        _unknown_to_all,
    ],
)
def test_a_token_that_proves_nothing_is_unauthorized(spoilt: Callable[[World], Awaitable[str]]) -> None:
    async def scenario(world: World) -> None:
        token = await spoilt(world)
        # What a token is bound to is known from a watch: its end is news for a moment.
        for _ in range(1000):
            answer = await world.present(token)
            if answer[0] != 201:
                break
            await asyncio.sleep(0)
        assert answer == (401, UNAUTHORIZED)

    _in_world(scenario)


def test_the_token_was_good_before_it_was_spoilt() -> None:
    async def scenario(world: World) -> None:
        status, found = await world.present(world.token)
        assert (status, found["status"]["userInfo"]["username"]) == (201, "system:serviceaccount:default:robot")

    _in_world(scenario)
