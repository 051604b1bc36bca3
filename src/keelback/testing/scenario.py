"""A scenario file: the nodes of a cluster, and what happens to it in the course of time. Read strictly."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from keelback.apimachinery import quantity
from keelback.component.flags import parse_duration
from keelback.simulation import fleets, stage_files
from keelback.simulation.config import SimulatedNode
from keelback.simulation.stages import Stage
from keelback.testing.cluster_objects import documents

_VERBS: Final = ("apply", "create", "scale", "patch", "delete", "disconnect", "connect", "cordon", "uncordon", "drain")


class ScenarioError(ValueError):
    """The file cannot be carried out; the text says what is wrong and where."""


class NodeGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`count` like nodes, called NAME-0, NAME-1 and so on; without a capacity each has 32 CPUs and 256Gi."""

    name: str
    count: int = 1
    capacity: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}


class Happening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One thing that happens: once, `at` a time, or `every` so often, `from` a time on, `until` another."""

    at: str = ""
    every: str = ""
    from_: str = msgspec.field(default="0s", name="from")
    until: str = ""
    count: int = 1
    """How many objects `create` makes each time."""
    apply: str | Mapping[str, Any] = ""
    """A file or folder, seen from the scenario's, or an object."""
    create: Mapping[str, Any] = {}
    """An object with a generateName."""
    scale: str = ""
    replicas: int = 0
    patch: str = ""
    change: Mapping[str, Any] = {}
    delete: str = ""
    disconnect: str = ""
    connect: str = ""
    cordon: str = ""
    uncordon: str = ""
    drain: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nodes: int | list[NodeGroup] = 3
    duration: str = "1h"
    sample: str = "30s"
    seed: int = 0
    job_seconds: float = 60.0
    stages: str | list[str] = []
    """Files or folders of KWOK's Stages, seen from the scenario's."""
    events: list[Happening] = []


@dataclasses.dataclass(frozen=True, slots=True)
class Moment:
    """What happens at an instant, in seconds from the beginning."""

    seconds: float
    verb: str
    happening: Happening


@dataclasses.dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario that can be carried out. Times are in seconds."""

    folder: Path
    nodes: tuple[SimulatedNode, ...]
    duration: float
    sample: float
    seed: int
    job_seconds: float
    stages: tuple[Stage, ...]
    moments: tuple[Moment, ...]
    """In the order in which they come."""


def read(path: Path, seed: int | None = None, stages: Sequence[Path] = ()) -> Scenario:
    """Read a scenario; a seed goes before the file's, stages go with its own. Raises ScenarioError, OSError."""
    try:
        given = msgspec.convert(yaml.safe_load(path.read_text()) or {}, _File)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    own_stages = [given.stages] if isinstance(given.stages, str) else given.stages
    duration, sample = _seconds(given.duration, "duration"), _seconds(given.sample, "sample")
    if not 0 < sample <= duration:
        raise ScenarioError(f"sample: {given.sample} is not above 0 and at most the duration, {given.duration}")
    moments = [
        moment
        for number, happening in enumerate(given.events)
        for moment in _moments(happening, duration, f"events[{number}]")
    ]
    return Scenario(
        path.parent,
        tuple(_nodes(given.nodes)),
        duration,
        sample,
        given.seed if seed is None else seed,
        given.job_seconds,
        _stages([*(path.parent / file for file in own_stages), *stages]),
        tuple(sorted(moments, key=lambda moment: moment.seconds)),
    )


def _stages(files: Sequence[Path]) -> tuple[Stage, ...]:
    try:
        return tuple(stage_files.read(tree) for file in files for tree in documents(file))
    except ValueError as error:
        raise ScenarioError(f"stages: {error}") from error


def _nodes(given: int | list[NodeGroup]) -> Iterator[SimulatedNode]:
    if isinstance(given, int):
        yield from fleets.nodes(given)
        return
    # Addresses are given to all of them together.
    plain = iter(fleets.nodes(sum(group.count for group in given)))
    for place, group in enumerate(given):
        for name, amount in group.capacity.items():
            try:
                quantity.parse(amount)
            except ValueError as error:
                raise ScenarioError(f"nodes[{place}].capacity.{name}: {error}") from error
        for number in range(group.count):
            node = next(plain)
            labels = {**node.labels, **group.labels}
            capacity = {**node.capacity, **group.capacity}
            yield dataclasses.replace(node, name=f"{group.name}-{number}", labels=labels, capacity=capacity)


def _moments(happening: Happening, duration: float, where: str) -> Iterator[Moment]:
    verbs = [verb for verb in _VERBS if getattr(happening, verb)]
    if len(verbs) != 1:
        raise ScenarioError(f"{where}: needs one of {', '.join(_VERBS)}, and has {', '.join(verbs) or 'none'}")
    if bool(happening.at) == bool(happening.every):
        raise ScenarioError(f"{where}: needs either `at` or `every`")
    if happening.create and not happening.create.get("metadata", {}).get("generateName"):
        raise ScenarioError(f"{where}.create: needs metadata.generateName")
    if happening.at:
        yield Moment(_seconds(happening.at, f"{where}.at"), verbs[0], happening)
        return
    step = _seconds(happening.every, f"{where}.every")
    if step <= 0:
        raise ScenarioError(f"{where}.every: {happening.every} is not above 0")
    until = _seconds(happening.until, f"{where}.until") if happening.until else duration
    at = _seconds(happening.from_, f"{where}.from")
    while at <= until:
        yield Moment(at, verbs[0], happening)
        at += step


def _seconds(text: str, where: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ScenarioError(f"{where}: {error}") from error
