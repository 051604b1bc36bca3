"""Turns on the event loop: whose work is begun next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keelback.flowcontrol.turns import INSIDE_ROUND_SECONDS, ROUND_SECONDS, FlowShare, Share, Turns

GET, LIST = 0.00004, 0.005


def serve(turns: Turns[str], costs: dict[str, float], flows: dict[str, FlowShare[str]], rounds: int) -> list[str]:
    """Rounds of a loop in which each flow's requests take what they take, and come back at once."""
    order = []
    for _ in range(rounds):
        turns.begin_round()
        while (name := turns.chosen()) is not None:
            order.append(name)
            turns.charge(flows[name], costs[name])
            turns.wait(flows[name], name)
    return order


def test_nobody_waits_on_a_loop_that_has_time() -> None:
    turns: Turns[str] = Turns()
    flow = Share[str](1.0).flow("a")
    assert turns.may_begin(flow)
    turns.charge(flow, GET / 2)
    assert turns.may_begin(flow)
    turns.charge(flow, ROUND_SECONDS)
    assert not turns.may_begin(flow)
    turns.begin_round()
    assert turns.chosen() is None
    assert turns.may_begin(flow)


def test_who_has_had_less_goes_ahead_of_a_flood_in_the_round_in_which_it_comes() -> None:
    turns: Turns[str] = Turns()
    level, other = Share[str](1.0), Share[str](1.0)
    flood, tenant, stranger = level.flow("flood"), level.flow("tenant"), other.flow("stranger")
    for _ in range(100):
        turns.wait(flood, "flood")
    serve(turns, {"flood": GET}, {"flood": flood}, 10)
    assert not turns.may_begin(flood)
    assert turns.may_begin(tenant)
    turns.charge(tenant, GET / 2)
    assert not turns.may_begin(tenant), "it has had its part for now"
    assert turns.may_begin(stranger)


def test_of_those_who_go_ahead_no_more_is_begun_in_a_round_than_of_those_who_waited() -> None:
    turns: Turns[str] = Turns()
    level = Share[str](1.0)
    flood = level.flow("flood")
    for _ in range(100):
        turns.wait(flood, "flood")
    serve(turns, {"flood": GET}, {"flood": flood}, 10)
    ahead = 0
    for index in range(100):
        tenant = level.flow(f"tenant-{index}")
        if turns.may_begin(tenant):
            turns.charge(tenant, GET)
            ahead += 1
    assert 1 <= ahead <= 2


def test_who_worked_while_nobody_waited_owes_nothing_to_a_flood_that_comes_later() -> None:
    turns: Turns[str] = Turns()
    mine, theirs = Share[str](1.0), Share[str](1.0)
    flows = {"controller": mine.flow("controller"), "flood": mine.flow("flood"), "stranger": theirs.flow("stranger")}
    for _ in range(100_000):
        if turns.charge(flows["controller"], GET):
            turns.begin_round()
    for name in ("flood", "stranger"):
        for _ in range(100):
            turns.wait(flows[name], name)
    serve(turns, dict.fromkeys(flows, GET), flows, 3)
    turns.wait(flows["controller"], "controller")
    order = serve(turns, dict.fromkeys(flows, GET), flows, 6)
    assert "controller" in order[:6]


def test_rounds_are_short_while_several_flows_use_the_loop_and_long_for_one_alone() -> None:
    turns: Turns[str] = Turns()
    level = Share[str](1.0)
    flows = {name: level.flow(name) for name in ("flood", "tenant")}
    costs = dict.fromkeys(flows, GET)
    for _ in range(100):
        turns.wait(flows["flood"], "flood")
    turns.charge(flows["tenant"], GET)
    assert len(serve(turns, costs, flows, 200)) <= 2 * 200
    serve(turns, costs, flows, 1000)
    assert len(serve(turns, costs, flows, 100)) >= 4 * 100


def test_a_round_is_over_when_it_has_lasted_long_whatever_steps_have_taken_of_it() -> None:
    turns: Turns[str] = Turns()
    flow = Share[str](1.0).flow("a")
    for name in ("first", "second"):
        turns.wait(flow, name)
    turns.begin_round()
    assert turns.chosen() == "first"
    turns.charge(flow, GET / 10)
    turns.lasted(ROUND_SECONDS)
    assert turns.chosen() is None
    turns.begin_round()
    assert turns.chosen() == "second"


def test_who_does_not_come_by_the_sockets_needs_no_look_at_them() -> None:
    turns: Turns[str] = Turns()
    level = Share[str](1.0)
    flows = {name: level.flow(name) for name in ("scheduler", "controllers")}
    for flow in flows.values():
        flow.from_outside = False
        for _ in range(100):
            turns.wait(flow, "")
    for name, flow in flows.items():
        turns.charge(flow, GET)
        turns.wait(flow, name)
    assert turns.round_seconds == ROUND_SECONDS
    turns.charge(level.flow("tenant"), GET)
    assert turns.round_seconds < ROUND_SECONDS


def test_rounds_are_long_where_nobody_has_come_by_the_sockets_for_a_while() -> None:
    turns: Turns[str] = Turns()
    level = Share[str](1.0)
    inside, tenant = level.flow("scheduler"), level.flow("tenant")
    inside.from_outside = False
    turns.charge(inside, GET)
    for _ in range(1_001):
        turns.begin_round()
    assert turns.round_seconds == INSIDE_ROUND_SECONDS
    turns.charge(inside, INSIDE_ROUND_SECONDS / 2)
    assert turns.may_begin(inside)
    turns.charge(tenant, GET)
    assert turns.round_seconds < ROUND_SECONDS, "the loop is shared now"
    for _ in range(1_001):
        turns.begin_round()
    assert turns.round_seconds == ROUND_SECONDS, "somebody has come by the sockets lately"


def test_a_single_get_overtakes_a_flood_of_lists() -> None:
    turns: Turns[str] = Turns()
    level = Share[str](1.0)
    flood, tenant = level.flow("flood"), level.flow("tenant")
    for _ in range(100):
        turns.wait(flood, "flood")
    serve(turns, {"flood": LIST}, {"flood": flood}, 10)
    turns.wait(tenant, "tenant")
    turns.begin_round()
    assert turns.chosen() == "tenant"


def test_a_single_get_waits_for_no_more_than_a_round_of_another_s_gets() -> None:
    turns: Turns[str] = Turns()
    level = Share[str](1.0)
    flood, tenant = level.flow("flood"), level.flow("tenant")
    for _ in range(200):
        turns.wait(flood, "flood")
    costs = {"flood": GET, "tenant": GET}
    flows = {"flood": flood, "tenant": tenant}
    serve(turns, costs, flows, 50)
    turns.wait(tenant, "tenant")
    assert "tenant" in serve(turns, costs, flows, 1)


def test_flows_share_time_rather_than_requests() -> None:
    turns: Turns[str] = Turns()
    level = Share[str](1.0)
    flows = {name: level.flow(name) for name in ("gets", "lists")}
    for name, flow in flows.items():
        for _ in range(1000):
            turns.wait(flow, name)
    costs = {"gets": GET, "lists": LIST}
    order = serve(turns, costs, flows, 3000)
    spent = {name: order.count(name) * costs[name] for name in flows}
    assert 0.8 < spent["gets"] / spent["lists"] < 1.25


def test_levels_share_by_their_weights_however_many_flows_they_have() -> None:
    turns: Turns[str] = Turns()
    heavy, light = Share[str](3.0), Share[str](1.0)
    flows = {"one": heavy.flow("one")} | {f"many-{index}": light.flow(str(index)) for index in range(20)}
    for name, flow in flows.items():
        for _ in range(50):
            turns.wait(flow, name)
    order = serve(turns, dict.fromkeys(flows, GET), flows, 1000)
    assert 0.7 < order.count("one") / len(order) < 0.8


def test_a_flow_that_was_idle_has_saved_nothing_up() -> None:
    turns: Turns[str] = Turns()
    level = Share[str](1.0)
    flows = {name: level.flow(name) for name in ("busy", "idle")}
    for _ in range(100):
        turns.wait(flows["busy"], "busy")
    costs = {"busy": GET, "idle": GET}
    serve(turns, costs, flows, 500)
    for _ in range(100):
        turns.wait(flows["idle"], "idle")
    order = serve(turns, costs, flows, 100)
    assert 0.4 < order.count("idle") / len(order) < 0.6


def test_who_gives_up_has_no_turn() -> None:
    turns: Turns[str] = Turns()
    flow = Share[str](1.0).flow("a")
    turns.wait(flow, "first")
    turns.wait(flow, "second")
    turns.give_up(flow, "first")
    turns.give_up(flow, "stranger")
    turns.begin_round()
    assert turns.chosen() == "second"
    assert not turns.waiting


def test_flows_that_are_idle_are_forgotten() -> None:
    level = Share[str](1.0)
    for index in range(1000):
        level.flow(str(index))
    assert len(level.flows) <= 256


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0.00001, 0.01)), min_size=1, max_size=200))
def test_everybody_who_waits_has_a_turn(arrivals: list[tuple[int, float]]) -> None:
    turns: Turns[int] = Turns()
    levels = [Share[int](float(weight)) for weight in (1, 2, 10)]
    flows = [levels[index % 3].flow(str(index)) for index in range(5)]
    for number, (index, _) in enumerate(arrivals):
        turns.wait(flows[index], number)
    served = []
    while turns.waiting:
        turns.begin_round()
        assert turns.waiting
        while (chosen := turns.chosen()) is not None:
            index, cost = arrivals[chosen]
            turns.charge(flows[index], cost)
            served.append(chosen)
    assert sorted(served) == list(range(len(arrivals)))
    for index in range(5):
        own = [number for number in served if arrivals[number][0] == index]
        assert own == sorted(own), "a flow's requests are served in the order of arrival"
