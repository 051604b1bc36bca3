"""What an autoscaler does: from what its metrics want to a size, conditions, events and a status. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from keelback.api import conditions
from keelback.api.autoscaling_v2 import (
    HorizontalPodAutoscaler,
    HorizontalPodAutoscalerCondition,
    HorizontalPodAutoscalerStatus,
    MetricStatus,
)
from keelback.apimachinery import quantity
from keelback.apimachinery.meta import replace
from keelback.controllers.horizontal_pod_autoscaler_limits import History, Range, normalized
from keelback.controllers.horizontal_pod_autoscaler_proposals import Failure, Proposal
from keelback.controllers.horizontal_pod_autoscaler_replicas import Rules, Tolerances

Event: TypeAlias = tuple[Literal["Normal", "Warning"], str, str]

ABLE: Final = "AbleToScale"
ACTIVE: Final = "ScalingActive"
LIMITED: Final = "ScalingLimited"


@dataclass(frozen=True, slots=True)
class Settings:
    """The controller's flags."""

    sync_period: timedelta = timedelta(seconds=15)
    downscale_stabilization: timedelta = timedelta(minutes=5)
    tolerance: float = 0.1
    cpu_initialization: timedelta = timedelta(minutes=5)
    initial_readiness: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Plan:
    """The size to have (None: as it is), what to tell, and what to remember. `why` stands in the event of a change."""

    status: HorizontalPodAutoscalerStatus
    history: History
    replicas: int | None = None
    why: str = ""
    events: tuple[Event, ...] = ()

    @property
    def error(self) -> str:
        """What went wrong, as metrics name it: what the autoscaler says, what was to be asked, or nothing."""
        reasons = {reason for type, reason, _ in self.events if type == "Warning"}
        if reasons & {"SelectorRequired", "InvalidSelector", "AmbiguousSelector", "InvalidMetricSourceType"}:
            return "spec"
        return "internal" if reasons else "none"


def rules(autoscaler: HorizontalPodAutoscaler, settings: Settings, now: datetime) -> Rules:
    """How this autoscaler's pods are counted."""
    behavior = autoscaler.spec.behavior

    def own(told: str | None) -> float:
        return settings.tolerance if told is None else quantity.parse(told).as_float()

    down = behavior.scale_down.tolerance if behavior is not None and behavior.scale_down is not None else None
    up = behavior.scale_up.tolerance if behavior is not None and behavior.scale_up is not None else None
    tolerances = Tolerances(down=own(down), up=own(up))
    return Rules(now, tolerances, settings.cpu_initialization, settings.initial_readiness)


def without_scale(autoscaler: HorizontalPodAutoscaler, why: str, history: History, now: datetime) -> Plan:
    """When the target's size cannot be read."""
    message = f"the HPA controller was unable to get the target's current scale: {why}"
    status = with_condition(autoscaler.status, ABLE, False, "FailedGetScale", message, now)
    return Plan(status, history, events=(("Warning", "FailedGetScale", why),))


def without_selector(
    autoscaler: HorizontalPodAutoscaler,
    current: int,
    reason: str,
    told: str,
    message: str,
    history: History,
    now: datetime,
) -> Plan:
    """When the target's pods cannot be told: `told` is the event's text, `message` the condition's."""
    status = with_condition(_able(autoscaler, now), ACTIVE, False, _CONDITION_OF.get(reason, reason), message, now)
    events: tuple[Event, ...] = (("Warning", reason, told), ("Warning", "FailedComputeMetricsReplicas", told))
    kept = autoscaler.status.desired_replicas
    return Plan(_sized(status, autoscaler, current, kept, None), history.begun(current, now), events=events)


# A selector that is missing is one that is invalid, as far as the condition goes.
_CONDITION_OF: Final = {"SelectorRequired": "InvalidSelector"}


def plan_by_bounds(autoscaler: HorizontalPodAutoscaler, current: int, history: History, now: datetime) -> Plan | None:
    """What is to be done whatever the metrics say; None where they decide."""
    spec, status = autoscaler.spec, _able(autoscaler, now)
    history = history.begun(current, now)
    if current == 0 and spec.min_replicas != 0:
        message = "scaling is disabled since the replica count of the target is zero"
        status = with_condition(status, ACTIVE, False, "ScalingDisabled", message, now)
        return Plan(_sized(status, autoscaler, current, 0, None), history)
    if current > spec.max_replicas:
        wanted, why = spec.max_replicas, "Current number of replicas above Spec.MaxReplicas"
    elif current < spec.min_replicas:
        wanted, why = spec.min_replicas, "Current number of replicas below Spec.MinReplicas"
    else:
        return None
    return Plan(_sized(status, autoscaler, current, wanted, None), history, wanted, why)


def plan(
    autoscaler: HorizontalPodAutoscaler,
    current: int,
    answers: Sequence[Proposal | Failure],
    history: History,
    settings: Settings,
    now: datetime,
) -> Plan:
    """What the metrics make of a target of `current` replicas; `answers` are those of `spec.metrics`, in order."""
    failures = [one for one in answers if isinstance(one, Failure)]
    proposals = [one for one in answers if isinstance(one, Proposal)]
    events: list[Event] = [("Warning", one.reason, one.cause) for one in failures]
    statuses = tuple(one.status if isinstance(one, Proposal) else MetricStatus() for one in answers)
    status, history = _able(autoscaler, now), history.begun(current, now)
    # What cannot be measured may be what holds the replicas: nothing is taken away on such grounds.
    best = max(proposals, key=lambda one: one.replicas, default=None)
    if best is None or (failures and best.replicas < current):
        first = failures[0] if failures else Failure("InvalidMetricSourceType", "no metrics", "no metrics")
        message = f"the HPA was unable to compute the replica count: {first.cause}"
        status = with_condition(status, ACTIVE, False, first.reason, message, now)
        summary = f"invalid metrics ({len(failures)} invalid out of {len(answers)}), first error is: {first.summary}"
        events.append(("Warning", "FailedComputeMetricsReplicas", summary))
        kept = autoscaler.status.desired_replicas
        return Plan(_sized(status, autoscaler, current, kept, statuses), history, events=tuple(events))
    message = f"the HPA was able to successfully calculate a replica count from {best.name}"
    status = with_condition(status, ACTIVE, True, "ValidMetricFound", message, now)
    sizes = Range(current, autoscaler.spec.min_replicas, autoscaler.spec.max_replicas)
    found = normalized(best.replicas, sizes, autoscaler.spec.behavior, history, now, settings.downscale_stabilization)
    status = with_condition(status, ABLE, True, *found.able, now)
    status = with_condition(status, LIMITED, found.is_limited, *found.limited, now)
    why = ""
    if best.replicas > current:
        why = f"{best.name} above target"
    elif best.replicas < current:
        why = "All metrics below target"
    return Plan(
        _sized(status, autoscaler, current, found.replicas, statuses),
        found.history,
        found.replicas if found.replicas != current else None,
        why,
        tuple(events),
    )


def rescaled(autoscaler: HorizontalPodAutoscaler, done: Plan, current: int, now: datetime) -> Plan:
    """The plan once its size has been set."""
    assert done.replicas is not None
    message = f"the HPA controller was able to update the target scale to {done.replicas}"
    status = replace(with_condition(done.status, ABLE, True, "SucceededRescale", message, now), last_scale_time=now)
    history = done.history.rescaled(current, done.replicas, now, autoscaler.spec.behavior)
    event: Event = ("Normal", "SuccessfulRescale", f"New size: {done.replicas}; reason: {done.why}")
    return Plan(status, history, done.replicas, done.why, (*done.events, event))


def not_rescaled(autoscaler: HorizontalPodAutoscaler, failed: Plan, error: str, now: datetime) -> Plan:
    """The plan when its size was refused."""
    message = f"the HPA controller was unable to update the target scale: {error}"
    status = with_condition(failed.status, ABLE, False, "FailedUpdateScale", message, now)
    status = replace(status, desired_replicas=autoscaler.status.desired_replicas)
    told = f"New size: {failed.replicas}; reason: {failed.why}; error: {error}"
    return Plan(status, failed.history, events=(*failed.events, ("Warning", "FailedRescale", told)))


def with_condition(
    status: HorizontalPodAutoscalerStatus, type: str, is_true: bool, reason: str, message: str, now: datetime
) -> HorizontalPodAutoscalerStatus:
    """The status with a condition; its time is that of the last change of its truth."""
    new = HorizontalPodAutoscalerCondition(
        type=type, status="True" if is_true else "False", reason=reason, message=message, last_transition_time=now
    )
    return replace(status, conditions=conditions.set_in_place(status.conditions, new))


def _able(autoscaler: HorizontalPodAutoscaler, now: datetime) -> HorizontalPodAutoscalerStatus:
    message = "the HPA controller was able to get the target's current scale"
    return with_condition(autoscaler.status, ABLE, True, "SucceededGetScale", message, now)


def _sized(
    status: HorizontalPodAutoscalerStatus,
    autoscaler: HorizontalPodAutoscaler,
    current: int,
    desired: int,
    metrics: Collection[MetricStatus] | None,
) -> HorizontalPodAutoscalerStatus:
    return replace(
        status,
        current_replicas=current,
        desired_replicas=desired,
        current_metrics=None if metrics is None else tuple(metrics),
        last_scale_time=autoscaler.status.last_scale_time,
    )
