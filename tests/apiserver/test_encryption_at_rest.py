"""What is encrypted is in no file, comes back after a restart, and is plain for everybody who may read it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keelback.apiserver.encryption_at_rest import Locator
from keelback.component.http import Request
from keelback.concurrency.clock import SystemClock
from keelback.encryption.config import GroupResource
from keelback.encryption.options import PLAIN, EncryptionSettings
from keelback.registry import builtin
from keelback.storage import memory, sqlite
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.encryption import IDENTITY, Config, key
from keelback.testing.requests import Ask, asking

CLOCK = SystemClock()
SECRETS = "/api/v1/namespaces/default/secrets"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
TEXT = "the plain text that nobody must find"
ENCODED = base64.b64encode(TEXT.encode()).decode()


def secret(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {"password": ENCODED}}


def definition() -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "names": names, "scope": "Namespaced", "versions": [version]},
    }


@asynccontextmanager
async def server_over(file: Path, settings: EncryptionSettings) -> AsyncIterator[Ask]:
    store = await sqlite.open_store(file, CLOCK)
    async with api_server(store=store, encryption=settings) as server, asyncio.timeout(30):
        yield asking(server.handle)


async def made(ask: Ask, path: str, body: dict[str, Any]) -> dict[str, Any]:
    for _ in range(50):
        status, answer = await ask("POST", path, body)
        if status == 201:
            return dict(answer)
        await asyncio.sleep(0)
    raise AssertionError(answer)


def on_disk(folder: Path) -> bytes:
    """Every byte of the store's files, its log of writes included."""
    return b"".join(one.read_bytes() for one in sorted(folder.iterdir()))


def test_the_plain_text_is_in_no_file_and_comes_back_after_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    config = Config(tmp_path / "encryption.json")
    settings = config.write(key("secretbox", "one"), IDENTITY, resources=("secrets", "*.example.com"))

    async def main() -> None:
        async with server_over(folder / "state.db", settings) as ask:
            await made(ask, SECRETS, secret("a"))
            await made(ask, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition())
            widget = {
                "apiVersion": "example.com/v1",
                "kind": "Widget",
                "metadata": {"name": "w"},
                "spec": {"text": TEXT},
            }
            await made(ask, WIDGETS, widget)
            config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"in": "clear"}}
            await made(ask, "/api/v1/namespaces/default/configmaps", config_map)
            await ask(
                "PATCH", f"{SECRETS}/a", {"metadata": {"labels": {"a": "b"}}}, kind="application/merge-patch+json"
            )
            written = on_disk(folder)
            assert ENCODED.encode() not in written
            assert TEXT.encode() not in written
            assert b'"in":"clear"' in written
            assert written.count(b"k8s:enc:secretbox:v1:one:") >= 3
        async with server_over(folder / "state.db", settings) as ask:
            _, found = await ask("GET", f"{SECRETS}/a")
            assert found["data"] == {"password": ENCODED}
            assert found["metadata"]["labels"] == {"a": "b"}
            _, listed = await ask("GET", SECRETS)
            assert [one["metadata"]["name"] for one in listed["items"]] == ["a"]
            _, found = await ask("GET", f"{WIDGETS}/w")
            assert found["spec"] == {"text": TEXT}

    asyncio.run(main())


def test_replacing_what_there_is_encrypts_it_under_the_new_key(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    config = Config(tmp_path / "encryption.json")
    old, new = key("aescbc", "old", b"o"), key("aesgcm", "new", b"n")

    async def main() -> None:
        async with server_over(folder / "state.db", PLAIN) as ask:
            await made(ask, SECRETS, secret("a"))
        for providers in ((old, IDENTITY), (new, old), (new,)):
            async with server_over(folder / "state.db", config.write(*providers)) as ask:
                _, before = await ask("GET", f"{SECRETS}/a")
                assert before["data"] == {"password": ENCODED}
                status, after = await ask("PUT", f"{SECRETS}/a", before)
                assert status == 200
                is_written = before["metadata"]["resourceVersion"] != after["metadata"]["resourceVersion"]
                assert is_written is (providers != (new,))

    asyncio.run(main())


def test_what_cannot_be_decrypted_is_told_and_not_hidden(tmp_path: Path) -> None:
    config = Config(tmp_path / "encryption.json")
    why = (
        'Internal error occurred: unable to transform key "/registry/secrets/default/a": no matching key was found for '
        "the provided AES transformer"
    )

    async def main() -> None:
        file = tmp_path / "state.db"
        async with server_over(file, config.write(key("aesgcm", "lost"))) as ask:
            await made(ask, SECRETS, secret("a"))
        async with server_over(file, config.write(key("aesgcm", "new", b"n"))) as ask:
            await made(ask, SECRETS, secret("b"))
            for method, path, body in (
                ("GET", f"{SECRETS}/a", None),
                ("GET", SECRETS, None),
                ("GET", "/api/v1/secrets?limit=1", None),
                ("GET", f"{SECRETS}?watch=1", None),
                ("PUT", f"{SECRETS}/a", secret("a")),
                ("DELETE", f"{SECRETS}/a", None),
            ):
                status, answer = await ask(method, path, body)
                assert (status, answer["reason"], answer["message"]) == (500, "InternalError", why)
            status, _ = await ask("GET", f"{SECRETS}/b")
            assert status == 200
            status, listed = await ask("GET", "/api/v1/namespaces/kube-system/secrets")
            assert (status, listed["items"]) == (200, [])
        async with server_over(file, PLAIN) as ask:
            status, answer = await ask("GET", f"{SECRETS}/a")
            assert status == 500
            assert answer["message"].endswith("identity transformer tried to read encrypted data")

    asyncio.run(main())


def test_keys_that_come_back_make_readable_what_was_not(tmp_path: Path) -> None:
    config = Config(tmp_path / "encryption.json")
    old, new = key("aescbc", "old", b"o"), key("aescbc", "new", b"n")

    async def main() -> None:
        store = memory.open_store(CLOCK)
        async with api_server(store=store, encryption=config.write(old)) as server, asyncio.timeout(30):
            ask = asking(server.handle)
            await made(ask, SECRETS, secret("a"))
            raw = await store.get("/registry/secrets/default/a")
            assert raw is not None
            # Another server, with another key, has written it since.
            await store.put("/registry/secrets/default/a", raw.value.replace(b":old:", b":new:"))
            status, answer = await ask("GET", f"{SECRETS}/a")
            assert status == 500
            assert "no matching key was found" in answer["message"]
            await store.put("/registry/secrets/default/a", raw.value)
            status, found = await ask("GET", f"{SECRETS}/a")
            assert (status, found["data"]) == (200, {"password": ENCODED})
            _, listed = await ask("GET", SECRETS)
            assert len(listed["items"]) == 1

    assert new != old
    asyncio.run(main())


def test_health_asks_the_plugins_where_the_file_may_name_some(tmp_path: Path) -> None:
    async def main() -> None:
        settings = Config(tmp_path / "encryption.json").write(IDENTITY)
        async with api_server(encryption=settings) as server:
            for path, status in (("/healthz/kms-providers", 200), ("/readyz/kms-providers", 200)):
                answer = await server.handle(Request("GET", path, identity=ADMINISTRATOR))
                assert answer.status == status  # type: ignore[union-attr]
        async with api_server() as server:
            answer = await server.handle(Request("GET", "/healthz/kms-providers", identity=ADMINISTRATOR))
            assert answer.status == 404  # type: ignore[union-attr]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("stored_at", "resource"),
    [
        ("/registry/secrets/default/a", GroupResource("", "secrets")),
        ("/registry/deployments/default/a", GroupResource("apps", "deployments")),
        ("/registry/services/specs/default/a", GroupResource("", "services")),
        ("/registry/services/endpoints/default/a", GroupResource("", "endpoints")),
        ("/registry/minions/a", GroupResource("", "nodes")),
        ("/registry/events/default/a", GroupResource("", "events")),
        ("/registry/apiregistration.k8s.io/apiservices/v1.", GroupResource("apiregistration.k8s.io", "apiservices")),
        ("/registry/example.com/widgets/default/w", GroupResource("example.com", "widgets")),
        ("/registry/masterleases/10.0.0.1", None),
        ("/registry/health", None),
        ("elsewhere", None),
    ],
)
def test_keys_are_of_the_resources_that_configurations_name(stored_at: str, resource: GroupResource | None) -> None:
    assert Locator(builtin.strategies())(stored_at) == resource
