"""What the metrics and the behavior of a HorizontalPodAutoscaler may say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from keelback.api.autoscaling_v2 import (
    HorizontalPodAutoscalerBehavior,
    HPAScalingRules,
    MetricSpec,
    MetricTarget,
)
from keelback.apimachinery import quantity
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required

_SOURCES: Final = {
    "ContainerResource": ("containerResource", "container_resource"),
    "External": ("external", "external"),
    "Object": ("object", "object"),
    "Pods": ("pods", "pods"),
    "Resource": ("resource", "resource"),
}
_TARGET_TYPES: Final = ("AverageValue", "Utilization", "Value")
_SELECT_POLICIES: Final = ("Disabled", "Max", "Min")
_POLICY_TYPES: Final = ("Percent", "Pods")
_MAX_WINDOW_SECONDS: Final = 3600
_MAX_PERIOD_SECONDS: Final = 1800


def problems(metric: MetricSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with one metric."""
    if not metric.type:
        yield required(f"{path}.type", "must specify a metric source type")
        return
    if metric.type not in _SOURCES:
        yield not_supported(f"{path}.type", metric.type, tuple(_SOURCES))
        return
    expected = _SOURCES[metric.type][0]
    for wire_name, attribute in _SOURCES.values():
        source = getattr(metric, attribute)
        if wire_name == expected and source is None:
            yield required(f"{path}.{wire_name}", "must populate information for the given metric source")
        elif wire_name != expected and source is not None:
            yield forbidden(f"{path}.{wire_name}", "must populate the given metric source only")
        elif source is not None:
            yield from _source(wire_name, source, f"{path}.{wire_name}")


def _source(kind: str, source: Any, path: str) -> Iterator[FieldError]:
    target: MetricTarget = source.target
    if kind in ("resource", "containerResource"):
        if not source.name:
            yield required(f"{path}.name", "must specify a resource name")
        if kind == "containerResource" and not source.container:
            yield required(f"{path}.container", "must specify a container")
        yield from _target(target, f"{path}.target")
        yield from _one_of(
            ("averageUtilization", target.average_utilization, "utilization"),
            ("averageValue", target.average_value, "raw value"),
            f"{path}.target",
        )
        return
    if not source.metric.name:
        yield required(f"{path}.metric.name", "must specify a metric name")
    yield from _target(target, f"{path}.target")
    if kind == "pods":
        if target.average_value is None:
            yield required(f"{path}.target.averageValue", "must specify a positive target averageValue")
    elif target.value is None and target.average_value is None:
        yield required(f"{path}.target.averageValue", "must set either a target value for metric or a per-pod target")
    elif kind == "external" and target.value is not None and target.average_value is not None:
        yield forbidden(f"{path}.target.value", "may not set both a target value for metric and a per-pod target")


def _one_of(utilization: tuple[str, Any, str], raw: tuple[str, Any, str], path: str) -> Iterator[FieldError]:
    if utilization[1] is None and raw[1] is None:
        yield required(f"{path}.{utilization[0]}", "must set either a target raw value or a target utilization")
    elif utilization[1] is not None and raw[1] is not None:
        yield forbidden(f"{path}.{raw[0]}", "may not set both a target raw value and a target utilization")


def _target(target: MetricTarget, path: str) -> Iterator[FieldError]:
    if not target.type:
        yield required(f"{path}.type", "must specify a metric target type")
    if target.type not in _TARGET_TYPES:
        yield invalid(f"{path}.type", target.type, "must be either Utilization, Value, or AverageValue")
    for name, amount in (("value", target.value), ("averageValue", target.average_value)):
        if amount is not None and quantity.parse(amount).nanos <= 0:
            yield invalid(f"{path}.{name}", amount, "must be positive")
    if target.average_utilization is not None and target.average_utilization < 1:
        yield invalid(f"{path}.averageUtilization", target.average_utilization, "must be greater than 0")


def behavior_problems(behavior: HorizontalPodAutoscalerBehavior, path: str) -> Iterator[FieldError]:
    """Everything wrong with how fast an autoscaler may go."""
    for name, rules in (("scaleUp", behavior.scale_up), ("scaleDown", behavior.scale_down)):
        if rules is not None:
            yield from _rules(rules, f"{path}.{name}")


def _rules(rules: HPAScalingRules, path: str) -> Iterator[FieldError]:
    window = rules.stabilization_window_seconds
    if window is not None and window < 0:
        yield invalid(f"{path}.stabilizationWindowSeconds", window, "must be greater than or equal to zero")
    if window is not None and window > _MAX_WINDOW_SECONDS:
        limit = f"must be less than or equal to {_MAX_WINDOW_SECONDS}"
        yield invalid(f"{path}.stabilizationWindowSeconds", window, limit)
    if rules.select_policy is not None and rules.select_policy not in _SELECT_POLICIES:
        yield not_supported(f"{path}.selectPolicy", rules.select_policy, _SELECT_POLICIES)
    if not rules.policies:
        yield required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(rules.policies):
        here = f"{path}.policies[{index}]"
        if policy.type not in _POLICY_TYPES:
            yield not_supported(f"{here}.type", policy.type, _POLICY_TYPES)
        if policy.value <= 0:
            yield invalid(f"{here}.value", policy.value, "must be greater than zero")
        if policy.period_seconds <= 0:
            yield invalid(f"{here}.periodSeconds", policy.period_seconds, "must be greater than zero")
        if policy.period_seconds > _MAX_PERIOD_SECONDS:
            limit = f"must be less than or equal to {_MAX_PERIOD_SECONDS}"
            yield invalid(f"{here}.periodSeconds", policy.period_seconds, limit)
