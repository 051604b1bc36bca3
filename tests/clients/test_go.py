"""A client in Go, with Go's own HTTP and TLS, that starts the programs of envtest as controller-runtime does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keelback.testing import clients

pytestmark = [pytest.mark.slow_clients, pytest.mark.timeout(900)]

PROGRAM = Path(__file__).with_name("programs") / "envtest.go"


def test_a_suite_in_go_starts_the_programs_of_envtest(tmp_path: Path) -> None:
    go = clients.debian("go", "golang-go")
    environment = {**os.environ, "GOCACHE": str(tmp_path / "go"), "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(go, "build", "-o", tmp_path / "suite", PROGRAM)
    assets = run(Path(sys.executable).parent / "keelback", "envtest", "path").strip()
    said = run(tmp_path / "suite", assets).splitlines()
    assert said[1:] == ["watched MODIFIED red", "token of system:serviceaccount:default:robot"]
