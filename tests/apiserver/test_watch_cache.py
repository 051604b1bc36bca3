"""The watch cache over a memory store: what lists, gets and watches answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from keelback.apimachinery.errors import BadRequest, Expired, Timeout
from keelback.apiserver import watch_cache, watch_stream
from keelback.apiserver.watch_cache import ListOptions, WatchCache, WatchOptions
from keelback.apiserver.watch_fanout import MANY
from keelback.apiserver.watch_feed import CacheFeed
from keelback.apiserver.watch_selection import Selection
from keelback.apiserver.watch_stream import Watcher
from keelback.apiserver.watch_wire import CachedResource
from keelback.storage import memory
from keelback.storage.embedded import EmbeddedStore
from keelback.testing.clock import HandClock

PREFIX = "/registry/pods/"


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _PodFields(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


PODS = CachedResource(
    prefix=PREFIX,
    kind="Pod",
    api_version="v1",
    field_type=_PodFields,
    fields=lambda pod: {"spec.nodeName": pod.spec.node_name},
    indexed_fields=("spec.nodeName",),
)


def pod(name: str, namespace: str = "default", labels: Mapping[str, str] | None = None, node: str = "") -> bytes:
    tree = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
        "spec": {"nodeName": node},
    }
    return json.dumps(tree, separators=(",", ":")).encode()


def equals(name: str, value: str) -> Selection:
    return Selection(f"{name}={value}", lambda values: values.get(name) == value, ((name, frozenset((value,))),))


def differs(name: str, value: str) -> Selection:
    return Selection(f"{name}!={value}", lambda values: values.get(name) != value)


class World:
    """A memory store, its feed and a cache of pods."""

    def __init__(self, store: EmbeddedStore, clock: HandClock, feed: CacheFeed, pods: WatchCache) -> None:
        self.store = store
        self.clock = clock
        self.feed = feed
        self.pods = pods

    async def put(self, name: str, namespace: str = "default", **how: Any) -> int:
        return await self.store.put(f"{PREFIX}{namespace}/{name}", pod(name, namespace, **how))

    async def delete(self, name: str, namespace: str = "default") -> int:
        revision, _ = await self.store.delete(f"{PREFIX}{namespace}/{name}")
        return revision

    async def names(self, **options: Any) -> list[str]:
        page = await self.pods.list(ListOptions(**options))
        return [item["metadata"]["name"] for item in json.loads(b"".join(page.encode()))["items"]]


@asynccontextmanager
async def a_world(resource: CachedResource = PODS) -> Any:
    clock = HandClock()
    async with memory.open_store(clock) as store, asyncio.TaskGroup() as group:
        feed = CacheFeed(store, clock)
        await feed.start()
        pods = await feed.add(resource)
        running = group.create_task(feed.run())
        yield World(store, clock, feed, pods)
        running.cancel()


def in_world(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    async def body() -> None:
        async with a_world() as world, asyncio.timeout(20):
            await test(world)

    def run() -> None:
        asyncio.run(body())

    run.__name__ = test.__name__
    return run


async def events(watcher: Watcher, count: int) -> list[tuple[str, str, int]]:
    """The next events, as type, name and resourceVersion."""
    found: list[tuple[str, str, int]] = []
    while len(found) < count:
        chunk = await watcher.next_bytes()
        assert chunk, watcher.end_reason
        for line in chunk.splitlines():
            event = json.loads(line)
            metadata = event["object"]["metadata"]
            found.append((event["type"], metadata.get("name", ""), int(metadata["resourceVersion"])))
    return found


# Getting and listing.


@in_world
async def test_a_read_sees_every_acknowledged_write(world: World) -> None:
    revision = await world.put("a")
    answer = json.loads(await world.pods.get("default", "a") or b"")
    assert answer["metadata"]["resourceVersion"] == str(revision)
    assert list(answer) == ["kind", "apiVersion", "metadata", "spec"]
    await world.put("b")
    assert await world.names() == ["a", "b"]
    await world.delete("a")
    assert await world.names() == ["b"]
    assert await world.pods.get("default", "a") is None


@in_world
async def test_a_list_is_sorted_scoped_and_without_type_in_its_items(world: World) -> None:
    for namespace, name in (("z", "a"), ("default", "b"), ("default", "a"), ("default-2", "c")):
        await world.put(name, namespace)
    page = await world.pods.list(ListOptions())
    answer = json.loads(b"".join(page.encode()))
    assert (answer["kind"], answer["apiVersion"]) == ("PodList", "v1")
    assert answer["metadata"] == {"resourceVersion": str(await world.store.current_revision())}
    places = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in answer["items"]]
    assert places == [("default-2", "c"), ("default", "a"), ("default", "b"), ("z", "a")]
    assert all("kind" not in item and item["metadata"]["resourceVersion"] for item in answer["items"])
    assert await world.names(namespace="default") == ["a", "b"]
    assert json.loads(b"".join((await world.pods.list(ListOptions(namespace="none"))).encode()))["items"] == []


@in_world
async def test_selectors_find_by_label_field_and_their_negation(world: World) -> None:
    await world.put("a", labels={"app": "web"}, node="n1")
    await world.put("b", labels={"app": "db"}, node="n2")
    await world.put("c", "other", labels={"app": "web"}, node="n2")
    assert await world.names(labels=equals("app", "web")) == ["a", "c"]
    assert await world.names(labels=equals("app", "none")) == []
    assert await world.names(labels=differs("app", "web")) == ["b"]
    assert await world.names(fields=equals("spec.nodeName", "n2")) == ["b", "c"]
    assert await world.names(fields=equals("metadata.name", "c")) == ["c"]
    assert await world.names(fields=equals("metadata.name", "c"), namespace="default") == []
    assert await world.names(fields=equals("spec.nodeName", "n2"), labels=equals("app", "web")) == ["c"]
    # The indexes follow changes.
    await world.put("a", labels={"app": "db"}, node="n2")
    await world.delete("c", "other")
    assert await world.names(labels=equals("app", "web")) == []
    assert await world.names(labels=equals("app", "db")) == ["a", "b"]
    assert await world.names(fields=equals("spec.nodeName", "n2"), namespace="default") == ["a", "b"]


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("kept", [True, False])
def test_pages_keep_showing_the_first_pages_state(kept: bool, compacted: bool) -> None:
    async def body(world: World) -> None:
        for index in range(7):
            await world.put(f"p{index}", labels={"half": str(index % 2)})
        first = await world.pods.list(ListOptions(limit=3))
        head = json.loads(b"".join(first.encode()))["metadata"]
        assert head["remainingItemCount"] == 4
        selected = await world.pods.list(ListOptions(limit=2, labels=equals("half", "0")))
        assert (selected.remaining, bool(selected.continue_)) == (None, True)
        await world.delete("p4")
        await world.put("p3", labels={"half": "0"})
        await world.put("p9")
        if not kept:
            world.pods._snapshots.clear()
        await settle()
        if compacted:
            await world.store.compact(await world.store.current_revision())
        if compacted and not kept:
            with pytest.raises(Expired) as caught:
                await world.pods.list(ListOptions(limit=3, continue_=head["continue"]))
            assert caught.value.code == 410
            inexact = caught.value.status.metadata.continue_
            assert await world.names(limit=9, continue_=inexact) == ["p3", "p5", "p6", "p9"]
            return
        second = await world.pods.list(ListOptions(limit=3, continue_=head["continue"]))
        assert second.revision == first.revision
        assert [e.key[-2:] for e in second.entries] == ["p3", "p4", "p5"]
        assert second.remaining == 1
        last = await world.pods.list(ListOptions(limit=3, continue_=second.continue_))
        assert [e.key[-2:] for e in last.entries] == ["p6"]
        assert (last.continue_, last.remaining) == ("", None)
        rest = await world.pods.list(ListOptions(limit=2, labels=equals("half", "0"), continue_=selected.continue_))
        assert [e.key[-2:] for e in rest.entries] == ["p4", "p6"]
        assert rest.continue_ == ""

    in_world(body)()


@in_world
async def test_a_version_can_be_any_at_least_or_exactly(world: World) -> None:
    first = await world.put("a")
    second = await world.put("b")
    await settle()
    assert await world.names(resource_version=0, limit=1) == ["a", "b"]
    assert await world.names(resource_version=first) == ["a", "b"]
    page = await world.pods.list(ListOptions(resource_version=first, resource_version_match="Exact"))
    assert ([e.key[-1] for e in page.entries], page.revision) == (["a"], first)
    assert await world.names(resource_version=first, limit=5) == ["a"]
    await world.store.compact(second)
    with pytest.raises(Expired, match="too old"):
        await world.names(resource_version=first, resource_version_match="Exact")


@in_world
async def test_a_future_version_is_waited_for_then_refused(world: World) -> None:
    reading = asyncio.ensure_future(world.names(resource_version=3))
    await settle()
    assert not reading.done()
    await world.put("a")
    await world.put("b")
    assert await reading == ["a", "b"]
    reading = asyncio.ensure_future(world.names(resource_version=99))
    await settle()
    await world.clock.pass_time(watch_cache.FRESH_TIMEOUT_SECONDS)
    with pytest.raises(Timeout, match="Timeout: Too large resource version: 99, current: 3") as caught:
        await reading
    assert caught.value.status.details is not None
    assert caught.value.status.details.causes[0].reason == "ResourceVersionTooLarge"


@in_world
async def test_bad_continue_tokens_are_refused(world: World) -> None:
    for token in ("%%%", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6NSwic3RhcnQiOiIuLi94In0"):
        with pytest.raises(BadRequest):
            await world.names(continue_=token)


# Watching.


@in_world
async def test_a_watch_without_a_version_begins_with_what_there_is(world: World) -> None:
    a = await world.put("a")
    watcher = await world.pods.watch(WatchOptions())
    assert await events(watcher, 1) == [("ADDED", "a", a)]
    changed = await world.put("a")
    b = await world.put("b", "other")
    gone = await world.delete("a")
    assert await events(watcher, 3) == [("MODIFIED", "a", changed), ("ADDED", "b", b), ("DELETED", "a", gone)]


@in_world
async def test_a_watch_from_a_version_replays_what_came_after(world: World) -> None:
    a = await world.put("a")
    b = await world.put("b", "other")
    gone = await world.delete("a")
    await settle()
    watcher = await world.pods.watch(WatchOptions(resource_version=a))
    assert await events(watcher, 2) == [("ADDED", "b", b), ("DELETED", "a", gone)]
    scoped = await world.pods.watch(WatchOptions(resource_version=a, namespace="other"))
    assert await events(scoped, 1) == [("ADDED", "b", b)]


@in_world
async def test_several_events_come_in_one_write(world: World) -> None:
    watcher = await world.pods.watch(WatchOptions(resource_version=world.pods.revision))
    for index in range(5):
        await world.put(f"p{index}")
    await settle()
    assert (await watcher.next_bytes()).count(b"\n") == 5


@in_world
async def test_a_selector_turns_changes_into_added_and_deleted(world: World) -> None:
    options = WatchOptions(resource_version=world.pods.revision, labels=equals("app", "web"))
    watcher = await world.pods.watch(options)
    added = await world.put("a", labels={"app": "web"})
    left = await world.put("a", labels={"app": "db"})
    await world.put("a", labels={"app": "db", "more": "1"})
    back = await world.put("a", labels={"app": "web", "more": "2"})
    gone = await world.delete("a")
    chunks = b""
    while chunks.count(b"\n") < 4:
        chunks += await watcher.next_bytes()
    seen = [json.loads(line) for line in chunks.splitlines()]
    assert [(e["type"], int(e["object"]["metadata"]["resourceVersion"])) for e in seen] == [
        ("ADDED", added),
        ("DELETED", left),
        ("ADDED", back),
        ("DELETED", gone),
    ]
    assert seen[1]["object"]["metadata"]["labels"] == {"app": "web"}, "the last state that matched"
    assert seen[3]["object"]["metadata"]["labels"] == {"app": "web", "more": "2"}


@in_world
async def test_a_field_watch_hears_only_of_its_value(world: World) -> None:
    start = world.pods.revision
    watchers = {
        node: await world.pods.watch(WatchOptions(resource_version=start, fields=equals("spec.nodeName", node)))
        for node in ("n1", "n2")
    }
    created = await world.put("a")
    bound = await world.put("a", node="n1")
    moved = await world.put("a", node="n2")
    assert created < bound
    assert await events(watchers["n1"], 2) == [("ADDED", "a", bound), ("DELETED", "a", moved)]
    assert await events(watchers["n2"], 1) == [("ADDED", "a", moved)]
    by_name = await world.pods.watch(WatchOptions(resource_version=start, fields=equals("metadata.name", "a")))
    assert [event[0] for event in await events(by_name, 3)] == ["ADDED", "MODIFIED", "MODIFIED"]
    for watcher in (*watchers.values(), by_name):
        watcher.close()
    assert world.pods._dispatcher.watchers == []


@in_world
async def test_initial_events_end_with_a_bookmark(world: World) -> None:
    a = await world.put("a")
    options = WatchOptions(send_initial_events=True, allow_bookmarks=True)
    watcher = await world.pods.watch(options)
    chunk = await watcher.next_bytes()
    last = json.loads(chunk.splitlines()[-1])
    assert last == {
        "type": "BOOKMARK",
        "object": {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": str(a), "annotations": {"k8s.io/initial-events-end": "true"}},
        },
    }
    assert chunk.count(b"\n") == 2
    without = await world.pods.watch(WatchOptions(send_initial_events=True))
    assert (await without.next_bytes()).count(b"\n") == 1


@in_world
async def test_bookmarks_tell_the_revision_each_minute(world: World) -> None:
    watcher = await world.pods.watch(WatchOptions(resource_version=world.pods.revision, allow_bookmarks=True))
    revision = await world.store.put("/registry/configmaps/default/a", b"{}")
    await settle()
    await world.clock.pass_time(60)
    assert await events(watcher, 1) == [("BOOKMARK", "", revision)]


@in_world
async def test_while_nothing_happens_only_those_get_bookmarks_who_see_by_them_that_the_connection_lives(
    world: World,
) -> None:
    start = WatchOptions(resource_version=world.pods.revision, allow_bookmarks=True)
    far, near = await world.pods.watch(start), await world.pods.watch(replace(start, repeats_bookmarks=False))
    revision = await world.store.put("/registry/configmaps/default/a", b"{}")
    await settle()
    for _ in range(3):
        await world.clock.pass_time(60)
    assert await events(far, 3) == [("BOOKMARK", "", revision)] * 3
    assert await events(near, 1) == [("BOOKMARK", "", revision)]
    assert near.ready_records() == []
    later = await world.store.put("/registry/configmaps/default/a", b"{ }")
    await settle()
    await world.clock.pass_time(60)
    assert await events(near, 1) == [("BOOKMARK", "", later)]


@in_world
async def test_a_version_older_than_the_window_has_expired(world: World) -> None:
    old = world.pods.revision
    await world.put("a")
    await settle()
    world.pods._window_start = old + 1
    with pytest.raises(Expired, match=rf"too old resource version: {old} \({old + 1}\)"):
        await world.pods.watch(WatchOptions(resource_version=old))
    with pytest.raises(Expired):
        await world.pods.watch(WatchOptions(resource_version=1, namespace="x"))


@in_world
async def test_a_slow_watcher_is_ended_and_the_others_go_on(world: World) -> None:
    start = WatchOptions(resource_version=world.pods.revision)
    slow, brisk = await world.pods.watch(start), await world.pods.watch(start)
    heard = 0
    for index in range(watch_stream.BUFFER_RECORDS + 1):
        await world.put(f"p{index % 50}")
        if index % 1000 == 999:
            await settle()
            while records := brisk.ready_records():
                heard += len(records)
    await settle()
    assert slow.end_reason == "slow"
    assert await slow.next_bytes() == b""
    while records := brisk.ready_records():
        heard += len(records)
    assert (brisk.end_reason, heard) == ("", watch_stream.BUFFER_RECORDS + 1)


@in_world
async def test_a_watch_from_the_future_waits_for_it(world: World) -> None:
    now = world.pods.revision
    watcher = await world.pods.watch(WatchOptions(resource_version=now + 1))
    await world.put("a")
    b = await world.put("b")
    assert await events(watcher, 1) == [("ADDED", "b", b)]


@in_world
async def test_many_watchers_hear_everything_once_and_in_order(world: World) -> None:
    start = WatchOptions(resource_version=world.pods.revision)
    watchers = [await world.pods.watch(start) for _ in range(2 * MANY)]
    written = [("ADDED", f"p{number}", await world.put(f"p{number}")) for number in range(10)]
    heard = await asyncio.gather(*(events(watcher, 10) for watcher in watchers))
    assert all(one == written for one in heard)


@in_world
async def test_large_objects_come_a_few_at_a_time(world: World) -> None:
    watcher = await world.pods.watch(WatchOptions(resource_version=world.pods.revision))
    for index in range(10):
        await world.put(f"p{index}", labels={"long": "x" * 30_000})
    await settle()
    late = await world.pods.watch(WatchOptions())
    for one in (watcher, late):
        sizes = [len(await one.next_bytes()) for _ in range(3)]
        assert all(size < 2 * watch_stream.BATCH_BYTES for size in sizes)


@in_world
async def test_events_are_encoded_once_for_all(world: World) -> None:
    start = WatchOptions(resource_version=world.pods.revision)
    one, two = await world.pods.watch(start), await world.pods.watch(start)
    await world.put("a")
    await settle()
    assert (await one.next_records())[0].line is (await two.next_records())[0].line


@in_world
async def test_replaying_a_watch_gives_the_list(world: World) -> None:
    await world.put("a")
    watcher = await world.pods.watch(WatchOptions())
    for step in range(60):
        if step % 7 == 3:
            await world.delete(f"p{step % 5}")
        else:
            await world.put(f"p{step % 6}", labels={"step": str(step)})
    await settle()
    state: dict[str, bytes] = {}
    while records := watcher.ready_records():
        for record in records:
            name = json.loads(record.object)["metadata"]["name"]
            if record.type == "DELETED":
                del state[name]
            else:
                assert (name in state) == (record.type == "MODIFIED")
                state[name] = record.object
    page = await world.pods.list(ListOptions())
    assert list(map(state.get, sorted(state))) == page.objects()


# Feeding.


@in_world
async def test_a_cache_that_is_added_under_writes_misses_nothing(world: World) -> None:
    async def write() -> None:
        for index in range(200):
            await world.store.put(f"/registry/x.io/things/default/t{index}", THING % index)

    writing = asyncio.ensure_future(write())
    for _ in range(5):
        await settle()
    things = await world.feed.add(
        CachedResource(prefix="/registry/x.io/things/", kind="Thing", api_version="x.io/v1", keeps_type=True)
    )
    await writing
    page = json.loads(b"".join((await things.list(ListOptions())).encode()))
    assert len(page["items"]) == 200
    assert page["metadata"]["continue"] == ""
    assert all(item["kind"] == "Thing" for item in page["items"])


THING = b'{"kind":"Thing","apiVersion":"x.io/v1","metadata":{"name":"t%d"}}'


@in_world
async def test_two_versions_of_a_resource_are_followed_side_by_side(world: World) -> None:
    def converted(value: bytes) -> bytes:
        return value.replace(b'"apiVersion":"v1"', b'"apiVersion":"v2"')

    newer = await world.feed.add(CachedResource(prefix=PREFIX, kind="Pod", api_version="v2", convert=converted))
    await world.put("a")
    assert json.loads(await newer.get("default", "a") or b"")["apiVersion"] == "v2"
    assert json.loads(await world.pods.get("default", "a") or b"")["apiVersion"] == "v1"
    world.feed.remove(newer)
    await world.put("b")
    assert await world.names() == ["a", "b"]
    assert newer.peek("default", "b") is None


@in_world
async def test_a_cache_that_fails_starts_anew(world: World) -> None:
    watcher = await world.pods.watch(WatchOptions())
    world.pods._dispatcher._matches = None  # type: ignore[assignment]
    broken = await world.pods.watch(WatchOptions(resource_version=world.pods.revision, labels=equals("a", "b")))
    await world.put("a")
    await settle()
    world.pods._dispatcher._matches = world.pods._entries.matches
    await world.clock.pass_time(2)
    assert (watcher.end_reason, broken.end_reason) == ("reset", "reset")
    assert await world.names() == ["a"]


@in_world
async def test_a_value_that_is_not_an_object_is_left_out(world: World) -> None:
    await world.store.put(PREFIX + "default/bad", b"\x00")
    await world.put("good")
    assert await world.names() == ["good"]


@in_world
async def test_labels_that_are_null_count_as_none(world: World) -> None:
    value = b'{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","labels":null}}'
    await world.store.put(PREFIX + "default/a", value)
    assert await world.names(labels=differs("app", "x")) == ["a"]


@in_world
async def test_when_the_feed_loses_its_watch_everything_starts_anew(world: World) -> None:
    await world.put("a")
    watcher = await world.pods.watch(WatchOptions())
    await events(watcher, 1)
    # Nobody reads the watch while the store moves on and compacts what it still owes.
    world.feed._watch._next = 1  # type: ignore[union-attr]
    await world.store.compact(2)
    await world.put("b")
    await settle()
    await world.clock.pass_time(2)
    assert await watcher.next_bytes() == b""
    assert watcher.end_reason == "reset"
    assert await world.names() == ["a", "b"]
    await world.put("c")
    assert await world.names() == ["a", "b", "c"]


# After a restart.


def test_a_watch_goes_on_where_it_was_before_a_restart() -> None:
    async def main() -> list[tuple[str, str, int]]:
        clock = HandClock()
        async with memory.open_store(clock) as store:
            since = await store.put(f"{PREFIX}default/a", pod("a"))
            await store.put(f"{PREFIX}default/a", pod("a", labels={"x": "y"}))
            await store.put("/registry/others/default/a", b"{}")
            await store.delete(f"{PREFIX}default/a")
            last = await store.put(f"{PREFIX}default/b", pod("b"))
            # What began before is told of everything by a server that began after.
            feed = CacheFeed(store, clock)
            await feed.start()
            pods = await feed.add(PODS)
            return [*await events(await pods.watch(WatchOptions(resource_version=since)), 3), ("", "", last)]

    found = asyncio.run(main())
    last = found[-1][2]
    assert found[:-1] == [("MODIFIED", "a", last - 3), ("DELETED", "a", last - 1), ("ADDED", "b", last)]


def test_what_was_compacted_before_a_restart_has_expired_after_it() -> None:
    async def main() -> None:
        clock = HandClock()
        async with memory.open_store(clock) as store:
            revisions = [await store.put(f"{PREFIX}default/p{number}", pod(f"p{number}")) for number in range(5)]
            await store.compact(revisions[2])
            feed = CacheFeed(store, clock)
            await feed.start()
            pods = await feed.add(PODS)
            with pytest.raises(Expired):
                await pods.watch(WatchOptions(resource_version=revisions[1]))
            watcher = await pods.watch(WatchOptions(resource_version=revisions[2]))
            assert [name for _, name, _ in await events(watcher, 2)] == ["p3", "p4"]

    asyncio.run(main())


def test_a_resource_that_is_served_later_has_no_past() -> None:
    async def main() -> None:
        clock = HandClock()
        async with memory.open_store(clock) as store, asyncio.TaskGroup() as group:
            old = await store.put(f"{PREFIX}default/a", pod("a"))
            await store.put(f"{PREFIX}default/b", pod("b"))
            feed = CacheFeed(store, clock)
            await feed.start()
            running = group.create_task(feed.run())
            await settle()
            pods = await feed.add(PODS)
            with pytest.raises(Expired):
                await pods.watch(WatchOptions(resource_version=old))
            running.cancel()

    asyncio.run(main())
