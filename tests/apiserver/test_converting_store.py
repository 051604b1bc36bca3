"""Versions that a webhook converts, on the real server: read, watched, written and stored."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from keelback.apiserver.assembly import RunningAPIServer
from keelback.apiserver.converting_store import ConvertingStore
from keelback.bootstrap.pki import ClusterPKI, ensure_cluster_pki
from keelback.component.http import Request, Response
from keelback.concurrency.clock import SystemClock
from keelback.storage import memory
from keelback.storage.protocol import Event
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.encryption import IDENTITY, Config, at_rest

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
NAME = "widgets.example.com"


def widgets(version: str, name: str = "") -> str:
    return f"/apis/example.com/{version}/namespaces/default/widgets{name and f'/{name}'}"


class Webhook:
    """Says hostPort in v1, host and port in v2. It can be told to fail."""

    def __init__(self) -> None:
        self.is_broken = False
        self.asked: list[dict[str, Any]] = []

    async def answer(self, asked: web.Request) -> web.Response:
        request = (await asked.json())["request"]
        self.asked.append(request)
        desired = request["desiredAPIVersion"]
        result = {"status": "Failed", "message": "out of order"} if self.is_broken else {"status": "Success"}
        objects = [] if self.is_broken else [self.converted(one, desired) for one in request["objects"]]
        response = {"uid": request["uid"], "convertedObjects": objects, "result": result}
        return web.json_response(
            {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": response}
        )

    def converted(self, one: dict[str, Any], desired: str) -> dict[str, Any]:
        made = {**one, "apiVersion": desired}
        if desired.endswith("v2"):
            host, _, port = made.pop("hostPort").partition(":")
            return {**made, "host": host, "port": port}
        return {**made, "hostPort": f"{made.pop('host')}:{made.pop('port')}"}


def schema(*names: str) -> dict[str, Any]:
    return {"openAPIV3Schema": {"type": "object", "properties": {name: {"type": "string"} for name in names}}}


def definition(url: str, bundle: str, *, storage: str = "v1") -> dict[str, Any]:
    versions = [
        {"name": "v1", "served": True, "storage": storage == "v1", "schema": schema("hostPort")},
        {"name": "v2", "served": True, "storage": storage == "v2", "schema": schema("host", "port")},
    ]
    client = {"url": url, "caBundle": bundle}
    conversion = {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}}
    names = {"plural": "widgets", "kind": "Widget"}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {**spec, "conversion": conversion},
    }


class Client:
    def __init__(self, api: RunningAPIServer) -> None:
        self._api = api

    async def ask(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, dict[str, Any]]:
        path, _, query = path.partition("?")
        data = b"" if body is None else json.dumps(body).encode()
        answer = await self._api.handle(
            Request(method, path, query, {"content-type": kind}, data, identity=ADMINISTRATOR)
        )
        assert isinstance(answer, Response)
        content = answer.content()
        found: dict[str, Any] = json.loads(content) if content[:1] == b"{" else {"message": content.decode()}
        return answer.status, found

    async def until(self, path: str, wanted: Callable[[int, Any], bool]) -> Any:
        while True:
            status, found = await self.ask("GET", path)
            if wanted(status, found):
                return found
            await asyncio.sleep(0)


def run(folder: Path, test: Callable[[Client, Webhook, Callable[[str], dict[str, Any]]], Awaitable[None]]) -> None:
    pki: ClusterPKI = ensure_cluster_pki(folder, datetime.now(UTC), names=["localhost"])

    async def go() -> None:
        webhook = Webhook()
        application = web.Application()
        application.router.add_post("/convert", webhook.answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.apiserver.certificate_path, pki.apiserver.key_path)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        url = f"https://127.0.0.1:{runner.addresses[0][1]}/convert"
        bundle = base64.b64encode(pki.ca.certificate_pem).decode()
        try:
            async with api_server() as api, asyncio.timeout(30):
                client = Client(api)
                status, made = await client.ask("POST", DEFINITIONS, definition(url, bundle))
                assert status == 201, made
                await client.until(widgets("v2"), lambda status, _: status == 200)
                await test(client, webhook, lambda storage: definition(url, bundle, storage=storage))
        finally:
            await runner.cleanup()

    asyncio.run(go())


def widget(name: str) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "hostPort": "here:80"}


def test_an_object_is_seen_and_changed_in_every_version(tmp_path: Path) -> None:
    async def test(client: Client, webhook: Webhook, _: object) -> None:
        status, made = await client.ask("POST", widgets("v1"), widget("a"))
        assert (status, made["hostPort"]) == (201, "here:80")
        assert webhook.asked == []
        status, seen = await client.ask("GET", widgets("v2", "a"))
        assert (status, seen["apiVersion"], seen["host"], seen["port"]) == (200, "example.com/v2", "here", "80")
        assert seen["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        status, seen = await client.ask("PUT", widgets("v2", "a"), {**seen, "port": "81", "hostPort": "gone"})
        assert (status, seen["port"], "hostPort" in seen) == (200, "81", False)
        patch = {"host": "there"}
        status, seen = await client.ask("PATCH", widgets("v2", "a"), patch, "application/merge-patch+json")
        assert (status, seen["host"]) == (200, "there")
        applied = {"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "a"}, "port": "82"}
        status, seen = await client.ask(
            "PATCH", widgets("v2", "a") + "?fieldManager=me&force=true", applied, "application/apply-patch+yaml"
        )
        assert (status, seen["port"]) == (200, "82")
        status, seen = await client.ask("GET", widgets("v1", "a"))
        assert seen["hostPort"] == "there:82"
        status, page = await client.ask("GET", widgets("v2"))
        assert [(one["apiVersion"], one["host"]) for one in page["items"]] == [("example.com/v2", "there")]

    run(tmp_path, test)


def test_a_change_of_the_storage_version_leaves_what_is_stored_readable(tmp_path: Path) -> None:
    async def test(client: Client, webhook: Webhook, made: Callable[[str], dict[str, Any]]) -> None:
        await client.ask("POST", widgets("v1"), widget("old"))
        path = f"{DEFINITIONS}/{NAME}"
        status, changed = await client.ask("PATCH", path, {"spec": made("v2")["spec"]}, "application/merge-patch+json")
        assert (status, changed["status"]["storedVersions"]) == (200, ["v1", "v2"])
        status, new = await client.ask("POST", widgets("v1"), widget("new"))
        assert (status, new["hostPort"]) == (201, "here:80")
        for version, field in (("v1", "hostPort"), ("v2", "host")):
            page = await client.until(widgets(version), lambda _, page: len(page["items"]) == 2)
            assert {one["apiVersion"] for one in page["items"]} == {f"example.com/{version}"}
            assert all(field in one for one in page["items"])

    run(tmp_path, test)


def test_a_webhook_that_fails_fails_requests_and_nothing_else(tmp_path: Path) -> None:
    async def test(client: Client, webhook: Webhook, _: object) -> None:
        webhook.is_broken = True
        await client.ask("POST", widgets("v1"), widget("a"))
        told = "conversion webhook for example.com/v1, Kind=Widget failed: out of order"
        failed = await client.until(widgets("v2"), lambda status, _: status == 500)
        assert (failed["message"], failed.get("reason")) == (told, None)
        status, failed = await client.ask("PUT", widgets("v2", "a"), {"metadata": {"name": "a"}, "kind": "Widget"})
        status, seen = await client.ask("GET", widgets("v1", "a"))
        assert (status, seen["hostPort"]) == (200, "here:80")
        # Neither a change of the definition nor a new start of its caches needs the webhook.
        names = {"plural": "widgets", "kind": "Widget", "shortNames": ["w"]}
        path = f"{DEFINITIONS}/{NAME}"
        await client.ask("PATCH", path, {"spec": {"names": names}}, "application/merge-patch+json")
        await client.until(path, lambda _, made: made["status"]["acceptedNames"].get("shortNames") == ["w"])
        status, seen = await client.ask("GET", widgets("v1", "a"))
        assert (status, seen["hostPort"]) == (200, "here:80")
        status, failed = await client.ask("GET", widgets("v2"))
        assert (status, failed["message"]) == (500, told)
        webhook.is_broken = False
        page = await client.until(widgets("v2"), lambda status, page: status == 200 and bool(page["items"]))
        assert page["items"][0]["host"] == "here"

    run(tmp_path, test)


def test_what_cannot_be_decrypted_is_passed_on_as_such(tmp_path: Path) -> None:
    class Same:
        """What converts nothing, since all is in one version."""

        async def convert(self, objects: Sequence[dict[str, Any]], desired: str) -> list[dict[str, Any]]:
            return list(objects)

    async def main() -> None:
        beneath = memory.open_store(SystemClock())
        settings = Config(tmp_path / "encryption.json").write(IDENTITY, resources=("*.*",))
        store = ConvertingStore(
            at_rest(beneath, settings, SystemClock()).store,
            Same(),  # type: ignore[arg-type]
            prefix="/registry/widgets/",
            served="example.com/v1",
            stored="example.com/v1",
            as_read=lambda tree: tree,
            as_served=msgspec.json.encode,
            as_stored=msgspec.json.encode,
        )
        await beneath.put("/registry/widgets/a", b'{"apiVersion": "example.com/v1"}')
        await beneath.put("/registry/widgets/b", b"k8s:enc:aescbc:v1:lost:...")
        await beneath.put("/registry/widgets/c", b'{"apiVersion": "example.com/v1"}')
        listed = (await store.range("/registry/widgets/")).kvs
        watched: list[Event] = []
        watch = store.watch("/registry/widgets/", 2)
        while len(watched) < 3:
            watched += (await anext(watch)).events
        watch.close()
        for seen in (listed, [event.kv for event in watched]):
            assert [one.value for one in seen] == [
                b'{"apiVersion":"example.com/v1"}',
                b"",
                b'{"apiVersion":"example.com/v1"}',
            ]
            assert [bool(one.unreadable) for one in seen] == [False, True, False]

    asyncio.run(main())
