"""What an autoscaler does: from what its metrics want to a size, conditions, events and a status. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from keelback.api import autoscaling_v2 as v2
from keelback.api import conditions
from keelback.api.autoscaling_v1 import Scale
from keelback.apimachinery import labels, quantity
from keelback.apimachinery.meta import replace
from keelback.controllers.config import HorizontalPodAutoscaling
from keelback.controllers.horizontal_pod_autoscaler_limits import WITHIN, History, normalized
from keelback.controllers.horizontal_pod_autoscaler_metrics import Failure, Proposal, Rules, Tolerances

Event: TypeAlias = tuple[Literal["Normal", "Warning"], str, str]

ABLE: Final = "AbleToScale"
ACTIVE: Final = "ScalingActive"
LIMITED: Final = "ScalingLimited"


@dataclass(frozen=True, slots=True)
class Plan:
    """The size to have (None: as it is), what to tell, and what to remember. `why` stands in the event of a change."""

    status: v2.HorizontalPodAutoscalerStatus
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


class SelectorProblem(Exception):
    """Why it cannot be told which pods are meant: a reason and a text for events, and the same for the condition."""

    def __init__(self, reason: str, told: str, condition: tuple[str, str] | None = None) -> None:
        super().__init__(told)
        self.reason, self.told, self.condition = reason, told, condition or (reason, told)


def rules(autoscaler: v2.HorizontalPodAutoscaler, settings: HorizontalPodAutoscaling, now: datetime) -> Rules:
    """How this autoscaler's pods are counted."""
    behavior = autoscaler.spec.behavior or v2.HorizontalPodAutoscalerBehavior()
    down, up = (
        settings.tolerance if one is None or one.tolerance is None else quantity.parse(one.tolerance).as_float()
        for one in (behavior.scale_down, behavior.scale_up)
    )
    return Rules(now, Tolerances(down, up), settings)


def without_scale(autoscaler: v2.HorizontalPodAutoscaler, why: str, history: History, now: datetime) -> Plan:
    """When the target's size cannot be read."""
    message = f"the HPA controller was unable to get the target's current scale: {why}"
    status = with_condition(autoscaler.status, ABLE, False, "FailedGetScale", message, now)
    return Plan(status, history, events=(("Warning", "FailedGetScale", why),))


def selector_of(scale: Scale) -> labels.Selector:
    """What selects the target's pods. Raises SelectorProblem."""
    text = scale.status.selector
    if not text:
        missing = ("InvalidSelector", "the HPA target's scale is missing a selector")
        raise SelectorProblem("SelectorRequired", "selector is required", missing)
    try:
        return labels.parse(text)
    except labels.LabelSelectorError as error:
        told = f"couldn't convert selector into a corresponding internal selector object: {error}"
        raise SelectorProblem("InvalidSelector", told) from error


def without_selector(
    autoscaler: v2.HorizontalPodAutoscaler, current: int, problem: SelectorProblem, history: History, now: datetime
) -> Plan:
    """When the target's pods cannot be told."""
    status = with_condition(_able(autoscaler, current, now), ACTIVE, False, *problem.condition, now)
    reasons = (problem.reason, "FailedComputeMetricsReplicas")
    events = tuple[Event, ...](("Warning", reason, problem.told) for reason in reasons)
    return Plan(status, history.begun(current, now), events=events)


def plan_by_bounds(
    autoscaler: v2.HorizontalPodAutoscaler, current: int, history: History, now: datetime
) -> Plan | None:
    """What is to be done whatever the metrics say; None where they decide."""
    spec, status = autoscaler.spec, _able(autoscaler, current, now)
    history = history.begun(current, now)
    if current == 0 and spec.min_replicas != 0:
        message = "scaling is disabled since the replica count of the target is zero"
        status = with_condition(status, ACTIVE, False, "ScalingDisabled", message, now)
        return Plan(replace(status, desired_replicas=0), history)
    if current > spec.max_replicas:
        wanted, why = spec.max_replicas, "Current number of replicas above Spec.MaxReplicas"
    elif current < spec.min_replicas:
        wanted, why = spec.min_replicas, "Current number of replicas below Spec.MinReplicas"
    else:
        return None
    return Plan(replace(status, desired_replicas=wanted), history, wanted, why)


def plan(
    autoscaler: v2.HorizontalPodAutoscaler,
    current: int,
    answers: Sequence[Proposal | Failure],
    history: History,
    settings: HorizontalPodAutoscaling,
    now: datetime,
) -> Plan:
    """What the metrics make of a target of `current` replicas; `answers` are those of `spec.metrics`, in order."""
    failures = [one for one in answers if isinstance(one, Failure)]
    best = max((one for one in answers if isinstance(one, Proposal)), key=lambda one: one.replicas, default=None)
    events = tuple[Event, ...](("Warning", one.reason, one.cause) for one in failures)
    metrics = tuple(one.status if isinstance(one, Proposal) else v2.MetricStatus() for one in answers)
    status = replace(_able(autoscaler, current, now), current_metrics=metrics)
    history = history.begun(current, now)
    # What cannot be measured may be what holds the replicas: nothing is taken away on such grounds.
    if best is None or (failures and best.replicas < current):
        first = failures[0] if failures else Failure("InvalidMetricSourceType", "no metrics", "no metrics")
        message = f"the HPA was unable to compute the replica count: {first.cause}"
        status = with_condition(status, ACTIVE, False, first.reason, message, now)
        summary = f"invalid metrics ({len(failures)} invalid out of {len(answers)}), first error is: {first.summary}"
        return Plan(status, history, events=(*events, ("Warning", "FailedComputeMetricsReplicas", summary)))
    message = f"the HPA was able to successfully calculate a replica count from {best.name}"
    status = with_condition(status, ACTIVE, True, "ValidMetricFound", message, now)
    found = normalized(best.replicas, current, autoscaler.spec, history, now, settings.downscale_stabilization)
    status = with_condition(status, ABLE, True, *found.able, now)
    status = with_condition(status, LIMITED, found.limited != WITHIN, *found.limited, now)
    status = replace(status, desired_replicas=found.replicas)
    if found.replicas == current:
        return Plan(status, found.history, events=events)
    why = f"{best.name} above target" if best.replicas > current else "All metrics below target"
    return Plan(status, found.history, found.replicas, why, events)


def rescaled(autoscaler: v2.HorizontalPodAutoscaler, done: Plan, current: int, now: datetime) -> Plan:
    """The plan once its size has been set."""
    assert done.replicas is not None
    message = f"the HPA controller was able to update the target scale to {done.replicas}"
    status = replace(with_condition(done.status, ABLE, True, "SucceededRescale", message, now), last_scale_time=now)
    history = done.history.rescaled(current, done.replicas, now, autoscaler.spec)
    event: Event = ("Normal", "SuccessfulRescale", f"New size: {done.replicas}; reason: {done.why}")
    return Plan(status, history, done.replicas, done.why, (*done.events, event))


def not_rescaled(autoscaler: v2.HorizontalPodAutoscaler, failed: Plan, error: str, now: datetime) -> Plan:
    """The plan when its size was refused."""
    message = f"the HPA controller was unable to update the target scale: {error}"
    status = with_condition(failed.status, ABLE, False, "FailedUpdateScale", message, now)
    status = replace(status, desired_replicas=autoscaler.status.desired_replicas)
    told = f"New size: {failed.replicas}; reason: {failed.why}; error: {error}"
    return Plan(status, failed.history, events=(*failed.events, ("Warning", "FailedRescale", told)))


def with_condition(
    status: v2.HorizontalPodAutoscalerStatus, type: str, is_true: bool, reason: str, message: str, now: datetime
) -> v2.HorizontalPodAutoscalerStatus:
    """The status with a condition; its time is that of the last change of its truth."""
    new = v2.HorizontalPodAutoscalerCondition(
        type=type, status="True" if is_true else "False", reason=reason, message=message, last_transition_time=now
    )
    return replace(status, conditions=conditions.set_in_place(status.conditions, new))


def _able(autoscaler: v2.HorizontalPodAutoscaler, current: int, now: datetime) -> v2.HorizontalPodAutoscalerStatus:
    """The status once the target's size is known; of what was measured earlier it says nothing any more."""
    message = "the HPA controller was able to get the target's current scale"
    status = with_condition(autoscaler.status, ABLE, True, "SucceededGetScale", message, now)
    return replace(status, current_replicas=current, current_metrics=None)
