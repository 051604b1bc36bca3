"""The plugins over columns decide as a plain scheduler does that looks at one node and one pod at a time."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api import nodes as api_nodes
from keelback.api import taints
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
from keelback.scheduling import builtin, explanation
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.framework import CycleState
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.pod_info import PodShapes
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace, SpecToPlace

HOSTNAME, ZONE = api_nodes.HOSTNAME, api_nodes.ZONE
GPU = "example.com/gpu"


@dataclass
class World:
    """A cluster in plain form."""

    nodes: list[NodeInfo]
    placed: list[tuple[str, PodToPlace, bool]]
    """Node, pod, and whether the pod is being deleted."""
    namespaces: dict[str, dict[str, str]]
    services: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def pods_on(self, node: NodeInfo) -> list[tuple[PodToPlace, bool]]:
        return [(pod, terminating) for name, pod, terminating in self.placed if name == node.name]


# Random clusters


def random_world(chance: random.Random, *, spread: bool = False) -> World:
    """With `spread`, a world in which little but topology spread keeps pods from nodes."""
    nodes = [random_node(chance, number) for number in range(chance.randint(1, 8))]
    if spread:
        nodes = [replace(node, allocatable={"cpu": 64000, "memory": 1 << 38, "pods": 110}) for node in nodes]
    placed = []
    for number in range(chance.randint(0, 14)):
        pod = random_pod(chance, f"placed-{number}", spread=spread)
        placed.append((chance.choice(nodes).name, pod, chance.random() < 0.15))
    namespaces = {"default": {"team": "red"}, "other": {"team": "blue"}}
    services = [("default", {"app": "a"})] if chance.random() < 0.5 else []
    return World(nodes, placed, namespaces, services)


def random_node(chance: random.Random, number: int) -> NodeInfo:
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
    return NodeInfo(name, labels, random_taints(chance), chance.random() < 0.1, allocatable, images)


def random_taints(chance: random.Random) -> tuple[Taint, ...]:
    return tuple(
        Taint(key=chance.choice("kl"), value=chance.choice(("", "v")), effect=effect)
        for effect in ("NoSchedule", "PreferNoSchedule", "NoExecute", "PreferNoSchedule")
        if chance.random() < 0.25
    )


def random_selector(chance: random.Random) -> LabelSelector | None:
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


def random_term(chance: random.Random) -> PodAffinityTerm:
    namespaces = ("other",) if chance.random() < 0.2 else ()
    by_label = LabelSelector(match_labels={"team": chance.choice(("red", "blue"))}) if chance.random() < 0.2 else None
    return PodAffinityTerm(
        label_selector=random_selector(chance),
        namespaces=namespaces,
        namespace_selector=by_label,
        topology_key=chance.choice((HOSTNAME, ZONE)),
    )


def random_node_term(chance: random.Random) -> NodeSelectorTerm:
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


def random_affinity(chance: random.Random) -> Affinity | None:
    def some(of, most: int = 2, share: float = 0.2):  # type: ignore[no-untyped-def]
        return tuple(of(chance) for _ in range(chance.randint(1, most))) if chance.random() < share else ()

    def weighted(chance: random.Random) -> WeightedPodAffinityTerm:
        return WeightedPodAffinityTerm(weight=chance.randint(1, 100), pod_affinity_term=random_term(chance))

    def preferred(chance: random.Random) -> PreferredSchedulingTerm:
        return PreferredSchedulingTerm(weight=chance.randint(1, 100), preference=random_node_term(chance))

    required_nodes = some(random_node_term, share=0.3)
    return Affinity(
        node_affinity=NodeAffinity(
            required_during_scheduling_ignored_during_execution=(
                NodeSelector(node_selector_terms=required_nodes) if required_nodes else None
            ),
            preferred_during_scheduling_ignored_during_execution=some(preferred),
        ),
        pod_affinity=PodAffinity(
            required_during_scheduling_ignored_during_execution=some(random_term),
            preferred_during_scheduling_ignored_during_execution=some(weighted),
        ),
        pod_anti_affinity=PodAntiAffinity(
            required_during_scheduling_ignored_during_execution=some(random_term),
            preferred_during_scheduling_ignored_during_execution=some(weighted),
        ),
    )


def random_pod(chance: random.Random, name: str, *, spread: bool = False) -> PodToPlace:
    def container(chance: random.Random) -> ContainerToPlace:
        requests = {}
        if chance.random() < 0.6:
            requests["cpu"] = f"{chance.choice((100, 250, 1000))}m"
        if chance.random() < 0.6:
            requests["memory"] = f"{chance.choice((64, 512, 1500))}Mi"
        if chance.random() < 0.1:
            requests[GPU] = "1"
        ports = ()
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
            label_selector=random_selector(chance),
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
            affinity=random_affinity(chance) if not spread and chance.random() < 0.5 else None,
            topology_spread_constraints=constraints,
            overhead={"cpu": "10m"} if chance.random() < 0.1 else {},
        ),
    )


# The plain scheduler


def label_selector_picks(selector: LabelSelector | None, labels: dict[str, str]) -> bool:
    if selector is None:
        return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        api_nodes.holds(labels.get(one.key), one.operator, one.values) for one in selector.match_expressions
    )


def requests_of(pod: PodToPlace, when_missing: dict[str, int]) -> dict[str, int]:
    from keelback.api.pods import amount

    def of(container: ContainerToPlace) -> dict[str, int]:
        return {
            **when_missing,
            **{name: amount(name, value) for name, value in container.resources.requests.items()},
        }

    names = {"cpu", "memory", GPU}
    result = {}
    for name in names:
        running = sum(of(container).get(name, 0) for container in pod.spec.containers)
        sidecars = 0
        peak = 0
        for container in pod.spec.init_containers:
            if container.restart_policy == "Always":
                sidecars += of(container).get(name, 0)
                peak = max(peak, sidecars)
            else:
                peak = max(peak, sidecars + of(container).get(name, 0))
        result[name] = max(running + sidecars, peak)
        if name in pod.spec.overhead:
            result[name] += amount(name, pod.spec.overhead[name])
    return result


def ports_of(pod: PodToPlace) -> list[tuple[str, int]]:
    containers = [*pod.spec.containers, *(one for one in pod.spec.init_containers if one.restart_policy == "Always")]
    return [(port.host_ip or "0.0.0.0", port.host_port) for one in containers for port in one.ports if port.host_port]


class Oracle:
    """Upstream's algorithms, written out for one node at a time."""

    def __init__(self, world: World, pod: PodToPlace) -> None:
        self.world, self.pod = world, pod
        affinity = pod.spec.affinity
        self.together = affinity.pod_affinity if affinity and affinity.pod_affinity else PodAffinity()
        self.apart = affinity.pod_anti_affinity if affinity and affinity.pod_anti_affinity else PodAntiAffinity()

    def reasons(self, node: NodeInfo) -> list[str]:
        """Those of the first plugin that refuses the node."""
        return next((found for found in self.all_reasons(node) if found), [])

    def all_reasons(self, node: NodeInfo) -> list[list[str]]:
        """Those of each plugin."""
        checks = (
            self.node_unschedulable,
            self.taint_toleration,
            self.node_affinity,
            self.node_ports,
            self.fit,
            self.spread,
            self.inter_pod_affinity,
        )
        return [check(node) for check in checks]

    def node_unschedulable(self, node: NodeInfo) -> list[str]:
        taint = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
        if node.unschedulable and not any(taints.tolerates(one, taint) for one in self.pod.spec.tolerations):
            return ["node(s) were unschedulable"]
        return []

    def taint_toleration(self, node: NodeInfo) -> list[str]:
        for taint in node.taints:
            if taint.effect == "PreferNoSchedule":
                continue
            if not any(taints.tolerates(one, taint) for one in self.pod.spec.tolerations):
                return ["node(s) had untolerated taint(s)"]
        return []

    def selected(self, node: NodeInfo) -> bool:
        return api_nodes.selected_by(node.name, node.labels, self.pod.spec.node_selector, self.pod.spec.affinity)

    def node_affinity(self, node: NodeInfo) -> list[str]:
        return [] if self.selected(node) else ["node(s) didn't match Pod's node affinity/selector"]

    def node_ports(self, node: NodeInfo) -> list[str]:
        taken = [port for pod, _ in self.world.pods_on(node) for port in ports_of(pod)]
        for ip, port in ports_of(self.pod):
            if any(port == other and (ip == their or "0.0.0.0" in (ip, their)) for their, other in taken):
                return ["node(s) didn't have free ports for the requested pod ports"]
        return []

    def fit(self, node: NodeInfo) -> list[str]:
        pods = self.world.pods_on(node)
        reasons = ["Too many pods"] if len(pods) + 1 > node.allocatable.get("pods", 0) else []
        wanted = requests_of(self.pod, {})
        for name in ("cpu", "memory", GPU):
            used = sum(requests_of(pod, {})[name] for pod, _ in pods)
            if wanted[name] and wanted[name] > node.allocatable.get(name, 0) - used:
                reasons.append(f"Insufficient {name}")
        return reasons

    # Topology spread

    def constraint_picks(self, constraint: TopologySpreadConstraint, pod: PodToPlace) -> bool:
        if not label_selector_picks(constraint.label_selector, pod.metadata.labels):
            return False
        mine = self.pod.metadata.labels
        return all(pod.metadata.labels.get(key) == mine[key] for key in constraint.match_label_keys if key in mine)

    def count(self, constraint: TopologySpreadConstraint, node: NodeInfo) -> int:
        selector = constraint.label_selector
        keys = [key for key in constraint.match_label_keys if key in self.pod.metadata.labels]
        if selector is None or not (selector.match_labels or selector.match_expressions or keys):
            return 0
        return sum(
            1
            for pod, terminating in self.world.pods_on(node)
            if not terminating
            and pod.metadata.namespace == self.pod.metadata.namespace
            and self.constraint_picks(constraint, pod)
        )

    def included(self, constraint: TopologySpreadConstraint, node: NodeInfo) -> bool:
        if constraint.node_affinity_policy != "Ignore" and not self.selected(node):
            return False
        return constraint.node_taints_policy != "Honor" or not self.taint_toleration(node)

    def spread(self, node: NodeInfo) -> list[str]:
        constraints = [
            one for one in self.pod.spec.topology_spread_constraints if one.when_unsatisfiable == "DoNotSchedule"
        ]
        complete = [other for other in self.world.nodes if all(one.topology_key in other.labels for one in constraints)]
        for one in constraints:
            if one.topology_key not in node.labels:
                return ["node(s) didn't match pod topology spread constraints (missing required label)"]
            counts: dict[str, int] = {}
            for other in complete:
                if self.included(one, other):
                    domain = other.labels[one.topology_key]
                    counts[domain] = counts.get(domain, 0) + self.count(one, other)
            least: float = min(counts.values(), default=math.inf)
            if len(counts) < (one.min_domains or 1):
                least = 0
            mine = 1 if self.constraint_picks(one, self.pod) else 0
            if counts.get(node.labels[one.topology_key], 0) + mine - least > one.max_skew:
                return ["node(s) didn't match pod topology spread constraints"]
        return []

    # Inter-pod affinity

    def picks(self, term: PodAffinityTerm, of: PodToPlace, pod: PodToPlace) -> bool:
        namespaces = term.namespaces
        if not namespaces and term.namespace_selector is None:
            namespaces = (of.metadata.namespace,)
        namespace = pod.metadata.namespace
        by_label = label_selector_picks(term.namespace_selector, self.world.namespaces[namespace])
        return (namespace in namespaces or by_label) and label_selector_picks(term.label_selector, pod.metadata.labels)

    def running(self, node: NodeInfo, key: str) -> list[PodToPlace]:
        """The pods in the node's domain."""
        if key not in node.labels:
            return []
        return [
            pod
            for other in self.world.nodes
            if other.labels.get(key) == node.labels[key]
            for pod, _ in self.world.pods_on(other)
        ]

    def inter_pod_affinity(self, node: NodeInfo) -> list[str]:
        terms = self.together.required_during_scheduling_ignored_during_execution
        if terms and not self.affinity_holds(terms, node):
            return ["node(s) didn't match pod affinity rules"]
        for term in self.apart.required_during_scheduling_ignored_during_execution:
            if any(self.picks(term, self.pod, other) for other in self.running(node, term.topology_key)):
                return ["node(s) didn't match pod anti-affinity rules"]
        for other in self.world.nodes:
            for pod, _ in self.world.pods_on(other):
                affinity = pod.spec.affinity
                apart = affinity.pod_anti_affinity if affinity else None
                for term in apart.required_during_scheduling_ignored_during_execution if apart else ():
                    key = term.topology_key
                    near = key in node.labels and node.labels[key] == other.labels.get(key)
                    if near and self.picks(term, pod, self.pod):
                        return ["node(s) didn't satisfy existing pods anti-affinity rules"]
        return []

    def affinity_holds(self, terms: tuple[PodAffinityTerm, ...], node: NodeInfo) -> bool:
        if any(term.topology_key not in node.labels for term in terms):
            return False

        def suits(pod: PodToPlace) -> bool:
            return all(self.picks(term, self.pod, pod) for term in terms)

        if all(any(suits(pod) for pod in self.running(node, term.topology_key)) for term in terms):
            return True
        anywhere = any(
            suits(pod)
            for other in self.world.nodes
            for pod, _ in self.world.pods_on(other)
            if any(term.topology_key in other.labels for term in terms)
        )
        return not anywhere and suits(self.pod)

    # Scores

    def totals(self, feasible: list[NodeInfo]) -> list[int]:
        columns = (
            (3, self.normalized([self.soft_taints(node) for node in feasible], reverse=True)),
            (2, self.normalized([self.preferred_nodes(node) for node in feasible], reverse=False)),
            (1, [self.least_allocated(node) for node in feasible]),
            (2, self.spread_scores(feasible)),
            (2, self.affinity_scores(feasible)),
            (1, [self.balanced(node) for node in feasible]),
            (1, [self.images(node) for node in feasible]),
        )
        return [sum(weight * column[index] for weight, column in columns) for index in range(len(feasible))]

    def normalized(self, scores: list[int], *, reverse: bool) -> list[int]:
        greatest = max(scores)
        if greatest == 0:
            return [100 if reverse else 0 for _ in scores]
        scaled = [score * 100 // greatest for score in scores]
        return [100 - score for score in scaled] if reverse else scaled

    def soft_taints(self, node: NodeInfo) -> int:
        tolerations = [one for one in self.pod.spec.tolerations if one.effect in ("", "PreferNoSchedule")]
        return sum(
            taint.effect == "PreferNoSchedule" and not any(taints.tolerates(one, taint) for one in tolerations)
            for taint in node.taints
        )

    def preferred_nodes(self, node: NodeInfo) -> int:
        affinity = self.pod.spec.affinity.node_affinity if self.pod.spec.affinity else None
        preferred = affinity.preferred_during_scheduling_ignored_during_execution if affinity else ()
        return sum(one.weight for one in preferred if api_nodes.matches_term(node.name, node.labels, one.preference))

    def least_allocated(self, node: NodeInfo) -> int:
        nominal = {"cpu": 100, "memory": 200 << 20}
        shares = []
        for name in ("cpu", "memory"):
            capacity = node.allocatable.get(name, 0)
            if not capacity:
                continue
            used = sum(requests_of(pod, nominal)[name] for pod, _ in self.world.pods_on(node))
            free = capacity - used - requests_of(self.pod, nominal)[name]
            shares.append(free * 100 // capacity if free > 0 else 0)
        return sum(shares) // len(shares) if shares else 0

    def balanced(self, node: NodeInfo) -> int:
        wanted = requests_of(self.pod, {})
        if not wanted["cpu"] and not wanted["memory"]:
            return 0

        def balance(more: dict[str, int]) -> int:
            fractions = []
            for name in ("cpu", "memory"):
                capacity = node.allocatable.get(name, 0)
                if capacity:
                    used = sum(requests_of(pod, {})[name] for pod, _ in self.world.pods_on(node))
                    fractions.append(min((used + more.get(name, 0)) / capacity, 1.0))
            deviation = abs(fractions[0] - fractions[1]) / 2 if len(fractions) == 2 else 0.0
            return int((1 - deviation) * 100)

        return 50 + (50 + balance(wanted) - balance({})) // 2

    def images(self, node: NodeInfo) -> int:
        total = 0
        containers = [*self.pod.spec.init_containers, *self.pod.spec.containers]
        for container in containers:
            name = container.image if ":" in container.image else f"{container.image}:latest"
            having = [other for other in self.world.nodes if any(name in one.names for one in other.images)]
            size = next((one.size_bytes for one in node.images if name in one.names), 0)
            total += int(size * (len(having) / len(self.world.nodes)))
        least, most = 23 << 20, (1000 << 20) * len(containers)
        return 100 * (min(max(total, least), most) - least) // (most - least)

    def spread_scores(self, feasible: list[NodeInfo]) -> list[int]:
        own = self.pod.spec.topology_spread_constraints
        constraints = [one for one in own if one.when_unsatisfiable == "ScheduleAnyway"]
        if not own:
            labels: dict[str, str] = {}
            for namespace, selector in self.world.services:
                if namespace == self.pod.metadata.namespace and all(
                    self.pod.metadata.labels.get(key) == value for key, value in selector.items()
                ):
                    labels.update(selector)
            if labels:
                constraints = [
                    TopologySpreadConstraint(
                        topology_key=key, max_skew=skew, label_selector=LabelSelector(match_labels=labels)
                    )
                    for key, skew in ((HOSTNAME, 3), (ZONE, 5))
                ]
        if not constraints:
            return [0] * len(feasible)

        def complete(node: NodeInfo) -> bool:
            return not own or all(one.topology_key in node.labels for one in constraints)

        scored = [node for node in feasible if complete(node)]
        raw = {}
        for node in scored:
            score = 0.0
            for one in constraints:
                key = one.topology_key
                if key not in node.labels:
                    continue
                if key == HOSTNAME:
                    count, size = self.count(one, node), len(scored)
                else:
                    size = len({other.labels.get(key, "") for other in scored})
                    count = sum(
                        self.count(one, other)
                        for other in self.world.nodes
                        if complete(other) and self.included(one, other) and other.labels.get(key) == node.labels[key]
                    )
                score += count * math.log(size + 2) + (one.max_skew - 1)
            raw[node.name] = math.floor(score + 0.5)
        if not raw:
            return [0] * len(feasible)
        least, greatest = min(raw.values()), max(raw.values())
        return [
            0
            if node.name not in raw
            else (100 if greatest == 0 else 100 * (greatest + least - raw[node.name]) // greatest)
            for node in feasible
        ]

    def affinity_scores(self, feasible: list[NodeInfo]) -> list[int]:
        raw = []
        for node in feasible:
            score = 0
            for sign, terms in (
                (1, self.together.preferred_during_scheduling_ignored_during_execution),
                (-1, self.apart.preferred_during_scheduling_ignored_during_execution),
            ):
                for one in terms:
                    term = one.pod_affinity_term
                    near = self.running(node, term.topology_key)
                    score += sign * one.weight * sum(self.picks(term, self.pod, pod) for pod in near)
            for other in self.world.nodes:
                for pod, _ in self.world.pods_on(other):
                    score += self.wishes(pod, other, node)
            raw.append(score)
        least, greatest = min(raw), max(raw)
        if least == greatest:
            return [0] * len(raw)
        return [int(100 * ((score - least) / (greatest - least))) for score in raw]

    def wishes(self, pod: PodToPlace, its_node: NodeInfo, node: NodeInfo) -> int:
        affinity = pod.spec.affinity
        if affinity is None or affinity.pod_affinity is None or affinity.pod_anti_affinity is None:
            return 0
        terms = [
            *((1, term) for term in affinity.pod_affinity.required_during_scheduling_ignored_during_execution),
            *(
                (one.weight, one.pod_affinity_term)
                for one in affinity.pod_affinity.preferred_during_scheduling_ignored_during_execution
            ),
            *(
                (-one.weight, one.pod_affinity_term)
                for one in affinity.pod_anti_affinity.preferred_during_scheduling_ignored_during_execution
            ),
        ]
        return sum(
            weight
            for weight, term in terms
            if term.topology_key in node.labels
            and node.labels[term.topology_key] == its_node.labels.get(term.topology_key)
            and self.picks(term, pod, self.pod)
        )


# The columns against the plain scheduler


class Columns:
    """The world in a table, as the scheduler holds it."""

    def __init__(self, world: World) -> None:
        self.table, self.objects, self.shapes = NodeTable(), ClusterObjects(), PodShapes()
        for name, labels in world.namespaces.items():
            self.table.set_namespace(name, labels)
        for node in world.nodes:
            self.table.set_info(node)
        for namespace, selector in world.services:
            self.objects.set_service(namespace, "service", selector)
        for node_name, pod, terminating in world.placed:
            self.add(node_name, pod, terminating)
        self.evaluator = Evaluator(builtin.DEFAULT, self.table, self.objects)

    def add(self, node_name: str, pod: PodToPlace, terminating: bool = False) -> None:
        metadata = pod.metadata
        info = self.shapes.of(pod)
        self.table.add_pod(
            PlacedPod(metadata.uid, metadata.namespace, metadata.name, node_name, info, terminating=terminating)
        )


def agree(world: World, columns: Columns, pod: PodToPlace) -> None:
    """The same nodes, the same reasons, the same order of preference."""
    oracle = Oracle(world, pod)
    info = columns.shapes.of(pod)
    refusals = {node.name: oracle.reasons(node) for node in world.nodes}
    feasible = [node for node in world.nodes if not refusals[node.name]]
    mask = columns.evaluator.feasible(info)
    got = {node.name for node, fits in zip(columns.table.nodes, mask, strict=True) if fits}
    assert got == {node.name for node in feasible}
    for row, node in enumerate(columns.table.nodes):
        answer = columns.evaluator.fits(info, row)
        assert list(answer.reasons if answer else ()) == refusals[node.name]
    if not feasible:
        return
    totals, rows = columns.evaluator.totals(info, mask)
    indexes = range(len(columns.table)) if isinstance(rows, slice) else rows
    by_name = {columns.table.nodes[row].name: int(total) for row, total in zip(indexes, totals, strict=True)}
    expected = oracle.totals(feasible)
    # What is the same for all nodes may be left out of a sum.
    offset = expected[0] - by_name[feasible[0].name]
    assert {node.name: total - offset for node, total in zip(feasible, expected, strict=True)} == by_name


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
