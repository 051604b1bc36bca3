"""Calls to others outside the process: they answer in real time, so a loop that keeps a time of its own must wait."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

_NOT_HELD: Final[AbstractContextManager[None]] = nullcontext()


def outside(seconds: float) -> AbstractContextManager[None]:
    """While the block lasts, a virtual time stands still, but for no more than so many of the machine's seconds.

    On every other loop it is nothing: time passes by itself.
    """
    loop: Any = asyncio.get_running_loop()
    hold = getattr(loop, "hold_time", None)
    held: AbstractContextManager[None] = _NOT_HELD if hold is None else hold(seconds)
    return held
