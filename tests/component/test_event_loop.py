"""A process that serves runs on uvloop, and its garbage collector looks less often."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator

import pytest
import uvloop

from keelback.component import event_loop


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(700, 10, 10)  # Python's own: a server that another test ran in here may have tuned it
    yield
    gc.unfreeze()
    sys.setswitchinterval(interval)
    gc.set_threshold(*before)


def test_work_runs_on_uvloop_to_its_result() -> None:
    async def work() -> bool:
        return isinstance(asyncio.get_running_loop(), uvloop.Loop)

    assert event_loop.run(work())


def test_garbage_is_still_collected_but_less_often() -> None:
    before = gc.get_threshold()[0]
    event_loop.tune_garbage_collection()
    assert gc.get_threshold()[0] > before
    assert gc.isenabled()


def test_what_is_taken_in_is_not_looked_through() -> None:
    gc.unfreeze()
    with event_loop.taking_in():
        assert not gc.isenabled()
        held = [[number] for number in range(10)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(held)
