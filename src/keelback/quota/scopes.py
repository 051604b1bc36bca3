"""Quota scopes: which pods and claims a quota is about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keelback.api.core_v1 import (
    PersistentVolumeClaim,
    Pod,
    PodAffinityTerm,
    ResourceQuota,
    ScopedResourceSelectorRequirement,
)
from keelback.api.pods import qos_class


def selectors(quota: ResourceQuota) -> Iterator[ScopedResourceSelectorRequirement]:
    """Everything the quota demands of an object, however it is written."""
    for scope in quota.spec.scopes:
        yield ScopedResourceSelectorRequirement(scope_name=scope, operator="Exists")
    if quota.spec.scope_selector is not None:
        yield from quota.spec.scope_selector.match_expressions


def matches(quota: ResourceQuota, obj: object) -> bool:
    """Whether the quota is about the object: every scope must match. Only pods and claims have scopes."""
    return all(selects(selector, obj) for selector in selectors(quota))


def selects(selector: ScopedResourceSelectorRequirement, obj: object) -> bool:
    """Whether one scope is that of an object."""
    if isinstance(obj, Pod):
        return _matches_pod(selector, obj)
    if isinstance(obj, PersistentVolumeClaim) and selector.scope_name == "VolumeAttributesClass":
        return _selects(selector, _volume_attributes_classes(obj))
    return False


def _matches_pod(selector: ScopedResourceSelectorRequirement, pod: Pod) -> bool:
    match selector.scope_name:
        case "Terminating":
            return pod.spec.active_deadline_seconds is not None
        case "NotTerminating":
            return pod.spec.active_deadline_seconds is None
        case "BestEffort":
            return qos_class(pod) == "BestEffort"
        case "NotBestEffort":
            return qos_class(pod) != "BestEffort"
        case "PriorityClass":
            name = pod.spec.priority_class_name
            return _selects(selector, (name,) if name else ())
        case "CrossNamespacePodAffinity":
            return any(_crosses_namespaces(term) for term in _affinity_terms(pod))
        case _:
            return False


def _selects(selector: ScopedResourceSelectorRequirement, values: Sequence[str]) -> bool:
    match selector.operator:
        case "In":
            return any(value in selector.values for value in values)
        case "NotIn":
            return not any(value in selector.values for value in values)
        case "DoesNotExist":
            return not values
        case _:
            return bool(values)


def _volume_attributes_classes(claim: PersistentVolumeClaim) -> tuple[str, ...]:
    names = (claim.spec.volume_attributes_class_name, claim.status.current_volume_attributes_class_name)
    return tuple(dict.fromkeys(name for name in names if name))


def _crosses_namespaces(term: PodAffinityTerm) -> bool:
    return bool(term.namespaces) or term.namespace_selector is not None


def _affinity_terms(pod: Pod) -> Iterator[PodAffinityTerm]:
    affinity = pod.spec.affinity
    if affinity is None:
        return
    for kind in (affinity.pod_affinity, affinity.pod_anti_affinity):
        if kind is not None:
            yield from kind.required_during_scheduling_ignored_during_execution
            for weighted in kind.preferred_during_scheduling_ignored_during_execution:
                yield weighted.pod_affinity_term
