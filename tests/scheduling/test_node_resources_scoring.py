"""The scoring strategies against upstream's formulas, for one node and one resource at a time."""

from __future__ import annotations

import math
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api.core_v1 import ResourceRequirements
from keelback.apimachinery.meta import ObjectMeta
from keelback.scheduling import node_resources_scoring
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.framework import EVERY, CycleState
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_resources_fit import NodeResourcesFit
from keelback.scheduling.node_resources_scoring import Strategy
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.pod_info import PodInfo, compile_pod
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace, SpecToPlace

GPU = "example.com/gpu"
NAMES = ("cpu", "memory", GPU)


def random_pod(chance: random.Random) -> PodInfo:
    requests = {name: str(chance.randint(1, 4)) for name in NAMES if chance.random() < 0.6}
    container = ContainerToPlace(resources=ResourceRequirements(requests=requests))
    return compile_pod(PodToPlace(metadata=ObjectMeta(namespace="default"), spec=SpecToPlace(containers=(container,))))


def wanted(pod: PodInfo, name: str) -> int:
    return pod.nominal_requests[name] if name in ("cpu", "memory") else pod.requests.get(name, 0)


def raw(shape: tuple[tuple[int, int], ...], percent: int) -> int:
    for number, (utilization, score) in enumerate(shape):
        if percent <= utilization:
            if number == 0:
                return score
            left, low = shape[number - 1]
            return low + math.trunc((score - low) * (percent - left) / (utilization - left))
    return shape[-1][1]


def score(strategy: Strategy, pod: PodInfo, placed: list[PodInfo], node: NodeInfo) -> int:
    total = weights = 0
    for name, weight in strategy.resources:
        offered = node.allocatable.get(name, 0)
        if offered == 0 or (name == GPU and GPU not in pod.requests):
            continue
        taken = wanted(pod, name) + sum(wanted(one, name) for one in placed)
        match strategy.type:
            case "LeastAllocated":
                one = 0 if taken > offered else (offered - taken) * 100 // offered
            case "MostAllocated":
                one = min(taken, offered) * 100 // offered
            case _:
                one = raw(strategy.shape, 100 if taken > offered else taken * 100 // offered)
                if one <= 0:
                    continue
        total += one * weight
        weights += weight
    if not weights:
        return 0
    return math.floor(total / weights + 0.5) if strategy.type == "RequestedToCapacityRatio" else total // weights


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")))
def test_columns_score_as_one_node_at_a_time(seed: int, type: node_resources_scoring.StrategyType) -> None:
    chance = random.Random(seed)
    points = sorted(chance.sample(range(101), chance.randint(1, 4)))
    strategy = Strategy(
        type,
        tuple((name, chance.randint(1, 100)) for name in NAMES if chance.random() < 0.8),
        tuple((point, 10 * chance.randint(0, 10)) for point in points),
    )
    table = NodeTable()
    placed: dict[str, list[PodInfo]] = {}
    for number in range(4):
        offered = {
            "cpu": chance.choice((0, 3000, 9000)),
            "memory": chance.choice((7, 1 << 30)),
            GPU: chance.randint(0, 5),
        }
        table.set_info(NodeInfo(f"n{number}", allocatable={**offered, "pods": 9}))
        placed[f"n{number}"] = [random_pod(chance) for _ in range(chance.randint(0, 2))]
        for index, one in enumerate(placed[f"n{number}"]):
            table.add_pod(PlacedPod(f"{number}-{index}", "default", "p", f"n{number}", one))
    pod = random_pod(chance)
    scores = NodeResourcesFit(strategy).score(CycleState(ClusterObjects()), pod, table, EVERY)
    assert scores is not None
    assert scores.tolist() == [score(strategy, pod, placed[node.name], node) for node in table.nodes]


def test_ignored_resources_are_somebody_elses_to_count() -> None:
    table = NodeTable()
    table.set_info(NodeInfo("n", allocatable={"pods": 9, "cpu": 9000, "memory": 1 << 40}))
    container = ContainerToPlace(resources=ResourceRequirements(requests={GPU: "1"}))
    pod = compile_pod(PodToPlace(metadata=ObjectMeta(namespace="d"), spec=SpecToPlace(containers=(container,))))
    state = CycleState(ClusterObjects())

    def takes(plugin: NodeResourcesFit) -> bool:
        mask = plugin.filter(state, pod, table)
        return mask is None or bool(mask[0])

    assert not takes(NodeResourcesFit())
    assert takes(NodeResourcesFit(ignored=frozenset((GPU,))))
    assert takes(NodeResourcesFit(ignored_groups=frozenset(("example.com",))))
