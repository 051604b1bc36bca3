"""What a reconciler hands back, and the error that says a retry would not help."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """Done for now; where a delay is given, look again after that many seconds even if nothing changes."""

    requeue_after_seconds: float | None = None
    is_watch: bool = False
    """Whether that look only sees to it that others go on reporting (`keelback.concurrency.rounds.Round.WATCH`)."""


DONE = Result()


def again_after(seconds: float, *, is_watch: bool = False) -> Result:
    """Look again after `seconds`; never sooner than at once."""
    return Result(max(seconds, 0.001), is_watch)


def soonest(*results: Result) -> Result:
    """The result that looks again first."""
    delays = [result.requeue_after_seconds for result in results if result.requeue_after_seconds is not None]
    return Result(min(delays)) if delays else DONE


class TerminalError(Exception):
    """The object cannot be reconciled until it changes: the loop logs it and does not retry."""
