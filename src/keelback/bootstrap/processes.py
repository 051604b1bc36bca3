"""Processes that outlive whoever started them: told apart by pid, start time and boot, never by name.

A record survives `kill -9` of everything: written to a file, it says later whether that process still runs, and a
recycled pid is never taken for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec


class Process(msgspec.Struct, frozen=True):
    """One process of this machine, as seen from the machine's own pid namespace."""

    pid: int
    start_ticks: int
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
    """What the kernel calls this boot: the same pid and start time may come again after a restart."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _start_ticks(pid: int) -> int | None:
    try:
        # The program's name stands in parentheses and may hold anything, so fields count from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])
