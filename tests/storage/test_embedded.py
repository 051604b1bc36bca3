"""Groups, bounds and failures of the embedded store, on a log that answers when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from keelback.storage import embedded
from keelback.storage.embedded import EmbeddedStore, Refused
from keelback.storage.key_index import KeyIndex, Record
from keelback.storage.memory import MemoryLog
from keelback.storage.protocol import CompareFailed, OutcomeUnknown, Overloaded, Unavailable


class HeldLog(MemoryLog):
    """A memory log that holds each group until it is let go, or told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[tuple[Sequence[tuple[Record, bytes]], Callable[[BaseException | None], None]]] = []

    def append(self, group: Sequence[tuple[Record, bytes]], done: Callable[[BaseException | None], None]) -> None:
        self.groups.append((group, done))

    def finish(self, error: BaseException | None = None) -> int:
        """Answer for the group that waits; how many writes it had."""
        group, done = self.groups.pop(0)
        if error is None:
            super().append(group, done)
        else:
            done(error)
        return len(group)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def started(store: EmbeddedStore, *writes: tuple[str, bytes, int | None]) -> list[asyncio.Future[int]]:
    return [asyncio.ensure_future(store.put(key, value, expected_revision=at)) for key, value, at in writes]


def on_held_log(clock: Any, test: Callable[[EmbeddedStore, HeldLog], Any], **how: Any) -> None:
    async def body() -> None:
        log = HeldLog()
        async with asyncio.timeout(10):
            await test(EmbeddedStore(log, KeyIndex(), clock, **how), log)

    asyncio.run(body())


def test_what_waits_while_the_log_is_busy_is_one_group(clock: Any) -> None:
    async def test(store: EmbeddedStore, log: HeldLog) -> None:
        first = started(store, ("/a", b"", None))
        await settle()
        rest = started(store, *((f"/{number}", b"", None) for number in range(5)))
        await settle()
        assert log.finish() == 1
        await settle()
        assert log.finish() == 5
        assert await asyncio.gather(*first, *rest) == [2, 3, 4, 5, 6, 7]

    on_held_log(clock, test)


def test_nothing_is_seen_before_it_is_durable(clock: Any) -> None:
    async def test(store: EmbeddedStore, log: HeldLog) -> None:
        watch = store.watch("/")
        hearing = asyncio.ensure_future(watch.__anext__())
        (write,) = started(store, ("/a", b"1", 0))
        await settle()
        (loser,) = started(store, ("/a", b"2", 0))
        await settle()
        assert await store.get("/a") is None
        assert (await store.current_revision(), (await store.range("/")).count) == (1, 0)
        assert not hearing.done()
        assert not write.done()
        assert not loser.done(), "a lost race is no news before the winner is durable"
        log.finish()
        assert await write == 2
        with pytest.raises(CompareFailed) as caught:
            await loser
        assert caught.value.current == await store.get("/a")
        assert len((await hearing).events) == 1

    on_held_log(clock, test)


def test_writes_can_build_on_one_that_is_not_durable_yet(clock: Any) -> None:
    async def test(store: EmbeddedStore, log: HeldLog) -> None:
        writes = started(store, ("/a", b"1", 0), ("/a", b"2", 2))
        await settle()
        deleting = asyncio.ensure_future(store.delete("/a", expected_revision=3))
        await settle()
        assert log.finish() == 2
        await settle()
        log.finish()
        assert await asyncio.gather(*writes) == [2, 3]
        revision, previous = await deleting
        assert (revision, previous.value if previous else None) == (4, b"2")

    on_held_log(clock, test)


def test_a_refused_group_was_never_and_the_store_goes_on(clock: Any) -> None:
    async def test(store: EmbeddedStore, log: HeldLog) -> None:
        first = started(store, ("/a", b"1", 0))
        await settle()
        after = started(store, ("/a", b"2", 2), ("/b", b"", 0))
        loser = started(store, ("/a", b"3", 0))
        await settle()
        log.finish(Refused("no space"))
        for write in (*first, *after):
            with pytest.raises(Unavailable, match="no space"):
                await write
        await settle()
        log.finish()
        assert await loser[0] == 2, "what it lost against has not happened"

    on_held_log(clock, test)


def test_after_a_failure_of_unknown_outcome_the_store_stops(clock: Any) -> None:
    async def test(store: EmbeddedStore, log: HeldLog) -> None:
        watch = store.watch("/")
        hearing = asyncio.ensure_future(watch.__anext__())
        (write,) = started(store, ("/a", b"", None))
        await settle()
        log.finish(OSError("the disk is gone"))
        with pytest.raises(OutcomeUnknown, match="the disk is gone"):
            await write
        for failing in (store.put("/b", b""), store.get("/a"), hearing):
            with pytest.raises(Unavailable, match="the disk is gone"):
                await failing

    on_held_log(clock, test)


def test_a_write_that_is_not_acknowledged_in_time_has_an_unknown_outcome(clock: Any) -> None:
    async def test(store: EmbeddedStore, log: HeldLog) -> None:
        (write,) = started(store, ("/a", b"1", None))
        with pytest.raises(OutcomeUnknown):
            await write
        log.finish()
        kv = await store.get("/a")
        assert kv is not None
        assert kv.value == b"1"

    on_held_log(clock, test, write_timeout_seconds=0.0)


def test_waiting_writes_are_bounded(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "MAX_PENDING_WRITES", 3)

    async def test(store: EmbeddedStore, log: HeldLog) -> None:
        writes = started(store, *((f"/{number}", b"", None) for number in range(3)))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await store.put("/more", b"")
        await settle()
        log.finish()
        assert await asyncio.gather(*writes) == [2, 3, 4]

    on_held_log(clock, test)


class LosingLog(MemoryLog):
    """A memory log whose bulk reads are overtaken by a compaction."""

    def __init__(self) -> None:
        super().__init__()
        self.before_reading: Callable[[], Any] | None = None

    async def values(self, revisions: Sequence[int]) -> Mapping[int, bytes]:
        if self.before_reading is not None:
            overtake, self.before_reading = self.before_reading, None
            await overtake()
        return await super().values(revisions)


def test_a_compaction_may_overtake_a_read(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "RECENT_BYTES", 0)

    async def body() -> None:
        log = LosingLog()
        async with EmbeddedStore(log, KeyIndex(), clock) as store:
            for number in range(4):
                await store.put(f"/{number}", b"1")

            async def overtake() -> None:
                for number in range(4):
                    await store.put(f"/{number}", b"2")
                await store.compact(await store.current_revision())

            log.before_reading = overtake
            result = await store.range("/")
            assert ({kv.value for kv in result.kvs}, result.revision) == ({b"2"}, 9)

    asyncio.run(body())


def test_closing_waits_for_a_compaction_under_way(clock: Any) -> None:
    class SlowLog(MemoryLog):
        async def compact(self, compacted: int, dead: Sequence[int]) -> None:
            await settle()
            await super().compact(compacted, dead)

    async def body() -> None:
        store = EmbeddedStore(SlowLog(), KeyIndex(), clock)
        for _ in range(3 * embedded.COMPACT_STEP):
            await store.put("/a", b"")
        compacting = asyncio.ensure_future(store.compact(await store.current_revision()))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(Unavailable):
            await compacting

    asyncio.run(body())
