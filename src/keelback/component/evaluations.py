"""Evaluating expressions where others wait: most take microseconds and are done at once; those that take long go on in
a thread, so that the event loop stays free. Evaluations have no effects, so they may begin anew there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from keelback.apimachinery import errors
from keelback.cel.environment import Patience
from keelback.cel.errors import TakesLongError
from keelback.component.metrics import Registry

ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")

LONGEST_SECONDS: Final = 34.0
"""Upstream's bound for a write (k8s.io/apiserver, requestTimeoutUpperBound)."""
_COST_OF_ONE_BYTE: Final = 20_000_000
"""The cost that may be spent on the loop, times the bytes looked at. A unit of cost takes 0.4 µs as a rule; where large
values are compared it may take as long as it takes to walk through all there is. So the loop is held for some 30 ms at
the most; and what nearly all rules cost, some tens, is spent on the loop up to objects of several 100 KB."""
_SMALL_BYTES: Final = 1000


class Evaluations:
    """Runs what takes long one at a time: Python runs one thread at a time anyway."""

    def __init__(self, metrics: Registry | None = None) -> None:
        """Without `metrics` nobody will ask how long they took."""
        self._turn = asyncio.Semaphore(1)
        metrics = metrics or Registry()
        self._times = metrics.histogram(
            "apiserver_cel_evaluation_duration_seconds", "CEL evaluation time in seconds."
        ).series()
        self._compilations = metrics.histogram(
            "apiserver_cel_compilation_duration_seconds", "CEL compilation time in seconds."
        ).series()

    def compiling(self, compile_rules: Callable[[ArgumentT], ResultT]) -> Callable[[ArgumentT], ResultT]:
        """The same, and how long it takes is told."""

        def timed(argument: ArgumentT) -> ResultT:
            started = time.perf_counter()
            try:
                return compile_rules(argument)
            finally:
                self._compilations.observe(time.perf_counter() - started)

        return timed

    async def run(
        self, evaluate: Callable[[Patience], ResultT], looked_at_bytes: int, *, idle_cost: int = 0
    ) -> ResultT:
        """What `evaluate` gives, which may be called twice; `looked_at_bytes` is the size of what it looks at, and
        `idle_cost` what of its cost stands for no work of its own.

        Raises what it raises, and Timeout.
        """
        started = time.perf_counter()
        try:
            return await self._run(evaluate, looked_at_bytes, idle_cost)
        finally:
            self._times.observe(time.perf_counter() - started)

    async def _run(self, evaluate: Callable[[Patience], ResultT], looked_at_bytes: int, idle_cost: int) -> ResultT:
        try:
            return evaluate(Patience(_COST_OF_ONE_BYTE / max(looked_at_bytes, _SMALL_BYTES) + idle_cost))
        except TakesLongError:
            pass
        patience = Patience()
        try:
            async with asyncio.timeout(LONGEST_SECONDS), self._turn:
                return await _in_thread(evaluate, patience)
        except TimeoutError:
            raise errors.Timeout(
                "request did not complete within requested timeout - context deadline exceeded"
            ) from None


async def _in_thread(evaluate: Callable[[Patience], ResultT], patience: Patience) -> ResultT:
    thread = asyncio.create_task(asyncio.to_thread(evaluate, patience))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        # Nobody waits any more. The thread does so soon, and only then the next may have its turn.
        patience.end()
        await asyncio.wait((thread,))
        if not thread.cancelled():
            thread.exception()
        raise


def size_bytes(tree: Any) -> int:
    """How long a JSON tree is when it is written."""
    return 0 if tree is None else len(msgspec.json.encode(tree))
