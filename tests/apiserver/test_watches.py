"""Every way to watch: where it begins, what it is told of, how it ends; against the real server, in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from keelback.apiserver import watch_stream
from keelback.apiserver.assembly import RunningAPIServer
from keelback.component import websocket
from keelback.component.connection import dial
from keelback.component.http import AnyResponse, Request, Response, StreamingResponse
from keelback.component.serving import Server
from keelback.component.websocket import Opcode, WebSocket
from keelback.testing.api import ADMINISTRATOR, api_server
from keelback.testing.clock import HandClock
from keelback.testing.requests import asking

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
MERGE = "application/merge-patch+json"
INVALID = 'ListOptions.meta.k8s.io "" is invalid: '
NEEDS = "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
ALONE = (
    "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
)
EXACT = 'resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"'
GARBAGE = 'resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax'


class Watch:
    """A watch that runs: what it was told."""

    def __init__(self, response: StreamingResponse, clock: HandClock) -> None:
        self.response = response
        self.lines: list[Any] = []
        self.writes = 0
        self.stalls = False
        self.closed = False
        self._clock = clock
        self._room = asyncio.Event()
        self._gone = asyncio.Event()
        self.task = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        await self.response.serve(self)

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.lines.extend(json.loads(line) for line in data.splitlines())

    async def drain(self) -> None:
        if self.stalls:
            await self._room.wait()

    async def wait_closed(self) -> None:
        await self._gone.wait()

    async def told(self) -> list[str]:
        """What was told since the last time: type and name; "END" where the watch is over."""
        await self._clock.pass_time(0)
        lines, self.lines = self.lines, []
        return [_word(one) for one in lines] + (["END"] if self.task.done() else [])

    async def leave(self) -> None:
        self.closed = True
        self._gone.set()
        self._room.set()
        await self.task


def _word(event: Any) -> str:
    obj = event["object"]
    if event["type"] == "BOOKMARK":
        is_end = obj["metadata"].get("annotations") == {"k8s.io/initial-events-end": "true"}
        return "END OF INITIAL EVENTS" if is_end else "BOOKMARK"
    if event["type"] == "ERROR":
        return f"ERROR {obj['code']} {obj['reason']}"
    if obj["kind"] == "Table":
        return f"{event['type']} row {obj['rows'][0]['cells'][0]}"
    return f"{event['type']} {obj['metadata']['name']}"


class World:
    """A server in virtual time."""

    def __init__(self, api: RunningAPIServer, clock: HandClock) -> None:
        self.clock = clock
        self.ask = asking(api.handle)
        self._api = api
        self._watches: list[Watch] = []

    async def refused_or_watch(self, path: str, **headers: str) -> tuple[int, Any] | Watch:
        path, _, query = path.partition("?")
        task = asyncio.ensure_future(self._api.handle(Request("GET", path, query, headers, identity=ADMINISTRATOR)))
        while not task.done():
            await self.clock.pass_time(1)
        answer = task.result()
        if isinstance(answer, Response):
            return answer.status, json.loads(answer.content())
        assert isinstance(answer, StreamingResponse)
        watch = Watch(answer, self.clock)
        self._watches.append(watch)
        return watch

    async def watch(self, path: str, **headers: str) -> Watch:
        watch = await self.refused_or_watch(path, **headers)
        assert isinstance(watch, Watch), watch
        return watch

    async def put(self, name: str, *, path: str = CONFIG_MAPS, **labels: str) -> int:
        """Make or change a config map. Its version."""
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}
        status, made = await self.ask("POST", path, body)
        if status == 409:
            _, made = await self.ask("PUT", f"{path}/{name}", body)
        return int(made["metadata"]["resourceVersion"])

    async def delete(self, name: str) -> None:
        status, _ = await self.ask("DELETE", f"{CONFIG_MAPS}/{name}")
        assert status == 200

    async def leave(self) -> None:
        for watch in self._watches:
            await watch.leave()


@asynccontextmanager
async def a_world() -> AsyncIterator[World]:
    clock = HandClock()
    async with asyncio.timeout(60), api_server(clock) as api:
        world = World(api, clock)
        yield world
        await world.leave()


def in_world(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    async def main() -> None:
        async with a_world() as world:
            await test(world)

    def run() -> None:
        asyncio.run(main())

    run.__name__ = test.__name__
    return run


# Where it begins.

STATE = "ADDED a,ADDED c"
SINCE = "DELETED b,ADDED c"
BOOKMARKED = f"{STATE},END OF INITIAL EVENTS"
BEGINNINGS: tuple[tuple[str, dict[str, str], str | int], ...] = (
    *((version, {}, STATE) for version in ("", "0")),
    ("past", {}, SINCE),
    ("current", {}, ""),
    ("future", {}, ""),
    ("abc", {}, GARBAGE),
    *((version, {"initial": "true"}, INVALID + NEEDS) for version in ("", "0", "past", "abc")),
    *((version, {"match": "NotOlderThan"}, INVALID + ALONE) for version in ("", "0", "past", "abc")),
    *((version, {"initial": "true", "match": "NotOlderThan"}, STATE) for version in ("", "0", "past", "current")),
    *(
        (version, {"initial": "true", "match": "NotOlderThan", "bookmarks": "true"}, BOOKMARKED)
        for version in ("", "0", "past", "current")
    ),
    # Any value but 0 and false is true.
    ("", {"initial": "x", "match": "NotOlderThan", "bookmarks": "x"}, BOOKMARKED),
    *((version, {"initial": "false", "match": "NotOlderThan"}, "") for version in ("", "0", "current")),
    ("past", {"initial": "false", "match": "NotOlderThan"}, SINCE),
    ("past", {"initial": "0", "match": "NotOlderThan", "bookmarks": "true"}, SINCE),
    ("future", {"initial": "true", "match": "NotOlderThan"}, 504),
    ("abc", {"initial": "true", "match": "NotOlderThan"}, GARBAGE),
    ("past", {"initial": "true", "match": "Exact"}, f"{INVALID}[{NEEDS}, {EXACT}]"),
    ("past", {"match": "Exact"}, f"{INVALID}[{ALONE}, {EXACT}]"),
    ("", {"limit": "1"}, STATE),
    ("", {"continue": "abc"}, STATE),
)
PARAMETERS = {
    "initial": "sendInitialEvents",
    "match": "resourceVersionMatch",
    "bookmarks": "allowWatchBookmarks",
}


@in_world
async def test_a_watch_begins_where_it_is_told_to(world: World) -> None:
    await world.put("a")
    past = await world.put("b")
    await world.delete("b")
    current = await world.put("c")
    versions = {"past": str(past), "current": str(current), "future": str(current + 1000)}
    found = []
    for version, options, _ in BEGINNINGS:
        given = {PARAMETERS.get(name, name): value for name, value in options.items()}
        if version:
            given["resourceVersion"] = versions.get(version, version)
        query = "&".join(f"{name}={value}" for name, value in given.items())
        answer = await world.refused_or_watch(f"{CONFIG_MAPS}?watch=1&{query}")
        if isinstance(answer, Watch):
            found.append((version, options, ",".join(await answer.told())))
        else:
            status, refused = answer
            assert status == (500 if refused["message"] == GARBAGE else 504 if status == 504 else 422)
            found.append((version, options, 504 if status == 504 else refused["message"]))  # type: ignore[arg-type]
    assert found == list(BEGINNINGS)


@in_world
async def test_the_end_of_the_initial_events_is_at_their_revision(world: World) -> None:
    newest = await world.put("a")
    query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    watch = await world.watch(f"{CONFIG_MAPS}?{query}")
    await world.clock.pass_time(0)
    assert watch.lines[-1] == {
        "type": "BOOKMARK",
        "object": {
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": {
                "resourceVersion": str(newest),
                "annotations": {"k8s.io/initial-events-end": "true"},
            },
        },
    }
    await watch.told()
    await world.put("b")
    assert await watch.told() == ["ADDED b"]


@in_world
async def test_a_watch_from_before_the_window_is_told_it_has_expired(world: World) -> None:
    await world.put("a")
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    await world.ask("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    await world.clock.pass_time(1)
    path = "/apis/example.com/v1/namespaces/default/things?watch=1&resourceVersion=1"
    watch = await world.watch(path)
    assert watch.response.status == 200
    await world.clock.pass_time(0)
    (event,) = watch.lines
    assert event["object"]["message"].startswith("too old resource version: 1 (")
    assert await watch.told() == ["ERROR 410 Expired", "END"]
    # As a Table, too, the error is a Status.
    watch = await world.watch(path, accept=TABLE)
    assert await watch.told() == ["ERROR 410 Expired", "END"]


# How it ends, and what keeps it going.


@in_world
async def test_a_watch_ends_when_its_time_is_up_with_a_bookmark_shortly_before(world: World) -> None:
    start = await world.put("a")
    path = f"{CONFIG_MAPS}?watch=1&resourceVersion={start}&timeoutSeconds=10"
    plain, marked = await world.watch(path), await world.watch(f"{path}&allowWatchBookmarks=true")
    await world.put("b", path="/api/v1/namespaces/kube-system/configmaps")
    await world.clock.pass_time(7.5)
    assert (await plain.told(), await marked.told()) == ([], [])
    await world.clock.pass_time(1)
    await world.clock.pass_time(0)
    # The other namespace's write is told of by number only.
    assert int(marked.lines[0]["object"]["metadata"]["resourceVersion"]) > start
    assert (await plain.told(), await marked.told()) == ([], ["BOOKMARK"])
    await world.clock.pass_time(2)
    assert (await plain.told(), await marked.told()) == (["END"], ["END"])


@in_world
async def test_bookmarks_come_each_minute_and_the_end_after_half_an_hour_to_an_hour(world: World) -> None:
    start = await world.put("a")
    watch = await world.watch(f"{CONFIG_MAPS}?watch=1&resourceVersion={start}&allowWatchBookmarks=true")
    await world.put("b", path="/api/v1/namespaces/kube-system/configmaps")
    for _ in range(3):
        await world.clock.pass_time(60)
        assert await watch.told() == ["BOOKMARK"]
    await world.clock.pass_time(1600)
    assert "END" not in await watch.told(), "no watch ends before --min-request-timeout"
    await world.clock.pass_time(1820)
    assert (await watch.told())[-1] == "END"


@in_world
async def test_a_reader_that_stops_is_dropped_and_harms_nobody(world: World) -> None:
    start = await world.put("a")
    path = f"{CONFIG_MAPS}?watch=1&resourceVersion={start}"
    brisk, slow = await world.watch(path), await world.watch(path)
    slow.stalls = True
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"}, "data": {"k": "x" * 900_000}}
    await world.ask("POST", CONFIG_MAPS, body)
    count = watch_stream.BUFFER_BYTES // 900_000 + 3
    for number in range(count):
        patch = {"metadata": {"labels": {"n": str(number)}}}
        assert (await world.ask("PATCH", f"{CONFIG_MAPS}/large", patch, kind=MERGE))[0] == 200
        await world.clock.pass_time(0)
    assert await brisk.told() == ["ADDED large"] + ["MODIFIED large"] * count
    assert await slow.told() == ["ADDED large"]
    await slow.leave()
    # What had piled up was given up with the watch, and not sent after it.
    assert await slow.told() == ["END"]
    await world.put("b")
    assert await brisk.told() == ["ADDED b"]


# What it is told of.


@in_world
async def test_objects_enter_and_leave_a_selection(world: World) -> None:
    await world.put("a", color="red")
    watch = await world.watch(f"{CONFIG_MAPS}?watch=1&labelSelector=color%3Dred")
    assert await watch.told() == ["ADDED a"]
    changed = await world.put("a", color="blue")
    await world.clock.pass_time(0)
    (event,) = watch.lines
    # The last state that was selected, at the revision at which it ended.
    assert event["object"]["metadata"]["labels"] == {"color": "red"}
    assert event["object"]["metadata"]["resourceVersion"] == str(changed)
    assert await watch.told() == ["DELETED a"]
    await world.put("a", color="green")
    await world.put("a", color="red")
    await world.put("a", color="red", size="1")
    await world.delete("a")
    assert await watch.told() == ["ADDED a", "MODIFIED a", "DELETED a"]


@in_world
async def test_pods_are_watched_by_their_node(world: World) -> None:
    watch = await world.watch(f"{PODS}?watch=1&fieldSelector=spec.nodeName%3Dn1,status.phase!%3DSucceeded")
    containers = [{"name": "main", "image": "example:1"}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers}}
    await world.ask("POST", PODS, pod)
    assert await watch.told() == []
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n1"}}
    status, _ = await world.ask("POST", f"{PODS}/p/binding", binding)
    assert (status, await watch.told()) == (201, ["ADDED p"])
    await world.ask("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, kind=MERGE)
    await world.ask("PATCH", f"{PODS}/p/status", {"status": {"phase": "Succeeded"}}, kind=MERGE)
    assert await watch.told() == ["MODIFIED p", "DELETED p"]


@pytest.mark.parametrize(
    "path",
    [
        f"{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Da",
        f"{CONFIG_MAPS}?watch=true&fieldSelector=metadata.name%3D%3Da",
        "/api/v1/watch/namespaces/default/configmaps/a",
        "/api/v1/watch/namespaces/default/configmaps?fieldSelector=metadata.name%3Da",
        "/api/v1/watch/configmaps?fieldSelector=metadata.name%3Da,metadata.namespace%3Ddefault",
    ],
)
def test_one_object_is_watched_by_its_name(path: str) -> None:
    @in_world
    async def run(world: World) -> None:
        await world.put("a")
        await world.put("b")
        watch = await world.watch(path)
        assert await watch.told() == ["ADDED a"]
        await world.put("b", x="y")
        await world.put("a", x="y")
        assert await watch.told() == ["MODIFIED a"]

    run()


@in_world
async def test_a_namespace_is_watched_by_its_legacy_path(world: World) -> None:
    watch = await world.watch("/api/v1/watch/namespaces/default")
    assert await watch.told() == ["ADDED default"]


@in_world
async def test_the_name_in_a_path_does_not_make_a_watch(world: World) -> None:
    await world.put("a")
    answer = await world.refused_or_watch(f"{CONFIG_MAPS}/a?watch=true")
    assert isinstance(answer, tuple)
    assert (answer[0], answer[1]["kind"]) == (200, "ConfigMap")


@in_world
async def test_all_namespaces_are_watched_on_the_short_path(world: World) -> None:
    watches = [await world.watch(path) for path in ("/api/v1/configmaps?watch=1", "/api/v1/watch/configmaps")]
    for watch in watches:
        await watch.told()
    await world.put("a")
    await world.put("b", path="/api/v1/namespaces/kube-system/configmaps")
    for watch in watches:
        assert await watch.told() == ["ADDED a", "ADDED b"]


# Forms.


@in_world
async def test_a_watch_as_tables_describes_the_columns_once(world: World) -> None:
    await world.put("a")
    watch = await world.watch(f"{CONFIG_MAPS}?watch=1", accept=TABLE)
    await world.put("b")
    await world.clock.pass_time(0)
    assert [bool(one["object"]["columnDefinitions"]) for one in watch.lines] == [True, False]
    assert [one["object"]["rows"][0]["object"]["kind"] for one in watch.lines] == ["PartialObjectMetadata"] * 2
    await world.delete("a")
    assert await watch.told() == ["ADDED row a", "ADDED row b", "DELETED row a"]
    watch = await world.watch(f"{CONFIG_MAPS}?watch=1&includeObject=None", accept=TABLE)
    await world.clock.pass_time(0)
    assert not watch.lines[0]["object"]["rows"][0].get("object")


@in_world
async def test_a_watch_of_metadata_leaves_out_the_rest(world: World) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    await world.ask("POST", CONFIG_MAPS, body)
    watch = await world.watch(f"{CONFIG_MAPS}?watch=1", accept=METADATA)
    await world.clock.pass_time(0)
    (event,) = watch.lines
    assert (event["object"]["kind"], event["object"]["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert sorted(event["object"]) == ["apiVersion", "kind", "metadata"]


@in_world
async def test_many_watchers_of_everything_are_told_the_same(world: World) -> None:
    watches = [await world.watch(f"{CONFIG_MAPS}?watch=1") for _ in range(100)]
    for number in range(20):
        await world.put(f"m{number % 4}", n=str(number))
    await world.delete("m0")
    await world.clock.pass_time(1)
    told = [",".join(await watch.told()) for watch in watches]
    assert len(set(told)) == 1
    assert told[0].startswith("ADDED m0,ADDED m1,ADDED m2,ADDED m3,MODIFIED m0")
    assert told[0].endswith("MODIFIED m3,DELETED m0")


# Over WebSocket.


@asynccontextmanager
async def a_served_world() -> AsyncIterator[tuple[World, int]]:
    clock = HandClock()
    async with asyncio.timeout(60), api_server(clock) as api:

        async def handle(request: Request) -> AnyResponse:
            return await api.handle(msgspec.structs.replace(request, identity=ADMINISTRATOR))

        async with Server(handle) as server:
            yield World(api, clock), server.bound_port


@asynccontextmanager
async def a_socket(port: int, target: str, accept: str = "*/*") -> AsyncIterator[tuple[str, WebSocket]]:
    """The head of the answer, and the socket."""
    connection = await dial("127.0.0.1", port)
    try:
        lines = "".join(f"{name}: {value}\r\n" for name, value in websocket.client_headers(()).items())
        connection.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n{lines}\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await connection.read_exactly(1)
        yield head.decode(), WebSocket(connection, is_client=True)
    finally:
        connection.close()
        await connection.wait_closed()


async def messages(socket: WebSocket, count: int) -> list[str]:
    found: list[str] = []
    while len(found) < count:
        message = await socket.read()
        assert message is not None
        opcode, data = message
        assert opcode == Opcode.TEXT
        found.append(_word(json.loads(data)))
    return found


def test_a_watch_over_websocket_has_a_message_for_each_event() -> None:
    async def main() -> None:
        async with a_served_world() as (world, port):
            await world.put("a")
            await world.put("b")
            paths = (f"{CONFIG_MAPS}?watch=1", "/api/v1/watch/namespaces/default/configmaps")
            for number, target in enumerate(paths):
                async with a_socket(port, target) as (head, socket):
                    assert head.startswith("HTTP/1.1 101 ")
                    assert await messages(socket, 2) == ["ADDED a", "ADDED b"]
                    await world.put("a", n=str(number))
                    assert await messages(socket, 1) == ["MODIFIED a"]
                    socket.close()

    asyncio.run(main())


def test_a_watch_in_protobuf_over_websocket_has_a_message_without_its_length() -> None:
    async def main() -> None:
        async with a_served_world() as (world, port):
            await world.put("a")
            await world.put("b")
            target, accept = f"{CONFIG_MAPS}?watch=1", "application/vnd.kubernetes.protobuf;stream=watch"
            async with a_socket(port, target, accept) as (_, socket):
                for name in ("a", "b"):
                    message = await socket.read()
                    assert message is not None
                    opcode, data = message
                    assert opcode == Opcode.BINARY
                    assert data.startswith(b"\x0a\x05ADDED\x12")
                    assert b"\x0a\x01" + name.encode() in data

    asyncio.run(main())


def test_a_watch_over_websocket_ends_when_its_time_is_up() -> None:
    async def main() -> None:
        async with a_served_world() as (world, port):
            await world.put("a")
            async with a_socket(port, f"{CONFIG_MAPS}?watch=1&timeoutSeconds=5") as (_, socket):
                assert await messages(socket, 1) == ["ADDED a"]
                await world.clock.pass_time(6)
                assert await socket.read() is None

    asyncio.run(main())


def test_what_is_refused_is_refused_before_the_upgrade() -> None:
    async def main() -> None:
        target = f"{CONFIG_MAPS}?watch=1&resourceVersionMatch=Exact"
        async with a_served_world() as (_, port), a_socket(port, target) as (head, _):
            assert head.startswith("HTTP/1.1 422 ")

    asyncio.run(main())
