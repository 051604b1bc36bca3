"""The pause program does what a pid 1 must: reap, end when told, sleep otherwise."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from pathlib import Path

import pytest

from keelback.bootstrap import pause
from keelback.network import namespaces
from keelback.network.namespaces import Kind


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "pause"
    path.write_bytes(pause.executable(platform.machine()))
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_it_is_a_whole_elf_file_of_a_few_hundred_bytes(machine: str) -> None:
    program = pause.executable(machine)
    assert program.startswith(b"\x7fELF\x02\x01\x01")
    assert len(program) < 600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_0_when_told_to(program: Path, number: signal.Signals) -> None:
    with subprocess.Popen([program]) as process:
        _wait_until_asleep(process.pid)
        process.send_signal(number)
        assert process.wait(timeout=10) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace needs root")
def test_as_pid_1_it_reaps_orphans(program: Path) -> None:
    def start() -> tuple[subprocess.Popen[bytes], str]:
        init = subprocess.Popen([program], cwd="/")
        # The inner shell leaves an orphan, a child of pid 1 from then on, and a moment later it is gone for good.
        script = "mount -t proc proc /proc; sh -c 'true & sleep 0.01 & exec true'; sleep 0.05; cat /proc/[0-9]*/stat"
        shell = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, cwd="/")
        return init, shell.stdout

    def work() -> tuple[subprocess.Popen[bytes], str]:
        namespaces.make_mounts_private()
        return start()

    init, processes = namespaces.within_new(Kind.PID | Kind.MOUNT, work)
    try:
        assert "(pause)" in processes
        assert ") Z " not in processes
    finally:
        init.kill()
        init.wait()


def _wait_until_asleep(pid: int) -> None:
    while Path(f"/proc/{pid}/wchan").read_text() not in {"do_sys_pause", "__do_sys_pause", "__x64_sys_pause"}:
        if Path(f"/proc/{pid}/syscall").read_text().startswith(("34 ", "73 ")):
            return
        os.sched_yield()
