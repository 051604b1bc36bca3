"""An informer ends up holding what the server holds, and says every difference on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from keelback.apimachinery.meta import Object, kind
from keelback.client import Change, Client, HTTPSTransport, Informer, InProcessTransport
from keelback.component.http import AnyResponse, Request, Response, StreamingResponse, Writer, query_values
from keelback.component.serving import Server

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@kind("v1", "things")
class Thing(Object):
    size: int = 0


class ManualClock:
    """Sleeps return at once; what was slept is noted."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


class Things:
    """A handler with one resource: a log of changes, a state, watches from any version that is not compacted."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.log: list[tuple[int, str, dict[str, Any]]] = []
        self.version = 10
        self.compacted = 0
        self.changed = asyncio.Event()
        self.cut = asyncio.Event()
        self.lists = 0
        self.watches: list[dict[str, str]] = []

    def put(self, name: str, size: int, namespace: str = "default", uid: str = "") -> None:
        self.version += 1
        metadata = {"name": name, "namespace": namespace, "resourceVersion": str(self.version), "uid": uid or name}
        obj = {"metadata": metadata, "size": size}
        event = "MODIFIED" if (namespace, name) in self.objects else "ADDED"
        self.objects[namespace, name] = obj
        self._note(event, obj)

    def remove(self, name: str, namespace: str = "default") -> None:
        self.version += 1
        obj = self.objects.pop((namespace, name))
        last = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self._note("DELETED", last)

    def bookmark(self) -> None:
        self.version += 5
        self._note("BOOKMARK", {"metadata": {"resourceVersion": str(self.version)}})

    def compact(self) -> None:
        self.compacted = self.version
        self.log.clear()

    def break_watches(self) -> None:
        self.cut.set()
        self.cut = asyncio.Event()
        self._wake()

    def _note(self, event: str, obj: dict[str, Any]) -> None:
        self.log.append((self.version, event, obj))
        self._wake()

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def handle(self, request: Request) -> AnyResponse:
        parameters = query_values(request.query)
        if "watch" not in parameters:
            self.lists += 1
            body = {"metadata": {"resourceVersion": str(self.version)}, "items": list(self.objects.values())}
            return Response(200, {}, msgspec.json.encode(body))
        self.watches.append(parameters)
        since = int(parameters["resourceVersion"])
        if since < self.compacted:
            status = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old"}
            return Response(410, {}, msgspec.json.encode(status))

        cut = self.cut

        async def serve(writer: Writer) -> None:
            position = since
            while not cut.is_set() and not writer.closed:
                for version, event, obj in list(self.log):
                    if version > position:
                        writer.write(msgspec.json.encode({"type": event, "object": obj}) + b"\n")
                        position = version
                await writer.drain()
                await self.changed.wait()

        return StreamingResponse(200, {}, serve)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 any state may be waited for, not only an event
        await asyncio.sleep(0)


@pytest.fixture(params=["in-process", "network"])
def follow(request: pytest.FixtureRequest, run: Run) -> Callable[..., None]:
    """Runs a scenario on an informer over each transport."""

    def runner(scenario: Callable[[Things, Informer[Thing], list[Change[Thing]]], Coroutine[Any, Any, None]]) -> None:
        async def body() -> None:
            things = Things()
            server = Server(things.handle)
            await server.start()
            network = request.param == "network"
            transport: Any = (
                HTTPSTransport(f"http://127.0.0.1:{server.bound_port}")
                if network
                else InProcessTransport(things.handle)
            )
            indexes = {"size": lambda thing: [thing.size]}
            informer = Informer(Client(transport), Thing, indexes=indexes, clock=ManualClock(), chance=random.Random(1))
            changes: list[Change[Thing]] = []
            informer.subscribe(changes.append)
            task = asyncio.get_running_loop().create_task(informer.run())
            try:
                await scenario(things, informer, changes)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await transport.close()
                await server.shutdown(1)

        run(body())

    return runner


def seen(changes: list[Change[Thing]]) -> list[tuple[str, str, int | None, int | None]]:
    return [
        (change.type, change.object.metadata.name, change.old and change.old.size, change.new and change.new.size)
        for change in changes
    ]


def test_it_lists_then_follows(follow: Any) -> None:
    async def scenario(things: Things, informer: Informer[Thing], changes: list[Change[Thing]]) -> None:
        things.put("a", 1)
        await informer.wait_synced()
        things.put("a", 2)
        things.put("b", 3)
        things.remove("a")
        await until(lambda: len(changes) == 4)
        assert seen(changes) == [
            ("ADDED", "a", None, 1),
            ("MODIFIED", "a", 1, 2),
            ("ADDED", "b", None, 3),
            ("DELETED", "a", 2, None),
        ]
        assert [thing.metadata.name for thing in informer.store.list()] == ["b"]

    follow(scenario)


def test_a_broken_watch_resumes_without_a_list(follow: Any) -> None:
    async def scenario(things: Things, informer: Informer[Thing], changes: list[Change[Thing]]) -> None:
        await informer.wait_synced()
        await until(lambda: len(things.watches) == 1)
        things.break_watches()
        things.put("a", 1)
        await until(lambda: len(changes) == 1)
        things.break_watches()
        things.put("a", 2)
        await until(lambda: len(changes) == 2)
        assert things.lists == 1
        assert seen(changes) == [("ADDED", "a", None, 1), ("MODIFIED", "a", 1, 2)]

    follow(scenario)


def test_a_version_that_is_gone_makes_it_list_again_and_tell_the_differences(follow: Any) -> None:
    async def scenario(things: Things, informer: Informer[Thing], changes: list[Change[Thing]]) -> None:
        for name in ("kept", "changed", "removed", "remade"):
            things.put(name, 1)
        await informer.wait_synced()
        await until(lambda: len(things.watches) == 1)
        changes.clear()
        things.put("changed", 2)
        things.remove("removed")
        things.put("remade", 1, uid="another")
        things.put("new", 1)
        things.compact()
        things.break_watches()
        await until(lambda: things.lists == 2 and len(changes) == 5)
        assert sorted(seen(changes)) == [
            ("ADDED", "new", None, 1),
            ("ADDED", "remade", None, 1),
            ("DELETED", "remade", 1, None),
            ("DELETED", "removed", 1, None),
            ("MODIFIED", "changed", 1, 2),
        ]

    follow(scenario)


def test_a_bookmark_moves_the_version_on(follow: Any) -> None:
    async def scenario(things: Things, informer: Informer[Thing], changes: list[Change[Thing]]) -> None:
        await informer.wait_synced()
        things.bookmark()
        await informer.wait_for(str(things.version))
        assert informer.store.resource_version == str(things.version)
        assert changes == []

    follow(scenario)


def test_indexes_follow_the_objects(follow: Any) -> None:
    async def scenario(things: Things, informer: Informer[Thing], changes: list[Change[Thing]]) -> None:
        things.put("a", 1)
        things.put("b", 1)
        await informer.wait_synced()
        things.put("a", 2)
        things.remove("b")
        await until(lambda: len(changes) == 4)
        assert informer.store.by_index("size", 1) == []
        assert [thing.metadata.name for thing in informer.store.by_index("size", 2)] == ["a"]

    follow(scenario)


def test_a_late_subscriber_first_hears_of_what_is_there(follow: Any) -> None:
    async def scenario(things: Things, informer: Informer[Thing], changes: list[Change[Thing]]) -> None:
        things.put("a", 1)
        await informer.wait_synced()
        late: list[Change[Thing]] = []
        end = informer.subscribe(late.append)
        things.put("b", 1)
        await until(lambda: len(late) == 2)
        end()
        things.put("c", 1)
        await until(lambda: len(changes) == 3)
        assert seen(late) == [("ADDED", "a", None, 1), ("ADDED", "b", None, 1)]

    follow(scenario)


def test_random_faults_never_make_it_differ_for_long(run: Run) -> None:
    async def scenario(seed: int) -> None:
        chance = random.Random(seed)
        things = Things()
        informer = Informer(
            Client(InProcessTransport(things.handle)), Thing, clock=ManualClock(), chance=random.Random(seed)
        )
        mirror: dict[tuple[str, str], Thing] = {}

        def note(change: Change[Thing]) -> None:
            key = change.object.metadata.namespace, change.object.metadata.name
            assert (key in mirror) == (change.type != "ADDED"), f"seed {seed}"
            if change.new is None:
                del mirror[key]
            else:
                mirror[key] = change.new

        informer.subscribe(note)
        task = asyncio.get_running_loop().create_task(informer.run())
        for _ in range(200):
            name = f"thing-{chance.randrange(8)}"
            match chance.randrange(8):
                case 0:
                    things.break_watches()
                case 1:
                    things.compact()
                    things.break_watches()
                case 2 | 3 if ("default", name) in things.objects:
                    things.remove(name)
                case _:
                    things.put(name, chance.randrange(100))
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
        things.put("last", 1)
        wanted = str(things.version)
        await asyncio.wait_for(informer.wait_for(wanted), 5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        held = {key: thing["size"] for key, thing in things.objects.items()}
        assert {key: thing.size for key, thing in mirror.items()} == held, f"seed {seed}"
        assert {(thing.metadata.namespace, thing.metadata.name): thing.size for thing in informer.store.list()} == held

    async def all_seeds() -> None:
        for seed in range(30):
            await scenario(seed)

    run(all_seeds())
