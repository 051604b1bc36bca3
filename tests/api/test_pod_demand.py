"""What a pod needs at the most, against upstream's description of it: look at each moment of its life (KEP-753)."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from keelback.api import pod_demand


@dataclass(frozen=True)
class Asking:
    cpu: int
    restart_policy: str | None = None


containers = st.lists(st.builds(Asking, st.integers(0, 9)), max_size=4)
init_containers = st.lists(st.builds(Asking, st.integers(0, 9), st.sampled_from([None, "Always"])), max_size=6)


@given(containers, init_containers)
def test_the_demand_is_that_of_the_busiest_moment(containers: list[Asking], init_containers: list[Asking]) -> None:
    moments, sidecars = [], 0
    for one in init_containers:
        moments.append(sidecars + one.cpu)
        sidecars += one.cpu if one.restart_policy else 0
    moments.append(sidecars + sum(one.cpu for one in containers))
    total = pod_demand.total(containers, init_containers, lambda one: {"cpu": one.cpu})
    assert total.get("cpu", 0) == max(moments)


def test_what_containers_ask_for_is_left_as_it_is() -> None:
    asked = {"cpu": 1}
    assert pod_demand.total([Asking(0)] * 2, [Asking(0, "Always"), Asking(0)], lambda one: asked) == {"cpu": 3}
    assert asked == {"cpu": 1}
