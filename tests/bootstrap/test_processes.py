"""A record of a process tells whether that very process still runs."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from keelback.bootstrap import processes
from keelback.bootstrap.processes import Process, running, running_as


@pytest.fixture(params=["Linux", "elsewhere"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way of telling processes apart; both work on Linux."""
    monkeypatch.setattr(processes, "PORTABLE", request.param == "elsewhere")


@pytest.mark.usefixtures("system")
def test_a_record_survives_being_written_down() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        record = Process.of(child.pid)
        again = msgspec.json.decode(msgspec.json.encode(record), type=Process)
        assert again == record
        assert again.is_alive()
        child.kill()


@pytest.mark.usefixtures("system")
def test_a_zombie_is_not_alive_and_another_process_of_that_pid_is_another() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        record = Process.of(child.pid)
        assert not msgspec.structs.replace(record, start_ticks=record.start_ticks + 1).is_alive()
        assert not msgspec.structs.replace(record, boot_id="another boot").is_alive()
        child.kill()
        assert asyncio.run(record.wait_gone(10))
        assert not record.is_alive()
    with pytest.raises(ProcessLookupError):
        Process.of(child.pid)
    record.send(signal.SIGKILL)


@pytest.mark.usefixtures("system")
def test_who_does_not_listen_is_ended_after_the_grace() -> None:
    with subprocess.Popen(["sh", "-c", "trap '' TERM; echo deaf; read _"], stdin=-1, stdout=-1) as deaf:
        assert deaf.stdout is not None
        deaf.stdout.readline()
        record = Process.of(deaf.pid)
        asyncio.run(record.stop(0.05))
        assert not record.is_alive()


def test_what_was_not_written_down_is_found_by_its_exact_program_or_arguments(tmp_path: Path) -> None:
    program = tmp_path / "sleeper"
    program.write_bytes(Path("/bin/sleep").resolve().read_bytes())
    program.chmod(0o755)
    with subprocess.Popen([program, "600.25"]) as child:
        assert [process.pid for process in running(program)] == [child.pid]
        assert [process.pid for process in running_as([str(program), "600.25"])] == [child.pid]
        assert running_as([str(program)]) == []
        child.kill()
    assert running(program) == []
