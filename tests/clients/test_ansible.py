"""Ansible's kubernetes.core: a playbook changes everything the first time and nothing the second."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from keelback.testing import clients
from keelback.testing.commands import Cluster

PROGRAMS = Path(__file__).with_name("programs")

pytestmark = [pytest.mark.slow_clients, pytest.mark.timeout(600)]


def changed(output: str) -> set[str]:
    """The names of the tasks that changed something."""
    names: set[str] = set()
    task = ""
    for line in output.splitlines():
        if found := re.match(r"TASK \[(.*)\]", line):
            task = found[1]
        elif line.startswith("changed:"):
            names.add(task)
    return names


def test_a_playbook_told_twice(simulated: Cluster, new_namespace: Callable[[Cluster, str], str]) -> None:
    python = clients.python("ansible", "ansible==12.*", "kubernetes==37.*")
    namespace = new_namespace(simulated, "ansible")

    def play(*arguments: str) -> str:
        argv = [str(python.with_name("ansible-playbook")), str(PROGRAMS / "playbook.yaml")]
        interpreter = f"place={namespace} ansible_python_interpreter={python}"
        return simulated.run([*argv, "-e", interpreter, "-i", "localhost,", *arguments], timeout_seconds=300)

    assert changed(play()) == {"create", "apply", "apply on the server", "template", "scale", "json_patch"}
    # Scaling is no part of what is applied, so that too stands as it was.
    assert changed(play()) == set()
    assert changed(play("--tags", "roll")) == {"change", "roll back", "remove"}
