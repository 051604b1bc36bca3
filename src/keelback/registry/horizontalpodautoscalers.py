"""HorizontalPodAutoscalers of both versions: without metrics they keep the processors at 80 percent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from keelback.api import autoscaling_v1 as v1
from keelback.api import autoscaling_v2 as v2
from keelback.apimachinery.errors import FieldError, invalid
from keelback.apimachinery.meta import replace
from keelback.registry import autoscaler_metrics, conversions
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import number, text, validate_counts

_UTILIZATION = 80
_UP_POLICIES = (
    v2.HPAScalingPolicy(type="Pods", value=4, period_seconds=15),
    v2.HPAScalingPolicy(type="Percent", value=100, period_seconds=15),
)
_DOWN_POLICIES = (v2.HPAScalingPolicy(type="Percent", value=100, period_seconds=15),)
_SHOWN_METRICS = 2


def _reference(scaler: Any) -> str:
    return f"{scaler.spec.scale_target_ref.kind}/{scaler.spec.scale_target_ref.name}"


def _amount(value: Any) -> str:
    if value is None:
        return "<unknown>"
    if value.average_utilization is not None:
        return f"{value.average_utilization}%"
    return value.average_value or value.value or "<unknown>"


def _wanted(target: v2.MetricTarget) -> str:
    if target.average_utilization is not None:
        return f"{target.average_utilization}%"
    if target.average_value is not None:
        return f"{target.average_value}"
    return target.value or "<unset>"


def _targets(scaler: v2.HorizontalPodAutoscaler) -> str:
    shown: list[str] = []
    held = scaler.status.current_metrics or ()
    for index, metric in enumerate(scaler.spec.metrics):
        current = held[index] if index < len(held) else None
        source = _source(metric)
        if source is None:
            shown.append("<unknown type>")
            continue
        now = _amount(getattr(_source(current), "current", None) if current is not None else None)
        average = " (avg)" if metric.external is not None and metric.external.target.average_value is not None else ""
        text_ = f"{now}/{_wanted(source.target)}{average}"
        if metric.resource is not None or metric.container_resource is not None:
            text_ = f"{source.name}: {text_}"
        shown.append(text_)
    if not shown:
        return "<none>"
    listed = ", ".join(shown[:_SHOWN_METRICS])
    return f"{listed} + {len(shown) - _SHOWN_METRICS} more..." if len(shown) > _SHOWN_METRICS else listed


def _source(metric: Any) -> Any:
    return metric.resource or metric.container_resource or metric.pods or metric.object or metric.external


def _columns(targets: Any) -> tuple[Column, ...]:
    return (
        text("Reference", _reference),
        text("Targets", targets),
        text("MinPods", lambda one: str(one.spec.min_replicas)),
        number("MaxPods", lambda one: one.spec.max_replicas),
        number("Replicas", lambda one: one.status.current_replicas),
        AGE,
    )


def _targets_v1(scaler: v1.HorizontalPodAutoscaler) -> str:
    return _targets(conversions.autoscaler_to_v2(scaler))


class HorizontalPodAutoscalerStrategy(Strategy[v2.HorizontalPodAutoscaler]):
    kind = v2.HorizontalPodAutoscaler
    subresources = ("status",)
    counts_generations = False
    columns = _columns(_targets)

    def default(
        self, new: v2.HorizontalPodAutoscaler, old: v2.HorizontalPodAutoscaler | None = None
    ) -> v2.HorizontalPodAutoscaler:
        spec = new.spec
        changes: dict[str, Any] = {}
        if not spec.metrics:
            target = v2.MetricTarget(type="Utilization", average_utilization=_UTILIZATION)
            source = v2.ResourceMetricSource(name="cpu", target=target)
            changes["metrics"] = (v2.MetricSpec(type="Resource", resource=source),)
        if spec.behavior is not None:
            changes["behavior"] = _with_rule_defaults(spec.behavior)
        return replace(new, spec=replace(spec, **changes)) if changes else new

    def validate(self, new: v2.HorizontalPodAutoscaler) -> Iterator[FieldError]:
        yield from _validate(new)
        for index, metric in enumerate(new.spec.metrics):
            yield from autoscaler_metrics.problems(metric, f"spec.metrics[{index}]")
        if new.spec.behavior is not None:
            yield from autoscaler_metrics.behavior_problems(new.spec.behavior, "spec.behavior")

    def validate_update(self, new: v2.HorizontalPodAutoscaler, old: v2.HorizontalPodAutoscaler) -> Iterator[FieldError]:
        yield from _without_what_was_wrong(self.validate(new), self.validate(old))

    def validate_status_update(
        self, new: v2.HorizontalPodAutoscaler, old: v2.HorizontalPodAutoscaler
    ) -> Iterator[FieldError]:
        yield from validate_counts(
            ("status.currentReplicas", new.status.current_replicas),
            ("status.desiredReplicas", new.status.desired_replicas),
        )


class HorizontalPodAutoscalerV1Strategy(Strategy[v1.HorizontalPodAutoscaler]):
    kind = v1.HorizontalPodAutoscaler
    storage_kind = v2.HorizontalPodAutoscaler
    subresources = ("status",)
    counts_generations = False
    columns = _columns(_targets_v1)

    def from_storage(self, data: bytes) -> bytes:
        return conversions.autoscaler_from_storage(data)

    def to_storage(self, data: bytes) -> bytes:
        return conversions.autoscaler_to_storage(data)

    def default(
        self, new: v1.HorizontalPodAutoscaler, old: v1.HorizontalPodAutoscaler | None = None
    ) -> v1.HorizontalPodAutoscaler:
        has_metrics = conversions.METRICS_ANNOTATION in new.metadata.annotations
        if new.spec.target_cpu_utilization_percentage is not None or has_metrics:
            return new
        return replace(new, spec=replace(new.spec, target_cpu_utilization_percentage=_UTILIZATION))

    def validate(self, new: v1.HorizontalPodAutoscaler) -> Iterator[FieldError]:
        yield from _validate(new)
        wanted = new.spec.target_cpu_utilization_percentage
        if wanted is not None and wanted < 1:
            yield invalid("spec.targetCPUUtilizationPercentage", wanted, "must be greater than 0")

    def validate_update(self, new: v1.HorizontalPodAutoscaler, old: v1.HorizontalPodAutoscaler) -> Iterator[FieldError]:
        yield from _without_what_was_wrong(self.validate(new), self.validate(old))

    def validate_status_update(
        self, new: v1.HorizontalPodAutoscaler, old: v1.HorizontalPodAutoscaler
    ) -> Iterator[FieldError]:
        yield from validate_counts(
            ("status.currentReplicas", new.status.current_replicas),
            ("status.desiredReplicas", new.status.desired_replicas),
        )


def _validate(scaler: v1.HorizontalPodAutoscaler | v2.HorizontalPodAutoscaler) -> Iterator[FieldError]:
    spec = scaler.spec
    if spec.min_replicas < 1:
        yield invalid("spec.minReplicas", spec.min_replicas, "must be greater than or equal to 1")
    if spec.max_replicas < 1:
        yield invalid("spec.maxReplicas", spec.max_replicas, "must be greater than 0")
    if spec.max_replicas < spec.min_replicas:
        yield invalid("spec.maxReplicas", spec.max_replicas, "must be greater than or equal to `minReplicas`")
    # Among the kinds that can be scaled, only ReplicationControllers have no group.
    needs_group = spec.scale_target_ref.kind != "ReplicationController"
    yield from autoscaler_metrics.validate_reference(
        spec.scale_target_ref, "spec.scaleTargetRef", needs_group=needs_group
    )


def _without_what_was_wrong(problems: Iterable[FieldError], before: Iterable[FieldError]) -> Iterator[FieldError]:
    """An autoscaler that was let through before versions were looked at may keep its reference."""
    was_wrong = any(one.field == _REFERENCE_VERSION for one in before)
    yield from (one for one in problems if not was_wrong or one.field != _REFERENCE_VERSION)


_REFERENCE_VERSION = "spec.scaleTargetRef.apiVersion"


def _with_rule_defaults(behavior: v2.HorizontalPodAutoscalerBehavior) -> v2.HorizontalPodAutoscalerBehavior:
    up = _rules(behavior.scale_up or v2.HPAScalingRules(), _UP_POLICIES, 0)
    down = _rules(behavior.scale_down or v2.HPAScalingRules(), _DOWN_POLICIES, None)
    return v2.HorizontalPodAutoscalerBehavior(scale_up=up, scale_down=down)


def _rules(
    rules: v2.HPAScalingRules, policies: tuple[v2.HPAScalingPolicy, ...], window: int | None
) -> v2.HPAScalingRules:
    given = rules.stabilization_window_seconds
    return replace(
        rules,
        select_policy=rules.select_policy or "Max",
        policies=rules.policies or policies,
        stabilization_window_seconds=window if given is None else given,
    )
