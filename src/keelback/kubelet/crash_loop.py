"""How long a container that ended waits before it is started again: 10 s, doubling to 300 s, forgotten after 10 min."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

INITIAL = timedelta(seconds=10)
CAP = timedelta(seconds=300)


@dataclass(frozen=True, slots=True)
class CrashLoop:
    """The back-off of one container: how long the next wait is, and when that was decided."""

    delay: timedelta
    decided_at: datetime


def waits_until(entry: CrashLoop | None, ended_at: datetime, now: datetime) -> datetime | None:
    """Until when it must wait after ending at `ended_at`, or None when it may start now."""
    if entry is None or _is_forgotten(entry, ended_at):
        return None
    until = ended_at + entry.delay
    return until if now < until else None


def after_start(entry: CrashLoop | None, ended_at: datetime, now: datetime) -> CrashLoop:
    """The entry once it is started again."""
    if entry is None or _is_forgotten(entry, ended_at):
        return CrashLoop(INITIAL, now)
    return CrashLoop(min(entry.delay * 2, CAP), now)


def _is_forgotten(entry: CrashLoop, ended_at: datetime) -> bool:
    return ended_at - entry.decided_at > 2 * CAP


def go_duration(delay: timedelta) -> str:
    """A duration as Go prints it: 10s, 1m20s, 5m0s."""
    seconds = int(delay.total_seconds())
    return f"{seconds}s" if seconds < 60 else f"{seconds // 60}m{seconds % 60}s"
