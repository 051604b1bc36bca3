"""How a process that serves runs: on uvloop, with a garbage collector that does not look through everything all day,
and with threads that give way to the loop."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

# Objects are values and hold no cycles: what is there to collect comes from tracebacks and ended tasks. Python's own
# 700 took a quarter of the CPU of writing and scheduling pods.
_YOUNG_OBJECTS = 10_000
# How long a thread that computes keeps the loop waiting, each time the loop has let go of the interpreter.
_SWITCH_SECONDS = 0.0005


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, as `asyncio.run` does."""
    tune_garbage_collection()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


@contextmanager
def taking_in() -> Iterator[None]:
    """While a process takes in what it will hold for long, do not look through all of it again and again for garbage:
    that was a seventh of the start of a server with 100,000 objects. Nor later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def tune_garbage_collection() -> None:
    """For the whole process: collect less often, and never look again at what has been imported until now."""
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)
    gc.freeze()
