"""Processes that outlive whoever started them: told apart by pid, start time and boot, never by name.

A record survives `kill -9` of everything: written to a file, it says later whether that process still runs, and a
recycled pid is never taken for it. Linux says it in `/proc`; elsewhere `ps` does (`PORTABLE`), to the second.
"""

from __future__ import annotations

import asyncio
import calendar
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

PORTABLE = not sys.platform.startswith("linux")
"""Whether processes are told apart by what POSIX has."""
_POLL_SECONDS = 0.05
_PS_SECONDS = 10.0


class Process(msgspec.Struct, frozen=True):
    """One process of this machine, as seen from the machine's own pid namespace."""

    pid: int
    start_ticks: int
    """When it started: in clock ticks since the boot, or seconds since 1970 where that is not told."""
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process that has this pid now. `ProcessLookupError` when there is none."""
        ticks = _start_ticks(pid)
        if ticks is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid, ticks, boot_id())

    def is_alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return self.boot_id == boot_id() and _start_ticks(self.pid) == self.start_ticks

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if the process is gone."""
        if self.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def wait_gone(self, timeout_seconds: float) -> bool:
        """Wait for its end, also of a process that is not a child. False when the time is over."""
        if not self.is_alive():
            return True
        if PORTABLE:
            return await self._poll_gone(timeout_seconds)
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        loop.add_reader(descriptor, lambda: None if ended.done() else ended.set_result(None))
        try:
            async with asyncio.timeout(timeout_seconds):
                await ended
        except TimeoutError:
            return not self.is_alive()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return True

    async def _poll_gone(self, timeout_seconds: float) -> bool:
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.is_alive():  # noqa: ASYNC110 - nothing tells of the end of what is no child
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            return not self.is_alive()
        return True

    async def stop(self, grace_seconds: float) -> None:
        """Ask it to end, and end it after `grace_seconds`."""
        self.send(signal.SIGTERM)
        if not await self.wait_gone(grace_seconds):
            self.send(signal.SIGKILL)
            await self.wait_gone(grace_seconds)


def running(executable: Path) -> list[Process]:
    """The processes of one program file, by its exact path: for what was started and not yet written down."""
    return _matching(lambda directory: os.readlink(directory / "exe") == str(executable))


def running_as(arguments: Sequence[str]) -> list[Process]:
    """The processes started with exactly these arguments."""
    wanted = b"".join(argument.encode() + b"\0" for argument in arguments)
    return _matching(lambda directory: (directory / "cmdline").read_bytes() == wanted)


def _matching(matches: Callable[[Path], bool]) -> list[Process]:
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        try:
            if matches(directory):
                found.append(Process.of(int(directory.name)))
        except OSError:
            # It ended, or is the kernel's own.
            continue
    return found


def boot_id() -> str:
    """What the kernel calls this boot: the same pid and start time may come again after a restart.

    Empty where times of starts are those of the calendar, which do not come again.
    """
    if PORTABLE:
        return ""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_ticks(pid: int) -> int | None:
    """When the process started; None where it runs no more."""
    return _start_by_ps(pid) if PORTABLE else _start_by_proc(pid)


def _start_by_ps(pid: int) -> int | None:
    # In the C locale the time reads alike on all systems.
    said = subprocess.run(
        ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        timeout=_PS_SECONDS,
        check=False,
        env={"PATH": os.environ.get("PATH", "/bin:/usr/bin"), "LC_ALL": "C", "TZ": "UTC0"},
    ).stdout
    state, _, began = said.strip().partition(" ")
    if not began or state.startswith("Z"):
        return None
    return calendar.timegm(time.strptime(" ".join(began.split()), "%a %b %d %H:%M:%S %Y"))


def _start_by_proc(pid: int) -> int | None:
    try:
        # The program's name stands in parentheses and may hold anything, so fields count from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])
