"""What a CustomResourceDefinition's status says: its names, and whether it is served. Decides, does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from keelback.api.apiextensions_v1 import (
    CustomResourceDefinition,
    CustomResourceDefinitionCondition,
    CustomResourceDefinitionNames,
    CustomResourceDefinitionStatus,
)
from keelback.apimachinery.meta import replace
from keelback.registry import custom_resource_definition_parts as parts
from keelback.registry.customresourcedefinitions import CLEANUP_FINALIZER

FINALIZER = CLEANUP_FINALIZER
NAMES_ACCEPTED = "NamesAccepted"
ESTABLISHED = "Established"
TERMINATING = "Terminating"
API_APPROVED = "KubernetesAPIApprovalPolicyConformant"


def is_true(definition: CustomResourceDefinition, type_: str) -> bool:
    return any(one.type == type_ and one.status == "True" for one in definition.status.conditions or ())


class AcceptedNames:
    """Which definition has which names: within a group, resources share one space of names and kinds another."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._kinds: dict[tuple[str, str], str] = {}
        self._of: dict[str, tuple[str, CustomResourceDefinitionNames]] = {}

    def put(self, definition: CustomResourceDefinition) -> None:
        """Note the names that a definition has."""
        name, group, names = definition.metadata.name, definition.spec.group, definition.status.accepted_names
        self.remove(name)
        self._of[name] = (group, names)
        self._names |= {(group, one): name for one in _resource_names(names) if one}
        self._kinds |= {(group, one): name for one in (names.kind, names.list_kind) if one}

    def remove(self, name: str) -> None:
        """Forget the names of a definition that is gone."""
        group, names = self._of.pop(name, ("", None))
        if names is None:
            return
        for one in _resource_names(names):
            if self._names.get((group, one)) == name:
                del self._names[group, one]
        for one in (names.kind, names.list_kind):
            if self._kinds.get((group, one)) == name:
                del self._kinds[group, one]

    def is_taken(self, definition: CustomResourceDefinition, wanted: str, *, is_kind: bool) -> bool:
        """Whether another definition of the group has a name."""
        owner = (self._kinds if is_kind else self._names).get((definition.spec.group, wanted))
        return owner is not None and owner != definition.metadata.name


def plan(definition: CustomResourceDefinition, taken: AcceptedNames, now: datetime) -> CustomResourceDefinitionStatus:
    """The status the definition should have, given the names of others."""
    accepted, conflicts = _accepted(definition, taken)
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
    for one in (named, established, *_approval(definition)):
        status = with_condition(status, one, now)
    return status


_APPROVALS = {
    "missing": ("False", "MissingAnnotation"),
    "invalid": ("False", "InvalidAnnotation"),
    "bypassed": ("False", "UnapprovedAnnotation"),
    "approved": ("True", "ApprovedAnnotation"),
}


def _approval(definition: CustomResourceDefinition) -> Iterator[CustomResourceDefinitionCondition]:
    """What the definition of a group of the community's own says of its approval (KEP-1111)."""
    if parts.is_protected(definition.spec.group):
        state, message = parts.approval(definition)
        told, reason = _APPROVALS[state]
        yield CustomResourceDefinitionCondition(type=API_APPROVED, status=told, reason=reason, message=message)


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


def _resource_names(names: CustomResourceDefinitionNames) -> Iterator[str]:
    yield names.plural
    yield names.singular
    yield from names.short_names


def _accepted(
    definition: CustomResourceDefinition, taken: AcceptedNames
) -> tuple[CustomResourceDefinitionNames, list[tuple[str, str]]]:
    """The names that are free, the others as they were; and why some were refused."""
    wanted, before = definition.spec.names, definition.status.accepted_names
    conflicts: list[tuple[str, str]] = []
    made = before
    for field, reason, is_kind in (
        ("plural", "PluralConflict", False),
        ("singular", "SingularConflict", False),
        ("short_names", "ShortNamesConflict", False),
        ("kind", "KindConflict", True),
        ("list_kind", "ListKindConflict", True),
    ):
        value, own = getattr(wanted, field), getattr(before, field)
        given, kept = (value, own) if isinstance(value, tuple) else ((value,), (own,))
        refused = [
            f'"{one}" is already in use'
            for one in given
            if one and one not in kept and taken.is_taken(definition, one, is_kind=is_kind)
        ]
        if refused:
            conflicts.append((reason, refused[0] if len(refused) == 1 else f"[{', '.join(refused)}]"))
        else:
            made = replace(made, **{field: value})
    return replace(made, categories=wanted.categories), conflicts
