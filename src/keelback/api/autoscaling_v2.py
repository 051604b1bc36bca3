"""The types of autoscaling/v2: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.apimachinery.meta import Atomic, LabelSelector, ListMap, Object, Quantity, Time, Value, kind, written


class MetricTarget(Value):
    average_utilization: int | None = None
    average_value: Quantity | None = None
    type: str = written("")
    value: Quantity | None = None


class ContainerResourceMetricSource(Value):
    container: str = written("")
    name: str = written("")
    target: MetricTarget = written(MetricTarget())


class MetricValueStatus(Value):
    average_utilization: int | None = None
    average_value: Quantity | None = None
    value: Quantity | None = None


class ContainerResourceMetricStatus(Value):
    container: str = written("")
    current: MetricValueStatus = written(MetricValueStatus())
    name: str = written("")


class CrossVersionObjectReference(Value):
    api_version: str = ""
    kind: str = written("")
    name: str = written("")


class MetricIdentifier(Value):
    name: str = written("")
    selector: Annotated[LabelSelector | None, Atomic()] = None


class ExternalMetricSource(Value):
    metric: MetricIdentifier = written(MetricIdentifier())
    target: MetricTarget = written(MetricTarget())


class ExternalMetricStatus(Value):
    current: MetricValueStatus = written(MetricValueStatus())
    metric: MetricIdentifier = written(MetricIdentifier())


class HPAScalingPolicy(Value):
    period_seconds: int = written(0)
    type: str = written("")
    value: int = written(0)


class HPAScalingRules(Value):
    policies: tuple[HPAScalingPolicy, ...] = ()
    select_policy: str | None = None
    stabilization_window_seconds: int | None = None
    tolerance: Quantity | None = None


class HorizontalPodAutoscalerSpec(Value):
    behavior: HorizontalPodAutoscalerBehavior | None = None
    max_replicas: int = written(0)
    metrics: tuple[MetricSpec, ...] = ()
    min_replicas: int = written(1)
    scale_target_ref: CrossVersionObjectReference = written(CrossVersionObjectReference())


class HorizontalPodAutoscalerStatus(Value):
    conditions: Annotated[tuple[HorizontalPodAutoscalerCondition, ...], ListMap("type", merge_key="type")] = ()
    current_metrics: tuple[MetricStatus, ...] | None = written(None)
    current_replicas: int = 0
    desired_replicas: int = written(0)
    last_scale_time: Time | None = None
    observed_generation: int = 0


@kind("autoscaling/v2", "horizontalpodautoscalers", short_names=("hpa",), categories=("all",))
class HorizontalPodAutoscaler(Object):
    spec: HorizontalPodAutoscalerSpec = written(HorizontalPodAutoscalerSpec())
    status: HorizontalPodAutoscalerStatus = written(HorizontalPodAutoscalerStatus())


class HorizontalPodAutoscalerBehavior(Value):
    scale_down: HPAScalingRules | None = None
    scale_up: HPAScalingRules | None = None


class HorizontalPodAutoscalerCondition(Value):
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class MetricSpec(Value):
    container_resource: ContainerResourceMetricSource | None = None
    external: ExternalMetricSource | None = None
    object: ObjectMetricSource | None = None
    pods: PodsMetricSource | None = None
    resource: ResourceMetricSource | None = None
    type: str = written("")


class MetricStatus(Value):
    container_resource: ContainerResourceMetricStatus | None = None
    external: ExternalMetricStatus | None = None
    object: ObjectMetricStatus | None = None
    pods: PodsMetricStatus | None = None
    resource: ResourceMetricStatus | None = None
    type: str = written("")


class ObjectMetricSource(Value):
    described_object: CrossVersionObjectReference = written(CrossVersionObjectReference())
    metric: MetricIdentifier = written(MetricIdentifier())
    target: MetricTarget = written(MetricTarget())


class ObjectMetricStatus(Value):
    current: MetricValueStatus = written(MetricValueStatus())
    described_object: CrossVersionObjectReference = written(CrossVersionObjectReference())
    metric: MetricIdentifier = written(MetricIdentifier())


class PodsMetricSource(Value):
    metric: MetricIdentifier = written(MetricIdentifier())
    target: MetricTarget = written(MetricTarget())


class PodsMetricStatus(Value):
    current: MetricValueStatus = written(MetricValueStatus())
    metric: MetricIdentifier = written(MetricIdentifier())


class ResourceMetricSource(Value):
    name: str = written("")
    target: MetricTarget = written(MetricTarget())


class ResourceMetricStatus(Value):
    current: MetricValueStatus = written(MetricValueStatus())
    name: str = written("")
