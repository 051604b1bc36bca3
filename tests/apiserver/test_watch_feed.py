"""How the caches follow the store: in pieces, so that a large commit does not keep the loop from others."""

from __future__ import annotations

import asyncio
import itertools

from hypothesis import given
from hypothesis import strategies as st

from keelback.apiserver.watch_feed import CacheFeed, in_parts
from keelback.storage import memory
from keelback.storage.protocol import Event, KeyValue, WatchBatch
from keelback.testing.clock import HandClock


@given(st.lists(st.integers(0, 2), max_size=60), st.integers(0, 3))
def test_the_parts_of_a_batch_are_short_whole_and_know_how_far_they_reach(steps: list[int], beyond: int) -> None:
    revisions = [10 + sum(steps[: at + 1]) for at in range(len(steps))]
    events = [Event("put", KeyValue(f"/{at}", b"", 1, revision), None) for at, revision in enumerate(revisions)]
    batch = WatchBatch(events, (revisions or [10])[-1] + beyond)
    parts = list(in_parts(batch))
    assert [event for part in parts for event in part.events] == events
    assert parts[-1].revision == batch.revision
    for part, following in itertools.pairwise(parts):
        assert part.revision == part.events[-1].kv.mod_revision < following.events[0].kv.mod_revision
        # It is longer only where writes of one revision stand together.
        assert part.events[7].kv.mod_revision == part.revision


def test_others_have_the_loop_while_a_large_commit_is_taken_in() -> None:
    async def main() -> None:
        clock = HandClock()
        async with memory.open_store(clock) as store, asyncio.TaskGroup() as group:
            feed = CacheFeed(store, clock)
            await feed.start()
            running = group.create_task(feed.run())
            await asyncio.sleep(0)
            await asyncio.gather(*(store.put(f"/registry/things/{number}", b"") for number in range(100)))
            last = await store.current_revision()
            seen = [feed.revision]
            while feed.revision < last:
                await asyncio.sleep(0)
                seen.append(feed.revision)
            assert max(later - earlier for earlier, later in itertools.pairwise(seen)) == 8
            running.cancel()

    asyncio.run(main())
