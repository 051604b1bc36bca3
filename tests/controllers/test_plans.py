"""Pure plans: that carrying them out reaches what was asked for, and the examples people know."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetSpec
from keelback.apimachinery.meta import ObjectMeta
from keelback.controllers import (
    disruptions,
    replicas,
)
from keelback.controllers.manager import is_enabled, unknown_names
from keelback.testing.views import NOW, pod

# Replicas


@given(st.integers(0, 30), st.integers(0, 30))
def test_carrying_out_the_plan_reaches_the_wanted_count(wanted: int, held: int) -> None:
    active = [pod(f"p{number}", node="a") for number in range(held)]
    decided = replicas.plan(wanted, active, NOW)
    assert held + decided.create - len(decided.delete) == wanted
    assert len({one.metadata.uid for one in decided.delete}) == len(decided.delete)


def test_what_is_missed_least_goes_first() -> None:
    unassigned = pod("unassigned", phase="Pending", ready=False)
    pending = pod("pending", node="a", phase="Pending", ready=False)
    unready = pod("unready", node="b", ready=False)
    cheap = pod("cheap", node="c", annotations={"controller.kubernetes.io/pod-deletion-cost": "-1"})
    young = pod("young", node="d", ready_for=10, age=20)
    old = pod("old", node="e")
    everyone = [old, cheap, young, pending, unready, unassigned]
    ordered = sorted(everyone, key=replicas.deletion_rank(everyone, NOW))
    assert [one.metadata.name for one in ordered] == ["unassigned", "pending", "unready", "cheap", "young", "old"]


# Disruption budgets


@given(st.integers(0, 12), st.integers(0, 12), st.one_of(st.integers(0, 12), st.integers(0, 100).map("{}%".format)))
def test_evicting_as_many_as_allowed_leaves_enough(healthy: int, sick: int, least: int | str) -> None:
    spec = PodDisruptionBudgetSpec(min_available=least)
    budget = PodDisruptionBudget(metadata=ObjectMeta(name="b"), spec=spec)
    mine = [pod(f"h{n}") for n in range(healthy)] + [pod(f"s{n}", ready=False) for n in range(sick)]
    wanted = disruptions.expectation(budget, len(mine), {"rs": len(mine)})
    status = disruptions.compute_status(budget, mine, wanted, {}, NOW)
    assert status.current_healthy == healthy
    if status.disruptions_allowed:
        assert healthy - status.disruptions_allowed >= status.desired_healthy
    assert status.conditions[0].reason == ("SufficientPods" if status.disruptions_allowed else "InsufficientPods")


# Which controllers run


def test_controllers_are_switched_by_upstreams_names() -> None:
    assert is_enabled("job-controller", ("*",))
    assert not is_enabled("job-controller", ("*", "-job-controller"))
    assert is_enabled("job-controller", ("job-controller",))
    assert not is_enabled("job-controller", ("deployment-controller",))
    assert not is_enabled("token-cleaner-controller", ("*",))
    assert unknown_names(("*", "-job-controller", "nonsense")) == ["nonsense"]
