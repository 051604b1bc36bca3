"""How many replicas a metric asks for: upstream's replica calculator. Pure.

Amounts are in thousandths. Pods without figures count so that they make a change smaller, never larger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keelback.api import conditions
from keelback.api.core_v1 import Pod, PodCondition, ResourceRequirements
from keelback.apimachinery import quantity
from keelback.apimachinery.meta import ManagedFieldsEntry, Object, ObjectMeta, Value, named, narrow, written

CPU: Final = "cpu"


class MetricError(Exception):
    """Why a metric asks for nothing: a text for people, upstream's."""


class ScaledMeta(ObjectMeta):
    """Metadata without `managedFields`, which nobody here reads."""

    # No field on the wire has this name, so nothing is ever decoded into it.
    managed_fields: tuple[ManagedFieldsEntry, ...] = named("-", ())


class ScaledContainer(Value):
    name: str = ""
    restart_policy: str | None = None
    resources: ResourceRequirements = ResourceRequirements()


class ScaledPodSpec(Value):
    containers: tuple[ScaledContainer, ...] = ()
    init_containers: tuple[ScaledContainer, ...] = ()
    resources: ResourceRequirements | None = None


class ScaledPodStatus(Value):
    phase: str = ""
    start_time: datetime | None = None
    conditions: tuple[PodCondition, ...] = ()


@narrow(Pod)
class ScaledPod(Object):
    """A pod as its autoscaler sees it."""

    metadata: ScaledMeta = written(ScaledMeta())
    spec: ScaledPodSpec = ScaledPodSpec()
    status: ScaledPodStatus = ScaledPodStatus()


@dataclass(frozen=True, slots=True)
class Sample:
    """One pod's figure, on average over the `window` that ended `at`."""

    value: int
    at: datetime
    window: timedelta = timedelta(0)


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
    cpu_initialization: timedelta = timedelta(minutes=5)
    initial_readiness: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Count:
    """What a metric asks for, and its value now. `utilization` is in percent of what the pods request."""

    replicas: int
    value: int
    utilization: int | None = None


@dataclass(frozen=True, slots=True)
class Groups:
    """Pods by how their figures count: only those of the ready ones do."""

    ready: frozenset[str]
    unready: frozenset[str]
    missing: frozenset[str]


def grouped(pods: Iterable[ScaledPod], samples: Mapping[str, Sample], resource: str, rules: Rules) -> Groups:
    """Sort the pods. Those on their way out, or failed, are in no group."""
    ready, unready, missing = set[str](), set[str](), set[str]()
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
            ready.add(name)
    return Groups(frozenset(ready), frozenset(unready), frozenset(missing))


def _is_starting(pod: ScaledPod, sample: Sample, rules: Rules) -> bool:
    """Whether the CPU that a pod uses may be that of its start."""
    condition = conditions.find(pod.status.conditions, "Ready")
    started = pod.status.start_time
    if condition is None or started is None or condition.last_transition_time is None:
        return True
    is_unready = condition.status == "False"
    if started + rules.cpu_initialization > rules.now:
        # A whole window must have passed since it became what it is.
        return is_unready or sample.at < condition.last_transition_time + sample.window
    # It is unready still, and never was anything else.
    return is_unready and started + rules.initial_readiness > condition.last_transition_time


def requests_of(pods: Iterable[ScaledPod], container: str, resource: str) -> dict[str, int]:
    """What each pod (or its one container) requests of a resource. Raises MetricError where that is not said."""
    found: dict[str, int] = {}
    for pod in pods:
        whole = pod.spec.resources
        if not container and whole is not None and resource in whole.requests:
            found[pod.metadata.name] = quantity.milli_value(whole.requests[resource])
            continue
        sidecars = [one for one in pod.spec.init_containers if one.restart_policy == "Always"]
        total = 0
        for one in (*pod.spec.containers, *sidecars):
            if container and one.name != container:
                continue
            request = one.resources.requests.get(resource)
            if request is None:
                raise MetricError(f"missing request for {resource} in container {one.name} of Pod {pod.metadata.name}")
            total += quantity.milli_value(request)
        found[pod.metadata.name] = total
    return found


def by_utilization(
    current: int,
    target_percent: int,
    pods: Collection[ScaledPod],
    samples: Mapping[str, Sample],
    resource: str,
    container: str,
    rules: Rules,
) -> Count:
    """Replicas so that the pods use the target part of what they request. Raises MetricError."""
    groups = _counted(pods, samples, resource, rules)
    requests = requests_of(pods, container, resource)
    values = {name: samples[name].value for name in groups.ready}
    if not values:
        raise MetricError("did not receive metrics for targeted pods (pods might be unready)")
    ratio, utilization, average = _utilization(values, requests, target_percent)
    # Over the target, what is missing counts as all it asked for, so that nothing is taken away too early.
    full = {name: requests[name] * max(100, target_percent) // 100 for name in groups.missing}

    def again(more: Mapping[str, int]) -> float:
        return _utilization({**values, **more}, requests, target_percent)[0]

    replicas = _replicas(current, ratio, groups, full, again, rules.tolerances)
    return Count(replicas, average, utilization)


def by_average(
    current: int,
    target: int,
    pods: Collection[ScaledPod],
    samples: Mapping[str, Sample],
    resource: str,
    rules: Rules,
) -> Count:
    """Replicas so that the average of the pods' figures is the target. Raises MetricError."""
    groups = _counted(pods, samples, resource, rules)
    values = [samples[name].value for name in groups.ready]
    if not values:
        raise MetricError("did not receive metrics for targeted pods (pods might be unready)")
    average = sum(values) // len(values)
    full = dict.fromkeys(groups.missing, target)

    def again(more: Mapping[str, int]) -> float:
        every = [*values, *more.values()]
        return sum(every) // len(every) / target

    return Count(_replicas(current, average / target, groups, full, again, rules.tolerances), average)


def _counted(pods: Collection[ScaledPod], samples: Mapping[str, Sample], resource: str, rules: Rules) -> Groups:
    if not pods:
        raise MetricError("no pods returned by selector while calculating replica count")
    return grouped(pods, samples, resource, rules)


def _replicas(
    current: int,
    ratio: float,
    groups: Groups,
    full: Mapping[str, int],
    again: Callable[[Mapping[str, int]], float],
    tolerances: Tolerances,
) -> int:
    """The count for a usage of `ratio` times the target; `again` is the ratio with more pods' figures added."""
    counts_unready = bool(groups.unready) and ratio > 1.0
    if not counts_unready and not groups.missing:
        return current if tolerances.hold(ratio) else math.ceil(ratio * len(groups.ready))
    more: dict[str, int] = {}
    if ratio < 1.0:
        more.update(full)
    elif ratio > 1.0:
        more.update(dict.fromkeys(groups.missing, 0))
    if counts_unready:
        more.update(dict.fromkeys(groups.unready, 0))
    new_ratio = again(more)
    if tolerances.hold(new_ratio) or (ratio < 1.0 < new_ratio) or (ratio > 1.0 > new_ratio):
        return current
    replicas = math.ceil(new_ratio * (len(groups.ready) + len(more)))
    # Pods that were not counted must not turn a rise into a fall, nor a fall into a rise.
    if (new_ratio < 1.0 and replicas > current) or (new_ratio > 1.0 and replicas < current):
        return current
    return replicas


def _utilization(values: Mapping[str, int], requests: Mapping[str, int], target: int) -> tuple[float, int, int]:
    """(times the target, percent of the requests, average figure)."""
    known = [name for name in values if name in requests]
    requested = sum(requests[name] for name in known)
    if not requested:
        raise MetricError("no metrics returned matched known pods")
    total = sum(values[name] for name in known)
    percent = total * 100 // requested
    return percent / target, percent, total // len(known)


def by_value(current: int, value: int, target: int, pods: Collection[ScaledPod], tolerances: Tolerances) -> Count:
    """Replicas for one figure that speaks of all pods together. Raises MetricError."""
    ratio = value / target
    if not current:
        # From none, what is measured says alone how many there should be.
        return Count(math.ceil(ratio), value)
    if tolerances.hold(ratio):
        return Count(current, value)
    if not pods:
        raise MetricError(
            "unable to calculate ready pods: no pods returned by selector while calculating replica count"
        )
    ready = sum(pod.status.phase == "Running" and conditions.is_true(pod.status.conditions, "Ready") for pod in pods)
    return Count(math.ceil(ratio * ready), value)


def per_pod(status_replicas: int, value: int, target: int, tolerances: Tolerances) -> Count:
    """Replicas so that each has its share of one figure; the count's value is the share now."""
    replicas = status_replicas
    if not status_replicas or not tolerances.hold(value / (target * status_replicas)):
        replicas = math.ceil(value / target)
    return Count(replicas, math.ceil(value / max(1, status_replicas)))
