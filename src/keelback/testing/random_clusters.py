"""Random clusters in plain form, and the same in columns: what property tests of scheduling compare."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from keelback.api import nodes as api_nodes
from keelback.api.core_v1 import (
    Affinity,
    ContainerImage,
    ContainerPort,
    NodeAffinity,
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    PreferredSchedulingTerm,
    ResourceRequirements,
    Taint,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)
from keelback.apimachinery.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta
from keelback.scheduling import builtin
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_info import PodShapes
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace, SpecToPlace, StatusToPlace

HOSTNAME: Final = api_nodes.HOSTNAME
ZONE: Final = api_nodes.ZONE
GPU: Final = "example.com/gpu"

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)

T = TypeVar("T")


@dataclass
class World:
    """A cluster in plain form."""

    nodes: list[NodeInfo]
    placed: list[tuple[str, PodToPlace, bool]]
    """Node, pod, and whether the pod is being deleted."""
    namespaces: dict[str, dict[str, str]]
    services: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def pods_on(self, node: NodeInfo) -> list[tuple[PodToPlace, bool]]:
        """The pods on a node, each with whether it is being deleted."""
        return [(pod, terminating) for name, pod, terminating in self.placed if name == node.name]


class Columns:
    """The world in a table, as the scheduler holds it."""

    def __init__(self, world: World, plugins: Plugins = builtin.DEFAULT) -> None:
        self.table, self.objects, self.shapes = NodeTable(), ClusterObjects(), PodShapes()
        for name, labels in world.namespaces.items():
            self.table.set_namespace(name, labels)
        for node in world.nodes:
            self.table.set_info(node)
        for namespace, selector in world.services:
            self.objects.set_service(namespace, "service", selector)
        for node_name, pod, terminating in world.placed:
            self.add(node_name, pod, terminating)
        self.evaluator = Evaluator(plugins, self.table, self.objects)

    def add(self, node_name: str, pod: PodToPlace, terminating: bool = False) -> None:
        """Count a pod on a node."""
        metadata, started = pod.metadata, pod.status.start_time
        self.table.add_pod(
            PlacedPod(
                metadata.uid,
                metadata.namespace,
                metadata.name,
                node_name,
                self.shapes.of(pod),
                terminating=terminating,
                start_time=started.timestamp() if started is not None else float("inf"),
            )
        )


def random_world(chance: random.Random, *, spread: bool = False, priorities: Sequence[int] = (0,)) -> World:
    """With `spread`, a world in which little but topology spread keeps pods from nodes."""
    nodes = [random_node(chance, number) for number in range(chance.randint(1, 8))]
    if spread:
        nodes = [replace(node, allocatable={"cpu": 64000, "memory": 1 << 38, "pods": 110}) for node in nodes]
    placed = []
    for number in range(chance.randint(0, 14)):
        pod = random_pod(chance, f"placed-{number}", spread=spread, priority=chance.choice(priorities))
        placed.append((chance.choice(nodes).name, pod, chance.random() < 0.15))
    namespaces = {"default": {"team": "red"}, "other": {"team": "blue"}}
    services = [("default", {"app": "a"})] if chance.random() < 0.5 else []
    return World(nodes, placed, namespaces, services)


def random_node(chance: random.Random, number: int) -> NodeInfo:
    """A node that may lack anything: labels, capacity, a zone."""
    name = f"node-{number}"
    labels = {"generation": str(chance.randint(1, 5))} if chance.random() < 0.8 else {}
    if chance.random() < 0.9:
        labels[HOSTNAME] = name
    if chance.random() < 0.8:
        labels[ZONE] = f"zone-{chance.randint(0, 2)}"
    if chance.random() < 0.7:
        labels["disk"] = chance.choice(("ssd", "hdd"))
    allocatable = {
        "cpu": chance.choice((0, 1000, 2000, 4000)),
        "memory": chance.choice((1, 2, 8)) << 30,
        "pods": chance.choice((1, 3, 10)),
    }
    if chance.random() < 0.4:
        allocatable[GPU] = chance.randint(0, 2)
    images = tuple(
        ContainerImage(names=(f"{name}:latest",), size_bytes=chance.randint(1, 2000) << 20)
        for name in ("nginx", "redis")
        if chance.random() < 0.4
    )
    return NodeInfo(name, labels, _taints(chance), chance.random() < 0.1, allocatable, images)


def _taints(chance: random.Random) -> tuple[Taint, ...]:
    return tuple(
        Taint(key=chance.choice("kl"), value=chance.choice(("", "v")), effect=effect)
        for effect in ("NoSchedule", "PreferNoSchedule", "NoExecute", "PreferNoSchedule")
        if chance.random() < 0.25
    )


def _selector(chance: random.Random) -> LabelSelector | None:
    kind = chance.random()
    if kind < 0.05:
        return None
    if kind < 0.1:
        return LabelSelector()
    if kind < 0.7:
        return LabelSelector(match_labels={"app": chance.choice("ab")})
    operator = chance.choice(("In", "NotIn", "Exists", "DoesNotExist"))
    values = ("a",) if operator in ("In", "NotIn") else ()
    return LabelSelector(match_expressions=(LabelSelectorRequirement(key="app", operator=operator, values=values),))


def _term(chance: random.Random) -> PodAffinityTerm:
    namespaces = ("other",) if chance.random() < 0.2 else ()
    by_label = LabelSelector(match_labels={"team": chance.choice(("red", "blue"))}) if chance.random() < 0.2 else None
    return PodAffinityTerm(
        label_selector=_selector(chance),
        namespaces=namespaces,
        namespace_selector=by_label,
        topology_key=chance.choice((HOSTNAME, ZONE)),
    )


def _node_term(chance: random.Random) -> NodeSelectorTerm:
    kind = chance.random()
    if kind < 0.05:
        return NodeSelectorTerm()
    if kind < 0.15:
        names = tuple(f"node-{chance.randint(0, 8)}" for _ in range(2))
        return NodeSelectorTerm(
            match_fields=(NodeSelectorRequirement(key="metadata.name", operator="In", values=names),)
        )
    operator = chance.choice(("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"))
    if operator in ("Gt", "Lt"):
        requirement = NodeSelectorRequirement(key="generation", operator=operator, values=(str(chance.randint(1, 5)),))
    else:
        values = (
            tuple(chance.sample(("ssd", "hdd", "tape"), chance.randint(1, 2))) if "n" in operator.lower()[:3] else ()
        )
        values = values if operator in ("In", "NotIn") else ()
        requirement = NodeSelectorRequirement(key=chance.choice(("disk", "none")), operator=operator, values=values)
    return NodeSelectorTerm(match_expressions=(requirement,))


def random_node_affinity(chance: random.Random) -> NodeAffinity:
    """Wishes and demands that a profile may have of nodes beside those of its pods."""
    required = tuple(_node_term(chance) for _ in range(chance.randint(0, 2)))
    weighed = PreferredSchedulingTerm(weight=chance.randint(1, 100), preference=_node_term(chance))
    return NodeAffinity(
        required_during_scheduling_ignored_during_execution=(
            NodeSelector(node_selector_terms=required) if required else None
        ),
        preferred_during_scheduling_ignored_during_execution=(weighed,) if chance.random() < 0.5 else (),
    )


def _affinity(chance: random.Random) -> Affinity | None:
    def some(of: Callable[[random.Random], T], most: int = 2, share: float = 0.2) -> tuple[T, ...]:
        return tuple(of(chance) for _ in range(chance.randint(1, most))) if chance.random() < share else ()

    def weighted(chance: random.Random) -> WeightedPodAffinityTerm:
        return WeightedPodAffinityTerm(weight=chance.randint(1, 100), pod_affinity_term=_term(chance))

    def preferred(chance: random.Random) -> PreferredSchedulingTerm:
        return PreferredSchedulingTerm(weight=chance.randint(1, 100), preference=_node_term(chance))

    required_nodes = some(_node_term, share=0.3)
    return Affinity(
        node_affinity=NodeAffinity(
            required_during_scheduling_ignored_during_execution=(
                NodeSelector(node_selector_terms=required_nodes) if required_nodes else None
            ),
            preferred_during_scheduling_ignored_during_execution=some(preferred),
        ),
        pod_affinity=PodAffinity(
            required_during_scheduling_ignored_during_execution=some(_term),
            preferred_during_scheduling_ignored_during_execution=some(weighted),
        ),
        pod_anti_affinity=PodAntiAffinity(
            required_during_scheduling_ignored_during_execution=some(_term),
            preferred_during_scheduling_ignored_during_execution=some(weighted),
        ),
    )


def random_pod(chance: random.Random, name: str, *, spread: bool = False, priority: int = 0) -> PodToPlace:
    """A pod that may ask for anything that the default plugins know. It has started, at one of few moments."""

    def container(chance: random.Random) -> ContainerToPlace:
        requests = {}
        if chance.random() < 0.6:
            requests["cpu"] = f"{chance.choice((100, 250, 1000))}m"
        if chance.random() < 0.6:
            requests["memory"] = f"{chance.choice((64, 512, 1500))}Mi"
        if chance.random() < 0.1:
            requests[GPU] = "1"
        ports: tuple[ContainerPort, ...] = ()
        if chance.random() < 0.15:
            host_ip = chance.choice(("", "10.0.0.1", "10.0.0.2"))
            ports = (ContainerPort(container_port=80, host_port=chance.choice((80, 81)), host_ip=host_ip),)
        return ContainerToPlace(
            image=chance.choice(("nginx", "redis:latest", "other:1")),
            resources=ResourceRequirements(requests=requests),
            ports=ports,
            restart_policy=chance.choice((None, "Always")),
        )

    tolerations = tuple(
        Toleration(
            key=chance.choice(("k", "l", "")),
            operator=chance.choice(("Exists", "Equal", "")),
            value=chance.choice(("", "v")),
            effect=chance.choice(("", "NoSchedule", "PreferNoSchedule", "NoExecute")),
        )
        for _ in range(chance.randint(0, 3))
    )
    constraints = tuple(
        TopologySpreadConstraint(
            topology_key=key,
            max_skew=chance.randint(1, 3),
            when_unsatisfiable=chance.choice(("DoNotSchedule", "ScheduleAnyway")),
            label_selector=_selector(chance),
            min_domains=chance.choice((None, None, 3)),
            node_affinity_policy=chance.choice((None, "Honor", "Ignore")),
            node_taints_policy=chance.choice((None, "Honor", "Ignore")),
            match_label_keys=chance.choice(((), ("tier",))),
        )
        for key in (HOSTNAME, ZONE, "disk")
        if chance.random() < (0.7 if spread else 0.2)
    )
    return PodToPlace(
        metadata=ObjectMeta(
            namespace=chance.choice(("default", "default", "other")),
            name=name,
            uid=name,
            labels={"app": chance.choice("ab"), "tier": chance.choice("xy")} if chance.random() < 0.9 else {},
        ),
        spec=SpecToPlace(
            containers=tuple(container(chance) for _ in range(chance.randint(1, 2))),
            init_containers=tuple(container(chance) for _ in range(chance.randint(0, 2))),
            node_selector={"disk": "ssd"} if chance.random() < (0.4 if spread else 0.1) else {},
            tolerations=tolerations,
            affinity=_affinity(chance) if not spread and chance.random() < 0.5 else None,
            topology_spread_constraints=constraints,
            overhead={"cpu": "10m"} if chance.random() < 0.1 else {},
            priority=priority,
        ),
        status=StatusToPlace(start_time=_START + timedelta(minutes=chance.randint(0, 3))),
    )
