"""The commands on a machine that pretends to have neither `/proc` nor Linux' own system calls, as macOS has not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Read by every interpreter that is started, the control plane's too.
_PRETENCE = """
import builtins, io, os, platform

opened = io.open

def open_unless_linux(path, *arguments, **options):
    if isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(("/proc", "/sys/")):
        raise FileNotFoundError(2, "not on this system", str(path))
    return opened(path, *arguments, **options)

platform.system = lambda: "Darwin"
io.open = builtins.open = open_unless_linux
for name in ("pidfd_open", "setns", "unshare", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)

from keelback.bootstrap import processes

processes.PORTABLE = True
"""


def test_a_cluster_of_simulated_nodes_needs_no_linux(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_PRETENCE)
    name = f"cli-portable-{os.getpid()}"
    # What the tests' own interpreter was told to import comes along.
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    own = {"PYTHONPATH": path, "HOME": str(tmp_path), "KUBECONFIG": str(tmp_path / "config")}

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "keelback.cli.main", *arguments, "--name", name],
            env={**os.environ, **own},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    try:
        status, said = run("demo")
        assert status == 0, said
        assert "Darwin has no Linux containers" in said
        assert "3 of 3 replicas are Ready" in said
        status, said = run("status")
        assert (status, "node-0 Ready" in said) == (0, True), said
        assert "runs already" in run("up")[1]
    finally:
        status, said = run("down")
    assert status == 0, said
    assert "is down" in said
