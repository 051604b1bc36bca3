"""What README.md and docs/getting-started.md tell a reader to type, typed: each command works and prints what is shown.

A cluster's name becomes one that nobody else has; what differs from run to run is compared as what it is.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keelback.bootstrap import machine, sample

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
_FENCE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PREFIX = f"docs-{os.getpid()}-"
_NAMED = {"up", "down", "status", "kubeconfig", "logs", "load", "disconnect", "connect"}
_VARIABLE = (
    (re.compile(r"\b\d+\.\d s\b"), "TIME"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"\b10\.\d+\.\d+\.\d+\b"), "ADDRESS"),
    (re.compile(r"\bweb-[a-z0-9]{8,10}-[a-z0-9]{5}\b"), "web-POD"),
    (re.compile(r"\bnode-\d\b"), "node-N"),
    (re.compile(r"\b\d+s\b"), "AGE"),
    (re.compile(r"/\S+/config\b"), "KUBECONFIG"),
    (re.compile(r"[ \t]+"), " "),
)


@dataclass(frozen=True)
class Shown:
    """One command of a page, and what the page shows of its output."""

    command: str
    output: str


def shown(page: Path) -> list[Shown]:
    found = []
    for fence in _FENCE.findall(page.read_text()):
        for part in re.split(r"^\$ ", fence, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            found.append(Shown(command.split("#")[0].strip(), output.strip()))
    return found


def own(command: str) -> str:
    """The command with this run's names of clusters."""
    words = shlex.split(command)
    if words[0] != "keelback" or words[1] not in _NAMED or "--all" in words:
        return command
    if "--name" in words:
        return re.sub(r"--name ", f"--name {_PREFIX}", command)
    return command.replace(words[1], f"{words[1]} --name {_PREFIX}local", 1)


def normal(output: str) -> str:
    for pattern, name in _VARIABLE:
        output = pattern.sub(name, output)
    return output.replace(_PREFIX, "").strip()


@dataclass(frozen=True)
class Shell:
    folder: Path

    def type(self, command: str) -> str:
        """What a command prints. One that follows a log is ended after its first line."""
        environment = {
            **os.environ,
            "HOME": str(self.folder),
            "KUBECONFIG": str(self.folder / ".kube" / "config"),
            "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        }
        follows = "--follow" in command or "--watch" in command
        with subprocess.Popen(
            ["bash", "-c", own(command)],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            if follows:
                line = process.stdout.readline()
                os.killpg(process.pid, signal.SIGINT)
                process.stdout.read()
                return line
            output = process.stdout.read()
        assert process.returncode == 0, f"{command} ended with {process.returncode}:\n{output}"
        return output


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    findings = machine.examine(machine.observe(tmp_path))
    if not machine.can_run_containers(findings):
        pytest.skip(f"no real containers here: {machine.why_simulated(findings)}")
    made = Shell(tmp_path)
    try:
        yield made
    finally:
        made.type("keelback down --all")


@pytest.mark.containers
@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_what_a_page_tells_to_type_works_and_prints_what_it_shows(shell: Shell, page: str) -> None:
    (shell.folder / "image.tar").write_bytes(sample.build("localhost/mine:latest"))
    (shell.folder / "tokens.csv").write_text("token,jane,jane\n")
    commands = shown(ROOT / page)
    assert commands
    for one in commands:
        printed = shell.type(one.command)
        if one.output:
            assert normal(printed) == normal(one.output), one.command
