"""What the containers of the fake runtime do, by a dozen words of shell or in the test's own words.

`sleep N`, `echo WORDS`, `exit N`, `true`, `false`, and `sh -c` with some of them; all else runs until it is stopped.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Script:
    """What a container does once started."""

    exit_code: int = 0
    run_seconds: float | None = None
    """None: until it is stopped."""
    output: str = ""
    """Written to the log at the start, line by line."""
    ignores_term: bool = False
    start_error: str = ""
    """Not empty: starting fails with this text."""
    start_seconds: float = 0.0
    """How long starting takes; the container is created, not running, meanwhile."""


def interpret(command: Sequence[str]) -> Script:
    """What a command does. `sh` and `sleep` do not end on SIGTERM: a first process has no default for it."""
    words = list(command)
    if words[:2] == ["sh", "-c"] and len(words) == 3:
        scripts = [interpret(shlex.split(part)) for part in words[2].split(";")]
        seconds = [script.run_seconds for script in scripts]
        return Script(
            exit_code=scripts[-1].exit_code,
            run_seconds=None if None in seconds else sum(filter(None, seconds)),
            output="".join(script.output for script in scripts),
            ignores_term=True,
        )
    match words:
        case ["sleep", duration]:
            return Script(run_seconds=float(duration), ignores_term=True)
        case ["exit", code]:
            return Script(exit_code=int(code), run_seconds=0.0)
        case ["true"]:
            return Script(run_seconds=0.0)
        case ["false"]:
            return Script(exit_code=1, run_seconds=0.0)
        case ["echo", *rest]:
            return Script(run_seconds=0.0, output=" ".join(rest) + "\n")
        case _:
            return Script()
