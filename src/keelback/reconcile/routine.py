"""A controller that is not a reconciliation of one kind: a loop of its own, restarted with back-off if it fails."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from keelback.apimachinery import errors
from keelback.component import logs
from keelback.concurrency.backoff import Backoff
from keelback.concurrency.clock import Clock

_BACKOFF = Backoff(initial_seconds=1.0, cap_seconds=60.0)


@runtime_checkable
class Routine(Protocol):
    """What runs until it is cancelled."""

    name: ClassVar[str]

    async def run(self) -> None: ...


async def keep_running(routine: Routine, clock: Clock) -> None:
    """Run it; after a failure, run it again."""
    log = logs.logger(routine.name)
    failures = 0
    while True:
        started = clock.monotonic()
        try:
            await routine.run()
        except (errors.StatusError, OSError, TimeoutError) as error:
            log.warning("Failed, starting anew", error=error)
        except Exception as error:
            log.exception("Failed, starting anew", error)
        failures = 1 if clock.monotonic() - started > _BACKOFF.cap_seconds else failures + 1
        await clock.sleep(_BACKOFF.delay(failures))
