"""Kubernetes' default preemption, written out for one node and one victim at a time: `default_preemption` must agree.

Nothing is kept, counted ahead or added up: each question is put to the plain scheduler, over a cluster without the pod.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from keelback.apimachinery.meta import LabelSelector
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.pod_to_place import PodToPlace
from keelback.testing.plain_scheduler import Oracle, label_selector_picks
from keelback.testing.random_clusters import World

NO_VICTIMS: Final = "No preemption victims found for incoming pod"
NOT_HELPFUL: Final = "Preemption is not helpful for scheduling"


@dataclass(frozen=True, slots=True)
class PlainBudget:
    """A PodDisruptionBudget."""

    namespace: str
    selector: LabelSelector
    disruptions_allowed: int


@dataclass(frozen=True, slots=True)
class Victims:
    """Who would have to go from one node, the most important first."""

    pods: tuple[PodToPlace, ...]
    violations: int


class PlainPreemption:
    """Upstream's algorithm, step by step."""

    def __init__(self, world: World, pod: PodToPlace, budgets: Sequence[PlainBudget]) -> None:
        self.world, self.pod, self.budgets = world, pod, budgets

    def on_every_node(self) -> Mapping[str, Victims | list[str]]:
        """By node, the victims there, or why there are none."""
        return {node.name: self.on_node(node) for node in self.world.nodes}

    def on_node(self, node: NodeInfo) -> Victims | list[str]:
        """The victims on a node, or why there are none."""
        if Oracle(self.world, self.pod).is_hopeless(node):
            return [NOT_HELPFUL]
        lower = [pod for pod, _ in self.world.pods_on(node) if _priority(pod) < _priority(self.pod)]
        if not lower:
            return [NO_VICTIMS]
        gone = {pod.metadata.uid for pod in lower}
        refusal = self.refusal(node, gone)
        if refusal:
            return refusal
        violating, harmless = self.split(sorted(lower, key=_importance))
        spared_not = []
        for pod in (*violating, *harmless):
            if self.refusal(node, gone - {pod.metadata.uid}):
                spared_not.append(pod)
            else:
                gone.remove(pod.metadata.uid)
        violations = sum(pod in spared_not for pod in violating)
        return Victims(tuple(sorted(spared_not, key=_importance)), violations)

    def refusal(self, node: NodeInfo, gone: set[str]) -> list[str]:
        """Why the node does not take the pod when those are gone."""
        placed = [one for one in self.world.placed if one[1].metadata.uid not in gone]
        return Oracle(replace(self.world, placed=placed), self.pod).reasons(node)

    def split(self, pods: Sequence[PodToPlace]) -> tuple[list[PodToPlace], list[PodToPlace]]:
        """Those whose going would violate a budget, when all of them went in this order; and the others."""
        left = [budget.disruptions_allowed for budget in self.budgets]
        violating: list[PodToPlace] = []
        harmless: list[PodToPlace] = []
        for pod in pods:
            violates = False
            for index, budget in enumerate(self.budgets):
                if self.protects(budget, pod):
                    left[index] -= 1
                    violates = violates or left[index] < 0
            (violating if violates else harmless).append(pod)
        return violating, harmless

    def protects(self, budget: PlainBudget, pod: PodToPlace) -> bool:
        """Whether a pod is one of the budget's. A selector that picks everything protects nobody here, as upstream."""
        selector = budget.selector
        if not pod.metadata.labels or not (selector.match_labels or selector.match_expressions):
            return False
        return budget.namespace == pod.metadata.namespace and label_selector_picks(selector, pod.metadata.labels)

    def best(self, found: Mapping[str, Victims]) -> set[str]:
        """The nodes that are left when each criterion in turn has left only its best."""

        def highest(victims: Victims) -> int:
            return _priority(victims.pods[0])

        def earliest_of_highest(victims: Victims) -> float:
            return min(_started(pod) for pod in victims.pods if _priority(pod) == highest(victims))

        criteria: tuple[Callable[[Victims], float], ...] = (
            lambda victims: victims.violations,
            highest,
            lambda victims: sum(_priority(pod) + 2**31 for pod in victims.pods),
            lambda victims: len(victims.pods),
            lambda victims: -earliest_of_highest(victims),
        )
        left = dict(found)
        for criterion in criteria:
            least = min(criterion(victims) for victims in left.values())
            left = {name: victims for name, victims in left.items() if criterion(victims) == least}
        return set(left)


def _priority(pod: PodToPlace) -> int:
    return pod.spec.priority or 0


def _started(pod: PodToPlace) -> float:
    started = pod.status.start_time
    return started.timestamp() if started is not None else float("inf")


def _importance(pod: PodToPlace) -> tuple[int, float, str]:
    # Upstream leaves the order of those that began in the same second open.
    return -_priority(pod), _started(pod), pod.metadata.uid
