"""What a CustomResourceDefinition's status says: its names, and whether it is served. Decides, does nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from keelback.api.apiextensions_v1 import (
    CustomResourceDefinition,
    CustomResourceDefinitionCondition,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
)
from keelback.apimachinery.meta import replace
from keelback.registry.customresourcedefinitions import CLEANUP_FINALIZER

FINALIZER = CLEANUP_FINALIZER
NAMES_ACCEPTED = "NamesAccepted"
ESTABLISHED = "Established"
TERMINATING = "Terminating"


def is_true(definition: CustomResourceDefinition, type_: str) -> bool:
    return any(one.type == type_ and one.status == "True" for one in definition.status.conditions or ())


def plan(
    definition: CustomResourceDefinition, others: Iterable[CustomResourceDefinition], now: datetime
) -> CustomResourceDefinitionStatus:
    """The status the definition should have, given the other definitions of its group."""
    accepted, conflicts = _accepted(definition, _taken(others))
    if conflicts:
        reason, message = conflicts[-1]
        named = CustomResourceDefinitionCondition(type=NAMES_ACCEPTED, status="False", reason=reason, message=message)
    else:
        named = CustomResourceDefinitionCondition(
            type=NAMES_ACCEPTED, status="True", reason="NoConflicts", message="no conflicts found"
        )
    # Once established, always established: names that change later may be refused, the objects stay served.
    if is_true(definition, ESTABLISHED):
        established = next(one for one in definition.status.conditions or () if one.type == ESTABLISHED)
    elif conflicts:
        established = CustomResourceDefinitionCondition(
            type=ESTABLISHED, status="False", reason="NotAccepted", message="not all names are accepted"
        )
    else:
        established = CustomResourceDefinitionCondition(
            type=ESTABLISHED,
            status="True",
            reason="InitialNamesAccepted",
            message="the initial names have been accepted",
        )
    status = replace(definition.status, accepted_names=accepted)
    for one in (named, established):
        status = with_condition(status, one, now)
    return status


def with_condition(
    status: CustomResourceDefinitionStatus, condition: CustomResourceDefinitionCondition, now: datetime
) -> CustomResourceDefinitionStatus:
    """The status with the condition in place of the one of its type; its time tells when its status changed."""
    found = next((one for one in status.conditions or () if one.type == condition.type), None)
    since = now.replace(microsecond=0)
    if found is None:
        return replace(status, conditions=(*(status.conditions or ()), replace(condition, last_transition_time=since)))
    since = found.last_transition_time or since if found.status == condition.status else since
    condition = replace(condition, last_transition_time=since)
    return replace(status, conditions=tuple(condition if one is found else one for one in status.conditions or ()))


def terminating(reason: str, message: str, *, is_done: bool = False) -> CustomResourceDefinitionCondition:
    return CustomResourceDefinitionCondition(
        type=TERMINATING, status="False" if is_done else "True", reason=reason, message=message
    )


def _taken(others: Iterable[CustomResourceDefinition]) -> tuple[frozenset[str], frozenset[str]]:
    """The resource names and the kinds that other definitions of the group have."""
    accepted = [one.status.accepted_names for one in others]
    names = frozenset(name for one in accepted for name in _resource_names(one) if name)
    kinds = frozenset(name for one in accepted for name in (one.kind, one.list_kind) if name)
    return names, kinds


def _resource_names(names: CustomResourceDefinitionNames) -> Iterator[str]:
    yield names.plural
    yield names.singular
    yield from names.short_names


def _accepted(
    definition: CustomResourceDefinition, taken: tuple[frozenset[str], frozenset[str]]
) -> tuple[CustomResourceDefinitionNames, list[tuple[str, str]]]:
    """The names that are free, the others as they were; and why some were refused."""
    wanted, before = definition.spec.names, definition.status.accepted_names
    names, kinds = taken
    conflicts: list[tuple[str, str]] = []
    made = before
    for field, reason, forbidden in (
        ("plural", "PluralConflict", names),
        ("singular", "SingularConflict", names),
        ("short_names", "ShortNamesConflict", names),
        ("kind", "KindConflict", kinds),
        ("list_kind", "ListKindConflict", kinds),
    ):
        value = getattr(wanted, field)
        given = value if isinstance(value, tuple) else (value,)
        refused = [one for one in given if one in forbidden]
        if refused and value != getattr(before, field):
            conflicts.append((reason, "; ".join(f'"{one}" is already in use' for one in refused)))
        else:
            made = replace(made, **{field: value})
    return replace(made, categories=wanted.categories), conflicts
