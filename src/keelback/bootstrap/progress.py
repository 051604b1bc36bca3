"""Progress for whoever waits: one line for each step that is done, with the time since the start."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TextIO

from keelback.concurrency.clock import Clock


@dataclass(slots=True)
class Progress:
    """Tells a person what has happened. On a terminal, what is under way stands in a line that is written over."""

    clock: Clock
    stream: TextIO = field(default_factory=lambda: sys.stderr)
    is_quiet: bool = False
    _began: float = -1.0
    _doing: str = ""

    def __post_init__(self) -> None:
        self._began = self.clock.monotonic()

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return self.clock.monotonic() - self._began

    def done(self, text: str) -> None:
        """A step is done: a line that stays."""
        self._write(f"{self._erase()}{self.seconds:6.1f} s  {text}\n")

    def doing(self, text: str) -> None:
        """Something is under way; the same text again is not repeated."""
        if text == self._doing:
            return
        erase = self._erase()
        self._doing = text
        if self.stream.isatty():
            self._write(f"{erase}{self.seconds:6.1f} s  {text} ...")

    def say(self, text: str) -> None:
        """A line without a time."""
        self._write(f"{self._erase()}{text}\n")

    def _erase(self) -> str:
        shown, self._doing = self._doing, ""
        return "\r\x1b[K" if shown and self.stream.isatty() else ""

    def _write(self, text: str) -> None:
        if not self.is_quiet:
            self.stream.write(text)
            self.stream.flush()
