"""Turns on the event loop: whose work is begun next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keelback.flowcontrol.turns import ROUND_SECONDS, FlowShare, Share, Turns

GET, LIST = 0.00004, 0.005


def serve(turns: Turns[str], costs: dict[str, float], flows: dict[str, FlowShare[str]], rounds: int) -> list[str]:
    """Rounds of a loop in which each flow's requests take what they take, and come back at once."""
    order = []
    for _ in range(rounds):
        for name in turns.next_round():
            order.append(name)
            turns.charge(flows[name], costs[name])
            turns.wait(flows[name], name)
    return order


def test_nobody_waits_on_a_loop_that_has_time() -> None:
    turns: Turns[str] = Turns()
    flow = Share[str](1.0).flow("a")
    assert turns.may_begin()
    turns.charge(flow, ROUND_SECONDS / 2)
    assert turns.may_begin()
    turns.charge(flow, ROUND_SECONDS)
    assert not turns.may_begin()
    assert turns.next_round() == []
    assert turns.may_begin()


def test_a_single_get_overtakes_a_flood_of_lists() -> None:
    turns: Turns[str] = Turns()
    level = Share[str](1.0)
    flood, tenant = level.flow("flood"), level.flow("tenant")
    for _ in range(100):
        turns.wait(flood, "flood")
    serve(turns, {"flood": LIST}, {"flood": flood}, 10)
    turns.wait(tenant, "tenant")
    assert turns.next_round()[0] == "tenant"


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
    assert "tenant" in turns.next_round()


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
    assert turns.next_round() == ["second"]
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
        chosen = turns.next_round()
        assert chosen
        for number in chosen:
            index, cost = arrivals[number]
            turns.charge(flows[index], cost)
            served.append(number)
    assert sorted(served) == list(range(len(arrivals)))
    for index in range(5):
        own = [number for number in served if arrivals[number][0] == index]
        assert own == sorted(own), "a flow's requests are served in the order of arrival"
