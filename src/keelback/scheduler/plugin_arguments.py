"""The arguments of plugins in a KubeSchedulerConfiguration: their form, and the plugin that each makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar

import msgspec

from keelback.api.core_v1 import NodeAffinity as Affinity
from keelback.api.core_v1 import TopologySpreadConstraint
from keelback.component import flags
from keelback.scheduler.configuration_types import ConfigurationError, Strict
from keelback.scheduling.dynamic_resources import (
    DEFAULT_BINDING_TIMEOUT_SECONDS,
    DEFAULT_FILTER_TIMEOUT_SECONDS,
    DynamicResources,
)
from keelback.scheduling.inter_pod_affinity import InterPodAffinity
from keelback.scheduling.node_affinity import NodeAffinity
from keelback.scheduling.node_resources_balanced_allocation import DEFAULT_RESOURCES, NodeResourcesBalancedAllocation
from keelback.scheduling.node_resources_fit import NodeResourcesFit
from keelback.scheduling.node_resources_scoring import Strategy, StrategyType
from keelback.scheduling.plugins import PreemptionLimits
from keelback.scheduling.pod_topology_spread import PodTopologySpread
from keelback.scheduling.volume_binding import VolumeBinding

T = TypeVar("T", bound=Strict)
_VERSION: Final = "kubescheduler.config.k8s.io/v1"
_SHAPE_SCALE: Final = 10
"""Shapes are written in scores of 0 to 10."""


class _Resource(Strict, frozen=True):
    name: str
    weight: int = 1


class _ShapePoint(Strict, frozen=True):
    utilization: int
    score: int


class _Ratio(Strict, frozen=True):
    shape: tuple[_ShapePoint, ...] = ()


class _Strategy(Strict, frozen=True):
    type: StrategyType = "LeastAllocated"
    resources: tuple[_Resource, ...] = (_Resource("cpu"), _Resource("memory"))
    requested_to_capacity_ratio: _Ratio | None = None


class _FitArguments(Strict, frozen=True):
    ignored_resources: tuple[str, ...] = ()
    ignored_resource_groups: tuple[str, ...] = ()
    scoring_strategy: _Strategy = _Strategy()


class _NodeAffinityArguments(Strict, frozen=True):
    added_affinity: Affinity | None = None


class _SpreadArguments(Strict, frozen=True):
    default_constraints: tuple[TopologySpreadConstraint, ...] = ()
    defaulting_type: Literal["System", "List"] = "System"


class _InterPodAffinityArguments(Strict, frozen=True):
    hard_pod_affinity_weight: int = 1
    ignore_preferred_terms_of_existing_pods: bool = False


class _BalancedAllocationArguments(Strict, frozen=True):
    resources: tuple[_Resource, ...] = (_Resource("cpu"), _Resource("memory"))


class _DynamicResourcesArguments(Strict, frozen=True):
    filter_timeout: str | None = None
    binding_timeout: str | None = None


class _VolumeBindingArguments(Strict, frozen=True):
    bind_timeout_seconds: int = 600
    shape: tuple[_ShapePoint, ...] = ()


class _PreemptionArguments(Strict, frozen=True):
    min_candidate_nodes_percentage: int = 10
    min_candidate_nodes_absolute: int = 100


def _fit(tree: Mapping[str, Any], path: str) -> NodeResourcesFit:
    given = _decoded(tree, _FitArguments, "NodeResourcesFit", path)
    strategy = given.scoring_strategy
    where = f"{path}.scoringStrategy"
    for one in strategy.resources:
        # As upstream: 0 stands for 1.
        _between(one.weight, 0, 100, f"{where}.resources: the weight of {one.name}")
    shape = strategy.requested_to_capacity_ratio.shape if strategy.requested_to_capacity_ratio else ()
    if strategy.type == "RequestedToCapacityRatio" and not shape:
        raise ConfigurationError(f"{where}.requestedToCapacityRatio.shape: at least one point must be specified")
    for before, point in zip((None, *shape), shape, strict=False):
        _between(point.utilization, 0, 100, f"{where}: utilization")
        _between(point.score, 0, _SHAPE_SCALE, f"{where}: score")
        if before is not None and before.utilization >= point.utilization:
            raise ConfigurationError(f"{where}: utilization values must be sorted in increasing order")
    return NodeResourcesFit(
        Strategy(
            strategy.type,
            tuple((one.name, one.weight or 1) for one in strategy.resources),
            tuple((point.utilization, point.score * _SHAPE_SCALE) for point in shape),
        ),
        frozenset(given.ignored_resources),
        frozenset(given.ignored_resource_groups),
    )


def _node_affinity(tree: Mapping[str, Any], path: str) -> NodeAffinity:
    return NodeAffinity(_decoded(tree, _NodeAffinityArguments, "NodeAffinity", path).added_affinity)


def _spread(tree: Mapping[str, Any], path: str) -> PodTopologySpread:
    given = _decoded(tree, _SpreadArguments, "PodTopologySpread", path)
    if given.defaulting_type == "System":
        if given.default_constraints:
            raise ConfigurationError(f"{path}.defaultConstraints: only allowed with defaultingType List")
        return PodTopologySpread()
    for one in given.default_constraints:
        if one.when_unsatisfiable not in ("ScheduleAnyway", "DoNotSchedule"):
            raise ConfigurationError(f"{path}.defaultConstraints: {one.when_unsatisfiable!r} is no whenUnsatisfiable")
        if one.label_selector is not None:
            raise ConfigurationError(f"{path}.defaultConstraints: labelSelector must not be set: each pod has its own")
        if not one.topology_key or one.max_skew < 1:
            raise ConfigurationError(f"{path}.defaultConstraints: topologyKey and a maxSkew above 0 are needed")
    soft, hard = (
        tuple((one.topology_key, one.max_skew) for one in given.default_constraints if one.when_unsatisfiable == what)
        for what in ("ScheduleAnyway", "DoNotSchedule")
    )
    return PodTopologySpread(soft, hard)


def _inter_pod_affinity(tree: Mapping[str, Any], path: str) -> InterPodAffinity:
    given = _decoded(tree, _InterPodAffinityArguments, "InterPodAffinity", path)
    return InterPodAffinity(
        _between(given.hard_pod_affinity_weight, 0, 100, f"{path}.hardPodAffinityWeight"),
        ignore_preferred_terms_of_existing_pods=given.ignore_preferred_terms_of_existing_pods,
    )


def _balanced_allocation(tree: Mapping[str, Any], path: str) -> NodeResourcesBalancedAllocation:
    given = _decoded(tree, _BalancedAllocationArguments, "NodeResourcesBalancedAllocation", path)
    names = [one.name for one in given.resources]
    for one in given.resources:
        if one.weight not in (0, 1):
            raise ConfigurationError(f"{path}.resources: the weight of {one.name} is {one.weight}, not 1")
        if names.count(one.name) > 1:
            raise ConfigurationError(f"{path}.resources: {one.name} is there twice")
    return NodeResourcesBalancedAllocation(tuple(names) or DEFAULT_RESOURCES)


def _preemption(tree: Mapping[str, Any], path: str) -> PreemptionLimits:
    given = _decoded(tree, _PreemptionArguments, "DefaultPreemption", path)
    share = _between(given.min_candidate_nodes_percentage, 0, 100, f"{path}.minCandidateNodesPercentage")
    least = _between(given.min_candidate_nodes_absolute, 0, 2**31 - 1, f"{path}.minCandidateNodesAbsolute")
    if not share and not least:
        raise ConfigurationError(f"{path}: minCandidateNodesPercentage and minCandidateNodesAbsolute are both 0")
    return PreemptionLimits(share, least)


def _dynamic_resources(tree: Mapping[str, Any], path: str) -> DynamicResources:
    given = _decoded(tree, _DynamicResourcesArguments, "DynamicResources", path)
    seconds = {
        field: duration(text, f"{path}.{field}")
        for field, text in (("filterTimeout", given.filter_timeout), ("bindingTimeout", given.binding_timeout))
        if text is not None
    }
    if seconds.get("bindingTimeout", 1.0) < 1.0:
        raise ConfigurationError(f"{path}.bindingTimeout: must be at least 1 second")
    return DynamicResources(
        seconds.get("filterTimeout", DEFAULT_FILTER_TIMEOUT_SECONDS),
        seconds.get("bindingTimeout", DEFAULT_BINDING_TIMEOUT_SECONDS),
    )


def _volume_binding(tree: Mapping[str, Any], path: str) -> VolumeBinding:
    given = _decoded(tree, _VolumeBindingArguments, "VolumeBinding", path)
    if given.bind_timeout_seconds < 0:
        raise ConfigurationError(f"{path}.bindTimeoutSeconds: must be greater than or equal to zero")
    if given.shape:
        raise ConfigurationError(f"{path}.shape: only with the feature gate StorageCapacityScoring, which there is not")
    return VolumeBinding(float(given.bind_timeout_seconds))


ARGUMENTS: Final[Mapping[str, Callable[[Mapping[str, Any], str], Any]]] = {
    "NodeResourcesFit": _fit,
    "NodeAffinity": _node_affinity,
    "PodTopologySpread": _spread,
    "InterPodAffinity": _inter_pod_affinity,
    "NodeResourcesBalancedAllocation": _balanced_allocation,
    "DefaultPreemption": _preemption,
    "DynamicResources": _dynamic_resources,
    "VolumeBinding": _volume_binding,
}


def _decoded(tree: Mapping[str, Any], form: type[T], name: str, path: str) -> T:
    rest = dict(tree)
    version, kind = rest.pop("apiVersion", _VERSION), rest.pop("kind", f"{name}Args")
    if (version, kind) != (_VERSION, f"{name}Args"):
        raise ConfigurationError(f"{path}: {version} {kind} is not {_VERSION} {name}Args")
    try:
        return msgspec.convert(rest, form)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def duration(text: str, what: str) -> float:
    """Seconds, of a duration as Go writes it. Raises ConfigurationError, which says what it is that is wrong."""
    try:
        seconds = flags.parse_duration(text)
    except ValueError as error:
        raise ConfigurationError(f"{what}: {error}") from None
    if seconds < 0:
        raise ConfigurationError(f"{what}: must not be negative")
    return seconds


def _between(number: int, least: int, most: int, what: str) -> int:
    if not least <= number <= most:
        raise ConfigurationError(f"{what} is {number}, not from {least} to {most}")
    return number
