"""How fast an autoscaler may go: after the tables of upstream's horizontal_test.go, and what always holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.autoscaling_v2 import (
    HorizontalPodAutoscalerBehavior,
    HorizontalPodAutoscalerSpec,
    HPAScalingPolicy,
    HPAScalingRules,
)
from keelback.controllers.horizontal_pod_autoscaler_limits import History, Moment, normalized

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
FIVE_MINUTES = timedelta(minutes=5)


def ago(seconds: float, count: int) -> Moment:
    return Moment(NOW - timedelta(seconds=seconds), count)


def rules(*policies: tuple[str, int, int], select: str = "Max", window: int | None = 0) -> HPAScalingRules:
    made = tuple(HPAScalingPolicy(type=kind, value=value, period_seconds=seconds) for kind, value, seconds in policies)
    return HPAScalingRules(policies=made, select_policy=select, stabilization_window_seconds=window)


def bounds(least: int, most: int, behavior: HorizontalPodAutoscalerBehavior | None) -> HorizontalPodAutoscalerSpec:
    return HorizontalPodAutoscalerSpec(min_replicas=least, max_replicas=most, behavior=behavior)


DEFAULT_UP = rules(("Pods", 4, 15), ("Percent", 100, 15))
DEFAULT_DOWN = rules(("Percent", 100, 15), window=None)


def going(
    wanted: int,
    current: int,
    *,
    up: HPAScalingRules = DEFAULT_UP,
    down: HPAScalingRules = DEFAULT_DOWN,
    most: int = 1000,
    least: int = 1,
    history: History = History(),  # noqa: B008  a frozen value
) -> tuple[int, str, str]:
    behavior = HorizontalPodAutoscalerBehavior(scale_up=up, scale_down=down)
    found = normalized(wanted, current, bounds(least, most, behavior), history, NOW, FIVE_MINUTES)
    return found.replicas, found.able[0], found.limited[0]


@pytest.mark.parametrize(
    ("wanted", "current", "replicas", "limited"),
    [
        (3, 1, 3, "DesiredWithinRange"),
        (9, 1, 4, "ScaleUpLimit"),
        (30, 10, 20, "ScaleUpLimit"),
        (50, 20, 40, "TooManyReplicas"),
        (1, 5, 2, "TooFewReplicas"),
        (4, 4, 4, "DesiredWithinRange"),
    ],
)
def test_without_behaviors_it_doubles_at_most(wanted: int, current: int, replicas: int, limited: str) -> None:
    found = normalized(wanted, current, bounds(2, 40, None), History(), NOW, FIVE_MINUTES)
    assert (found.replicas, found.limited[0]) == (replicas, limited)


def test_without_behaviors_the_highest_of_five_minutes_counts() -> None:
    history = History((ago(400, 12), ago(299, 9), ago(15, 4)))
    found = normalized(3, 9, bounds(1, 20, None), history, NOW, FIVE_MINUTES)
    assert (found.replicas, found.able[0]) == (9, "ScaleDownStabilized")
    assert [one.count for one in found.history.recommendations] == [9, 4, 3]
    later = normalized(3, 9, bounds(1, 20, None), found.history, NOW + timedelta(seconds=2), FIVE_MINUTES)
    assert later.replicas == 4


@pytest.mark.parametrize(
    ("up", "ups", "downs", "current", "limit"),
    [
        (DEFAULT_UP, (), (), 1, 5),
        (DEFAULT_UP, (), (), 100, 200),
        (rules(("Pods", 2, 60)), (), (), 100, 102),
        (rules(("Pods", 5, 60)), (ago(30, 4),), (), 100, 101),
        (rules(("Pods", 5, 60)), (ago(90, 4),), (), 100, 105),
        (rules(("Pods", 5, 60)), (ago(10, 5),), (), 100, 100),
        (rules(("Pods", 5, 60)), (ago(10, 9),), (), 100, 100),
        (rules(("Pods", 5, 60)), (), (ago(10, 3),), 100, 108),
        (rules(("Percent", 10, 60)), (), (), 10, 11),
        (rules(("Percent", 20, 60)), (), (), 7, 9),
        (rules(("Percent", 100, 60)), (ago(10, 50),), (), 100, 100),
        (rules(("Percent", 100, 60), ("Pods", 3, 60), select="Min"), (), (), 100, 103),
        (rules(("Percent", 1, 60), ("Pods", 3, 60)), (), (), 100, 103),
        (rules(("Pods", 3, 60), select="Disabled"), (), (), 100, 100),
    ],
)
def test_policies_of_growth(
    up: HPAScalingRules, ups: tuple[Moment, ...], downs: tuple[Moment, ...], current: int, limit: int
) -> None:
    replicas, _, limited = going(900, current, up=up, history=History(ups=ups, downs=downs))
    assert (replicas, limited) == (limit, "ScaleUpLimit")


@pytest.mark.parametrize(
    ("down", "ups", "downs", "current", "limit"),
    [
        (rules(("Pods", 5, 60)), (), (), 100, 95),
        (rules(("Pods", 5, 60)), (), (ago(10, 4),), 100, 99),
        (rules(("Pods", 5, 60)), (), (ago(10, 9),), 100, 100),
        (rules(("Pods", 5, 60)), (ago(10, 2),), (), 100, 93),
        (rules(("Percent", 10, 60)), (), (), 100, 90),
        (rules(("Percent", 10, 60)), (), (), 5, 4),
        (rules(("Percent", 50, 60)), (), (ago(10, 50),), 50, 50),
        (rules(("Percent", 10, 60), ("Pods", 3, 60), select="Min"), (), (), 100, 97),
        (rules(("Percent", 10, 60), ("Pods", 3, 60)), (), (), 100, 90),
        (rules(("Pods", 3, 60), select="Disabled"), (), (), 100, 100),
    ],
)
def test_policies_of_decline(
    down: HPAScalingRules, ups: tuple[Moment, ...], downs: tuple[Moment, ...], current: int, limit: int
) -> None:
    replicas, _, limited = going(1, current, down=down, history=History(ups=ups, downs=downs))
    assert (replicas, limited) == (limit, "ScaleDownLimit")


def test_the_bounds_come_after_the_policies() -> None:
    assert going(9, 5, most=7) == (7, "ReadyForNewScale", "TooManyReplicas")
    assert going(1, 5, least=3, down=rules(("Percent", 100, 15)))[::2] == (3, "TooFewReplicas")


@pytest.mark.parametrize(
    ("wanted", "known", "up_window", "down_window", "stable"),
    [
        (100, (), 0, 0, 100),
        (100, (ago(30, 20),), 60, 0, 50),  # lower of late: no growth, and no decline either
        (100, (ago(30, 70),), 60, 0, 70),
        (100, (ago(90, 20),), 60, 0, 100),
        (10, (ago(30, 80),), 0, 60, 50),  # higher of late: no decline, and no growth either
        (10, (ago(30, 30),), 0, 60, 30),
        (10, (ago(90, 30),), 0, 60, 10),
        (50, (ago(30, 80), ago(20, 20)), 60, 60, 50),
    ],
)
def test_windows(wanted: int, known: tuple[Moment, ...], up_window: int, down_window: int, stable: int) -> None:
    up = rules(("Percent", 1000, 15), window=up_window)
    down = rules(("Percent", 100, 15), window=down_window)
    assert going(wanted, 50, up=up, down=down, history=History(known))[0] == stable


def test_a_window_that_is_not_given_is_the_controllers() -> None:
    assert going(10, 50, history=History((ago(200, 50),)))[:2] == (50, "ScaleDownStabilized")
    assert going(10, 50, history=History((ago(400, 50),)))[:2] == (10, "ReadyForNewScale")


def test_changes_are_remembered_as_long_as_a_policy_asks_for_them() -> None:
    behavior = HorizontalPodAutoscalerBehavior(scale_up=rules(("Pods", 4, 60)), scale_down=rules(("Pods", 1, 120)))
    spec, history = bounds(1, 9, behavior), History(ups=(ago(100, 7), ago(50, 2)))
    assert history.rescaled(3, 5, NOW, spec).ups == (ago(50, 2), Moment(NOW, 2))
    assert history.rescaled(5, 3, NOW, spec).downs == (Moment(NOW, 2),)
    assert history.rescaled(5, 3, NOW, bounds(1, 9, None)) == History()


moments = st.lists(st.builds(ago, st.floats(0, 600), st.integers(0, 50)), max_size=6).map(tuple)
policies = st.lists(
    st.tuples(st.sampled_from(["Pods", "Percent"]), st.integers(1, 200), st.integers(1, 600)), min_size=1, max_size=3
)
any_rules = st.builds(
    lambda some, select, window: rules(*some, select=select, window=window),
    policies,
    st.sampled_from(["Max", "Min", "Disabled"]),
    st.integers(0, 600),
)


@given(
    st.integers(0, 80),
    st.integers(2, 40),
    st.one_of(st.none(), st.tuples(any_rules, any_rules)),
    moments,
    moments,
    moments,
)
def test_the_size_stays_within_the_bounds_and_never_goes_against_what_is_wanted(
    wanted: int,
    current: int,
    both: tuple[HPAScalingRules, HPAScalingRules] | None,
    known: tuple[Moment, ...],
    ups: tuple[Moment, ...],
    downs: tuple[Moment, ...],
) -> None:
    behavior = None if both is None else HorizontalPodAutoscalerBehavior(scale_up=both[0], scale_down=both[1])
    history = History(known, ups, downs)
    found = normalized(wanted, current, bounds(2, 40, behavior), history, NOW, FIVE_MINUTES)
    assert 2 <= found.replicas <= 40
    assert found.history.recommendations[-1] == Moment(NOW, wanted)
    if behavior is not None:
        assert (found.replicas - current) * (wanted - current) >= 0
        if behavior.scale_up is not None and behavior.scale_up.select_policy == "Disabled":
            assert found.replicas <= current
        if behavior.scale_down is not None and behavior.scale_down.select_policy == "Disabled":
            assert found.replicas >= current
