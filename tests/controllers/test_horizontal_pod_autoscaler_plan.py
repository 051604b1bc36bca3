"""What an autoscaler decides and says, metric by metric, after upstream's horizontal_test.go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api import conditions
from keelback.api.autoscaling_v1 import Scale, ScaleSpec, ScaleStatus
from keelback.api.autoscaling_v2 import HorizontalPodAutoscaler, MetricSpec, MetricStatus, MetricValueStatus
from keelback.api.core_v1 import Container, Pod, PodCondition, PodSpec, PodStatus, ResourceRequirements
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import ObjectMeta
from keelback.client.metric_values import Figures, MetricError, Sample
from keelback.controllers import horizontal_pod_autoscaler_plan as planning
from keelback.controllers.config import HorizontalPodAutoscaling
from keelback.controllers.horizontal_pod_autoscaler_limits import History
from keelback.controllers.horizontal_pod_autoscaler_metrics import (
    Failure,
    Proposal,
    Rules,
    evaluate,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SETTINGS = HorizontalPodAutoscaling()


def autoscaler(**spec: Any) -> HorizontalPodAutoscaler:
    tree = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 10, **spec},
    }
    return codecs.convert(HorizontalPodAutoscaler, tree)


def pods(count: int) -> list[Pod]:
    ready = PodCondition(type="Ready", status="True", last_transition_time=NOW - timedelta(hours=1))
    container = Container(name="app", resources=ResourceRequirements(requests={"cpu": "1", "memory": "1"}))
    return [
        Pod(
            metadata=ObjectMeta(name=f"p{index}"),
            spec=PodSpec(containers=(container,)),
            status=PodStatus(phase="Running", start_time=NOW - timedelta(hours=1), conditions=(ready,)),
        )
        for index in range(count)
    ]


def judged(metric: dict[str, Any], figures: Figures, count: int = 3) -> Proposal | Failure:
    scale = Scale(
        metadata=ObjectMeta(namespace="shop"), spec=ScaleSpec(replicas=count), status=ScaleStatus(replicas=count)
    )
    return evaluate(codecs.convert(MetricSpec, metric), figures, scale, pods(count), Rules(NOW))


def each(*values: int) -> dict[str, Sample]:
    return {f"p{index}": Sample(value, NOW) for index, value in enumerate(values)}


def share(amount: str) -> dict[str, Any]:
    return {"type": "AverageValue", "averageValue": amount}


def current(status: MetricStatus) -> MetricValueStatus:
    told = status.resource or status.container_resource or status.pods or status.object or status.external
    assert told is not None
    return told.current


UTILIZATION = {"type": "Utilization", "averageUtilization": 30}
SERVICE = {"apiVersion": "v1", "kind": "Service", "name": "front"}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": UTILIZATION}}
MEMORY = {"type": "Resource", "resource": {"name": "memory", "target": share("400m")}}
CONTAINER = {
    "type": "ContainerResource",
    "containerResource": {"name": "cpu", "container": "app", "target": UTILIZATION},
}
PODS = {"type": "Pods", "pods": {"metric": {"name": "qps"}, "target": share("10")}}
OBJECT = {
    "type": "Object",
    "object": {"metric": {"name": "qps"}, "describedObject": SERVICE, "target": {"type": "Value", "value": "10"}},
}
SHARED_OBJECT = {
    "type": "Object",
    "object": {"metric": {"name": "qps"}, "describedObject": SERVICE, "target": share("10")},
}
EXTERNAL = {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "10"}}}
SHARED_EXTERNAL = {"type": "External", "external": {"metric": {"name": "queue"}, "target": share("10")}}


@pytest.mark.parametrize(
    ("metric", "figures", "replicas", "name", "value"),
    [
        (
            CPU,
            each(300, 500, 700),
            5,
            "cpu resource utilization (percentage of request)",
            MetricValueStatus(average_utilization=50, average_value="500m"),
        ),
        (MEMORY, each(300, 500, 700), 4, "memory resource", MetricValueStatus(average_value="500m")),
        (
            CONTAINER,
            each(300, 500, 700),
            5,
            "cpu container resource utilization (percentage of request)",
            MetricValueStatus(average_utilization=50, average_value="500m"),
        ),
        (PODS, each(20000, 10000, 30000), 6, "pods metric qps", MetricValueStatus(average_value="20")),
        (OBJECT, 20000, 6, "Service metric qps", MetricValueStatus(value="20")),
        (SHARED_OBJECT, 50000, 5, "external metric qps(nil)", MetricValueStatus(average_value="16667m")),
        (EXTERNAL, 20000, 6, "external metric queue(nil)", MetricValueStatus(value="20")),
        (SHARED_EXTERNAL, 50000, 5, "external metric queue(nil)", MetricValueStatus(average_value="16667m")),
    ],
)
def test_each_kind_of_metric(
    metric: dict[str, Any], figures: Figures, replicas: int, name: str, value: MetricValueStatus
) -> None:
    found = judged(metric, figures)
    assert isinstance(found, Proposal)
    assert (found.replicas, found.name, current(found.status)) == (replicas, name, value)
    assert found.status.type == metric["type"]


@pytest.mark.parametrize(
    ("metric", "reason", "cause", "summary"),
    [
        (
            CPU,
            "FailedGetResourceMetric",
            "failed to get cpu utilization: why",
            "failed to get cpu resource metric value: failed to get cpu utilization: why",
        ),
        (
            CONTAINER,
            "FailedGetContainerResourceMetric",
            "failed to get cpu utilization: why",
            "failed to get cpu container metric value: failed to get cpu utilization: why",
        ),
        (
            PODS,
            "FailedGetPodsMetric",
            "why",
            "failed to get pods metric value: why",
        ),
        (
            OBJECT,
            "FailedGetObjectMetric",
            "why",
            "failed to get object metric value: why",
        ),
        (
            EXTERNAL,
            "FailedGetExternalMetric",
            "failed to get external metric queue: why",
            "failed to get queue external metric value: failed to get external metric queue: why",
        ),
        (
            {"type": "Odd"},
            "InvalidMetricSourceType",
            'unknown metric source type "Odd"',
            'unknown metric source type "Odd"',
        ),
    ],
)
def test_failures_are_told_as_upstream_tells_them(
    metric: dict[str, Any], reason: str, cause: str, summary: str
) -> None:
    assert judged(metric, MetricError("why")) == Failure(reason, cause, summary)


def wants(replicas: int, name: str = "cpu resource") -> Proposal:
    return Proposal(replicas, name, MetricStatus(type="Resource"))


FAILED = Failure("FailedGetResourceMetric", "no metrics", "failed to get cpu resource metric value: no metrics")


def planned(size: int, *answers: Proposal | Failure, **spec: Any) -> planning.Plan:
    return planning.plan(autoscaler(**spec), size, answers, History(), SETTINGS, NOW)


def said(plan: planning.Plan, kind: str) -> tuple[str, str]:
    found = conditions.find(plan.status.conditions, kind)
    assert found is not None
    return found.status, found.reason


def test_the_metric_that_wants_most_decides() -> None:
    plan = planned(3, wants(4, "a"), wants(6, "b"))
    assert (plan.replicas, plan.why) == (6, "b above target")
    assert said(plan, "ScalingActive") == ("True", "ValidMetricFound")
    assert plan.status.desired_replicas == 6


def test_a_metric_that_fails_forbids_to_scale_down_and_not_to_scale_up() -> None:
    up = planned(3, FAILED, wants(5))
    assert (up.replicas, said(up, "ScalingActive")[0]) == (5, "True")
    assert up.events == (("Warning", "FailedGetResourceMetric", "no metrics"),)
    down = planned(3, FAILED, wants(1))
    assert (down.replicas, said(down, "ScalingActive")) == (None, ("False", "FailedGetResourceMetric"))
    assert down.events[-1] == (
        "Warning",
        "FailedComputeMetricsReplicas",
        "invalid metrics (1 invalid out of 2), first error is: failed to get cpu resource metric value: no metrics",
    )
    assert down.status.current_metrics == (MetricStatus(), MetricStatus(type="Resource"))


def test_nothing_to_do_is_nothing_done() -> None:
    plan = planned(3, wants(3))
    assert (plan.replicas, plan.events) == (None, ())
    assert said(plan, "AbleToScale") == ("True", "ReadyForNewScale")
    assert said(plan, "ScalingLimited") == ("False", "DesiredWithinRange")


def test_a_controller_that_starts_takes_nothing_away_at_once() -> None:
    plan = planned(8, wants(2))
    assert (plan.replicas, said(plan, "AbleToScale")) == (None, ("True", "ScaleDownStabilized"))


def test_a_change_that_was_made_and_one_that_was_refused() -> None:
    plan = planned(3, wants(5))
    done = planning.rescaled(autoscaler(), plan, 3, NOW)
    assert done.events[-1] == ("Normal", "SuccessfulRescale", "New size: 5; reason: cpu resource above target")
    assert (done.status.last_scale_time, said(done, "AbleToScale")) == (NOW, ("True", "SucceededRescale"))
    refused = planning.not_rescaled(autoscaler(), plan, "quota", NOW)
    assert refused.events[-1][1:] == ("FailedRescale", "New size: 5; reason: cpu resource above target; error: quota")
    assert (refused.status.desired_replicas, said(refused, "AbleToScale")) == (0, ("False", "FailedUpdateScale"))


def test_tolerances_are_the_autoscalers_own_where_it_has_some() -> None:
    behavior = {"scaleUp": {"tolerance": "5m"}, "scaleDown": {}}
    found = planning.rules(autoscaler(behavior=behavior), SETTINGS, NOW).tolerances
    assert (found.up, found.down) == (0.005, 0.1)


def test_the_time_of_a_condition_is_that_of_its_last_change_of_truth() -> None:
    first = planned(3, wants(3))
    again = planning.with_condition(first.status, "AbleToScale", True, "Other", "", NOW + timedelta(hours=1))
    told = conditions.find(again.conditions, "AbleToScale")
    assert told is not None
    assert (told.reason, told.last_transition_time) == ("Other", NOW)


answers_of_all_sorts = st.lists(st.one_of(st.integers(0, 60).map(wants), st.just(FAILED)), min_size=1, max_size=4)


@given(st.integers(0, 40), answers_of_all_sorts, st.integers(1, 8), st.integers(8, 20))
def test_sizes_stay_in_bounds_and_nothing_is_taken_away_where_something_cannot_be_measured(
    size: int, answers: list[Proposal | Failure], least: int, most: int
) -> None:
    scaler = autoscaler(minReplicas=least, maxReplicas=most)
    plan = planning.plan_by_bounds(scaler, size, History(), NOW)
    assert (plan is None) == (least <= size <= most)
    if plan is None:
        plan = planning.plan(scaler, size, answers, History(), SETTINGS, NOW)
        if FAILED in answers:
            assert plan.replicas is None or plan.replicas > size
    if plan.replicas is None:
        assert size == 0 or least <= size <= most
    else:
        assert least <= plan.replicas <= most
        assert plan.why
    kinds = [one.type for one in plan.status.conditions]
    assert len(kinds) == len(set(kinds))
    assert plan.status.current_replicas == size
