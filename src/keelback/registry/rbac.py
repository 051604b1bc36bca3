"""What roles and their bindings share: rules, subjects, and a reference that never changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from keelback.api.rbac_v1 import ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef, Subject
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry.cells import wide
from keelback.registry.strategy import AGE, Column

GROUP = "rbac.authorization.k8s.io"
_B = TypeVar("_B", RoleBinding, ClusterRoleBinding)


def _subjects(kind: str) -> Any:
    def value(binding: RoleBinding | ClusterRoleBinding, _now: datetime) -> str:
        found = (one for one in binding.subjects if one.kind == kind)
        return ", ".join(f"{one.namespace}/{one.name}" if kind == "ServiceAccount" else one.name for one in found)

    return value


BINDING_COLUMNS = (
    Column("Role", lambda one, _now: f"{one.role_ref.kind}/{one.role_ref.name}"),
    AGE,
    wide("Users", _subjects("User")),
    wide("Groups", _subjects("Group")),
    wide("ServiceAccounts", _subjects("ServiceAccount")),
)


def with_subject_groups(binding: _B) -> _B:
    """The binding with the API groups that follow from its subjects' kinds."""
    subjects = tuple(
        replace(one, api_group=GROUP) if not one.api_group and one.kind in ("User", "Group") else one
        for one in binding.subjects
    )
    if subjects == binding.subjects:
        return binding
    return replace(binding, subjects=subjects)


def validate_rules(rules: Sequence[PolicyRule], *, namespaced: bool) -> Iterator[FieldError]:
    """Everything wrong with a role's rules."""
    for index, rule in enumerate(rules):
        path = f"rules[{index}]"
        if not rule.verbs:
            yield required(f"{path}.verbs", "verbs must contain at least one value")
        if rule.non_resource_urls:
            if namespaced:
                yield invalid(
                    f"{path}.nonResourceURLs",
                    list(rule.non_resource_urls),
                    "namespaced rules cannot apply to non-resource URLs",
                )
            if rule.api_groups or rule.resources or rule.resource_names:
                yield invalid(
                    f"{path}.nonResourceURLs",
                    list(rule.non_resource_urls),
                    "rules cannot apply to both regular resources and non-resource URLs",
                )
            continue
        if not rule.api_groups:
            yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
        if not rule.resources:
            yield required(f"{path}.resources", "resource rules must supply at least one resource")


def validate_binding(
    role_ref: RoleRef, subjects: Sequence[Subject], kinds: tuple[str, ...], *, namespaced: bool
) -> Iterator[FieldError]:
    """Everything wrong with a binding."""
    if role_ref.api_group != GROUP:
        yield not_supported("roleRef.apiGroup", role_ref.api_group, (GROUP,))
    if role_ref.kind not in kinds:
        yield not_supported("roleRef.kind", role_ref.kind, kinds, in_given_order=True)
    if not role_ref.name:
        yield required("roleRef.name")
    else:
        for complaint in names.path_segment(role_ref.name):
            yield invalid("roleRef.name", role_ref.name, complaint)
    for index, subject in enumerate(subjects):
        yield from _subject(subject, f"subjects[{index}]", namespaced)


def validate_same_role(new: RoleRef, old: RoleRef) -> Iterator[FieldError]:
    """The complaint about another role: that would be another binding."""
    if new != old:
        # Upstream prints its internal type, which has no JSON names.
        shown = {"APIGroup": new.api_group, "Kind": new.kind, "Name": new.name}
        yield invalid("roleRef", shown, "cannot change roleRef")


def _subject(subject: Subject, path: str, namespaced: bool) -> Iterator[FieldError]:
    if not subject.name:
        yield required(f"{path}.name")
    if subject.kind == "ServiceAccount":
        if subject.name:
            for complaint in names.dns1123_subdomain(subject.name):
                yield invalid(f"{path}.name", subject.name, complaint)
        if subject.api_group:
            yield not_supported(f"{path}.apiGroup", subject.api_group, ("",))
        if not namespaced and not subject.namespace:
            yield required(f"{path}.namespace")
    elif subject.kind in ("User", "Group"):
        if subject.api_group != GROUP:
            yield not_supported(f"{path}.apiGroup", subject.api_group, (GROUP,))
    else:
        yield not_supported(f"{path}.kind", subject.kind, ("ServiceAccount", "User", "Group"), in_given_order=True)
