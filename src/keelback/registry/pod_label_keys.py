"""Selectors that narrow themselves by the labels of the pod they stand in (matchLabelKeys, mismatchLabelKeys)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keelback.api.core_v1 import Affinity, PodAffinityTerm, PodSpec, TopologySpreadConstraint
from keelback.apimachinery.meta import LabelSelector, LabelSelectorRequirement, replace


def with_selected_labels(spec: PodSpec, labels: Mapping[str, str]) -> PodSpec:
    """A new pod's spec whose selectors hold the labels that their keys name (KEP-3633, KEP-3243)."""
    changes: dict[str, Any] = {}
    if any(one.match_label_keys and one.label_selector is not None for one in spec.topology_spread_constraints):
        changes["topology_spread_constraints"] = tuple(
            _with_labels(one, labels) for one in spec.topology_spread_constraints
        )
    affinity = spec.affinity
    if affinity is not None and any(one.match_label_keys or one.mismatch_label_keys for one in _terms(affinity)):
        changes["affinity"] = _affinity_with_labels(affinity, labels)
    return replace(spec, **changes) if changes else spec


def _terms(affinity: Affinity) -> Iterator[PodAffinityTerm]:
    for part in (affinity.pod_affinity, affinity.pod_anti_affinity):
        if part is not None:
            yield from part.required_during_scheduling_ignored_during_execution
            for weighted in part.preferred_during_scheduling_ignored_during_execution:
                yield weighted.pod_affinity_term


def _affinity_with_labels(affinity: Affinity, labels: Mapping[str, str]) -> Affinity:
    changes: dict[str, Any] = {}
    for field in ("pod_affinity", "pod_anti_affinity"):
        part = getattr(affinity, field)
        if part is None:
            continue
        changes[field] = replace(
            part,
            required_during_scheduling_ignored_during_execution=tuple(
                _term_with_labels(one, labels) for one in part.required_during_scheduling_ignored_during_execution
            ),
            preferred_during_scheduling_ignored_during_execution=tuple(
                replace(one, pod_affinity_term=_term_with_labels(one.pod_affinity_term, labels))
                for one in part.preferred_during_scheduling_ignored_during_execution
            ),
        )
    return replace(affinity, **changes)


def _term_with_labels(term: PodAffinityTerm, labels: Mapping[str, str]) -> PodAffinityTerm:
    if term.label_selector is None:
        return term
    more = (*_required(term.match_label_keys, "In", labels), *_required(term.mismatch_label_keys, "NotIn", labels))
    return replace(term, label_selector=_narrowed(term.label_selector, more)) if more else term


def _with_labels(constraint: TopologySpreadConstraint, labels: Mapping[str, str]) -> TopologySpreadConstraint:
    if constraint.label_selector is None:
        return constraint
    more = tuple(_required(constraint.match_label_keys, "In", labels))
    return replace(constraint, label_selector=_narrowed(constraint.label_selector, more)) if more else constraint


def _required(keys: Sequence[str], operator: str, labels: Mapping[str, str]) -> Iterator[LabelSelectorRequirement]:
    for key in keys:
        if key in labels:
            yield LabelSelectorRequirement(key=key, operator=operator, values=(labels[key],))


def _narrowed(selector: LabelSelector, more: Sequence[LabelSelectorRequirement]) -> LabelSelector:
    return replace(selector, match_expressions=(*selector.match_expressions, *more))
