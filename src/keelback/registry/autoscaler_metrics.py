"""What the metrics and the behavior of a HorizontalPodAutoscaler may say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from keelback.api import autoscaling_v1, autoscaling_v2
from keelback.api.autoscaling_v2 import (
    HorizontalPodAutoscalerBehavior,
    HPAScalingRules,
    MetricSpec,
    MetricTarget,
)
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.registry import resource_names

_SOURCES: Final = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_ORDER: Final = (
    ("object", "object"),
    ("external", "external"),
    ("pods", "pods"),
    ("resource", "resource"),
    ("containerResource", "container_resource"),
)
"""The sources, by their names in JSON and here, in the order in which upstream looks at them."""
_TARGET_TYPES: Final = ("AverageValue", "Utilization", "Value")
_SELECT_POLICIES: Final = ("Disabled", "Max", "Min")
_POLICY_TYPES: Final = ("Percent", "Pods")
_MAX_WINDOW_SECONDS: Final = 3600
_MAX_PERIOD_SECONDS: Final = 1800


Reference: TypeAlias = autoscaling_v1.CrossVersionObjectReference | autoscaling_v2.CrossVersionObjectReference


def problems(metric: MetricSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with one metric."""
    if not metric.type:
        yield required(f"{path}.type", "must specify a metric source type")
    if metric.type not in _SOURCES:
        yield not_supported(f"{path}.type", metric.type, tuple(_SOURCES))
    given = [wire_name for wire_name, attribute in _ORDER if getattr(metric, attribute) is not None]
    if given:
        # Upstream looks into the first source only.
        yield from _source(given[0], getattr(metric, dict(_ORDER)[given[0]]), f"{path}.{given[0]}")
    expected = _SOURCES.get(metric.type, "")
    if not expected:
        yield not_supported(f"{path}.type", metric.type, tuple(_SOURCES))
    elif expected not in given:
        yield required(f"{path}.{expected}", "must populate information for the given metric source")
    if len(given) != 1:
        for wire_name in given:
            if wire_name != expected:
                yield forbidden(f"{path}.{wire_name}", "must populate the given metric source only")


def validate_reference(reference: Reference, path: str, *, needs_group: bool) -> Iterator[FieldError]:
    """Everything wrong with a reference to what has replicas or a metric."""
    for field, value in (("kind", reference.kind), ("name", reference.name)):
        if not value:
            yield required(f"{path}.{field}")
        for complaint in names.path_segment(value) if value else ():
            yield invalid(f"{path}.{field}", value, complaint)
    version = reference.api_version
    if version.count("/") > 1:
        yield invalid(f"{path}.apiVersion", version, f"unexpected GroupVersion string: {version}")
    elif needs_group and not version.rpartition("/")[0]:
        yield invalid(f"{path}.apiVersion", version, "apiVersion must specify API group")


def _source(kind: str, source: Any, path: str) -> Iterator[FieldError]:
    target: MetricTarget = source.target
    if kind in ("resource", "containerResource"):
        yield from _of_resource(kind, source, path)
        return
    if kind == "object":
        yield from validate_reference(source.described_object, f"{path}.describedObject", needs_group=False)
    if not source.metric.name:
        yield required(f"{path}.metric.name", "must specify a metric name")
    else:
        for complaint in names.path_segment(source.metric.name):
            yield invalid(f"{path}.metric.name", source.metric.name, complaint)
    yield from _target(target, f"{path}.target")
    if kind == "pods":
        if target.average_value is None:
            yield required(f"{path}.target.averageValue", "must specify a positive target averageValue")
    elif target.value is None and target.average_value is None:
        what = "value or averageValue" if kind == "object" else "value for metric or a per-pod target"
        yield required(f"{path}.target.averageValue", f"must set either a target {what}")
    elif kind == "external" and target.value is not None and target.average_value is not None:
        yield forbidden(f"{path}.target.value", "may not set both a target value for metric and a per-pod target")


def _of_resource(kind: str, source: Any, path: str) -> Iterator[FieldError]:
    target: MetricTarget = source.target
    if not source.name:
        yield required(f"{path}.name", "must specify a resource name")
    elif kind == "containerResource":
        yield from resource_names.validate_of_container(source.name, f"{path}.name")
    if kind == "containerResource" and not source.container:
        yield required(f"{path}.container", "must specify a container")
    elif kind == "containerResource":
        for complaint in names.dns1123_label(source.container):
            yield invalid(f"{path}.container", source.container, complaint)
    yield from _target(target, f"{path}.target")
    yield from _one_of(
        ("averageUtilization", target.average_utilization, "utilization"),
        ("averageValue", target.average_value, "raw value"),
        f"{path}.target",
    )


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
