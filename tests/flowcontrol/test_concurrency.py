"""Seats: nominal, and as levels borrow from one another."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keelback.flowcontrol import concurrency
from keelback.flowcontrol.concurrency import Limits, Wanted
from keelback.flowcontrol.queue_set import QueueSet, Queuing, Ticket
from keelback.flowcontrol.seat_demand import Demand, DemandStatistics
from keelback.flowcontrol.width import ONE
from keelback.registry import bootstrap_flow_control


def suggested() -> dict[str, Limits]:
    planned = bootstrap_flow_control.plan((), ())
    levels = [one for one in planned.create if one.__kind__.kind == "PriorityLevelConfiguration"]
    return concurrency.limits(levels, 600)  # type: ignore[arg-type]


def test_a_default_server_s_seats_are_shared_as_upstream_shares_them() -> None:
    """`apiserver_flowcontrol_nominal_limit_seats` of a kube-apiserver with its defaults."""
    assert {name: one.nominal for name, one in suggested().items()} == {
        "exempt": 0,
        "catch-all": 13,
        "global-default": 49,
        "leader-election": 25,
        "node-high": 98,
        "system": 74,
        "workload-high": 98,
        "workload-low": 245,
    }
    assert suggested()["workload-low"].least == 24
    assert suggested()["workload-low"].initial == 135


def test_who_wants_nothing_lends_what_is_lendable() -> None:
    levels = suggested()
    wanted = dict.fromkeys(levels, Wanted(0, 0.0)) | {"workload-low": Wanted(500, 500.0)}
    seats, _ = concurrency.adjust(levels, wanted)
    assert seats["workload-low"] > levels["workload-low"].nominal
    for name, level in levels.items():
        if name != "workload-low":
            assert seats[name] == level.least


def test_what_an_exempt_level_uses_others_lack() -> None:
    levels = suggested()
    busy = dict.fromkeys(levels, Wanted(1000, 1000.0))
    seats, _ = concurrency.adjust(levels, busy)
    assert seats["exempt"] == 0, "its nominal limit is 0, and it does not need more to run what comes"
    assert sum(seats.values()) <= 604


limits = st.tuples(st.integers(0, 300), st.integers(0, 100), st.integers(0, 300)).map(
    lambda one: Limits(one[0], one[0] * (100 - one[1]) // 100, one[0] + one[2])
)


@given(st.lists(st.tuples(limits, st.integers(0, 600), st.floats(0, 600)), min_size=1, max_size=8))
def test_adjusted_limits_keep_their_bounds_and_the_server_s(levels: list[tuple[Limits, int, float]]) -> None:
    named = {str(index): one[0] for index, one in enumerate(levels)}
    wanted = {str(index): Wanted(one[1], one[2]) for index, one in enumerate(levels)}
    seats, fraction = concurrency.adjust(named, wanted)
    total = sum(one.nominal for one in named.values())
    assert sum(seats.values()) <= total + len(named), "rounding aside, no more seats than there are"
    assert fraction >= 0.0
    for name, level in named.items():
        assert level.least <= seats[name] <= level.most
        assert seats[name] >= min(level.nominal, wanted[name].highest), "what one uses of one's own one keeps"


def test_demand_is_weighted_by_how_long_it_lasted() -> None:
    queues = QueueSet(20, Queuing(4, 1, 10), 0.0)
    tickets = [Ticket(ONE, 5.0, (number % 4,)) for number in range(10)]
    for one in tickets:
        queues.arrive(one, 5.0)
    assert queues.take_demand(10.0) == Demand(10.0, 5.0, 5.0)
    assert queues.take_demand(20.0) == Demand(10.0, 10.0, 0.0), "what is still wanted goes on being wanted"
    for one in tickets:
        queues.leave(one, 20.0)
    assert queues.take_demand(30.0) == Demand(10.0, 0.0, 0.0)
    assert queues.take_demand(40.0) == Demand(0.0, 0.0, 0.0)


def test_remembered_demand_rises_at_once_and_falls_slowly() -> None:
    busy, idle = Demand(100.0, 80.0, 20.0), Demand(0.0, 0.0, 0.0)
    risen = DemandStatistics().after(busy)
    assert risen.smoothed == 100.0
    fallen = risen
    for _ in range(30):
        fallen = fallen.after(idle)
    assert 45 < fallen.smoothed < 55
    assert abs(risen.after(idle, 30).smoothed - fallen.smoothed) < 1e-9
