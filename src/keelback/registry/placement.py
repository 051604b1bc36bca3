"""What a pod may say of where it wants to run: tolerations, affinities, spreading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keelback.api.core_v1 import (
    Affinity,
    NodeSelectorTerm,
    PodAffinityTerm,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from keelback.registry import label_selectors

_EFFECTS: Final = ("NoExecute", "NoSchedule", "PreferNoSchedule")
_WHEN_UNSATISFIABLE: Final = ("DoNotSchedule", "ScheduleAnyway")


def validate_tolerations(tolerations: Sequence[Toleration], path: str) -> Iterator[FieldError]:
    """Everything wrong with tolerations."""
    for index, one in enumerate(tolerations):
        here = f"{path}[{index}]"
        if one.key:
            for complaint in names.qualified_name(one.key):
                yield invalid(f"{here}.key", one.key, complaint)
        elif one.operator != "Exists":
            yield invalid(
                f"{here}.operator",
                one.operator,
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if one.toleration_seconds is not None and one.effect != "NoExecute":
            yield invalid(f"{here}.effect", one.effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
        if one.operator in ("", "Equal"):
            for complaint in names.label_value(one.value):
                yield invalid(f"{here}.operator", one.value, complaint)
        elif one.operator == "Exists":
            if one.value:
                yield invalid(f"{here}.operator", one, "value must be empty when `operator` is 'Exists'")
        elif one.operator not in ("Gt", "Lt"):
            yield not_supported(f"{here}.operator", one.operator, ("Equal", "Exists"))
        if one.effect and one.effect not in _EFFECTS:
            yield not_supported(f"{here}.effect", one.effect, _EFFECTS)


def validate_affinity(affinity: Affinity, path: str) -> Iterator[FieldError]:
    """Everything wrong with an affinity."""
    of_node = affinity.node_affinity
    if of_node is not None:
        wanted = of_node.required_during_scheduling_ignored_during_execution
        if wanted is not None:
            here = f"{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
            if not wanted.node_selector_terms:
                yield required(here, "must have at least one node selector term")
            for index, term in enumerate(wanted.node_selector_terms):
                yield from _node_term(term, f"{here}[{index}]")
        for index, preferred in enumerate(of_node.preferred_during_scheduling_ignored_during_execution):
            here = f"{path}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            yield from _weight(preferred.weight, here)
            yield from _node_term(preferred.preference, f"{here}.preference")
    for field, of_pods in (("podAffinity", affinity.pod_affinity), ("podAntiAffinity", affinity.pod_anti_affinity)):
        if of_pods is not None:
            yield from _pod_terms(
                of_pods.required_during_scheduling_ignored_during_execution,
                of_pods.preferred_during_scheduling_ignored_during_execution,
                f"{path}.{field}",
            )


def _weight(weight: int, path: str) -> Iterator[FieldError]:
    if not 1 <= weight <= 100:
        yield invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _node_term(term: NodeSelectorTerm, path: str) -> Iterator[FieldError]:
    for index, requirement in enumerate(term.match_expressions):
        here = f"{path}.matchExpressions[{index}]"
        match requirement.operator:
            case "In" | "NotIn":
                if not requirement.values:
                    yield required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            case "Exists" | "DoesNotExist":
                if requirement.values:
                    yield forbidden(
                        f"{here}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    )
            case "Gt" | "Lt":
                if len(requirement.values) != 1:
                    yield required(f"{here}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
            case _:
                yield invalid(f"{here}.operator", requirement.operator, "not a valid selector operator")
        for complaint in names.qualified_name(requirement.key):
            yield invalid(f"{here}.key", requirement.key, complaint)
    for index, requirement in enumerate(term.match_fields):
        here = f"{path}.matchFields[{index}]"
        if requirement.operator not in ("In", "NotIn"):
            yield invalid(f"{here}.operator", requirement.operator, "not a valid selector operator")
        elif len(requirement.values) != 1:
            yield required(
                f"{here}.values", "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
        if requirement.key != "metadata.name":
            yield invalid(f"{here}.key", requirement.key, "not a valid field selector key")


def _pod_terms(
    wanted: Sequence[PodAffinityTerm], preferred: Sequence[WeightedPodAffinityTerm], path: str
) -> Iterator[FieldError]:
    for index, term in enumerate(wanted):
        yield from _pod_term(term, f"{path}.requiredDuringSchedulingIgnoredDuringExecution[{index}]")
    for index, weighted in enumerate(preferred):
        here = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        yield from _weight(weighted.weight, here)
        yield from _pod_term(weighted.pod_affinity_term, f"{here}.podAffinityTerm")


def _pod_term(term: PodAffinityTerm, path: str) -> Iterator[FieldError]:
    yield from label_selectors.validate(term.label_selector, f"{path}.labelSelector")
    yield from label_selectors.validate(term.namespace_selector, f"{path}.namespaceSelector")
    for index, namespace in enumerate(term.namespaces):
        for complaint in names.dns1123_label(namespace):
            yield invalid(f"{path}.namespace[{index}]", namespace, complaint)
    if not term.topology_key:
        yield required(f"{path}.topologyKey", "can not be empty")
    else:
        for complaint in names.qualified_name(term.topology_key):
            yield invalid(f"{path}.topologyKey", term.topology_key, complaint)


def validate_spread(constraints: Sequence[TopologySpreadConstraint], path: str) -> Iterator[FieldError]:
    """Everything wrong with topology spread constraints."""
    seen: set[tuple[str, str]] = set()
    for index, one in enumerate(constraints):
        here = f"{path}[{index}]"
        if one.max_skew <= 0:
            yield invalid(f"{here}.maxSkew", one.max_skew, "must be greater than zero")
        if not one.topology_key:
            yield required(f"{here}.topologyKey", "can not be empty")
        else:
            for complaint in names.qualified_name(one.topology_key):
                yield invalid(f"{here}.topologyKey", one.topology_key, complaint)
        if one.when_unsatisfiable not in _WHEN_UNSATISFIABLE:
            yield not_supported(f"{here}.whenUnsatisfiable", one.when_unsatisfiable, _WHEN_UNSATISFIABLE)
        pair = (one.topology_key, one.when_unsatisfiable)
        if pair in seen:
            yield duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}")
        seen.add(pair)
        if one.min_domains is not None:
            if one.min_domains <= 0:
                yield invalid(f"{here}.minDomains", one.min_domains, "must be greater than zero")
            if one.when_unsatisfiable != "DoNotSchedule":
                yield invalid(
                    f"{here}.minDomains",
                    one.min_domains,
                    "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
                )
        yield from label_selectors.validate(one.label_selector, f"{here}.labelSelector")
