from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from keelback.api.core_v1 import ConfigMap, Pod
from keelback.apimachinery.meta import Object, ObjectMeta, OwnerReference, narrow
from keelback.client import Change, Client, InProcessTransport
from keelback.component.http import Request, Response, StreamingResponse
from keelback.concurrency.clock import SystemClock
from keelback.reconcile import caches
from keelback.reconcile.caches import SharedCaches


@narrow(Pod)
class PodName(Object):
    """Only that it is there."""


class Feed:
    """Serves empty lists at version 1, and watches that say what the test says."""

    def __init__(self) -> None:
        self.lists = 0
        self.queues: dict[str, asyncio.Queue[bytes]] = {}

    async def handle(self, request: Request) -> Response | StreamingResponse:
        if "watch" not in request.query:
            self.lists += 1
            return Response(200, {}, b'{"metadata":{"resourceVersion":"1"},"items":[]}')
        queue = self.queues.setdefault(request.path, asyncio.Queue())

        async def serve(writer: Any) -> None:
            while True:
                writer.write(await queue.get())

        return StreamingResponse(200, {}, serve)

    async def say(self, type: str, plural: str, name: str, version: int, **metadata: Any) -> None:
        queue = self.queues.setdefault(f"/api/v1/{plural}", asyncio.Queue())
        meta = {"name": name, "namespace": "default", "uid": f"uid-{name}", "resourceVersion": str(version), **metadata}
        event = {"type": type, "object": {"metadata": meta}}
        queue.put_nowait(msgspec.json.encode(event) + b"\n")


def play(scenario: Callable[[SharedCaches, Feed], Any]) -> None:
    async def run() -> None:
        feed = Feed()
        shared = SharedCaches(Client(InProcessTransport(feed.handle)), SystemClock(), random.Random(1))
        running = asyncio.get_running_loop().create_task(shared.run())
        try:
            async with asyncio.timeout(5):
                await scenario(shared, feed)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def test_a_type_is_watched_once_however_many_ask_for_it() -> None:
    async def scenario(shared: SharedCaches, feed: Feed) -> None:
        assert shared.store(PodName) is shared.store(PodName)
        shared.store(ConfigMap)
        await shared.informer(PodName).wait_synced()
        await shared.informer(ConfigMap).wait_synced()
        assert feed.lists == 2
        assert shared.informer_of("", "pods") is shared.informer(PodName)
        assert shared.informer_of("apps", "deployments") is None

    play(scenario)


def test_a_write_is_seen_when_every_cache_of_its_kind_has_it() -> None:
    async def scenario(shared: SharedCaches, feed: Feed) -> None:
        await shared.informer(PodName).wait_synced()
        seen = asyncio.get_running_loop().create_task(shared.wait_seen(("", "Pod"), "5"))
        await feed.say("ADDED", "pods", "a", 4)
        await settle()
        assert not seen.done()
        await feed.say("ADDED", "pods", "b", 5)
        await seen
        await shared.wait_seen(("", "Secret"), "99")  # nobody watches them

    play(scenario)


def test_a_deletion_is_seen_when_the_object_is_gone_or_going() -> None:
    async def scenario(shared: SharedCaches, feed: Feed) -> None:
        await shared.informer(PodName).wait_synced()
        await feed.say("ADDED", "pods", "a", 2)
        await feed.say("ADDED", "pods", "b", 3)
        await shared.wait_seen(("", "Pod"), "3")
        gone = asyncio.get_running_loop().create_task(shared.wait_departed(("", "Pod"), "default", "a", "uid-a"))
        going = asyncio.get_running_loop().create_task(shared.wait_departed(("", "Pod"), "default", "b", "uid-b"))
        await feed.say("MODIFIED", "pods", "a", 4, labels={"x": "y"})
        await settle()
        assert not gone.done()
        await feed.say("DELETED", "pods", "a", 5)
        await feed.say("MODIFIED", "pods", "b", 6, deletionTimestamp="2026-01-01T00:00:00Z")
        await asyncio.gather(gone, going)
        await shared.wait_departed(("", "Pod"), "default", "b", "another-uid")

    play(scenario)


def test_objects_are_found_by_who_controls_them() -> None:
    async def scenario(shared: SharedCaches, feed: Feed) -> None:
        store = shared.index_by_controller(PodName)
        owner = ConfigMap(metadata=ObjectMeta(name="o", namespace="default", uid="o"))
        reference = OwnerReference(api_version="v1", kind="ConfigMap", name="o", uid="o", controller=True)
        await shared.informer(PodName).wait_synced()
        await feed.say("ADDED", "pods", "a", 2, ownerReferences=[msgspec.to_builtins(reference)])
        await feed.say("ADDED", "pods", "b", 3)
        await shared.wait_seen(("", "Pod"), "3")
        assert [one.metadata.name for one in caches.controlled_by(store, owner)] == ["a"]
        assert [one.metadata.name for one in caches.orphans(store, "default")] == ["b"]
        assert caches.orphans(store, "other") == []

    play(scenario)


def test_a_subscriber_that_fails_stops_nobody_else(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []

    def fail(change: Change[PodName]) -> None:
        raise RuntimeError("no")

    async def scenario(shared: SharedCaches, feed: Feed) -> None:
        shared.subscribe(PodName, fail)
        shared.subscribe(PodName, lambda change: heard.append(change.object.metadata.name))
        await shared.informer(PodName).wait_synced()
        await feed.say("ADDED", "pods", "a", 2)
        await shared.wait_seen(("", "Pod"), "2")

    play(scenario)
    assert heard == ["a"]
    assert "A subscriber failed" in capsys.readouterr().err
