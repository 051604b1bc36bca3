"""A cluster spoken to as a person would: by the `keelback` command and the real kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

from keelback.testing.terminals import Terminal, terminal

PROGRAMS = Path(sys.executable).parent
_CA_OVERRIDES = frozenset(("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))


@dataclass(frozen=True)
class Cluster:
    """One cluster, and how it is spoken to."""

    name: str
    folder: Path
    program: Path = PROGRAMS / "kubectl"
    namespace: str = ""  # given to every kubectl; empty: what the context says
    variables: Mapping[str, str] = field(default_factory=dict)  # of the environment, beside the usual

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def environment(self) -> dict[str, str]:
        own = {"KUBECONFIG": str(self.folder / "kubeconfig"), "HOME": str(self.folder)}
        # Clients built on requests prefer these to the CA that a kubeconfig names.
        kept = {name: value for name, value in os.environ.items() if name not in _CA_OVERRIDES}
        return {**kept, **own, **self.variables}

    def by(self, program: Path, namespace: str = "") -> Cluster:
        """The same cluster, spoken to by another kubectl, in a namespace."""
        return replace(self, program=program, namespace=namespace)

    def keelback(self, command: str, *arguments: str) -> str:
        """What a command printed, its progress included; it must succeed."""
        argv = [str(PROGRAMS / "keelback"), command, "--name", self.name, "--data-dir", str(self.data), *arguments]
        return self.run(argv, with_errors=True)

    def kubectl(self, *arguments: str, text: str | None = None, may_fail: bool = False) -> str:
        """What kubectl printed."""
        return self.run(self._kubectl(arguments), text=text, may_fail=may_fail)

    def at_terminal(self, *arguments: str) -> AbstractContextManager[Terminal]:
        """A kubectl with a terminal, as `exec -it` wants it; also one that runs on while others are called."""
        return terminal(self._kubectl(arguments), self.environment)

    def _kubectl(self, arguments: tuple[str, ...]) -> list[str]:
        where = ["--namespace", self.namespace] if self.namespace else []
        return [str(self.program), *where, *arguments]

    def run(
        self,
        argv: list[str],
        *,
        text: str | None = None,
        may_fail: bool = False,
        with_errors: bool = False,
        timeout_seconds: float = 90,
    ) -> str:
        """What a program printed (and its errors, when it may fail); it must succeed unless it may fail."""
        done = subprocess.run(
            argv,
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
        assert may_fail or done.returncode == 0, f"{argv} ended with {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr if may_fail or with_errors else done.stdout

    def record(self, *parts: str) -> int:
        """The process id in one of the cluster's records."""
        content = json.loads(Path("/run/keelback", self.name, *parts).read_text())
        return int(content.get("init", content)["pid"])
