"""Endpoints are divided among zones as their nodes' CPUs are, or not at all, and stay where they may."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import Container, Node, Pod, PodSpec, Service, ServicePort, ServiceSpec
from keelback.api.discovery_v1 import EndpointSlice
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import MergePatch
from keelback.controllers import topology_hints
from keelback.controllers.endpointslices import EndpointSliceReconciler
from keelback.controllers.observed import HeldMeta, NodeStatusView, NodeView
from keelback.controllers.topology_hints import NotPossible, assign, cpu_ratios, shares

ZONE = "topology.kubernetes.io/zone"
AUTO = {"service.kubernetes.io/topology-mode": "Auto"}


def node(name: str, zone: str, cpu: str = "4", ready: str = "True", **labels: str) -> NodeView:
    metadata = HeldMeta(name=name, labels={ZONE: zone} | labels)
    conditions: Any = [{"type": "Ready", "status": ready}]
    status = {"allocatable": {"cpu": cpu}, "conditions": conditions}
    return NodeView(metadata=metadata, status=_status(status))


def _status(tree: Any) -> NodeStatusView:
    return msgspec.convert(tree, NodeStatusView)


@given(
    st.lists(st.integers(1, 16), min_size=2, max_size=4),
    st.lists(st.integers(0, 3), max_size=60),
    st.lists(st.integers(0, 5), min_size=60, max_size=60),
)
def test_each_zone_has_what_its_cpus_ask_for_and_nothing_moves_twice(
    cpus: list[int], places: list[int], hints: list[int]
) -> None:
    names = [f"z{number}" for number in range(len(cpus))]
    ratios = {name: cpu / sum(cpus) for name, cpu in zip(names, cpus, strict=True)}
    zones = [names[place % len(names)] for place in places]
    held = [["", "gone", *names][hint % (len(names) + 2)] for hint in hints[: len(zones)]]
    try:
        divided = shares(ratios, len(zones))
    except NotPossible:
        with pytest.raises(NotPossible):
            assign(zones, held, ratios)
        return
    chosen = assign(zones, held, ratios)
    assert len(chosen) == len(zones)
    for zone, share in divided.items():
        assert chosen.count(zone) >= share.minimum
    assert assign(zones, chosen, ratios) == chosen


def test_a_zone_that_is_short_borrows_from_the_one_that_has_most() -> None:
    chosen = assign(["a"] * 5 + ["b"], [""] * 6, {"a": 0.5, "b": 0.5})
    assert (chosen.count("a"), chosen.count("b"), chosen[-1]) == (3, 3, "b")


def test_hints_stay_where_every_zone_can_have_its_least() -> None:
    held = ["a", "a", "a", "a", "b", "b", "b", "b"]
    assert assign(["b"] * 8, held, {"a": 0.5, "b": 0.5}) == held


@pytest.mark.parametrize(
    ("zones", "ratios", "message"),
    [
        (["a", "b"], {}, "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"),
        (["a"], {"a": 0.5, "b": 0.5}, "Insufficient number of endpoints (1 endpoints, 2 zones)"),
        (
            ["a", "a", "b"],
            {"a": 0.5, "b": 0.5},
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
            " (3 endpoints, 2 zones)",
        ),
        (["a", ""], {"a": 0.5, "b": 0.5}, "One or more endpoints do not have a zone specified"),
    ],
)
def test_why_there_are_none(zones: list[str], ratios: dict[str, float], message: str) -> None:
    with pytest.raises(NotPossible) as caught:
        assign(zones, [""] * len(zones), ratios)
    assert str(caught.value) == message


def test_only_ready_nodes_that_run_pods_count_and_each_must_say_its_zone_and_cpus() -> None:
    control = {"node-role.kubernetes.io/control-plane": ""}
    everyone = [node("a", "x"), node("b", "y", "12"), node("c", "y", ready="False"), node("d", "", "8", **control)]
    assert cpu_ratios(everyone) == {"x": 0.25, "y": 0.75}
    assert cpu_ratios([*everyone, node("e", "")]) == {}
    assert cpu_ratios(everyone[:1]) == {}


def test_the_older_annotation_has_the_last_word() -> None:
    both = AUTO | {"service.kubernetes.io/topology-aware-hints": "Disabled"}
    assert topology_hints.is_enabled(Service(metadata=ObjectMeta(annotations=AUTO)))
    assert not topology_hints.is_enabled(Service(metadata=ObjectMeta(annotations=both)))


def test_slices_get_hints_when_nodes_are_known_and_lose_them_with_the_annotation(served_world: Any) -> None:
    async def play() -> None:
        async with served_world() as world:
            spec = ServiceSpec(selector={"app": "web"}, ports=(ServicePort(name="http", port=80),))
            metadata = ObjectMeta(name="web", namespace="default", annotations=AUTO)
            await world.client.create(Service(metadata=metadata, spec=spec))
            for name, zone in (("a", "x"), ("b", "y")):
                await world.client.create(Node(metadata=ObjectMeta(name=name, labels={ZONE: zone})))
                for number in range(2):
                    await _ready_pod(world.client, f"{name}{number}", name)
            async with world.running(EndpointSliceReconciler(world.context("endpointslice-controller"))):
                await world.until(EndpointSlice, lambda all: _hints(all) == [None] * 4)
                for name in ("a", "b"):
                    status = {"allocatable": {"cpu": "4"}, "conditions": [{"type": "Ready", "status": "True"}]}
                    await world.client.patch(Node, name, "", MergePatch({"status": status}), "status")
                await world.until(EndpointSlice, lambda all: _hints(all) == ["x", "x", "y", "y"])
                gone = MergePatch({"metadata": {"annotations": {"service.kubernetes.io/topology-mode": None}}})
                await world.client.patch(Service, "web", "default", gone)
                await world.until(EndpointSlice, lambda all: _hints(all) == [None] * 4)
                await world.client.patch(
                    Service, "web", "default", MergePatch({"spec": {"trafficDistribution": "PreferSameNode"}})
                )
                (last,) = await world.until(
                    EndpointSlice, lambda all: [one for one in all if _hints([one]) == ["x", "x", "y", "y"]]
                )
                assert {one.hints.for_nodes[0].name for one in last.endpoints} == {"a", "b"}
            text = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
            assert [one for one in world.events.said if "Hints" in one[1]] == [
                ("Warning", "TopologyAwareHintsDisabled", f"{text}, addressType: IPv4"),
                ("Normal", "TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled, addressType: IPv4"),
                ("Warning", "TopologyAwareHintsDisabled", "Topology Aware Hints has been disabled, addressType: IPv4"),
            ]

    asyncio.run(play())


async def _ready_pod(client: Any, name: str, node_name: str) -> None:
    spec = PodSpec(node_name=node_name, containers=(Container(name="c", image="one"),))
    await client.create(Pod(metadata=ObjectMeta(name=name, namespace="default", labels={"app": "web"}), spec=spec))
    ip = f"10.1.0.{1 + 'ab'.index(name[0]) * 2 + int(name[1])}"
    status = {
        "phase": "Running",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    }
    await client.patch(Pod, name, "default", MergePatch({"status": status}), "status")


def _hints(slices: list[EndpointSlice]) -> list[str | None]:
    endpoints = [one for each in slices if each.metadata.generate_name == "web-" for one in each.endpoints or ()]
    return sorted(
        (one.hints.for_zones[0].name if one.hints is not None else None for one in endpoints),
        key=lambda name: name or "",
    )
