from __future__ import annotations

import asyncio

import pytest

from keelback.auth.answer_cache import AnswerCache
from keelback.testing.clock import HandClock


def test_an_answer_counts_for_its_time() -> None:
    clock = HandClock()
    cache: AnswerCache[str] = AnswerCache(clock, 2)
    cache.put(b"a", "1", 10.0)
    cache.put(b"b", "2", 0.0)
    assert (cache.get(b"a"), cache.get(b"b")) == ("1", None)
    clock.advance(10.0)
    assert cache.get(b"a") is None


def test_what_was_used_longest_ago_makes_room() -> None:
    cache: AnswerCache[str] = AnswerCache(HandClock(), 2)
    for key in (b"a", b"b"):
        cache.put(key, "x", 10.0)
    cache.get(b"a")
    cache.put(b"c", "x", 10.0)
    assert [cache.get(key) for key in (b"a", b"b", b"c")] == ["x", None, "x"]


def test_who_asks_at_once_shares_an_answer_but_no_failure() -> None:
    async def main() -> None:
        cache: AnswerCache[str] = AnswerCache(HandClock(), 10)
        asked = 0
        may_answer = asyncio.Event()

        async def ask() -> tuple[str, float]:
            nonlocal asked
            asked += 1
            await may_answer.wait()
            if asked == 1:
                raise ValueError("the first one fails")
            return "yes", 10.0

        askers = [asyncio.create_task(cache.shared(b"k", ask)) for _ in range(3)]
        await asyncio.sleep(0)
        assert asked == 1
        may_answer.set()
        with pytest.raises(ValueError, match="the first one"):
            await askers[0]
        assert await asyncio.gather(*askers[1:]) == ["yes", "yes"]
        assert asked == 2
        cancelled = asyncio.create_task(cache.shared(b"other", ask))
        may_answer.clear()
        waiting = asyncio.create_task(cache.shared(b"other", ask))
        await asyncio.sleep(0)
        cancelled.cancel()
        may_answer.set()
        assert await waiting == "yes"

    asyncio.run(main())
