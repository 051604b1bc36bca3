"""What each metric of an autoscaler wants, from what was measured: upstream's replica calculator, and its words. Pure.

Amounts are in thousandths. Pods without figures count so that they make a change smaller, never larger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

import msgspec

from keelback.api import autoscaling_v2 as v2
from keelback.api import conditions
from keelback.api.autoscaling_v1 import Scale
from keelback.api.core_v1 import Pod
from keelback.apimachinery import quantity
from keelback.apimachinery.labels import go_printed
from keelback.client.metric_values import Figures, MetricError, Sample
from keelback.controllers.config import HPA_DEFAULTS, HorizontalPodAutoscaling

CPU: Final = "cpu"

Pods: TypeAlias = Collection[Pod]
Samples: TypeAlias = Mapping[str, Sample]
Amounts: TypeAlias = Mapping[str, int]
"""One amount for each pod, by its name."""


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far from the target, as parts of it, usage may be without anything being done."""

    down: float = 0.1
    up: float = 0.1

    def hold(self, ratio: float) -> bool:
        """Whether a usage of so many times the target is near enough."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class Rules:
    """What the administrator and the autoscaler say about counting, and what time it is."""

    now: datetime
    tolerances: Tolerances = Tolerances()
    settings: HorizontalPodAutoscaling = HPA_DEFAULTS


@dataclass(frozen=True, slots=True)
class Count:
    """What a metric asks for, and its value now. `utilization` is in percent of what the pods request."""

    replicas: int
    value: int
    utilization: int | None = None


@dataclass(frozen=True, slots=True)
class Groups:
    """Pods by how they count: the ready ones with their figures, the others by what is assumed of them."""

    ready: Amounts
    unready: frozenset[str]
    missing: frozenset[str]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one metric wants. `name` is how events call it."""

    replicas: int
    name: str
    status: v2.MetricStatus


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one metric wants nothing: a condition's reason and cause, and the cause as it is summed up."""

    reason: str
    cause: str
    summary: str


def evaluate(metric: v2.MetricSpec, figures: Figures, scale: Scale, pods: Pods, rules: Rules) -> Proposal | Failure:
    """What a metric wants of a target with that scale and those pods."""
    asked = _question(metric)
    if asked is None:
        cause = f'unknown metric source type "{metric.type}"'
        return Failure("InvalidMetricSourceType", cause, cause)
    try:
        count, current = _answer(asked, figures, scale, pods, rules)
    except MetricError as error:
        cause = f"{asked.failed}{error}"
        return Failure(f"FailedGet{metric.type}Metric", cause, f"failed to get {asked.what} metric value: {cause}")
    return Proposal(count.replicas, asked.name, _status(metric, current))


@dataclass(frozen=True, slots=True)
class _Question:
    """What a metric of any kind asks: its goal, what it is called in sums and in events, and where a failure begins.

    Of a resource, or of one container's, where they are named.
    """

    goal: v2.MetricTarget
    what: str
    name: str
    failed: str = ""
    resource: str = ""
    container: str = ""


def _question(metric: v2.MetricSpec) -> _Question | None:
    match metric:
        case v2.MetricSpec(type="Resource", resource=v2.ResourceMetricSource() as source):
            return _of_resource(source.target, f"{source.name} resource", source.name)
        case v2.MetricSpec(type="ContainerResource", container_resource=v2.ContainerResourceMetricSource() as held):
            return _of_resource(held.target, f"{held.name} container", held.name, held.container)
        case v2.MetricSpec(type="Pods", pods=v2.PodsMetricSource() as each):
            return _Question(each.target, "pods", f"pods metric {each.metric.name}")
        case v2.MetricSpec(type="Object", object=v2.ObjectMetricSource() as one):
            name = f"{one.described_object.kind} metric {one.metric.name}"
            return _Question(one.target, "object", name if one.target.average_value is None else _outside(one.metric))
        case v2.MetricSpec(type="External", external=v2.ExternalMetricSource() as outside):
            name, goal = outside.metric.name, outside.target
            named = f"external metric {name}" if goal.average_value is None else f"{name} external metric"
            return _Question(goal, f"{name} external", _outside(outside.metric), f"failed to get {named}: ")
    return None


def _of_resource(goal: v2.MetricTarget, what: str, resource: str, container: str = "") -> _Question:
    if goal.average_value is not None:
        return _Question(goal, what, f"{resource} resource", f"failed to get {resource} usage: ", resource, container)
    name = f"{resource} {'container ' if container else ''}resource utilization (percentage of request)"
    return _Question(goal, what, name, f"failed to get {resource} utilization: ", resource, container)


def _outside(metric: v2.MetricIdentifier) -> str:
    return f"external metric {metric.name}({go_printed(metric.selector)})"


def _answer(
    asked: _Question, figures: Figures, scale: Scale, pods: Pods, rules: Rules
) -> tuple[Count, v2.MetricValueStatus]:
    if isinstance(figures, MetricError):
        raise figures
    current, percent = scale.spec.replicas, asked.goal.average_utilization
    average, value = (quantity.milli_value(one or "0") for one in (asked.goal.average_value, asked.goal.value))
    if isinstance(figures, Mapping) and average:
        count = by_average(current, average, pods, figures, asked.resource, rules)
    elif isinstance(figures, Mapping) and percent is not None and asked.resource:
        count = by_utilization(current, percent, pods, figures, asked.resource, asked.container, rules)
    elif isinstance(figures, int) and average:
        count = per_pod(scale.status.replicas, figures, average, rules.tolerances)
    elif isinstance(figures, int) and value:
        count = by_value(current, figures, value, pods, rules.tolerances)
        return count, v2.MetricValueStatus(value=str(quantity.of_milli(count.value)))
    else:
        raise MetricError(f"invalid {asked.what} metric source: no target was set")
    told = str(quantity.of_milli(count.value))
    return count, v2.MetricValueStatus(average_utilization=count.utilization, average_value=told)


def _status(metric: v2.MetricSpec, current: v2.MetricValueStatus) -> v2.MetricStatus:
    """The status of a metric of any kind is its source with what was measured in the place of the target."""
    tree = msgspec.to_builtins(metric)
    for source in tree.values():
        if isinstance(source, dict):
            source["current"] = msgspec.to_builtins(current)
    return msgspec.convert(tree, v2.MetricStatus)


def by_utilization(
    current: int, target_percent: int, pods: Pods, samples: Samples, resource: str, container: str, rules: Rules
) -> Count:
    """Replicas so that the pods use the target part of what they request. Raises MetricError."""
    groups, requests = _grouped(pods, samples, resource, rules), requests_of(pods, container, resource)
    average = _average(groups.ready)

    def percent(used: Amounts) -> int:
        requested = sum(requests[name] for name in used)
        if not requested:
            raise MetricError("no metrics returned matched known pods")
        return sum(used.values()) * 100 // requested

    full = {name: requests[name] * max(100, target_percent) // 100 for name in groups.missing}
    replicas = _replicas(current, groups, full, lambda used: percent(used) / target_percent, rules.tolerances)
    return Count(replicas, average, percent(groups.ready))


def by_average(current: int, target: int, pods: Pods, samples: Samples, resource: str, rules: Rules) -> Count:
    """Replicas so that the average of the pods' figures is the target. Raises MetricError."""
    groups = _grouped(pods, samples, resource, rules)
    full = dict.fromkeys(groups.missing, target)
    replicas = _replicas(current, groups, full, lambda used: _average(used) / target, rules.tolerances)
    return Count(replicas, _average(groups.ready))


def by_value(current: int, value: int, target: int, pods: Pods, tolerances: Tolerances) -> Count:
    """Replicas for one figure that speaks of all pods together. Raises MetricError."""
    ratio = value / target
    if not current:
        # From none, what is measured says alone how many there should be.
        return Count(math.ceil(ratio), value)
    if tolerances.hold(ratio):
        return Count(current, value)
    if not pods:
        raise MetricError(f"unable to calculate ready pods: {_NO_PODS}")
    ready = sum(pod.status.phase == "Running" and conditions.is_true(pod.status.conditions, "Ready") for pod in pods)
    return Count(math.ceil(ratio * ready), value)


def per_pod(status_replicas: int, value: int, target: int, tolerances: Tolerances) -> Count:
    """Replicas so that each has its share of one figure; the count's value is the share now."""
    replicas = status_replicas
    if not status_replicas or not tolerances.hold(value / (target * status_replicas)):
        replicas = math.ceil(value / target)
    return Count(replicas, math.ceil(value / max(1, status_replicas)))


def requests_of(pods: Iterable[Pod], container: str, resource: str) -> Amounts:
    """What each pod (or its one container) requests of a resource. Raises MetricError where that is not said."""
    found: dict[str, int] = {}
    for pod in pods:
        whole = pod.spec.resources
        if not container and whole is not None and resource in whole.requests:
            found[pod.metadata.name] = quantity.milli_value(whole.requests[resource])
            continue
        sidecars = [one for one in pod.spec.init_containers if one.restart_policy == "Always"]
        chosen = [one for one in (*pod.spec.containers, *sidecars) if container in ("", one.name)]
        silent = next((one.name for one in chosen if resource not in one.resources.requests), None)
        if silent is not None:
            raise MetricError(f"missing request for {resource} in container {silent} of Pod {pod.metadata.name}")
        found[pod.metadata.name] = sum(quantity.milli_value(one.resources.requests[resource]) for one in chosen)
    return found


_NO_PODS: Final = "no pods returned by selector while calculating replica count"


def _grouped(pods: Pods, samples: Samples, resource: str, rules: Rules) -> Groups:
    """Sort the pods. Those on their way out, or failed, are in no group."""
    if not pods:
        raise MetricError(_NO_PODS)
    ready, unready, missing = dict[str, int](), set[str](), set[str]()
    for pod in pods:
        name = pod.metadata.name
        if pod.metadata.deletion_timestamp is not None or pod.status.phase == "Failed":
            continue
        sample = samples.get(name)
        if pod.status.phase == "Pending":
            unready.add(name)
        elif sample is None:
            missing.add(name)
        elif resource == CPU and _is_starting(pod, sample, rules):
            unready.add(name)
        else:
            ready[name] = sample.value
    return Groups(ready, frozenset(unready), frozenset(missing))


def _is_starting(pod: Pod, sample: Sample, rules: Rules) -> bool:
    """Whether the CPU that a pod uses may be that of its start."""
    condition = conditions.find(pod.status.conditions, "Ready")
    started = pod.status.start_time
    if condition is None or started is None or condition.last_transition_time is None:
        return True
    is_unready = condition.status == "False"
    if started + rules.settings.cpu_initialization_period > rules.now:
        # A whole window must have passed since it became what it is.
        return is_unready or sample.at < condition.last_transition_time + sample.window
    # It is unready still, and never was anything else.
    return is_unready and started + rules.settings.initial_readiness_delay > condition.last_transition_time


def _average(used: Amounts) -> int:
    if not used:
        raise MetricError("did not receive metrics for targeted pods (pods might be unready)")
    return sum(used.values()) // len(used)


def _replicas(
    current: int, groups: Groups, full: Amounts, ratio_of: Callable[[Amounts], float], tolerances: Tolerances
) -> int:
    """The count for pods whose figures are `ratio_of` times the target; `full` are those of missing pods at most."""
    ratio, assumed = ratio_of(groups.ready), dict[str, int]()
    # Where usage is low, what is not known is taken to be high, and the other way round.
    if ratio < 1.0:
        assumed.update(full)
    elif ratio > 1.0:
        assumed = dict.fromkeys((*groups.missing, *groups.unready), 0)
    if not assumed:
        return current if tolerances.hold(ratio) else math.ceil(ratio * len(groups.ready))
    new_ratio = ratio_of({**groups.ready, **assumed})
    replicas = math.ceil(new_ratio * (len(groups.ready) + len(assumed)))
    # A rise must not become a fall by what is assumed, nor a fall a rise.
    is_turned = (ratio - 1.0) * (new_ratio - 1.0) < 0 or (new_ratio - 1.0) * (replicas - current) < 0
    return current if is_turned or tolerances.hold(new_ratio) else replicas
