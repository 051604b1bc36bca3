"""The two kinds that the store holds in another version than some clients ask for: pure functions, both ways.

autoscaling/v1 autoscalers are kept as autoscaling/v2, events.k8s.io/v1 events as core/v1. What the older version
cannot say stands in annotations.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from keelback.api import autoscaling_v1, autoscaling_v2, core_v1, events_v1
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import Object, Value, replace, with_metadata

METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS_ANNOTATION = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS_ANNOTATION = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR_ANNOTATION = "autoscaling.alpha.kubernetes.io/behavior"
_ANNOTATIONS = (METRICS_ANNOTATION, CURRENT_METRICS_ANNOTATION, CONDITIONS_ANNOTATION, BEHAVIOR_ANNOTATION)


def event_from_storage(data: bytes) -> bytes:
    """A stored core/v1 event as events.k8s.io/v1."""
    return _encoded(event_from_core(codecs.decode(core_v1.Event, data)))


def event_to_storage(data: bytes) -> bytes:
    """An events.k8s.io/v1 event as the store holds it."""
    return _encoded(event_to_core(codecs.decode(events_v1.Event, data)))


def autoscaler_from_storage(data: bytes) -> bytes:
    """A stored autoscaling/v2 autoscaler as autoscaling/v1."""
    return _encoded(autoscaler_to_v1(codecs.decode(autoscaling_v2.HorizontalPodAutoscaler, data)))


def autoscaler_to_storage(data: bytes) -> bytes:
    """An autoscaling/v1 autoscaler as the store holds it."""
    return _encoded(autoscaler_to_v2(codecs.decode(autoscaling_v1.HorizontalPodAutoscaler, data)))


def _encoded(obj: Object) -> bytes:
    return codecs.encode_stored(obj)


def event_from_core(event: core_v1.Event) -> events_v1.Event:
    """A core/v1 event as events.k8s.io/v1 shows it."""
    series = event.series
    return events_v1.Event(
        metadata=event.metadata,
        action=event.action,
        deprecated_count=event.count,
        deprecated_first_timestamp=event.first_timestamp,
        deprecated_last_timestamp=event.last_timestamp,
        deprecated_source=event.source,
        event_time=event.event_time,
        note=event.message,
        reason=event.reason,
        regarding=event.involved_object,
        related=event.related,
        reporting_controller=event.reporting_component,
        reporting_instance=event.reporting_instance,
        series=None
        if series is None
        else events_v1.EventSeries(count=series.count, last_observed_time=series.last_observed_time),
        type=event.type,
    )


def event_to_core(event: events_v1.Event) -> core_v1.Event:
    """An events.k8s.io/v1 event as core/v1 shows it."""
    series = event.series
    return core_v1.Event(
        metadata=event.metadata,
        action=event.action,
        count=event.deprecated_count,
        first_timestamp=event.deprecated_first_timestamp,
        last_timestamp=event.deprecated_last_timestamp,
        source=event.deprecated_source,
        event_time=event.event_time,
        message=event.note,
        reason=event.reason,
        involved_object=event.regarding,
        related=event.related,
        reporting_component=event.reporting_controller,
        reporting_instance=event.reporting_instance,
        series=None
        if series is None
        else core_v1.EventSeries(count=series.count, last_observed_time=series.last_observed_time),
        type=event.type,
    )


def autoscaler_to_v1(scaler: autoscaling_v2.HorizontalPodAutoscaler) -> autoscaling_v1.HorizontalPodAutoscaler:
    """A v2 autoscaler as v1: one target for the processors, everything else in annotations."""
    spec, status = scaler.spec, scaler.status
    others: list[dict[str, Any]] = []
    utilization: int | None = None
    for metric in spec.metrics:
        if _is_cpu_utilization(metric) and utilization is None and metric.resource is not None:
            utilization = metric.resource.target.average_utilization
        else:
            others.append(_metric_to_v1(_tree(metric)))
    annotations = {key: value for key, value in scaler.metadata.annotations.items() if key not in _ANNOTATIONS}
    if others:
        annotations[METRICS_ANNOTATION] = _compact(others)
    if spec.behavior is not None:
        annotations[BEHAVIOR_ANNOTATION] = _compact(_go_behavior(spec.behavior))
    if status.conditions:
        annotations[CONDITIONS_ANNOTATION] = _compact([_tree(one) for one in status.conditions])
    current, other_current = _current_to_v1(status)
    if other_current:
        annotations[CURRENT_METRICS_ANNOTATION] = _compact(other_current)
    reference = spec.scale_target_ref
    return autoscaling_v1.HorizontalPodAutoscaler(
        metadata=replace(scaler.metadata, annotations=annotations),
        spec=autoscaling_v1.HorizontalPodAutoscalerSpec(
            max_replicas=spec.max_replicas,
            min_replicas=spec.min_replicas,
            scale_target_ref=autoscaling_v1.CrossVersionObjectReference(
                api_version=reference.api_version, kind=reference.kind, name=reference.name
            ),
            target_cpu_utilization_percentage=utilization,
        ),
        status=autoscaling_v1.HorizontalPodAutoscalerStatus(
            current_cpu_utilization_percentage=current,
            current_replicas=status.current_replicas,
            desired_replicas=status.desired_replicas,
            last_scale_time=status.last_scale_time,
            observed_generation=status.observed_generation,
        ),
    )


def autoscaler_to_v2(scaler: autoscaling_v1.HorizontalPodAutoscaler) -> autoscaling_v2.HorizontalPodAutoscaler:
    """A v1 autoscaler as v2: what stood in annotations is read back."""
    annotations = scaler.metadata.annotations
    spec, status = scaler.spec, scaler.status
    tree: dict[str, Any] = {
        "spec": {
            "scaleTargetRef": _tree(spec.scale_target_ref),
            "minReplicas": spec.min_replicas,
            "maxReplicas": spec.max_replicas,
            "metrics": [_metric_to_v2(one) for one in _loaded(annotations.get(METRICS_ANNOTATION), [])],
        },
        "status": {
            "currentReplicas": status.current_replicas,
            "desiredReplicas": status.desired_replicas,
            "observedGeneration": status.observed_generation,
            "conditions": _loaded(annotations.get(CONDITIONS_ANNOTATION), []),
        },
    }
    if spec.target_cpu_utilization_percentage is not None:
        target = {"type": "Utilization", "averageUtilization": spec.target_cpu_utilization_percentage}
        tree["spec"]["metrics"].append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    behavior = _loaded(annotations.get(BEHAVIOR_ANNOTATION), None)
    if behavior is not None:
        tree["spec"]["behavior"] = _lower_first(behavior)
    current = [_metric_to_v2(one, "current") for one in _loaded(annotations.get(CURRENT_METRICS_ANNOTATION), [])]
    if status.current_cpu_utilization_percentage is not None:
        used = {"averageUtilization": status.current_cpu_utilization_percentage}
        current.append({"type": "Resource", "resource": {"name": "cpu", "current": used}})
    tree["status"]["currentMetrics"] = current or None
    made = codecs.convert(autoscaling_v2.HorizontalPodAutoscaler, tree)
    made = replace(made, metadata=scaler.metadata, status=replace(made.status, last_scale_time=status.last_scale_time))
    return with_metadata(
        made, annotations={key: value for key, value in annotations.items() if key not in _ANNOTATIONS}
    )


def _is_cpu_utilization(metric: autoscaling_v2.MetricSpec) -> bool:
    resource = metric.resource
    return resource is not None and resource.name == "cpu" and resource.target.average_utilization is not None


def _current_to_v1(status: autoscaling_v2.HorizontalPodAutoscalerStatus) -> tuple[int | None, list[dict[str, Any]]]:
    used: int | None = None
    others: list[dict[str, Any]] = []
    for metric in status.current_metrics or ():
        resource = metric.resource
        if resource is not None and resource.name == "cpu" and used is None:
            used = resource.current.average_utilization
            if used is not None:
                continue
        others.append(_metric_to_v1(_tree(metric), "current"))
    return used, others


_V1_NAMES = {
    ("target", "averageUtilization"): "targetAverageUtilization",
    ("target", "averageValue"): "targetAverageValue",
    ("target", "value"): "targetValue",
    ("current", "averageUtilization"): "currentAverageUtilization",
    ("current", "averageValue"): "currentAverageValue",
    ("current", "value"): "currentValue",
}


def _metric_to_v1(tree: dict[str, Any], part: str = "target") -> dict[str, Any]:
    """A v2 metric in the words of the v1 annotation."""
    made: dict[str, Any] = {"type": tree.get("type", "")}
    for source, value in tree.items():
        if source == "type":
            continue
        amounts = value.get(part, {})
        flat = {key: one for key, one in value.items() if key not in (part, "metric", "describedObject")}
        if "describedObject" in value:
            flat["target"] = value["describedObject"]
        if "metric" in value:
            flat["metricName"] = value["metric"]["name"]
            if "selector" in value["metric"]:
                flat["metricSelector" if source == "external" else "selector"] = value["metric"]["selector"]
        for name, amount in amounts.items():
            if (part, name) in _V1_NAMES:
                flat[_V1_NAMES[part, name]] = amount
        made[source] = flat
    return made


def _metric_to_v2(tree: dict[str, Any], part: str = "target") -> dict[str, Any]:
    made: dict[str, Any] = {"type": tree.get("type", "")}
    v2_names = {v1_name: name for (of, name), v1_name in _V1_NAMES.items() if of == part}
    for source, value in tree.items():
        if source == "type":
            continue
        nested: dict[str, Any] = {}
        amounts: dict[str, Any] = {}
        for key, one in value.items():
            if key in v2_names:
                amounts[v2_names[key]] = one
            elif key == "metricName":
                nested.setdefault("metric", {})["name"] = one
            elif key in ("metricSelector", "selector"):
                nested.setdefault("metric", {})["selector"] = one
            elif key == "target":
                nested["describedObject"] = one
            else:
                nested[key] = one
        if part == "target":
            amounts["type"] = (
                "Utilization"
                if "averageUtilization" in amounts
                else "AverageValue"
                if "averageValue" in amounts
                else "Value"
            )
        made[source] = {**nested, part: amounts}
    return made


def _go_behavior(behavior: autoscaling_v2.HorizontalPodAutoscalerBehavior) -> dict[str, Any]:
    """Upstream writes its internal type here, with Go's names and explicit nulls."""

    def rules(given: autoscaling_v2.HPAScalingRules | None) -> dict[str, Any] | None:
        if given is None:
            return None
        policies = [
            {"Type": one.type, "Value": one.value, "PeriodSeconds": one.period_seconds} for one in given.policies
        ]
        return {
            "StabilizationWindowSeconds": given.stabilization_window_seconds,
            "SelectPolicy": given.select_policy,
            "Policies": policies or None,
            "Tolerance": given.tolerance,
        }

    return {"ScaleUp": rules(behavior.scale_up), "ScaleDown": rules(behavior.scale_down)}


def _lower_first(value: Any) -> Any:
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: _lower_first(one) for key, one in value.items() if one is not None}
    if isinstance(value, list):
        return [_lower_first(one) for one in value]
    return value


def _tree(value: Value) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return tree


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _loaded(text: str | None, default: Any) -> Any:
    """An annotation's JSON; what a user spoiled counts as none, as upstream's conversion drops it."""
    if not text:
        return default
    try:
        return json.loads(text)
    except ValueError:
        return default
