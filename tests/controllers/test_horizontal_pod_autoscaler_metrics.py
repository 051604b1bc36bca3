"""How many replicas metrics ask for: after upstream's table of the replica calculator, and what always holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import Container, Pod, PodCondition, PodSpec, PodStatus, ResourceRequirements
from keelback.apimachinery.meta import ObjectMeta
from keelback.client.metric_values import MetricError, Sample
from keelback.controllers.horizontal_pod_autoscaler_metrics import (
    Count,
    Rules,
    Tolerances,
    by_average,
    by_utilization,
    by_value,
    per_pod,
    requests_of,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
RULES = Rules(NOW)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Case:
    """One pod of a case: its usage (None: no figure), request, phase, readiness and age."""

    usage: int | None
    request: int | None = 1000
    phase: str = "Running"
    ready: bool = True
    since: timedelta = HOUR
    started: timedelta = HOUR
    deleted: bool = False


def built(pods: Sequence[Case]) -> tuple[list[Pod], dict[str, Sample]]:
    made = [
        Pod(
            metadata=ObjectMeta(name=f"p{index}", deletion_timestamp=NOW if one.deleted else None),
            spec=PodSpec(
                containers=(
                    Container(
                        name="c",
                        resources=ResourceRequirements(
                            requests={} if one.request is None else {"cpu": f"{one.request}m"}
                        ),
                    ),
                )
            ),
            status=PodStatus(
                phase=one.phase,
                start_time=NOW - one.started,
                conditions=(
                    PodCondition(
                        type="Ready", status="True" if one.ready else "False", last_transition_time=NOW - one.since
                    ),
                ),
            ),
        )
        for index, one in enumerate(pods)
    ]
    samples = {
        f"p{index}": Sample(one.usage, NOW, timedelta(minutes=1))
        for index, one in enumerate(pods)
        if one.usage is not None
    }
    return made, samples


UNREADY: dict[str, Any] = {"ready": False, "started": timedelta(minutes=1), "since": timedelta(minutes=1)}
CASES = {
    # replica_calculator_test.go, by its names.
    "scale up": (30, 3, [Case(300), Case(500), Case(700)], Count(5, 500, 50)),
    "scale up unready lessens": (30, 3, [Case(300, **UNREADY), Case(500), Case(700)], Count(4, 600, 60)),
    "scale up hot CPU lessens": (
        30,
        3,
        [Case(300, started=timedelta(minutes=1), since=timedelta(seconds=30)), Case(500), Case(700)],
        Count(4, 600, 60),
    ),
    "scale up unready no scale": (30, 3, [Case(400), Case(500, **UNREADY), Case(700, **UNREADY)], Count(3, 400, 40)),
    "scale up ignores failed pods": (
        30,
        2,
        [Case(500), Case(700), Case(None, phase="Failed"), Case(None, phase="Failed")],
        Count(4, 600, 60),
    ),
    "scale up ignores deletion pods": (30, 2, [Case(500), Case(700), Case(900, deleted=True)], Count(4, 600, 60)),
    "scale down": (50, 5, [Case(100), Case(300), Case(500), Case(250), Case(250)], Count(3, 280, 28)),
    "scale down ignores unready pods": (
        50,
        5,
        [Case(100), Case(300), Case(500), Case(250, **UNREADY), Case(250, **UNREADY)],
        Count(2, 300, 30),
    ),
    "tolerance": (100, 3, [Case(1010, 900), Case(1030, 1000), Case(1020, 1100)], Count(3, 1020, 102)),
    "missing metrics no change eq": (100, 2, [Case(1000), Case(None)], Count(2, 1000, 100)),
    "missing metrics no change gt": (100, 2, [Case(1900), Case(None)], Count(2, 1900, 190)),
    "missing metrics no change lt": (100, 2, [Case(600), Case(None)], Count(2, 600, 60)),
    "missing metrics unready no change": (
        50,
        3,
        [Case(100, **UNREADY), Case(450), Case(None)],
        Count(3, 450, 45),
    ),
    "missing metrics unready scale up": (50, 4, [Case(100, **UNREADY), Case(2000), Case(None)], Count(4, 2000, 200)),
    "missing metrics scale down": (100, 4, [Case(100), Case(100), Case(100), Case(None)], Count(2, 100, 10)),
    "pending pods count as using nothing": (
        30,
        2,
        [Case(None, phase="Pending"), Case(900)],
        Count(3, 900, 90),
    ),
    "long unready pods count": (
        30,
        3,
        [Case(300, ready=False, started=2 * HOUR, since=HOUR), Case(500), Case(700)],
        Count(5, 500, 50),
    ),
    "never ready pods do not": (
        30,
        3,
        [Case(300, ready=False, started=HOUR, since=HOUR - timedelta(seconds=10)), Case(500), Case(700)],
        Count(4, 600, 60),
    ),
    "targets beyond the requests count missing as at the target": (
        300,
        4,
        [Case(100), Case(100), Case(100), Case(None)],
        Count(2, 100, 10),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_utilization(name: str) -> None:
    target, current, pods, wanted = CASES[name]
    made, samples = built(pods)
    assert by_utilization(current, target, made, samples, "cpu", "", RULES) == wanted


PLAIN = {
    "scale up": (15000, 3, [Case(20000), Case(10000), Case(30000)], Count(4, 20000)),
    "scale down": (20000, 5, [Case(12000)] * 5, Count(3, 12000)),
    "tolerance": (20666, 3, [Case(20733), Case(21000), Case(20333)], Count(3, 20688)),
    "missing lessens a rise": (15000, 3, [Case(50000), Case(None), Case(None)], Count(4, 50000)),
    "missing holds": (20000, 2, [Case(10000), Case(None)], Count(2, 10000)),
}


@pytest.mark.parametrize("name", PLAIN)
def test_averages(name: str) -> None:
    target, current, pods, wanted = PLAIN[name]
    made, samples = built(pods)
    assert by_average(current, target, made, samples, "", RULES) == wanted


@pytest.mark.parametrize(
    ("pods", "text"),
    [
        ([], "no pods returned by selector while calculating replica count"),
        ([Case(5, **UNREADY)], "did not receive metrics for targeted pods (pods might be unready)"),
        ([Case(5, request=None)], "missing request for cpu in container c of Pod p0"),
        ([Case(5, request=0)], "no metrics returned matched known pods"),
    ],
)
def test_what_cannot_be_counted_says_why(pods: list[Case], text: str) -> None:
    made, samples = built(pods)
    with pytest.raises(MetricError) as caught:
        by_utilization(1, 50, made, samples, "cpu", "", RULES)
    assert str(caught.value) == text


def test_one_container_or_the_whole_pod() -> None:
    def asking(amount: str) -> ResourceRequirements:
        return ResourceRequirements(requests={"cpu": amount})

    spec = PodSpec(
        containers=(
            Container(name="a", resources=asking("1")),
            Container(name="b", resources=asking("500m")),
        ),
        init_containers=(
            Container(name="setup", resources=asking("8")),
            Container(name="proxy", restart_policy="Always", resources=asking("250m")),
        ),
    )
    pod = Pod(metadata=ObjectMeta(name="p"), spec=spec)
    assert requests_of([pod], "", "cpu") == {"p": 1750}
    assert requests_of([pod], "b", "cpu") == {"p": 500}
    assert requests_of([pod], "proxy", "cpu") == {"p": 250}
    whole = Pod(metadata=ObjectMeta(name="p"), spec=PodSpec(containers=spec.containers, resources=asking("4")))
    assert requests_of([whole], "", "cpu") == {"p": 4000}
    assert requests_of([whole], "a", "cpu") == {"p": 1000}


def test_one_figure_for_all_pods() -> None:
    made, _ = built([Case(None), Case(None), Case(None, ready=False)])
    assert by_value(3, 20000, 15000, made, Tolerances()) == Count(3, 20000)
    assert by_value(3, 16000, 15000, made, Tolerances()) == Count(3, 16000)
    assert by_value(0, 10000, 6666, [], Tolerances()) == Count(2, 10000)
    with pytest.raises(MetricError, match="unable to calculate ready pods"):
        by_value(3, 20000, 1000, [], Tolerances())
    assert per_pod(3, 8600, 2150, Tolerances()) == Count(4, 2867)
    assert per_pod(4, 8600, 2200, Tolerances()) == Count(4, 2150)
    assert per_pod(0, 8600, 2150, Tolerances()) == Count(4, 8600)


figures = st.one_of(st.none(), st.integers(0, 5000))
pods_of_all_sorts = st.lists(
    st.builds(
        Case,
        usage=figures,
        request=st.integers(1, 3000),
        phase=st.sampled_from(["Running", "Pending", "Failed"]),
        ready=st.booleans(),
        deleted=st.booleans(),
        started=st.sampled_from([timedelta(seconds=20), HOUR]),
        since=st.sampled_from([timedelta(seconds=10), HOUR]),
    ),
    min_size=1,
    max_size=12,
)


@given(pods_of_all_sorts, st.integers(1, 20), st.integers(1, 300))
def test_unready_and_missing_pods_never_turn_the_direction(pods: list[Case], current: int, target: int) -> None:
    made, samples = built(pods)
    try:
        count = by_utilization(current, target, made, samples, "cpu", "", RULES)
    except MetricError:
        return
    assert count.replicas >= 0
    assert count.utilization is not None
    counted = [one for one in pods if not one.deleted and one.phase != "Failed"]
    if all(one.usage is not None and one.phase == "Running" and one.started == HOUR == one.since for one in counted):
        return  # all are counted: how many there were before does not matter then, as upstream
    ratio = count.utilization / target
    if any(one.usage is None and one.phase == "Running" for one in counted):
        if ratio < 1:
            assert count.replicas <= current
        elif ratio > 1:
            assert count.replicas >= current


@given(pods_of_all_sorts, st.integers(1, 20), st.integers(1, 5000), st.floats(0, 1), st.floats(0, 1))
def test_a_wider_tolerance_holds_where_a_narrow_one_does(
    pods: list[Case], current: int, target: int, narrow: float, more: float
) -> None:
    made, samples = built(pods)
    counts = []
    for width in (narrow, narrow + more):
        try:
            rules = Rules(NOW, Tolerances(width, width))
            counts.append(by_average(current, target, made, samples, "", rules).replicas)
        except MetricError:
            return
    assert counts[0] != current or counts[1] == current
