"""A program at a terminal, as a person sits at one: what it shows is read, what is typed reaches it.

Every wait has a deadline, and a program still there at the end is stopped: nothing outlives its `with`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WAIT_SECONDS = 30.0
ROWS, COLUMNS = 33, 111
END_OF_INPUT = "\x04"


@dataclass
class Terminal:
    """One program and its terminal. Line ends are `\\r\\n`, as terminals have them."""

    process: subprocess.Popen[bytes]
    _side: int
    shown: str = ""

    def read_until(self, text: str, *, after: int = 0) -> str:
        """All that was shown, once `text` is in it behind the first `after` characters.

        Raises:
            AssertionError: the program ended, or the wait did, before that.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while text not in self.shown[after:]:
            assert self._read(deadline), f"{text!r} is not in what was shown: {self.shown!r}"
        return self.shown

    def type(self, text: str) -> None:
        os.write(self._side, text.encode())

    def wait(self) -> int:
        """The program's exit code, once it has ended; all that it showed is then in `shown`."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self._read(deadline):
            pass
        return self.process.wait(timeout=WAIT_SECONDS)

    def _read(self, deadline: float) -> bool:
        """Whether there was more."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._side], [], [], left)[0]:
            return False
        try:
            chunk = os.read(self._side, 1 << 16)
        except OSError:  # EIO: the last process at the other side has gone
            return False
        self.shown += chunk.decode(errors="replace")
        return bool(chunk)


@contextlib.contextmanager
def terminal(argv: Sequence[str], environment: Mapping[str, str]) -> Iterator[Terminal]:
    """A program started at a terminal of its own, and stopped when the block is left."""
    side, far_side = pty.openpty()
    fcntl.ioctl(far_side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        process = subprocess.Popen(
            list(argv), env=dict(environment), stdin=far_side, stdout=far_side, stderr=far_side, start_new_session=True
        )
    finally:
        os.close(far_side)
    try:
        yield Terminal(process, side)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
        process.kill()
        process.wait()
        os.close(side)
