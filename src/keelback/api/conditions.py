"""What one asks of conditions of any kind: all have a type, status, reason, message and time of transition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

import msgspec


class Statement(Protocol):
    """The least that is read of a condition."""

    @property
    def type(self) -> str: ...
    @property
    def status(self) -> str: ...


class Dated(Statement, Protocol):
    """What is, why, and since when."""

    @property
    def reason(self) -> str: ...
    @property
    def last_transition_time(self) -> datetime | None: ...


class Condition(Dated, Protocol):
    """The part that the conditions of all kinds share."""

    @property
    def message(self) -> str: ...


S = TypeVar("S", bound=Statement)
C = TypeVar("C", bound=Condition)


def find(conditions: Iterable[S], type: str) -> S | None:
    """The condition of that type, if it is there."""
    for condition in conditions:
        if condition.type == type:
            return condition
    return None


def is_true(conditions: Iterable[Statement], type: str) -> bool:
    """Whether the condition of that type is there and True."""
    condition = find(conditions, type)
    return condition is not None and condition.status == "True"


def without(conditions: Iterable[C], type: str) -> tuple[C, ...]:
    """All but the condition of that type."""
    return tuple(condition for condition in conditions if condition.type != type)


def changed_to(conditions: Sequence[C], new: C) -> tuple[C, ...]:
    """With `new` last in place of its predecessor, as the workload controllers write it.

    One that says the same (status and reason) stays as it was; the transition time changes only with the status.
    """
    old = find(conditions, new.type)
    if old is not None:
        if old.status == new.status and old.reason == new.reason:
            return tuple(conditions)
        if old.status == new.status:
            new = _replaced(new, last_transition_time=old.last_transition_time)
    return (*without(conditions, new.type), new)


def set_in_place(conditions: Sequence[C], new: C) -> tuple[C, ...]:
    """With `new` where its predecessor stood, else last (apimachinery's `SetStatusCondition`)."""
    old = find(conditions, new.type)
    if old is None:
        return (*conditions, new)
    if old.status == new.status:
        new = _replaced(new, last_transition_time=old.last_transition_time)
    return tuple(new if condition.type == new.type else condition for condition in conditions)


def _replaced(condition: C, **changes: Any) -> C:
    replaced: C = msgspec.structs.replace(condition, **changes)  # type: ignore[type-var]
    return replaced
