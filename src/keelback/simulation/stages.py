"""KWOK's Stages: which of them an object comes to next, when, and what is then done to it. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from keelback.component.flags import parse_duration
from keelback.simulation.go_templates import Template
from keelback.simulation.stage_queries import Query

Operator: TypeAlias = Literal["In", "NotIn", "Exists", "DoesNotExist"]
PatchType: TypeAlias = Literal["json", "merge", "strategic"]
Tree: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One of `matchExpressions`."""

    query: Query
    operator: Operator
    values: frozenset[str]

    def matches(self, tree: Tree) -> bool:
        """Whether the object meets it."""
        found = self.query.values(tree)
        if self.operator in ("In", "NotIn"):
            return any(_as_text(one) in self.values for one in found) == (self.operator == "In")
        return any(one is not None for one in found) == (self.operator == "Exists")


@dataclass(frozen=True, slots=True)
class Amount:
    """A number that a stage has, and a query that may find another one in the object."""

    plain: int | None = None
    query: Query | None = None

    def asked(self, tree: Tree) -> Any:
        """What the query finds; None where there is none, or where it finds nothing."""
        return next(iter(self.query.values(tree)), None) if self.query is not None else None


@dataclass(frozen=True, slots=True)
class Event:
    """What people are told; the message is a template."""

    type: str
    reason: str
    message: Template


@dataclass(frozen=True, slots=True)
class Finalizers:
    """Which are added and removed; `empty` removes all."""

    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    empty: bool = False

    def changed(self, present: Sequence[str]) -> tuple[str, ...]:
        """Those that an object has afterwards."""
        kept = [] if self.empty else [one for one in present if one not in self.remove]
        return tuple(dict.fromkeys((*kept, *self.add)))


@dataclass(frozen=True, slots=True)
class Patch:
    """A change whose template gives a patch, below `root` where that is said."""

    template: Template
    type: PatchType = "strategic"
    root: str = ""
    subresource: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """What is done to the object, in this order; nothing comes after its deletion."""

    event: Event | None = None
    finalizers: Finalizers | None = None
    delete: bool = False
    patch: Patch | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage that pods or nodes may come to."""

    name: str
    kind: str
    requirements: tuple[Requirement, ...] | None
    """None selects nothing."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    weight: Amount
    delay: Amount | None
    """In milliseconds."""
    jitter: Amount | None
    steps: tuple[Step, ...]
    is_immediate: bool = False
    """Whether what comes next is decided on what its patch gave, before a watch tells of it."""

    def matches(self, tree: Tree) -> bool:
        """Whether it selects the object."""
        if self.requirements is None:
            return False
        metadata = tree["metadata"]
        return (
            _has(metadata.get("labels"), self.labels)
            and _has(metadata.get("annotations"), self.annotations)
            and all(one.matches(tree) for one in self.requirements)
        )

    def timing(self, tree: Tree) -> tuple[Any, Any]:
        """What its queries say of its delay: as long as this stays, a wait that has begun goes on."""
        return tuple(None if one is None else one.asked(tree) for one in (self.delay, self.jitter))  # type: ignore[return-value]

    def seconds(self, tree: Tree, now: datetime, chance: random.Random) -> float:
        """How long until it comes: drawn between the delay and the jitter's bound, which alone counts if it is less."""
        least = _seconds(self.delay, tree, now)
        most = _seconds(self.jitter, tree, now)
        if least is None:
            return 0.0
        if most is None:
            return max(0.0, least)
        return max(0.0, most if most <= least else chance.uniform(least, most))


def possible(stages: Iterable[Stage], tree: Tree) -> list[tuple[Stage, int]]:
    """The stages that an object may come to, and with what weights; all of them alike where none has one."""
    matching = [(stage, _weight(stage, tree)) for stage in stages if stage.matches(tree)]
    if len(matching) == 1:
        return [(matching[0][0], 1)]
    valid = [(stage, weight) for stage, weight in matching if weight is not None]
    weighed = [(stage, weight) for stage, weight in valid if weight > 0]
    return weighed or [(stage, 1) for stage, _ in valid or matching]


def chosen(choices: Sequence[tuple[Stage, int]], chance: random.Random) -> Stage | None:
    """One of them, by weight."""
    if len(choices) <= 1:
        return choices[0][0] if choices else None
    return chance.choices([stage for stage, _ in choices], [weight for _, weight in choices])[0]


def merged(known: Iterable[Stage], more: Iterable[Stage]) -> tuple[Stage, ...]:
    """Both; of two with a name the later one, in the place of the other."""
    return tuple({stage.name: stage for stage in (*known, *more)}.values())


def _has(present: Mapping[str, str] | None, wanted: Mapping[str, str]) -> bool:
    return all((present or {}).get(key) == value for key, value in wanted.items())


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else ""


def _weight(stage: Stage, tree: Tree) -> int | None:
    """None where what the object says is no number: such a stage comes only where no other has one."""
    asked = stage.weight.asked(tree)
    if asked is None:
        return stage.weight.plain or 0
    try:
        return int(asked) if not isinstance(asked, str) else int(asked, 0)
    except (TypeError, ValueError):
        return None


def _seconds(amount: Amount | None, tree: Tree, now: datetime) -> float | None:
    """A moment that the object names, a duration, or what the stage says itself."""
    if amount is None:
        return None
    asked = amount.asked(tree)
    if asked == "":
        return None
    if isinstance(asked, str):
        try:
            return (datetime.fromisoformat(asked) - now) / timedelta(seconds=1)
        except (TypeError, ValueError):
            pass
        try:
            return parse_duration(asked)
        except ValueError:
            pass
    return None if amount.plain is None else amount.plain / 1000
