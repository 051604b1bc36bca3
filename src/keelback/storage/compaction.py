"""Compaction by the clock: the past stays readable for some minutes, for clients that page and watches that resume."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NoReturn

from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.concurrency.rounds import Round, next_round
from keelback.storage.protocol import StorageError, Store

RETAINED_SECONDS = 300.0
RETAINED_REVISIONS = 50_000
CHECK_SECONDS = 60.0

log = logger("compaction")


@dataclass(frozen=True, slots=True)
class Sample:
    """The store was at this revision then."""

    seconds: float
    revision: int


def plan(samples: deque[Sample], now: Sample) -> int:
    """The revision to compact to, 0 for none: what is older than the retained time, or beyond the retained number.

    Forgets the samples that are of no more use.
    """
    target = max(now.revision - RETAINED_REVISIONS, 0)
    while samples and samples[0].seconds <= now.seconds - RETAINED_SECONDS:
        target = max(target, samples.popleft().revision)
    return target


async def run(store: Store, clock: Clock) -> NoReturn:
    """Compact until cancelled."""
    samples: deque[Sample] = deque()
    compacted = 0
    while True:
        try:
            now = Sample(clock.monotonic(), await store.current_revision())
            target = plan(samples, now)
            samples.append(now)
            if target > compacted:
                await store.compact(target)
                compacted = target
        except StorageError as error:
            # Another server may have compacted further; the next round tries again.
            log.debug("The store was not compacted", error=str(error))
        await next_round(clock, CHECK_SECONDS, Round.LOOK, lasting_seconds=RETAINED_SECONDS)
