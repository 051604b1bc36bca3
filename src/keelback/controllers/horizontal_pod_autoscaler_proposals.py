"""What each kind of metric wants, from what was measured: its count, its name in events, its status. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from keelback.api import autoscaling_v2 as v2
from keelback.apimachinery import quantity
from keelback.apimachinery.meta import LabelSelector
from keelback.controllers import horizontal_pod_autoscaler_replicas as counting
from keelback.controllers.horizontal_pod_autoscaler_replicas import (
    Count,
    MetricError,
    Rules,
    Sample,
    ScaledPod,
)

Figures: TypeAlias = Mapping[str, Sample] | int | MetricError
"""What was measured: a figure of each pod, or one of everything; or why nothing was."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled: its size as it should be and as it is, its namespace and its pods."""

    replicas: int
    status_replicas: int = 0
    namespace: str = ""
    pods: Collection[ScaledPod] = ()


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


_REASONS: Final = {
    "Resource": "FailedGetResourceMetric",
    "ContainerResource": "FailedGetContainerResourceMetric",
    "Pods": "FailedGetPodsMetric",
    "Object": "FailedGetObjectMetric",
    "External": "FailedGetExternalMetric",
}


def evaluate(metric: v2.MetricSpec, figures: Figures, target: Target, rules: Rules) -> Proposal | Failure:
    """What a metric wants."""
    source, what = _source(metric)
    if source is None:
        cause = f'unknown metric source type "{metric.type}"'
        return Failure("InvalidMetricSourceType", cause, cause)
    try:
        if isinstance(source, v2.ResourceMetricSource | v2.ContainerResourceMetricSource):
            return _of_resource(source, figures, target, rules)
        if isinstance(source, v2.PodsMetricSource):
            return _of_pods(source, figures, target, rules)
        if isinstance(source, v2.ObjectMetricSource):
            return _of_object(source, figures, target, rules)
        return _of_external(source, figures, target, rules)
    except MetricError as error:
        return Failure(_REASONS[metric.type], str(error), f"failed to get {what} metric value: {error}")


_Source: TypeAlias = (
    v2.ResourceMetricSource
    | v2.ContainerResourceMetricSource
    | v2.PodsMetricSource
    | v2.ObjectMetricSource
    | v2.ExternalMetricSource
)


def _source(metric: v2.MetricSpec) -> tuple[_Source | None, str]:
    match metric.type:
        case "Resource" if metric.resource is not None:
            return metric.resource, f"{metric.resource.name} resource"
        case "ContainerResource" if metric.container_resource is not None:
            return metric.container_resource, f"{metric.container_resource.name} container"
        case "Pods" if metric.pods is not None:
            return metric.pods, "pods"
        case "Object" if metric.object is not None:
            return metric.object, "object"
        case "External" if metric.external is not None:
            return metric.external, f"{metric.external.metric.name} external"
    return None, ""


def _of_resource(
    source: v2.ResourceMetricSource | v2.ContainerResourceMetricSource, figures: Figures, target: Target, rules: Rules
) -> Proposal:
    resource, goal = source.name, source.target
    container = source.container if isinstance(source, v2.ContainerResourceMetricSource) else ""
    is_average = goal.average_value is not None
    try:
        samples = _samples(figures, f"unable to get metrics for resource {resource}")
        if goal.average_value is not None:
            count = counting.by_average(
                target.replicas, quantity.milli_value(goal.average_value), target.pods, samples, resource, rules
            )
            name = f"{resource} resource"
        elif goal.average_utilization is not None:
            count = counting.by_utilization(
                target.replicas, goal.average_utilization, target.pods, samples, resource, container, rules
            )
            name = f"{resource} {'container ' if container else ''}resource utilization (percentage of request)"
        else:
            raise MetricError(
                "invalid resource metric source: neither an average utilization target nor an average value (usage) "
                "target was set"
            )
    except MetricError as error:
        if str(error).startswith("invalid resource metric source"):
            raise
        raise MetricError(f"failed to get {resource} {'usage' if is_average else 'utilization'}: {error}") from error
    current = v2.MetricValueStatus(average_utilization=count.utilization, average_value=_milli(count.value))
    if isinstance(source, v2.ContainerResourceMetricSource):
        told = v2.ContainerResourceMetricStatus(name=resource, container=container, current=current)
        return Proposal(count.replicas, name, v2.MetricStatus(type="ContainerResource", container_resource=told))
    whole = v2.ResourceMetricStatus(name=resource, current=current)
    return Proposal(count.replicas, name, v2.MetricStatus(type="Resource", resource=whole))


def _of_pods(source: v2.PodsMetricSource, figures: Figures, target: Target, rules: Rules) -> Proposal:
    samples = _samples(figures, f"unable to get metric {source.metric.name}")
    goal = quantity.milli_value(source.target.average_value or "0")
    if not goal:
        raise MetricError("invalid pods metric source: no average value target was set")
    count = counting.by_average(target.replicas, goal, target.pods, samples, "", rules)
    current = v2.MetricValueStatus(average_value=_milli(count.value))
    told = v2.PodsMetricStatus(metric=source.metric, current=current)
    return Proposal(count.replicas, f"pods metric {source.metric.name}", v2.MetricStatus(type="Pods", pods=told))


def _of_object(source: v2.ObjectMetricSource, figures: Figures, target: Target, rules: Rules) -> Proposal:
    metric, described = source.metric, source.described_object
    # The words come in upstream's order, odd as it is: people search for them.
    value = _value(
        figures, f"unable to get metric {metric.name}: {described.kind} on {target.namespace} {described.name}/"
    )
    count, current = _by_value_or_share(source.target, value, target, rules, "object")
    name = (
        f"{described.kind} metric {metric.name}"
        if current.value is not None
        else f"external metric {metric.name}({go_selector(metric.selector)})"
    )
    told = v2.ObjectMetricStatus(described_object=described, metric=metric, current=current)
    return Proposal(count.replicas, name, v2.MetricStatus(type="Object", object=told))


def _of_external(source: v2.ExternalMetricSource, figures: Figures, target: Target, rules: Rules) -> Proposal:
    metric, selector = source.metric, go_selector(source.metric.selector)
    is_share = source.target.average_value is not None
    try:
        value = _value(figures, f"unable to get external metric {target.namespace}/{metric.name}/{selector}: ")
        count, current = _by_value_or_share(source.target, value, target, rules, "external")
    except MetricError as error:
        if str(error).startswith("invalid external metric source"):
            raise
        what = f"{metric.name} external metric" if is_share else f"external metric {metric.name}"
        raise MetricError(f"failed to get {what}: {error}") from error
    told = v2.ExternalMetricStatus(metric=metric, current=current)
    name = f"external metric {metric.name}({selector})"
    return Proposal(count.replicas, name, v2.MetricStatus(type="External", external=told))


def _by_value_or_share(
    goal: v2.MetricTarget, value: int, target: Target, rules: Rules, sort: str
) -> tuple[Count, v2.MetricValueStatus]:
    if goal.average_value is not None and quantity.milli_value(goal.average_value):
        share = quantity.milli_value(goal.average_value)
        count = counting.per_pod(target.status_replicas, value, share, rules.tolerances)
        return count, v2.MetricValueStatus(average_value=_milli(count.value))
    if goal.value is not None and quantity.milli_value(goal.value):
        whole = quantity.milli_value(goal.value)
        count = counting.by_value(target.replicas, value, whole, target.pods, rules.tolerances)
        return count, v2.MetricValueStatus(value=_milli(count.value))
    raise MetricError(f"invalid {sort} metric source: neither a value target nor an average value target was set")


def _samples(figures: Figures, otherwise: str) -> Mapping[str, Sample]:
    if isinstance(figures, MetricError):
        raise MetricError(f"{otherwise}: {figures}")
    assert not isinstance(figures, int)
    return figures


def _value(figures: Figures, otherwise: str) -> int:
    if isinstance(figures, MetricError):
        raise MetricError(f"{otherwise}{figures}")
    assert isinstance(figures, int)
    return figures


def _milli(amount: int) -> str:
    return str(quantity.of_milli(amount))


def go_selector(selector: LabelSelector | None) -> str:
    """A LabelSelector as Go prints it with %+v: upstream's names of metrics have it so."""
    if selector is None:
        return "nil"
    matched = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{one.key},Operator:{one.operator},Values:[{' '.join(one.values)}],}},"
        for one in selector.match_expressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{matched}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
