"""The types of autoscaling/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.apimachinery.meta import Atomic, Object, Time, Value, kind, named, written


class CrossVersionObjectReference(Value):
    api_version: str = ""
    kind: str = written("")
    name: str = written("")


class HorizontalPodAutoscalerSpec(Value):
    max_replicas: int = written(0)
    min_replicas: int = written(1)
    scale_target_ref: Annotated[CrossVersionObjectReference, Atomic()] = written(CrossVersionObjectReference())
    target_cpu_utilization_percentage: int | None = named("targetCPUUtilizationPercentage", None)


class HorizontalPodAutoscalerStatus(Value):
    current_cpu_utilization_percentage: int | None = named("currentCPUUtilizationPercentage", None)
    current_replicas: int = written(0)
    desired_replicas: int = written(0)
    last_scale_time: Time | None = None
    observed_generation: int = 0


@kind("autoscaling/v1", "horizontalpodautoscalers", short_names=("hpa",), categories=("all",))
class HorizontalPodAutoscaler(Object):
    spec: HorizontalPodAutoscalerSpec = written(HorizontalPodAutoscalerSpec())
    status: HorizontalPodAutoscalerStatus = written(HorizontalPodAutoscalerStatus())


class ScaleSpec(Value):
    replicas: int = 0


class ScaleStatus(Value):
    replicas: int = written(0)
    selector: str = ""


@kind("autoscaling/v1", "scales")
class Scale(Object):
    spec: ScaleSpec = written(ScaleSpec())
    status: ScaleStatus = written(ScaleStatus())
