"""Events as lines of a file, or of what the server prints."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from keelback.audit.backends import AuditMetrics
from keelback.audit.events import Event, encode, text_line
from keelback.audit.rotating_file import RotatingFile
from keelback.concurrency.clock import Clock


class Output(Protocol):
    """Where lines go."""

    def write(self, data: bytes) -> None:
        """Take whole lines. Raises OSError."""
        ...

    async def close(self) -> None: ...


class StandardOutput:
    """What the server prints."""

    def write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    async def close(self) -> None:
        """Nothing: others print as well."""


def output(
    path: str, clock: Clock, *, max_megabytes: int, max_age_days: int, max_backups: int, compresses: bool
) -> Output:
    """The output that `--audit-log-path` names; `-` is what the server prints. Raises OSError."""
    if path == "-":
        return StandardOutput()
    return RotatingFile(
        Path(path),
        clock,
        max_bytes=max_megabytes << 20,
        max_age_days=max_age_days,
        max_backups=max_backups,
        compresses=compresses,
    )


class LogBackend:
    """Writes at once: in the mode `blocking` a request goes on when the system has its lines."""

    def __init__(self, output: Output, metrics: AuditMetrics, *, is_text: bool = False) -> None:
        self._output = output
        self._metrics = metrics
        self._line: Callable[[Event], bytes] = _text if is_text else encode

    async def process(self, events: Sequence[Event]) -> bool:
        try:
            self._output.write(b"".join([self._line(one) + b"\n" for one in events]))
        except OSError as error:
            self._metrics.lost("log", str(error), events)
            return False
        return True

    async def run(self) -> None:
        """Nothing is done in the background."""

    async def close(self) -> None:
        await self._output.close()


def _text(event: Event) -> bytes:
    return text_line(event).encode()
