"""A disk that is full while a cluster starts, by the real command on a file system of next to no size."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelback.bootstrap import failures


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


def keelback(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "keelback.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_up_on_a_full_disk_says_so_and_what_to_do(small_disk: Path) -> None:
    data = small_disk / "data"
    place = ["--name", f"full{os.getpid()}", "--data-dir", str(data)]
    try:
        done = keelback("up", *place, "--simulated")
        assert done.returncode == 1
        assert done.stderr.startswith("keelback: the control plane failed: ")
        assert f"The disk of {data} is full: free some of it, or choose another with --data-dir." in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        assert keelback("down", *place).returncode == 0


def test_only_a_full_disk_is_blamed_on_the_disk(tmp_path: Path) -> None:
    assert failures.with_advice("no route to host", tmp_path) == "no route to host"
    assert "--data-dir" in failures.with_advice("ctr: write /x: no space left on device", tmp_path / "not" / "yet")
