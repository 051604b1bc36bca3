"""What a pod may say of where it wants to run: tolerations, affinities, spreading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keelback.api.core_v1 import (
    Affinity,
    NodeSelector,
    NodeSelectorTerm,
    PodAffinityTerm,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import LabelSelector
from keelback.registry import label_selectors

_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_INCLUSION_POLICIES: Final = ("Honor", "Ignore")
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
        yield from _toleration_value(one, here)
        if one.effect:
            yield from validate_effect(one.effect, f"{here}.effect")


def _toleration_value(toleration: Toleration, path: str) -> Iterator[FieldError]:
    value = toleration.value
    match toleration.operator:
        case "" | "Equal":
            complaints = names.label_value(value)
            if complaints:
                yield invalid(f"{path}.operator", value, ";".join(complaints))
        case "Exists":
            if value:
                yield invalid(f"{path}.operator", value, "value must be empty when `operator` is 'Exists'")
        case "Gt" | "Lt" as comparison:
            # TaintTolerationComparisonOperators is off by default.
            known = ("Equal", "Exists", "Lt", "Gt")
            yield not_supported(f"{path}.operator", comparison, known, in_given_order=True)
        case other:
            yield not_supported(f"{path}.operator", other, ("Equal", "Exists"), in_given_order=True)


def validate_effect(effect: str, path: str) -> Iterator[FieldError]:
    """The complaint about the effect of a taint, or of its toleration."""
    if effect not in _EFFECTS:
        yield not_supported(path, effect, _EFFECTS, in_given_order=True)


def validate_affinity(affinity: Affinity, path: str) -> Iterator[FieldError]:
    """Everything wrong with an affinity."""
    of_node = affinity.node_affinity
    if of_node is not None:
        wanted = of_node.required_during_scheduling_ignored_during_execution
        if wanted is not None:
            here = f"{path}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
            yield from validate_node_selector(wanted, here)
        for index, preferred in enumerate(of_node.preferred_during_scheduling_ignored_during_execution):
            here = f"{path}.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
            yield from _weight(preferred.weight, here)
            # A preference that no node can meet does no harm.
            yield from _node_term(preferred.preference, f"{here}.preference", with_values=False)
    for field, of_pods in (("podAffinity", affinity.pod_affinity), ("podAntiAffinity", affinity.pod_anti_affinity)):
        if of_pods is not None:
            yield from _pod_terms(
                of_pods.required_during_scheduling_ignored_during_execution,
                of_pods.preferred_during_scheduling_ignored_during_execution,
                f"{path}.{field}",
            )


def validate_node_selector(selector: NodeSelector, path: str) -> Iterator[FieldError]:
    """Everything wrong with a choice of nodes."""
    if not selector.node_selector_terms:
        yield required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(selector.node_selector_terms):
        yield from _node_term(term, f"{path}.nodeSelectorTerms[{index}]", with_values=True)


def _weight(weight: int, path: str) -> Iterator[FieldError]:
    if not 1 <= weight <= 100:
        yield invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _node_term(term: NodeSelectorTerm, path: str, *, with_values: bool) -> Iterator[FieldError]:
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
        for place, value in enumerate(requirement.values if with_values else ()):
            for complaint in names.label_value(value):
                yield invalid(f"{here}.values[{place}]", value, complaint)
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
            continue
        for place, value in enumerate(requirement.values):
            for complaint in names.dns1123_subdomain(value):
                yield invalid(f"{here}.values[{place}]", value, complaint)


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
    for namespace in term.namespaces:
        for complaint in names.dns1123_label(namespace):
            yield invalid(f"{path}.namespace", namespace, complaint)
    if term.match_label_keys or term.mismatch_label_keys:
        yield from _label_keys_of_term(term, path)
    if not term.topology_key:
        yield required(f"{path}.topologyKey", "can not be empty")
    for complaint in names.qualified_name(term.topology_key):
        yield invalid(f"{path}.topologyKey", term.topology_key, complaint)


def _label_keys_of_term(term: PodAffinityTerm, path: str) -> Iterator[FieldError]:
    selector = term.label_selector
    for field, keys in (("matchLabelKeys", term.match_label_keys), ("mismatchLabelKeys", term.mismatch_label_keys)):
        if keys and selector is None:
            yield forbidden(f"{path}.{field}", "must not be specified when labelSelector is not set")
            continue
        for index, key in enumerate(keys):
            for complaint in names.qualified_name(key):
                yield invalid(f"{path}.{field}[{index}]", key, complaint)
    if selector is not None:
        # Upstream leaves the field out of the path.
        yield from _selected_twice(term.match_label_keys, selector, path)
    for index, key in enumerate(term.match_label_keys):
        if key in term.mismatch_label_keys:
            why = "exists in both matchLabelKeys and mismatchLabelKeys"
            yield invalid(f"{path}.matchLabelKeys[{index}]", key, why)


def validate_spread(constraints: Sequence[TopologySpreadConstraint], path: str) -> Iterator[FieldError]:
    """Everything wrong with topology spread constraints."""
    pairs = [(one.topology_key, one.when_unsatisfiable) for one in constraints]
    for index, one in enumerate(constraints):
        here = f"{path}[{index}]"
        if one.max_skew <= 0:
            yield invalid(f"{here}.maxSkew", one.max_skew, "must be greater than zero")
        if not one.topology_key:
            yield required(f"{here}.topologyKey", "can not be empty")
        if one.when_unsatisfiable not in _WHEN_UNSATISFIABLE:
            yield not_supported(f"{here}.whenUnsatisfiable", one.when_unsatisfiable, _WHEN_UNSATISFIABLE)
        # Upstream complains at the first of two.
        if pairs[index] in pairs[index + 1 :]:
            shown = f"{{{one.topology_key}, {one.when_unsatisfiable}}}"
            yield duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", shown)
        yield from _min_domains(one, f"{here}.minDomains")
        for field, policy in (
            ("nodeAffinityPolicy", one.node_affinity_policy),
            ("nodeTaintsPolicy", one.node_taints_policy),
        ):
            if policy is not None and policy not in _INCLUSION_POLICIES:
                yield not_supported(f"{here}.{field}", policy, _INCLUSION_POLICIES)
        if one.match_label_keys:
            yield from _label_keys_of_spread(one, here)
        yield from label_selectors.validate(one.label_selector, f"{here}.labelSelector")


def _min_domains(constraint: TopologySpreadConstraint, path: str) -> Iterator[FieldError]:
    number, action = constraint.min_domains, constraint.when_unsatisfiable
    if number is None:
        return
    if number <= 0:
        yield invalid(path, number, "must be greater than zero")
    if action != "DoNotSchedule":
        why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
        yield invalid(path, number, why)


def _label_keys_of_spread(constraint: TopologySpreadConstraint, path: str) -> Iterator[FieldError]:
    selector = constraint.label_selector
    if selector is None:
        yield forbidden(f"{path}.matchLabelKeys", "must not be specified when labelSelector is not set")
        return
    for index, key in enumerate(constraint.match_label_keys):
        for complaint in names.qualified_name(key):
            yield invalid(f"{path}.matchLabelKeys[{index}]", key, complaint)
    yield from _selected_twice(constraint.match_label_keys, selector, path)


def _selected_twice(keys: Sequence[str], selector: LabelSelector, path: str) -> Iterator[FieldError]:
    """A pod's keys have been turned into requirements of its selector, so that only a second one is the client's."""
    places = {key: index for index, key in enumerate(keys)}
    seen = set(selector.match_labels)
    for requirement in selector.match_expressions:
        if requirement.key in places and requirement.key in seen:
            why = "exists in both matchLabelKeys and labelSelector"
            yield invalid(f"{path}[{places[requirement.key]}]", requirement.key, why)
        seen.add(requirement.key)
