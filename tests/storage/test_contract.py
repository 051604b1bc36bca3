"""What every store promises. A new implementation joins by joining the fixture."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from keelback.storage.protocol import (
    FIRST_REVISION,
    Compacted,
    CompareFailed,
    Event,
    FutureRevision,
    KeyValue,
    Store,
    Unavailable,
    Watch,
)

Open = Callable[[], Awaitable[Store]]


def with_store(open_store: Open, test: Callable[[Store], Awaitable[None]]) -> None:
    async def body() -> None:
        async with asyncio.timeout(30), await open_store() as store:
            await test(store)

    asyncio.run(body())


async def heard(watch: Watch, count: int) -> list[Event]:
    """The next events of a watch, at least so many."""
    events: list[Event] = []
    async for batch in watch:
        events += batch.events
        assert batch.revision >= batch.events[-1].kv.mod_revision
        if len(events) >= count:
            break
    return events


def test_an_empty_store_is_at_the_first_revision(open_store: Open) -> None:
    async def test(store: Store) -> None:
        assert await store.current_revision() == FIRST_REVISION
        assert await store.get("/a") is None
        result = await store.range("/")
        assert (list(result.kvs), result.count, result.more, result.revision) == ([], 0, False, FIRST_REVISION)

    with_store(open_store, test)


def test_pages_are_all_of_one_revision(open_store: Open) -> None:
    async def test(store: Store) -> None:
        assert [(list(kvs), revision) async for kvs, revision in store.pages("/p/")] == [([], FIRST_REVISION)]
        await asyncio.gather(*(store.put(f"/p/{number:04}", b"%d" % number) for number in range(1_100)))
        await store.put("/q", b"")
        await store.delete("/p/0007")
        whole = await store.range("/p/")
        read: list[KeyValue] = []
        async for kvs, revision in store.pages("/p/"):
            assert len(kvs) < 1_099
            assert revision == whole.revision
            read += kvs
            await store.put("/p/1098", b"later")
            await store.put("/p/9999", b"later")
        assert read == list(whole.kvs)

    with_store(open_store, test)


def test_pages_that_a_compaction_overtakes_are_right_or_end(open_store: Open) -> None:
    async def test(store: Store) -> None:
        value = b"x" * 2_000
        await asyncio.gather(*(store.put(f"/p/{number:04}", value) for number in range(1_100)))
        read: list[KeyValue] = []
        try:
            async for page in store.pages("/p/"):
                read += page.kvs
                await asyncio.gather(*(store.put(f"/p/{number:04}", value + b"y") for number in range(1_100)))
                await store.compact(await store.current_revision())
        except Compacted:
            assert 0 < len(read) < 1_100
        assert {kv.value for kv in read} == {value}

    with_store(open_store, test)


def test_every_write_raises_the_revision_by_one(open_store: Open) -> None:
    async def test(store: Store) -> None:
        assert await store.put("/a", b"1") == 2
        assert await store.put("/b", b"2") == 3
        assert await store.put("/a", b"3") == 4
        assert await store.get("/a") == KeyValue("/a", b"3", 2, 4)
        assert await store.delete("/a") == (5, KeyValue("/a", b"3", 2, 4))
        assert await store.get("/a") is None
        assert await store.put("/a", b"") == 6
        assert await store.get("/a") == KeyValue("/a", b"", 6, 6)
        assert await store.current_revision() == 6

    with_store(open_store, test)


def test_a_write_happens_only_at_the_expected_revision(open_store: Open) -> None:
    async def test(store: Store) -> None:
        with pytest.raises(CompareFailed) as caught:
            await store.put("/a", b"1", expected_revision=7)
        assert caught.value.current is None
        first = await store.put("/a", b"1", expected_revision=0)
        with pytest.raises(CompareFailed) as caught:
            await store.put("/a", b"2", expected_revision=0)
        assert caught.value.current == KeyValue("/a", b"1", first, first)
        second = await store.put("/a", b"2", expected_revision=first)
        with pytest.raises(CompareFailed):
            await store.delete("/a", expected_revision=first)
        assert (await store.delete("/a", expected_revision=second))[0] == second + 1
        with pytest.raises(CompareFailed):
            await store.delete("/a", expected_revision=second)
        assert await store.put("/a", b"3", expected_revision=0) == second + 2

    with_store(open_store, test)


def test_deleting_nothing_changes_nothing(open_store: Open) -> None:
    async def test(store: Store) -> None:
        revision = await store.put("/a", b"")
        assert await store.delete("/b") == (revision, None)
        assert await store.current_revision() == revision

    with_store(open_store, test)


def test_of_racing_creators_one_wins_and_the_others_learn_what_is_there(open_store: Open) -> None:
    async def test(store: Store) -> None:
        async def create(number: int) -> int | KeyValue | None:
            try:
                return await store.put("/a", b"%d" % number, expected_revision=0)
            except CompareFailed as failed:
                return failed.current

        answers = await asyncio.gather(*(create(number) for number in range(20)))
        current = await store.get("/a")
        assert [answer for answer in answers if isinstance(answer, int)] == [2]
        assert all(answer == current for answer in answers if not isinstance(answer, int))

    with_store(open_store, test)


def test_racing_counters_lose_no_step(open_store: Open) -> None:
    async def test(store: Store) -> None:
        async def count() -> None:
            for _ in range(10):
                while True:
                    current = await store.get("/n")
                    value = int(current.value) if current else 0
                    expected = current.mod_revision if current else 0
                    try:
                        await store.put("/n", b"%d" % (value + 1), expected_revision=expected)
                        break
                    except CompareFailed:
                        continue

        await asyncio.gather(*(count() for _ in range(8)))
        final = await store.get("/n")
        assert final is not None
        assert final.value == b"80"

    with_store(open_store, test)


def test_a_range_is_ordered_and_bounded(open_store: Open) -> None:
    async def test(store: Store) -> None:
        for key in ("/b/2", "/a/1", "/b/1", "/b0", "/b/3", "/b"):
            await store.put(key, key.encode())
        result = await store.range("/b/")
        assert [kv.key for kv in result.kvs] == ["/b/1", "/b/2", "/b/3"]
        assert [kv.value for kv in result.kvs] == [b"/b/1", b"/b/2", b"/b/3"]
        result = await store.range("/b/", limit=2)
        assert ([kv.key for kv in result.kvs], result.count, result.more) == (["/b/1", "/b/2"], 3, True)
        result = await store.range("/b/", start="/b/2\0", limit=2)
        assert ([kv.key for kv in result.kvs], result.count, result.more) == (["/b/3"], 1, False)
        assert (await store.range("")).count == 6

    with_store(open_store, test)


def test_pages_at_a_revision_are_one_state_whatever_is_written_meanwhile(open_store: Open) -> None:
    async def test(store: Store) -> None:
        chance = random.Random(7)
        for number in range(60):
            await store.put(f"/p/{number:03}", b"old")
        first = await store.range("/p/", limit=7)
        pages, start, more = list(first.kvs), first.kvs[-1].key + "\0", first.more
        while more:
            for _ in range(5):
                await store.put(f"/p/{chance.randrange(90):03}", b"new")
            await store.delete(f"/p/{chance.randrange(60):03}")
            page = await store.range("/p/", start=start, limit=7, revision=first.revision)
            assert page.count == 60 - len(pages)
            pages += page.kvs
            start, more = page.kvs[-1].key + "\0", page.more
        assert [kv.key for kv in pages] == [f"/p/{number:03}" for number in range(60)]
        assert {kv.value for kv in pages} == {b"old"}

    with_store(open_store, test)


def test_a_range_cannot_look_into_the_future(open_store: Open) -> None:
    async def test(store: Store) -> None:
        with pytest.raises(FutureRevision):
            await store.range("/", revision=2)

    with_store(open_store, test)


def test_a_watch_replays_and_follows(open_store: Open) -> None:
    async def test(store: Store) -> None:
        a = await store.put("/w/a", b"1")
        await store.put("/other", b"")
        again = await store.put("/w/a", b"2")
        watch = store.watch("/w/", a)
        gone, _ = await store.delete("/w/a")
        old, new = KeyValue("/w/a", b"1", a, a), KeyValue("/w/a", b"2", a, again)
        assert await heard(watch, 3) == [
            Event("put", old, None),
            Event("put", new, old),
            Event("delete", KeyValue("/w/a", b"", 0, gone), new),
        ]
        later = asyncio.ensure_future(heard(watch, 1))
        b = await store.put("/w/b", b"3")
        assert await later == [Event("put", KeyValue("/w/b", b"3", b, b), None)]
        from_now = store.watch("/w/", with_previous=False)
        c = await store.put("/w/b", b"4")
        assert await heard(from_now, 1) == [Event("put", KeyValue("/w/b", b"4", b, c), None)]

    with_store(open_store, test)


def test_a_watch_hears_only_what_can_be_read(open_store: Open) -> None:
    async def test(store: Store) -> None:
        watch = store.watch("/")
        writing = asyncio.ensure_future(asyncio.gather(*(store.put(f"/{number}", b"x") for number in range(50))))
        seen = 0
        while seen < 50:
            batch = await watch.__anext__()
            assert batch.revision <= await store.current_revision()
            for event in batch.events:
                assert await store.get(event.kv.key) == event.kv
            seen += len(batch.events)
        await writing

    with_store(open_store, test)


def test_replaying_a_watch_gives_the_list(open_store: Open) -> None:
    async def test(store: Store) -> None:
        chance = random.Random(11)

        async def write(number: int) -> None:
            for step in range(40):
                key = f"/r/{chance.randrange(12)}"
                if chance.random() < 0.3:
                    await store.delete(key)
                else:
                    await store.put(key, b"%d-%d" % (number, step))

        await asyncio.gather(*(write(number) for number in range(4)))
        result = await store.range("/r/")
        state: dict[str, KeyValue] = {}
        watch = store.watch("/r/", FIRST_REVISION + 1)
        last = FIRST_REVISION
        async for batch in watch:
            for event in batch.events:
                assert event.kv.mod_revision > last
                last = event.kv.mod_revision
                assert event.prev == state.get(event.kv.key)
                if event.type == "delete":
                    del state[event.kv.key]
                else:
                    state[event.kv.key] = event.kv
            if batch.revision >= result.revision:
                break
        assert [state[key] for key in sorted(state)] == list(result.kvs)

    with_store(open_store, test)


def test_compaction_forgets_the_past_and_keeps_the_present(open_store: Open) -> None:
    async def test(store: Store) -> None:
        await store.put("/c/a", b"1")
        kept = await store.put("/c/a", b"2")
        await store.put("/c/b", b"1")
        gone, _ = await store.delete("/c/b")
        await store.compact(gone)
        after = await store.put("/c/a", b"3")
        with pytest.raises(Compacted) as caught:
            await store.range("/c/", revision=gone - 1)
        assert caught.value.compact_revision == gone
        oldest = await store.range("/c/", revision=gone)
        assert list(oldest.kvs) == [KeyValue("/c/a", b"2", 2, kept)]
        with pytest.raises(Compacted):
            await store.watch("/c/", gone).__anext__()
        events = await heard(store.watch("/c/", gone + 1), 1)
        assert events == [Event("put", KeyValue("/c/a", b"3", 2, after), oldest.kvs[0])]
        with pytest.raises(Compacted):
            await store.compact(gone)
        with pytest.raises(FutureRevision):
            await store.compact(after + 1)
        await store.compact(after)
        assert await store.get("/c/a") == KeyValue("/c/a", b"3", 2, after)

    with_store(open_store, test)


@pytest.mark.parametrize("open_store", ["memory", "sqlite", "etcd"], indirect=True)
def test_a_key_lives_as_long_as_it_was_given(open_store: Open, pass_time: Callable[[float], None]) -> None:
    async def test(store: Store) -> None:
        for name in ("a", "renewed", "kept"):
            await store.put(f"/t/{name}", b"", ttl_seconds=3)
        await store.put("/t/short", b"", ttl_seconds=1)
        watch = store.watch("/t/")
        expiring = asyncio.ensure_future(heard(watch, 1))
        await asyncio.sleep(0)
        pass_time(1)
        (event,) = await expiring
        assert (event.type, event.kv.key) == ("delete", "/t/short")
        await store.put("/t/renewed", b"", ttl_seconds=4)
        await store.put("/t/kept", b"")
        await heard(watch, 2)
        expiring = asyncio.ensure_future(heard(watch, 1))
        await asyncio.sleep(0)
        pass_time(2)
        (event,) = await expiring
        assert (event.type, event.kv.key) == ("delete", "/t/a")
        assert event.kv.mod_revision == await store.current_revision()
        assert [kv.key for kv in (await store.range("/t/")).kvs] == ["/t/kept", "/t/renewed"]
        expiring = asyncio.ensure_future(heard(watch, 1))
        await asyncio.sleep(0)
        pass_time(2)
        assert [event.kv.key for event in await expiring] == ["/t/renewed"]

    with_store(open_store, test)


def test_a_closed_store_says_so(open_store: Open) -> None:
    async def test(store: Store) -> None:
        watch = store.watch("/")
        waiting = asyncio.ensure_future(watch.__anext__())
        await asyncio.sleep(0)
        writing = [asyncio.ensure_future(store.put(f"/{number}", b"")) for number in range(3)]
        await asyncio.sleep(0)
        await store.close()
        assert sorted([await write for write in writing]) == [2, 3, 4], "writes that were begun are finished"
        for failing in (store.get("/0"), store.put("/0", b""), store.range("/"), store.current_revision()):
            with pytest.raises(Unavailable):
                await failing
        # What the watch had not delivered yet is gone with the store.
        await asyncio.wait([waiting])
        with pytest.raises(Unavailable):
            await watch.__anext__()
        if waiting.exception() is not None:
            assert isinstance(waiting.exception(), Unavailable)
        await store.close()

    with_store(open_store, test)


def test_a_closed_watch_ends_its_iteration(open_store: Open) -> None:
    async def test(store: Store) -> None:
        watch = store.watch("/")
        waiting = asyncio.ensure_future(watch.__anext__())
        await asyncio.sleep(0)
        watch.close()
        with pytest.raises(StopAsyncIteration):
            await waiting

    with_store(open_store, test)


def test_a_cancelled_writer_harms_nobody(open_store: Open) -> None:
    async def test(store: Store) -> None:
        writes = [asyncio.ensure_future(store.put("/x", b"%d" % number)) for number in range(3)]
        await asyncio.sleep(0)
        writes[1].cancel()
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert isinstance(results[1], asyncio.CancelledError)
        current = await store.get("/x")
        while current is not None and current.mod_revision < 4:
            # The write goes on without its caller.
            current = await store.get("/x")
        assert current is not None
        assert current.mod_revision == 4
        last = results.index(4) if 4 in results else 1
        assert current.value == b"%d" % last

    with_store(open_store, test)
