"""The plugins over columns decide as a plain scheduler does that looks at one node and one pod at a time."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api.core_v1 import ResourceRequirements
from keelback.apimachinery.meta import ObjectMeta
from keelback.scheduling import builtin, explanation
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.framework import CycleState, OnlyNodes
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace, SpecToPlace
from keelback.scheduling.user_plugins import ColumnPlugin
from keelback.testing.plain_scheduler import Oracle, agree
from keelback.testing.random_clusters import (
    Columns,
    World,
    random_node,
    random_pod,
    random_world,
)


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 2**32))
def test_columns_decide_as_the_plain_scheduler_does(seed: int) -> None:
    chance = random.Random(seed)
    world = random_world(chance)
    agree(world, Columns(world), random_pod(chance, "incoming"))


@settings(max_examples=600, deadline=None)
@given(st.integers(0, 2**32))
def test_columns_spread_as_the_plain_scheduler_does(seed: int) -> None:
    chance = random.Random(seed)
    world = random_world(chance, spread=True)
    agree(world, Columns(world), random_pod(chance, "incoming", spread=True))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_an_explanation_has_what_every_plugin_of_the_plain_scheduler_says(seed: int, spread: bool) -> None:
    chance = random.Random(seed)
    world = random_world(chance, spread=spread)
    columns = Columns(world)
    pod = random_pod(chance, "incoming", spread=spread)
    oracle = Oracle(world, pod)
    explained = explanation.explain(builtin.DEFAULT, columns.shapes.of(pod), columns.table, columns.objects)
    if explained.refusals:
        assert [refusal.plugin for refusal in explained.refusals] == ["NodeAffinity"]
    by_name = {node.name: node for node in explained.nodes}
    for node in world.nodes:
        said = [list(refusal.reasons) for refusal in by_name[node.name].refusals]
        assert said == [found for found in oracle.all_reasons(node) if found]
        for refusal in by_name[node.name].refusals:
            may_not_know = refusal.plugin in ("PodTopologySpread", "InterPodAffinity")
            assert may_not_know or refusal.remedies
    feasible = [node for node in world.nodes if not by_name[node.name].refusals]
    if feasible:
        expected = oracle.totals(feasible)
        offset = expected[0] - by_name[feasible[0].name].total
        assert [total - offset for total in expected] == [by_name[node.name].total for node in feasible]
        assert explained.nodes[0].total == max(by_name[node.name].total for node in feasible)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_a_table_that_has_lived_decides_as_a_new_one(seed: int) -> None:
    """Pods come and go, nodes come, change and go; what was kept from earlier evaluations must follow."""
    chance = random.Random(seed)
    world = random_world(chance)
    columns = Columns(world)
    pods = [random_pod(chance, f"incoming-{number}") for number in range(2)]
    for step in range(6):
        match chance.randint(0, 5):
            case 0 | 1:
                node = chance.choice(world.nodes)
                pod = random_pod(chance, f"new-{step}")
                world.placed.append((node.name, pod, False))
                columns.add(node.name, pod)
            case 2 if world.placed:
                name, pod, _ = world.placed.pop(chance.randrange(len(world.placed)))
                columns.table.remove_pod(name, pod.metadata.uid)
            case 3:
                node = random_node(chance, 100 + step)
                world.nodes.append(node)
                columns.table.set_info(node)
            case 4 if len(world.nodes) > 1:
                node = world.nodes.pop(chance.randrange(len(world.nodes)))
                columns.table.remove_node(node.name)
                for name, pod, _ in [one for one in world.placed if one[0] == node.name]:
                    columns.table.remove_pod(name, pod.metadata.uid)
                world.placed = [one for one in world.placed if one[0] != node.name]
            case _:
                number = chance.randrange(len(world.nodes))
                old = world.nodes[number]
                fresh = random_node(chance, 0)
                changed = NodeInfo(old.name, fresh.labels, fresh.taints, False, fresh.allocatable, fresh.images)
                world.nodes[number] = changed
                columns.table.set_info(changed)
        agree(world, columns, chance.choice(pods))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_brought_up_to_date_is_what_a_new_evaluator_finds(seed: int) -> None:
    """Of many nodes some have changed: few, many or most of them, and full ones are full no more."""
    chance = random.Random(seed)
    nodes = [replace(random_node(chance, number), unschedulable=False) for number in range(60)]
    columns = Columns(World(nodes, [], {"default": {}, "other": {}}))
    incoming = [columns.shapes.of(random_pod(chance, f"incoming-{number}")) for number in range(3)]
    placed: list[tuple[str, str]] = []
    for step in range(8):
        for number in range(chance.choice((1, 3, 9, 14, 40))):
            if placed and chance.random() < 0.3:
                columns.table.remove_pod(*placed.pop(chance.randrange(len(placed))))
            else:
                pod = random_pod(chance, f"p-{step}-{number}")
                placed.append((chance.choice(nodes).name, pod.metadata.uid))
                columns.add(placed[-1][0], pod)
        for info in incoming:
            fresh = Evaluator(builtin.DEFAULT, columns.table, columns.objects)
            mask = fresh.feasible(info)
            assert columns.evaluator.feasible(info).tolist() == mask.tolist()
            if not mask.any():
                assert columns.evaluator.choose(info, chance) is None
                continue
            totals, rows = fresh.totals(info, mask)
            best = {columns.table.nodes[row].name for row in np.arange(60)[rows][totals == totals.max()]}
            assert {columns.evaluator.choose(info, chance) for _ in range(5)} <= best


def test_a_node_that_becomes_the_best_is_chosen_next() -> None:
    nodes = [NodeInfo(f"n{number}", {}, allocatable={"cpu": 4000, "memory": 1 << 34, "pods": 9}) for number in range(9)]
    names = (f"p{number}" for number in range(9))
    resources = ResourceRequirements(requests={"cpu": "1", "memory": "1Gi"})
    spec = SpecToPlace(containers=(ContainerToPlace(resources=resources),))
    pods = [PodToPlace(metadata=ObjectMeta(namespace="default", name=name, uid=name), spec=spec) for name in names]
    placed = [(node.name, pod, False) for node, pod in zip(nodes, pods, strict=True)]
    columns = Columns(World(nodes, placed, {"default": {}}))
    info = columns.shapes.of(pods[0])
    assert columns.evaluator.choose(info, random.Random(0)) is not None
    for node, pod in ((nodes[5], pods[5]), (nodes[2], pods[2])):
        columns.table.remove_pod(node.name, pod.metadata.uid)
        assert {columns.evaluator.choose(info, random.Random(seed)) for seed in range(20)} == {node.name}
        columns.add(node.name, pod)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32))
def test_supposing_leaves_no_trace(seed: int) -> None:
    chance = random.Random(seed)
    world = random_world(chance)
    columns = Columns(world)
    pod = random_pod(chance, "incoming")
    agree(world, columns, pod)
    removed = [one for node in world.nodes for one in columns.table.pods_on(node.name) if chance.random() < 0.5]
    extra = PlacedPod("extra", "default", "extra", world.nodes[0].name, columns.shapes.of(random_pod(chance, "extra")))
    with columns.table.supposing(added=[extra], removed=removed):
        columns.evaluator.feasible(columns.shapes.of(pod))
    agree(world, columns, pod)


def test_every_score_of_the_default_profile_is_between_0_and_100() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        world = random_world(chance)
        columns = Columns(world)
        info = columns.shapes.of(random_pod(chance, "incoming"))
        for plugin, _ in builtin.DEFAULT.scores:
            state = CycleState(columns.objects)
            scores = plugin.score(state, info, columns.table)
            if scores is not None:
                normalized = plugin.normalize(state, scores)
                assert ((normalized >= 0) & (normalized <= 100)).all(), plugin.name


def test_ties_are_broken_by_chance_alone() -> None:
    world = World(
        [NodeInfo(f"n{number}", {}, allocatable={"cpu": 1000, "memory": 1 << 30, "pods": 9}) for number in range(4)],
        [],
        {"default": {}, "other": {}},
    )
    columns = Columns(world)
    info = columns.shapes.of(PodToPlace(metadata=ObjectMeta(namespace="default", name="p"), spec=SpecToPlace()))

    def chosen(seed: int) -> str | None:
        return columns.evaluator.choose(info, random.Random(seed))

    assert {chosen(seed) for seed in range(50)} == {"n0", "n1", "n2", "n3"}
    assert chosen(7) == chosen(7)


@pytest.mark.parametrize("nodes", [0, 1])
def test_a_pod_without_a_feasible_node_gets_none(nodes: int) -> None:
    world = World([NodeInfo(f"n{number}") for number in range(nodes)], [], {})
    columns = Columns(world)
    info = columns.shapes.of(PodToPlace(metadata=ObjectMeta(namespace="default", name="p"), spec=SpecToPlace()))
    assert columns.evaluator.choose(info, random.Random(1)) is None
    assert not np.any(columns.evaluator.feasible(info))


class OnlySome(ColumnPlugin):
    """Says before anybody looks at nodes which are worth it, and refuses none of the others."""

    name = "OnlySome"

    def __init__(self, *names: str) -> None:
        self._answer = OnlyNodes(frozenset(names))

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable) -> OnlyNodes:
        return self._answer


@pytest.mark.parametrize("names", [("n1",), ("n1", "n3"), ("n2", "gone")])
def test_a_pod_goes_only_to_nodes_that_pre_filter_left(names: tuple[str, ...]) -> None:
    world = World([NodeInfo(f"n{number}", {}, allocatable={"pods": 9}) for number in range(4)], [], {"default": {}})
    plugins = replace(builtin.DEFAULT, pre_filters=(*builtin.DEFAULT.pre_filters, OnlySome(*names)))
    columns = Columns(world, plugins)
    info = columns.shapes.of(PodToPlace(metadata=ObjectMeta(namespace="default", name="p"), spec=SpecToPlace()))
    assert {columns.evaluator.choose(info, random.Random(seed)) for seed in range(50)} == set(names) - {"gone"}
