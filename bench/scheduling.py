"""CPU microseconds that deciding a pod's node takes: the pure part of the scheduler, without any API.

python bench/scheduling.py [nodes] [pods]
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator

from keelback.api.core_v1 import ResourceRequirements
from keelback.apimachinery.meta import ObjectMeta
from keelback.scheduling import builtin
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.pod_info import PodShapes
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace, SpecToPlace


def table_of(nodes: int) -> NodeTable:
    """A cluster in three zones."""
    table = NodeTable()
    for number in range(nodes):
        name = f"node-{number}"
        labels = {
            "kubernetes.io/hostname": name,
            "topology.kubernetes.io/zone": f"zone-{number % 3}",
            "kubernetes.io/os": "linux",
        }
        table.set_info(NodeInfo(name, labels, allocatable={"cpu": 32_000, "memory": 256 << 30, "pods": 110}))
    return table


def pod(name: str, app: str) -> PodToPlace:
    """A pod as a Deployment makes it."""
    resources = ResourceRequirements(requests={"cpu": "100m", "memory": "128Mi"})
    return PodToPlace(
        metadata=ObjectMeta(namespace="default", name=name, labels={"app": app}),
        spec=SpecToPlace(containers=(ContainerToPlace(image="nginx:1.27", resources=resources),)),
    )


def place(table: NodeTable, evaluator: Evaluator, shapes: PodShapes, pods: list[PodToPlace]) -> float:
    """Decide for each pod and count it in; CPU microseconds a pod."""
    chance = random.Random(1)
    started = time.process_time()
    for number, one in enumerate(pods):
        info = shapes.of(one)
        node = evaluator.choose(info, chance)
        assert node is not None
        table.add_pod(PlacedPod(f"{one.metadata.name}-{number}", "default", one.metadata.name, node, info))
    return (time.process_time() - started) / len(pods) * 1e6


def lines(nodes: int, pods: int) -> Iterator[str]:
    """One line for each kind of work."""
    for title, apps, spread in (
        ("identical pods", 1, False),
        ("identical pods of a Service (spread by default)", 1, True),
        ("50 Deployments in turn, of Services", 50, True),
        ("every pod another shape", min(pods, 1000), False),
    ):
        table, objects = table_of(nodes), ClusterObjects()
        if spread:
            for app in range(apps):
                objects.set_service("default", f"app-{app}", {"app": f"app-{app}"})
        evaluator, shapes = Evaluator(builtin.DEFAULT, table, objects), PodShapes()
        work = [pod(f"p-{number}", f"app-{number % apps}") for number in range(pods if apps < 1000 else 1000)]
        each = place(table, evaluator, shapes, work)
        yield f"{title}, {nodes} nodes: {each:.0f} us CPU a pod, {1e6 / each:,.0f} a second"


def main() -> None:
    """Print one line for each kind of work."""
    for line in lines(*(int(sys.argv[at]) if len(sys.argv) > at else 5000 for at in (1, 2))):
        print(line)


if __name__ == "__main__":
    main()
