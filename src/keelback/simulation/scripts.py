"""What simulated containers say: to who reads their logs, runs a command in them or speaks to a port of theirs. Pure.

A test's functions are asked first, then the pod's annotations; both may speak for some containers and not for others.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeAlias

import yaml

from keelback.kubelet.logs import LogOptions
from keelback.simulation.manners import PREFIX
from keelback.simulation.pods import SimulatedPod

LOG: Final = PREFIX + "log"  # the text of each life's log, written at its start; `log.NAME` is one container's
EXEC: Final = PREFIX + "exec"  # YAML: by command, what it prints, or {stdout, stderr, exitCode}; `exec.NAME` likewise
ANSWER: Final = PREFIX + "answer"  # YAML: by port, the body with which HTTP is answered there
_NOT_FOUND: Final = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerAsked:
    """Of which life of which container something is wanted; `attempt` counts from 0."""

    namespace: str
    pod: str
    container: str
    labels: Mapping[str, str]
    attempt: int


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it printed."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0


LogFunction: TypeAlias = "Callable[[ContainerAsked], str | None]"
ExecFunction: TypeAlias = "Callable[[ContainerAsked, list[str], bytes], Ran | str | None]"
"""Gets the command and what was sent to its standard input."""
PortFunction: TypeAlias = "Callable[[ContainerAsked, int, bytes], bytes | None]"
"""Gets the port and what was sent first; gives what is sent back before the connection is closed."""

UsageFunction: TypeAlias = "Callable[[SimulatedPod], tuple[float | None, int | None]]"
"""Gives the cores and the bytes that a pod uses in all; None leaves either to its annotations."""


@dataclass(slots=True)
class Scripts:
    """The functions of a test; the first that does not give None is believed. They are called on the cluster's loop."""

    logs: list[LogFunction] = field(default_factory=list)
    commands: list[ExecFunction] = field(default_factory=list)
    ports: list[PortFunction] = field(default_factory=list)
    usage: UsageFunction | None = None


def log_text(scripts: Scripts, asked: ContainerAsked, annotations: Mapping[str, str]) -> str:
    """What one life of a container has written."""
    for function in scripts.logs:
        text = function(asked)
        if text is not None:
            return text
    return annotations.get(f"{LOG}.{asked.container}", annotations.get(LOG, ""))


def ran(
    scripts: Scripts, asked: ContainerAsked, annotations: Mapping[str, str], command: list[str], stdin: bytes
) -> Ran:
    """What a command does. One of which nothing is said is not found."""
    for function in scripts.commands:
        given = function(asked, command, stdin)
        if given is not None:
            return Ran(given) if isinstance(given, str) else given
    line = shlex.join(command)
    known = _mapping(annotations, f"{EXEC}.{asked.container}") or _mapping(annotations, EXEC)
    if line not in known:
        return Ran(stderr=f"{line}: nothing is said of this command in a simulated container\n", exit_code=_NOT_FOUND)
    told = known[line]
    if not isinstance(told, dict):
        return Ran("" if told is None else str(told))
    return Ran(str(told.get("stdout", "")), str(told.get("stderr", "")), int(told.get("exitCode", 0)))


def answered(
    scripts: Scripts, asked: ContainerAsked, annotations: Mapping[str, str], port: int, sent: bytes
) -> bytes | None:
    """What a port answers; None where nobody listens."""
    for function in scripts.ports:
        given = function(asked, port, sent)
        if given is not None:
            return given
    known = _mapping(annotations, ANSWER)
    if port not in known:
        return None
    body = str(known[port]).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


def selected(text: str, written_at: datetime, options: LogOptions) -> bytes:
    """The part of a log that is wanted; simulated containers write all of theirs at once, to stdout."""
    if options.stream == "stderr" or (options.since is not None and written_at < options.since):
        return b""
    lines = text.splitlines(keepends=True)
    if options.tail_lines >= 0:
        lines = lines[len(lines) - min(options.tail_lines, len(lines)) :]
    stamp = f"{written_at:%Y-%m-%dT%H:%M:%S}.000000000Z " if options.timestamps else ""
    found = "".join(stamp + line for line in lines).encode()
    return found if options.limit_bytes < 0 else found[: options.limit_bytes]


def _mapping(annotations: Mapping[str, str], name: str) -> dict[Any, Any]:
    """An annotation's YAML; empty where it is not given. Raises ValueError for what is no mapping."""
    try:
        found = yaml.safe_load(annotations.get(name, ""))
    except yaml.YAMLError as error:
        raise ValueError(f"{name}: {error}") from error
    if found is not None and not isinstance(found, dict):
        raise ValueError(f"{name} is not a mapping")
    return found or {}
