"""Background work outlives a store that is away, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from keelback.apimachinery.errors import ServiceUnavailable
from keelback.apiserver.kept_work import AGAIN_SECONDS, keep
from keelback.storage.protocol import Unavailable
from keelback.testing.clock import HandClock


def test_it_begins_again_where_the_store_failed_it() -> None:
    async def main() -> None:
        clock = HandClock()
        failures: list[Exception] = [
            Unavailable("away"),
            ServiceUnavailable("away"),
            ExceptionGroup("a task group", [Unavailable("away")]),
        ]

        async def work() -> str:
            if failures:
                raise failures.pop(0)
            return "done"

        kept = asyncio.ensure_future(keep(work, clock))
        await clock.pass_time(3 * AGAIN_SECONDS)
        assert await kept == "done"

    asyncio.run(main())


def test_a_defect_is_not_hidden() -> None:
    async def work() -> None:
        raise KeyError("a defect")

    async def main() -> None:
        with pytest.raises(KeyError):
            await keep(work, HandClock())

    asyncio.run(main())
