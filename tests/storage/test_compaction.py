"""When the store is compacted, and to where."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from keelback.storage import compaction, memory
from keelback.storage.compaction import Sample
from keelback.storage.protocol import Compacted


def test_what_is_older_than_the_retained_time_goes() -> None:
    samples = deque(Sample(60.0 * minute, 10 + minute) for minute in range(6))
    assert compaction.plan(samples, Sample(360.0, 99)) == 11
    assert samples[0] == Sample(120.0, 12)
    assert compaction.plan(samples, Sample(361.0, 99)) == 0


def test_a_storm_of_writes_is_bounded_by_number() -> None:
    assert compaction.plan(deque(), Sample(0.0, compaction.RETAINED_REVISIONS + 7)) == 7


def test_history_is_readable_for_minutes_and_then_compacted(clock) -> None:  # type: ignore[no-untyped-def]
    async def body() -> None:
        async with memory.open_store(clock) as store:
            running = asyncio.ensure_future(compaction.run(store, clock))
            first = await store.put("/a", b"1")
            last = first
            for _ in range(8):
                last = await store.put("/a", b"2")
                clock.advance(60)
                for _ in range(5):
                    await asyncio.sleep(0)
            with pytest.raises(Compacted):
                await store.range("/", revision=first)
            assert (await store.range("/", revision=last - 3)).count == 1
            running.cancel()

    asyncio.run(body())
