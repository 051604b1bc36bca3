"""The machine's control groups: which hierarchies there are, and clearing away what a node made in them.

OCI runtimes make the parents they are told of and never remove them; whoever chose the parent must.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_ATTEMPTS = 100
_PAUSE_SECONDS = 0.01


def hierarchies(mounts: str | None = None) -> list[tuple[Path, str]]:
    """Mount point and type (`cgroup` or `cgroup2`) of every hierarchy, from `/proc/mounts` or text of its form."""
    text = Path("/proc/self/mounts").read_text() if mounts is None else mounts
    rows = (line.split() for line in text.splitlines())
    return [(Path(row[1]), row[2]) for row in rows if len(row) > 2 and row[2] in {"cgroup", "cgroup2"}]


def version(mounts: str | None = None) -> str:
    """`v1`, `v2`, `hybrid` or `none`."""
    kinds = {kind for _, kind in hierarchies(mounts)}
    return {
        frozenset({"cgroup"}): "v1",
        frozenset({"cgroup2"}): "v2",
        frozenset({"cgroup", "cgroup2"}): "hybrid",
    }.get(frozenset(kinds), "none")


def is_hybrid() -> bool:
    """Whether this machine has version 1 for the controllers beside a version 2 without them."""
    return version() == "hybrid"


def remove_tree(parent: str) -> None:
    """Remove the group `parent` (as `/keelback/node`) and all below it, in every hierarchy; what runs there is killed.

    The group above it goes too when nothing else is in it.
    """
    for mount, _ in hierarchies():
        top = mount / parent.strip("/")
        for group in _deepest_first(top):
            _remove(group)
        above = top.parent
        while above != mount:
            with contextlib.suppress(OSError):
                above.rmdir()
            above = above.parent


def _deepest_first(top: Path) -> Iterator[Path]:
    for directory, _, _ in os.walk(top, topdown=False):
        yield Path(directory)


def _remove(group: Path) -> None:
    for _ in range(_ATTEMPTS):
        try:
            group.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            # A process that is ending keeps its group busy for some milliseconds.
            for pid in _processes(group):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_PAUSE_SECONDS)


def _processes(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split() if line != "0"]
    except OSError:
        return []
