"""A cluster spoken to as a person would: by the `keelback` command and the real kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(sys.executable).parent


@dataclass(frozen=True)
class Cluster:
    """One cluster, and how it is spoken to."""

    name: str
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.folder / "kubeconfig"), "HOME": str(self.folder)}

    def keelback(self, command: str, *arguments: str) -> str:
        """What a command printed, its progress included; it must succeed."""
        argv = [str(PROGRAMS / "keelback"), command, "--name", self.name, "--data-dir", str(self.data), *arguments]
        return self._run(argv, with_errors=True)

    def kubectl(self, *arguments: str, text: str | None = None, may_fail: bool = False) -> str:
        """What kubectl printed."""
        return self._run([str(PROGRAMS / "kubectl"), *arguments], text=text, may_fail=may_fail)

    def _run(
        self, argv: list[str], *, text: str | None = None, may_fail: bool = False, with_errors: bool = False
    ) -> str:
        done = subprocess.run(
            argv, env=self.environment, input=text, capture_output=True, text=True, timeout=90, check=False
        )
        assert may_fail or done.returncode == 0, f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr if may_fail or with_errors else done.stdout

    def record(self, *parts: str) -> int:
        """The process id in one of the cluster's records."""
        content = json.loads(Path("/run/keelback", self.name, *parts).read_text())
        return int(content.get("init", content)["pid"])
