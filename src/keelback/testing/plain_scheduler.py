"""Kubernetes' default filters and scores, written out for one node and one pod at a time: the columns must agree.

Written to be read beside upstream's documentation, not to be fast.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keelback.api import nodes as api_nodes
from keelback.api import taints
from keelback.api.core_v1 import (
    NodeAffinity,
    PodAffinity,
    PodAffinityTerm,
    PodAntiAffinity,
    Taint,
    TopologySpreadConstraint,
)
from keelback.api.pods import amount
from keelback.apimachinery.meta import LabelSelector
from keelback.scheduling.framework import CycleState, RowFilterPlugin, RowScorePlugin
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace
from keelback.testing.random_clusters import GPU, HOSTNAME, ZONE, Columns, World

ANY_IP: Final = "0.0.0.0"  # noqa: S104 - the API's word for any


def label_selector_picks(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Whether a selector picks an object with these labels."""
    if selector is None:
        return False
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        api_nodes.holds(labels.get(one.key), one.operator, one.values) for one in selector.match_expressions
    )


def requests_of(pod: PodToPlace, when_missing: dict[str, int]) -> dict[str, int]:
    """What a pod asks for; a container that names no amount asks for that of `when_missing`."""

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
    """The ports of the node that a pod takes, each with the IP it takes it on."""
    containers = [*pod.spec.containers, *(one for one in pod.spec.init_containers if one.restart_policy == "Always")]
    return [(port.host_ip or ANY_IP, port.host_port) for one in containers for port in one.ports if port.host_port]


WEIGHTS: Final[Mapping[str, int]] = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodeResourcesFit": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
"""The plugins that score, in upstream's order."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a profile may change of the plugins; the defaults are upstream's."""

    added_affinity: NodeAffinity | None = None
    hard_pod_affinity_weight: int = 1
    ignore_preferred_terms_of_existing_pods: bool = False
    default_spread: tuple[tuple[str, int], ...] | None = None
    """Topology keys and skews in place of the system's."""
    default_required_spread: tuple[tuple[str, int], ...] = ()
    without_filter: frozenset[str] = frozenset()
    """Plugins that do not filter."""
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    """Of the plugins that score; those that are not here do not."""
    strategy: str = "LeastAllocated"
    strategy_resources: tuple[tuple[str, int], ...] = (("cpu", 1), ("memory", 1))
    strategy_shape: tuple[tuple[int, int], ...] = ()
    """Utilization in percent and the score for it, of 100."""
    balanced: tuple[str, ...] = ("cpu", "memory")
    ignored: frozenset[str] = frozenset()
    """Resources that nobody is asked to have."""


_DEFAULTS: Final = Arguments()


class Oracle:
    """Upstream's algorithms, written out for one node at a time."""

    def __init__(self, world: World, pod: PodToPlace, arguments: Arguments = _DEFAULTS) -> None:
        self.world, self.pod, self.arguments = world, pod, arguments
        affinity = pod.spec.affinity
        self.together = affinity.pod_affinity if affinity and affinity.pod_affinity else PodAffinity()
        self.apart = affinity.pod_anti_affinity if affinity and affinity.pod_anti_affinity else PodAntiAffinity()

    def reasons(self, node: NodeInfo) -> list[str]:
        """Those of the first plugin that refuses the node."""
        return next((found for found in self.all_reasons(node) if found), [])

    def all_reasons(self, node: NodeInfo) -> list[list[str]]:
        """Those of each plugin."""
        checks = {
            "NodeUnschedulable": self.node_unschedulable,
            "TaintToleration": self.taint_toleration,
            "NodeAffinity": self.node_affinity,
            "NodePorts": self.node_ports,
            "NodeResourcesFit": self.fit,
            "PodTopologySpread": self.spread,
            "InterPodAffinity": self.inter_pod_affinity,
        }
        return [check(node) for name, check in checks.items() if name not in self.arguments.without_filter]

    def is_hopeless(self, node: NodeInfo) -> bool:
        """Whether the first plugin that refuses the node says that no pod's going would help."""
        for check in (self.node_unschedulable, self.taint_toleration, self.node_affinity):
            if check(node):
                return True
        if self.node_ports(node):
            return False
        if self.fit(node):
            wanted = requests_of(self.pod, {})
            return any(wanted[name] > node.allocatable.get(name, 0) for name in wanted)
        refused = self.spread(node)
        if refused:
            return "missing required label" in refused[0]
        return self.inter_pod_affinity(node) == ["node(s) didn't match pod affinity rules"]

    def node_unschedulable(self, node: NodeInfo) -> list[str]:
        """Cordoned nodes take only pods that tolerate it."""
        taint = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")
        if node.unschedulable and not any(taints.tolerates(one, taint) for one in self.pod.spec.tolerations):
            return ["node(s) were unschedulable"]
        return []

    def taint_toleration(self, node: NodeInfo) -> list[str]:
        """Every hard taint is tolerated."""
        for taint in node.taints:
            if taint.effect == "PreferNoSchedule":
                continue
            if not any(taints.tolerates(one, taint) for one in self.pod.spec.tolerations):
                return ["node(s) had untolerated taint(s)"]
        return []

    def selected(self, node: NodeInfo) -> bool:
        """Node selector and required node affinity."""
        return api_nodes.selected_by(node.name, node.labels, self.pod.spec.node_selector, self.pod.spec.affinity)

    def node_affinity(self, node: NodeInfo) -> list[str]:
        """Node selector and required node affinity."""
        added = self.arguments.added_affinity
        enforced = added.required_during_scheduling_ignored_during_execution if added is not None else None
        if enforced is not None and not api_nodes.matches(node.name, node.labels, enforced):
            return ["node(s) didn't match scheduler-enforced node affinity"]
        return [] if self.selected(node) else ["node(s) didn't match Pod's node affinity/selector"]

    def node_ports(self, node: NodeInfo) -> list[str]:
        """No pod on the node has one of the host ports."""
        taken = [port for pod, _ in self.world.pods_on(node) for port in ports_of(pod)]
        for ip, port in ports_of(self.pod):
            if any(port == other and (ip == their or ANY_IP in (ip, their)) for their, other in taken):
                return ["node(s) didn't have free ports for the requested pod ports"]
        return []

    def fit(self, node: NodeInfo) -> list[str]:
        """Requests of all pods on the node, and the number of pods, stay within what it offers."""
        pods = self.world.pods_on(node)
        reasons = ["Too many pods"] if len(pods) + 1 > node.allocatable.get("pods", 0) else []
        wanted = requests_of(self.pod, {})
        for name in ("cpu", "memory", GPU):
            used = sum(requests_of(pod, {})[name] for pod, _ in pods)
            if name in self.arguments.ignored:
                continue
            if wanted[name] and wanted[name] > node.allocatable.get(name, 0) - used:
                reasons.append(f"Insufficient {name}")
        return reasons

    # Topology spread

    def constraint_picks(self, constraint: TopologySpreadConstraint, pod: PodToPlace) -> bool:
        """Whether a pod counts for a constraint of the pod to be placed."""
        if not label_selector_picks(constraint.label_selector, pod.metadata.labels):
            return False
        mine = self.pod.metadata.labels
        return all(pod.metadata.labels.get(key) == mine[key] for key in constraint.match_label_keys if key in mine)

    def count(self, constraint: TopologySpreadConstraint, node: NodeInfo) -> int:
        """How many pods on a node count for a constraint."""
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
        """Whether a node counts, by the constraint's two policies."""
        if constraint.node_affinity_policy != "Ignore" and not self.selected(node):
            return False
        return constraint.node_taints_policy != "Honor" or not self.taint_toleration(node)

    def spread(self, node: NodeInfo) -> list[str]:
        """No required constraint would be more skewed than it allows."""
        own = self.pod.spec.topology_spread_constraints
        constraints = [one for one in own if one.when_unsatisfiable == "DoNotSchedule"]
        if not own:
            constraints = self.default_constraints(self.arguments.default_required_spread)
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
        """Whether a term of the pod `of` means another pod."""
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
        """Required terms of the pod, and the anti-affinity of those that are there."""
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
        """Every term finds a pod that suits all of them; the first of a group needs none."""
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
        """What each feasible node scores."""
        scores = {
            "TaintToleration": lambda: self.normalized([self.soft_taints(node) for node in feasible], reverse=True),
            "NodeAffinity": lambda: self.normalized([self.preferred_nodes(node) for node in feasible], reverse=False),
            "NodeResourcesFit": lambda: [self.allocated(node) for node in feasible],
            "PodTopologySpread": lambda: self.spread_scores(feasible),
            "InterPodAffinity": lambda: self.affinity_scores(feasible),
            "NodeResourcesBalancedAllocation": lambda: [self.balanced(node) for node in feasible],
            "ImageLocality": lambda: [self.images(node) for node in feasible],
        }
        columns = [(weight, scores[name]()) for name, weight in self.arguments.weights.items()]
        return [sum(weight * column[index] for weight, column in columns) for index in range(len(feasible))]

    def normalized(self, scores: list[int], *, reverse: bool) -> list[int]:
        """Scaled to 100 by the greatest."""
        greatest = max(scores)
        if greatest == 0:
            return [100 if reverse else 0 for _ in scores]
        scaled = [score * 100 // greatest for score in scores]
        return [100 - score for score in scaled] if reverse else scaled

    def soft_taints(self, node: NodeInfo) -> int:
        """How many taints the pod would rather not see."""
        tolerations = [one for one in self.pod.spec.tolerations if one.effect in ("", "PreferNoSchedule")]
        return sum(
            taint.effect == "PreferNoSchedule" and not any(taints.tolerates(one, taint) for one in tolerations)
            for taint in node.taints
        )

    def preferred_nodes(self, node: NodeInfo) -> int:
        """The weights of the preferred node terms that hold."""
        affinity = self.pod.spec.affinity.node_affinity if self.pod.spec.affinity else None
        preferred = affinity.preferred_during_scheduling_ignored_during_execution if affinity else ()
        if self.arguments.added_affinity is not None:
            preferred += self.arguments.added_affinity.preferred_during_scheduling_ignored_during_execution
        return sum(one.weight for one in preferred if api_nodes.matches_term(node.name, node.labels, one.preference))

    def allocated(self, node: NodeInfo) -> int:
        """How good it is that so much of each resource will be taken: a weighted mean."""
        nominal = {"cpu": 100, "memory": 200 << 20}
        wanted = requests_of(self.pod, nominal)
        total = weights = 0
        for name, weight in self.arguments.strategy_resources:
            capacity = node.allocatable.get(name, 0)
            if not capacity or (name == GPU and not wanted[name]):
                continue
            used = sum(requests_of(pod, nominal)[name] for pod, _ in self.world.pods_on(node)) + wanted[name]
            score = self.score_of_share(used, capacity)
            if self.arguments.strategy == "RequestedToCapacityRatio" and score <= 0:
                continue
            total += weight * score
            weights += weight
        if not weights:
            return 0
        if self.arguments.strategy == "RequestedToCapacityRatio":
            return math.floor(total / weights + 0.5)
        return total // weights

    def score_of_share(self, used: int, capacity: int) -> int:
        """What one resource scores of which so much will be taken."""
        match self.arguments.strategy:
            case "LeastAllocated":
                return (capacity - used) * 100 // capacity if used <= capacity else 0
            case "MostAllocated":
                return min(used, capacity) * 100 // capacity
            case _:
                percent = 100 if used > capacity else used * 100 // capacity
        shape = self.arguments.strategy_shape
        for number, (utilization, score) in enumerate(shape):
            if percent <= utilization:
                if number == 0:
                    return score
                left, low = shape[number - 1]
                return low + math.trunc((score - low) * (percent - left) / (utilization - left))
        return shape[-1][1]

    def balanced(self, node: NodeInfo) -> int:
        """How even resources are used, and whether the pod makes it more so."""
        wanted = requests_of(self.pod, {})
        if not any(wanted[name] for name in self.arguments.balanced):
            return 0

        def balance(more: dict[str, int]) -> int:
            fractions = []
            for name in self.arguments.balanced:
                capacity = node.allocatable.get(name, 0)
                if capacity and (name != GPU or wanted[name]):
                    used = sum(requests_of(pod, {})[name] for pod, _ in self.world.pods_on(node))
                    fractions.append(min((used + more.get(name, 0)) / capacity, 1.0))
            deviation = 0.0
            if len(fractions) == 2:
                deviation = abs((fractions[0] - fractions[1]) / 2)
            elif fractions:
                mean = sum(fractions) / len(fractions)
                deviation = math.sqrt(sum((one - mean) * (one - mean) for one in fractions) / len(fractions))
            return int((1 - deviation) * 100)

        return 50 + (50 + balance(wanted) - balance({})) // 2

    def images(self, node: NodeInfo) -> int:
        """How much of what the pod needs is there already."""
        total = 0
        containers = [*self.pod.spec.init_containers, *self.pod.spec.containers]
        for container in containers:
            name = container.image if ":" in container.image else f"{container.image}:latest"
            having = [other for other in self.world.nodes if any(name in one.names for one in other.images)]
            size = next((one.size_bytes for one in node.images if name in one.names), 0)
            total += int(size * (len(having) / len(self.world.nodes)))
        least, most = 23 << 20, (1000 << 20) * len(containers)
        return 100 * (min(max(total, least), most) - least) // (most - least)

    def default_constraints(self, given: tuple[tuple[str, int], ...]) -> list[TopologySpreadConstraint]:
        """By what the Services of the pod select."""
        labels: dict[str, str] = {}
        for namespace, selector in self.world.services:
            if namespace == self.pod.metadata.namespace and all(
                self.pod.metadata.labels.get(key) == value for key, value in selector.items()
            ):
                labels.update(selector)
        if not labels:
            return []
        selecting = LabelSelector(match_labels=labels)
        return [
            TopologySpreadConstraint(topology_key=key, max_skew=skew, label_selector=selecting) for key, skew in given
        ]

    def spread_scores(self, feasible: list[NodeInfo]) -> list[int]:
        """Soft constraints, or those that Services have by default."""
        own = self.pod.spec.topology_spread_constraints
        constraints = [one for one in own if one.when_unsatisfiable == "ScheduleAnyway"]
        defaults = self.arguments.default_spread
        if not own:
            system = ((HOSTNAME, 3), (ZONE, 5))
            constraints = self.default_constraints(system if defaults is None else defaults)
        if not constraints:
            return [0] * len(feasible)

        def complete(node: NodeInfo) -> bool:
            return (not own and defaults is None) or all(one.topology_key in node.labels for one in constraints)

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
        """Soft terms of the pod, and those of the pods that are there."""
        own = (
            *self.together.preferred_during_scheduling_ignored_during_execution,
            *self.apart.preferred_during_scheduling_ignored_during_execution,
        )
        if self.arguments.ignore_preferred_terms_of_existing_pods and not own:
            return [0] * len(feasible)
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
        """What one running pod thinks of the new one's coming to a node."""
        affinity = pod.spec.affinity
        if affinity is None or affinity.pod_affinity is None or affinity.pod_anti_affinity is None:
            return 0
        hard = self.arguments.hard_pod_affinity_weight
        terms = [
            *((hard, term) for term in affinity.pod_affinity.required_during_scheduling_ignored_during_execution),
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


def agree(world: World, columns: Columns, pod: PodToPlace, arguments: Arguments = _DEFAULTS) -> None:
    """Assert that columns find the same nodes, for the same reasons, and the same order of preference."""
    oracle = Oracle(world, pod, arguments)
    info = columns.shapes.of(pod)
    refusals = {node.name: oracle.reasons(node) for node in world.nodes}
    feasible = [node for node in world.nodes if not refusals[node.name]]
    mask = columns.evaluator.feasible(info)
    got = {node.name for node, fits in zip(columns.table.nodes, mask, strict=True) if fits}
    assert got == {node.name for node in feasible}
    for row, node in enumerate(columns.table.nodes):
        answer = columns.evaluator.fits(info, row)
        assert list(answer.reasons if answer else ()) == refusals[node.name]
    _agree_by_row(columns, info)
    if not feasible:
        assert columns.evaluator.choose(info, random.Random(0)) is None
        return
    totals, rows = columns.evaluator.totals(info, mask)
    indexes = range(len(columns.table)) if isinstance(rows, slice) else rows
    by_name = {columns.table.nodes[row].name: int(total) for row, total in zip(indexes, totals, strict=True)}
    expected = oracle.totals(feasible)
    # What is the same for all nodes may be left out of a sum.
    offset = expected[0] - by_name[feasible[0].name]
    assert {node.name: total - offset for node, total in zip(feasible, expected, strict=True)} == by_name
    best = {name for name, total in by_name.items() if total == max(by_name.values())}
    assert {columns.evaluator.choose(info, random.Random(seed)) for seed in range(4)} <= best


def _agree_by_row(columns: Columns, info: PodInfo) -> None:
    """Assert that the short ways to an answer for one row lead to what all rows are told at once."""
    table, state = columns.table, CycleState(columns.objects)
    for plugin in columns.evaluator.plugins.filters:
        if isinstance(plugin, RowFilterPlugin):
            mask = plugin.filter(state, info, table)
            by_row = [plugin.filter_row(state, info, table, row) for row in range(len(table))]
            assert by_row == ([True] * len(table) if mask is None else mask.tolist()), plugin.name
    for scorer, _ in columns.evaluator.plugins.scores:
        if isinstance(scorer, RowScorePlugin):
            scores = scorer.score(state, info, table)
            each = [scorer.score_row(state, info, table, row) for row in range(len(table))]
            assert each == ([0] * len(table) if scores is None else scores.tolist()), scorer.name
