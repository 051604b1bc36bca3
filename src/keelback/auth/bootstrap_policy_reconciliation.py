"""Bringing the default roles and bindings up to date at start, without taking back what people have added.

An object whose annotation `rbac.authorization.kubernetes.io/autoupdate` is "false" is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from keelback.api.rbac_v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding
from keelback.apimachinery.meta import ObjectMeta, replace, with_metadata
from keelback.auth.bootstrap_policy import AUTOUPDATE_ANNOTATION
from keelback.auth.escalation import uncovered
from keelback.auth.rbac import RBACObject


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What must be written. A binding to another role cannot be updated: it is deleted and made anew."""

    create: list[RBACObject] = field(default_factory=list)
    update: list[RBACObject] = field(default_factory=list)
    recreate: list[RBACObject] = field(default_factory=list)


def plan(wanted: Iterable[RBACObject], existing: Iterable[RBACObject]) -> Reconciliation:
    """What to write so that every wanted object grants at least what it should."""
    known = {_identity(obj): obj for obj in existing}
    planned = Reconciliation()
    for obj in wanted:
        old = known.get(_identity(obj))
        if old is None:
            planned.create.append(obj)
        elif old.metadata.annotations.get(AUTOUPDATE_ANNOTATION) == "false":
            continue
        elif _role_ref(old) != _role_ref(obj):
            merged = _merged(obj, old)
            metadata = ObjectMeta(
                name=merged.metadata.name,
                namespace=merged.metadata.namespace,
                labels=merged.metadata.labels,
                annotations=merged.metadata.annotations,
            )
            planned.recreate.append(replace(merged, metadata=metadata))
        else:
            merged = _merged(obj, old)
            if merged != old:
                planned.update.append(merged)
    return planned


def _merged(wanted: RBACObject, old: RBACObject) -> RBACObject:
    """The old object with what it lacks."""
    metadata = old.metadata
    changed = with_metadata(
        old,
        labels={**metadata.labels, **wanted.metadata.labels},
        annotations={**metadata.annotations, **wanted.metadata.annotations},
    )
    if isinstance(changed, ClusterRole) and isinstance(wanted, ClusterRole) and wanted.aggregation_rule is not None:
        # Its rules are its controller's.
        return replace(changed, aggregation_rule=wanted.aggregation_rule)
    if isinstance(changed, (ClusterRole, Role)) and isinstance(wanted, (ClusterRole, Role)):
        missing = uncovered(changed.rules or (), wanted.rules or ())
        return replace(changed, rules=(*(changed.rules or ()), *missing)) if missing else changed
    assert isinstance(changed, (ClusterRoleBinding, RoleBinding))
    assert isinstance(wanted, (ClusterRoleBinding, RoleBinding))
    lacking = tuple(one for one in wanted.subjects if one not in changed.subjects)
    return replace(changed, role_ref=wanted.role_ref, subjects=(*changed.subjects, *lacking))


def _identity(obj: RBACObject) -> tuple[str, str, str]:
    return (obj.kind, obj.metadata.namespace, obj.metadata.name)


def _role_ref(obj: RBACObject) -> object:
    return obj.role_ref if isinstance(obj, (ClusterRoleBinding, RoleBinding)) else None
