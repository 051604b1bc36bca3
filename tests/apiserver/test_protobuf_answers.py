"""Answers in protobuf say what the answers in JSON say: objects, lists, watches, failures, discovery."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from keelback.apimachinery import protobuf
from keelback.apimachinery.errors import NotAcceptable
from keelback.apiserver import negotiation
from keelback.apiserver.assembly import RunningAPIServer
from keelback.apiserver.negotiation import JSON, PROTOBUF, YAML, Accepted
from keelback.component.http import Request, Response, StreamingResponse
from keelback.registry import optional_kinds
from keelback.registry.builtin import strategies
from keelback.registry.runtime_config import OPTIONAL
from keelback.testing.api import ADMINISTRATOR, api_server

BOTH = f"{PROTOBUF},{JSON}"
PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
METADATA = "as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


class Setting:
    """A server, and what is asked of it in protobuf."""

    def __init__(self, api: RunningAPIServer) -> None:
        self._api = api

    async def ask(self, method: str, path: str, body: Any = None, *, accept: str = BOTH) -> Response:
        path, _, query = path.partition("?")
        data = b"" if body is None else json.dumps(body).encode()
        headers = {"accept": accept, "content-type": JSON}
        answer = await self._api.handle(Request(method, path, query, headers, data, identity=ADMINISTRATOR))
        assert isinstance(answer, Response)
        return answer

    async def same(self, path: str, accept: str = BOTH) -> bool:
        """Whether both forms of an answer mean the same."""
        return bool(meaning(await self.tree("GET", path, accept=accept)) == meaning(await self.as_json(path)))

    async def tree(self, method: str, path: str, body: Any = None, *, accept: str = BOTH) -> Any:
        """An answer in protobuf, read."""
        answer = await self.ask(method, path, body, accept=accept)
        assert answer.headers["content-type"] == PROTOBUF
        return json.loads(protobuf.to_json(answer.content()))

    async def as_json(self, path: str) -> Any:
        return json.loads((await self.ask("GET", path, accept=JSON)).content())

    async def watched(self, path: str, *, accept: str = f"{PROTOBUF};stream=watch") -> bytes:
        """What a watch says within the second it is given."""
        headers = {"accept": accept}
        query = "watch=true&timeoutSeconds=1&" + path.partition("?")[2]
        request = Request("GET", path.partition("?")[0], query, headers, b"", identity=ADMINISTRATOR)
        answer = await self._api.handle(request)
        assert isinstance(answer, StreamingResponse)
        assert answer.headers["content-type"] == f"{PROTOBUF};stream=watch"
        sink = Sink()
        await answer.serve(sink)
        return sink.data


class Sink:
    """Takes what is written."""

    closed = False

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        pass

    async def wait_closed(self) -> None:
        await asyncio.Event().wait()


def events(stream: bytes) -> Iterator[tuple[str, Any]]:
    while stream:
        size = int.from_bytes(stream[:4], "big")
        frame, stream = stream[4 : 4 + size], stream[4 + size :]
        event = json.loads(protobuf.to_json(b"k8s\x00\x0a\x10\x0a\x02v1\x12\x0aWatchEvent\x12" + sized(frame)))
        yield event["type"], event["object"]


def sized(data: bytes) -> bytes:
    size, made = len(data), bytearray()
    while size > 127:
        made.append(size & 127 | 128)
        size >>= 7
    return bytes((*made, size)) + data


@asynccontextmanager
async def a_setting() -> AsyncIterator[Setting]:
    async with api_server() as api, asyncio.timeout(60):
        yield Setting(api)


def with_setting(test: Callable[[Setting], Awaitable[None]]) -> Callable[[], None]:
    async def main() -> None:
        async with a_setting() as setting:
            await test(setting)

    def run() -> None:
        asyncio.run(main())

    return run


def meaning(tree: Any) -> Any:
    """A tree without what is zero or empty: a scalar that is no pointer says no more than that it is not set."""
    if isinstance(tree, dict):
        kept = {key: meaning(value) for key, value in tree.items()}
        return {key: value for key, value in kept.items() if value not in (None, "", 0, {}, [])}
    return [meaning(one) for one in tree] if isinstance(tree, list) else tree


def pod(name: str) -> dict[str, Any]:
    container = {
        "name": "web",
        "image": "web:1",
        "resources": {"requests": {"cpu": "100m"}},
        "readinessProbe": {"httpGet": {"port": "http"}},
    }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {"containers": [container]}}


def config_map(name: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"a": "b"}}


def definition() -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    # Named like a built-in group and kind, whose message it is not.
    names = {"plural": "deployments", "singular": "deployment", "kind": "Deployment", "listKind": "DeploymentList"}
    spec = {"group": "apps.example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    meta = {"name": "deployments.apps.example.com"}
    return {"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": meta, "spec": spec}


@with_setting
async def test_every_verb_answers_in_protobuf(setting: Setting) -> None:
    made = await setting.tree("POST", PODS, pod("one"))
    assert meaning(made) == meaning(await setting.as_json(f"{PODS}/one"))
    assert await setting.tree("GET", f"{PODS}/one") == made
    assert await setting.tree("GET", f"{PODS}/one") == made  # from what was written once
    made["metadata"]["labels"] = {"a": "b"}
    changed = await setting.tree("PUT", f"{PODS}/one", made)
    assert meaning(changed) == meaning(await setting.as_json(f"{PODS}/one"))
    await setting.ask("POST", PODS, pod("two"))
    for query in ("", "?limit=1", "?labelSelector=a%3Dnothing"):
        assert await setting.same(PODS + query)
    gone = await setting.tree("DELETE", f"{PODS}/one?gracePeriodSeconds=0")
    assert (gone["kind"], gone["metadata"]["name"]) == ("Pod", "one")
    assert [one["metadata"]["name"] for one in (await setting.tree("DELETE", PODS))["items"]] == ["two"]
    await setting.ask("POST", CONFIG_MAPS, config_map("one"))
    assert (await setting.tree("DELETE", f"{CONFIG_MAPS}/one"))["status"] == "Success"


@with_setting
async def test_the_rest_of_the_api_answers_in_protobuf_too(setting: Setting) -> None:
    spec = {"resourceAttributes": {"verb": "get", "resource": "pods"}}
    review = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": spec}
    answered = await setting.tree("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    assert answered["status"]["allowed"] is True
    await setting.ask("POST", PODS, pod("one"))
    await setting.ask("POST", DEFINITIONS, definition())
    # Its conditions may come between the one answer and the other.
    while not await setting.same(DEFINITIONS):
        continue
    bound = {"kind": "Binding", "apiVersion": "v1", "metadata": {"name": "one"}, "target": {"name": "n"}}
    assert (await setting.tree("POST", f"{PODS}/one/binding", bound))["status"] == "Success"
    status = await setting.tree("GET", f"{PODS}/one/status")
    assert status["kind"] == "Pod"
    assert (await setting.tree("GET", "/api/v1/componentstatuses"))["kind"] == "ComponentStatusList"


@with_setting
async def test_every_listed_kind_is_answered_in_protobuf(setting: Setting) -> None:
    for group in ["/api/v1", *(f"/apis/{one['preferredVersion']['groupVersion']}" for one in await groups(setting))]:
        for one in (await setting.as_json(group))["resources"]:
            if "/" not in one["name"] and "list" in one["verbs"] and one["name"] != "componentstatuses":
                path = f"{group}/{one['name']}"
                assert await setting.same(path, PROTOBUF), path


async def groups(setting: Setting) -> list[Any]:
    found: list[Any] = (await setting.as_json("/apis"))["groups"]
    return found


def test_the_lists_of_every_version_hold_the_messages_of_their_kind() -> None:
    optional = [one for place in OPTIONAL for one in optional_kinds.strategies(*place)]
    for strategy in [*strategies(), *optional]:
        kind = strategy.kind.__kind__
        rows = protobuf.rows_of_kind(kind.api_version, kind.list_kind)
        assert f"2 items []{protobuf.name_of(kind.api_version, kind.kind)}" in rows, kind


@with_setting
async def test_discovery_in_protobuf(setting: Setting) -> None:
    for path in ("/apis", "/apis/apps", "/apis/apps/v1"):
        assert await setting.same(path)
    for path in ("/api", "/api/v1"):  # older than the versions of documents
        answer = await setting.ask("GET", path)
        assert answer.headers["content-type"] == PROTOBUF
        kind = (await setting.as_json(path))["kind"].encode()
        assert answer.content().startswith(b"k8s\x00" + bytes((10, len(kind) + 4, 10, 0, 18, len(kind))) + kind)
    parameters = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    answer = await setting.ask("GET", "/apis", accept=f"{PROTOBUF};{parameters},{JSON}")
    assert answer.headers["content-type"] == f"{PROTOBUF};{parameters}"
    plain = await setting.ask("GET", "/apis", accept=f"{JSON};{parameters}")
    assert meaning(json.loads(protobuf.to_json(answer.content()))) == meaning(json.loads(plain.content()))


@with_setting
async def test_failures_are_in_protobuf(setting: Setting) -> None:
    missing = await setting.ask("GET", f"{PODS}/missing")
    assert (missing.status, missing.headers["content-type"]) == (404, PROTOBUF)
    status = json.loads(protobuf.to_json(missing.content()))
    assert (status["kind"], status["apiVersion"], status["reason"]) == ("Status", "v1", "NotFound")


@with_setting
async def test_a_watch_in_protobuf(setting: Setting) -> None:
    await setting.ask("POST", CONFIG_MAPS, config_map("one"))
    start = (await setting.as_json(CONFIG_MAPS))["metadata"]["resourceVersion"]
    await setting.ask("POST", CONFIG_MAPS, config_map("two"))
    two = await setting.as_json(f"{CONFIG_MAPS}/two")
    await setting.ask("DELETE", f"{CONFIG_MAPS}/one")
    heard = list(events(await setting.watched(f"{CONFIG_MAPS}?resourceVersion={start}")))
    assert heard[0] == ("ADDED", two)
    assert (heard[1][0], heard[1][1]["metadata"]["name"]) == ("DELETED", "one")
    initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    heard = list(events(await setting.watched(f"{CONFIG_MAPS}?{initial}")))
    assert heard[-2] == ("ADDED", two)
    assert heard[-1][0] == "BOOKMARK"
    assert heard[-1][1]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    accept = f"{PROTOBUF};stream=watch;{METADATA}"
    heard = list(events(await setting.watched(CONFIG_MAPS, accept=accept)))
    assert heard[-1][1] == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": two["metadata"],
    }


@with_setting
async def test_custom_resources_have_no_protobuf_but_of_their_metadata(setting: Setting) -> None:
    await setting.ask("POST", DEFINITIONS, definition())
    path = "/apis/apps.example.com/v1/namespaces/default/deployments"
    while (await setting.ask("GET", path, accept=JSON)).status != 200:  # noqa: ASYNC110 - nothing tells when it is
        await asyncio.sleep(0)
    own = {"kind": "Deployment", "apiVersion": "apps.example.com/v1", "metadata": {"name": "one"}}
    made = await setting.ask("POST", path, own)
    assert (made.status, made.headers["content-type"]) == (201, JSON)
    for one in (path, f"{path}/one"):
        assert (await setting.ask("GET", one)).headers["content-type"] == JSON
        refused = await setting.ask("GET", one, accept=PROTOBUF)
        assert (refused.status, refused.headers["content-type"]) == (406, PROTOBUF)
    whole = await setting.as_json(f"{path}/one")
    meta = await setting.tree("GET", f"{path}/one", accept=f"{PROTOBUF};{METADATA},{JSON};{METADATA}")
    assert meta == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": whole["metadata"]}
    metas = await setting.tree("GET", path, accept=f"{PROTOBUF};{METADATA_LIST},{JSON}")
    assert metas["kind"] == "PartialObjectMetadataList"
    assert [one["metadata"] for one in metas["items"]] == [whole["metadata"]]


@pytest.mark.parametrize(
    ("accept", "accepted"),
    [
        (PROTOBUF, Accepted(PROTOBUF)),
        (BOTH, Accepted(PROTOBUF)),
        (f"{JSON},{PROTOBUF}", Accepted(JSON)),
        (f"{PROTOBUF};q=0.5,{JSON}", Accepted(JSON)),
        (f"{JSON};q=0.1, {PROTOBUF};q=0.9, */*;q=0.2", Accepted(PROTOBUF)),
        (f"{PROTOBUF}, */*", Accepted(PROTOBUF)),
        ("*/*", Accepted(JSON)),
        (f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1,{YAML}", Accepted(YAML)),
        (f"{PROTOBUF};stream=watch,{JSON}", Accepted(PROTOBUF, stream=True)),
        (f"{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1", Accepted(PROTOBUF, "PartialObjectMetadata")),
    ],
)
def test_what_is_chosen(accept: str, accepted: Accepted) -> None:
    assert negotiation.negotiate(accept) == accepted


def test_who_takes_nothing_else_is_refused_in_protobuf() -> None:
    answer = negotiation.respond_error(NotAcceptable("no"), f"{PROTOBUF};as=Table;g=meta.k8s.io;v=v1")
    assert answer.headers["content-type"] == JSON
    answer = negotiation.respond_error(NotAcceptable("no"), PROTOBUF)
    assert answer.headers["content-type"] == PROTOBUF
    assert json.loads(protobuf.to_json(answer.content()))["message"] == "no"
