"""Plain limits on how many requests are in flight, where priority and fairness is switched off."""

from __future__ import annotations

from collections.abc import Callable

from keelback.apiserver.admittance import Proceed, is_mutating, too_many_requests
from keelback.apiserver.context import RequestContext
from keelback.apiserver.request_info import is_long_running
from keelback.apiserver.steps import Steps
from keelback.auth.attributes import Attributes
from keelback.auth.users import MASTERS_GROUP
from keelback.component.http import AnyResponse
from keelback.concurrency.clock import Clock
from keelback.concurrency.deadlines import Deadlines

_RETRY_SECONDS = 1


class MaxInFlight:
    """One limit for reads, one for writes; 0 is none. A member of system:masters always gets an answer."""

    def __init__(self, max_reads: int, max_writes: int, clock: Clock, dropped: Callable[[str], None]) -> None:
        """`dropped` is told of each request that is turned away: `readOnly` or `mutating`."""
        self._now = clock.monotonic
        self.in_flight = [0, 0]
        """Reads, writes."""
        self._limits = (max_reads, max_writes)
        self._dropped = dropped
        self._deadlines = Deadlines()

    async def serve(self, context: RequestContext, attributes: Attributes, proceed: Proceed) -> AnyResponse:
        info = context.info
        if is_long_running(info):
            return await proceed(context, attributes)
        kind = int(is_mutating(info))
        limit = self._limits[kind]
        if limit and self.in_flight[kind] >= limit and MASTERS_GROUP not in attributes.user.groups:
            context.is_terminated = True
            self._dropped("mutating" if kind else "readOnly")
            return too_many_requests(_RETRY_SECONDS)
        self.in_flight[kind] += 1
        try:
            steps = Steps(proceed(context, attributes), self._now, _uncounted)
            return (
                steps.result if steps.begin() else await steps.finish(self._deadlines.within(context.timeout_seconds))
            )
        finally:
            self.in_flight[kind] -= 1


def _uncounted(seconds: float) -> None:
    """Nobody shares the loop's time out."""
