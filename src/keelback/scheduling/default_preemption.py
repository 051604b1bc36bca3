"""DefaultPreemption: make room for a pod by removing pods of lower priority, as few and as unimportant as possible."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from keelback.scheduling import label_selectors
from keelback.scheduling.cluster_objects import BudgetInfo, ClusterObjects
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.fit_error import Diagnosis, preemption_message
from keelback.scheduling.framework import Unschedulable
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.plugins import DEFAULT_PREEMPTION, PreemptionLimits
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.room import Room, wants_more

_NO_VICTIMS: Final = Unschedulable(("No preemption victims found for incoming pod",), unresolvable=True)
_NEVER: Final = "preemption: not eligible due to preemptionPolicy=Never."
_TERMINATING: Final = "preemption: not eligible due to a terminating pod on the nominated node."

# Upstream adds this to each priority before summing, so that many negative ones do not look better than few.
_PRIORITY_OFFSET: Final = 2**31


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node on which the pod would fit without the victims; these are in order of importance."""

    node_name: str
    victims: tuple[PlacedPod, ...]
    violations: int
    """How many victims a disruption budget protects."""


@dataclass(frozen=True, slots=True)
class Preemption:
    """Where room is to be made; without a candidate, `message` says why not."""

    candidate: Candidate | None = None
    message: str = ""
    nominated_node_name: str | None = None
    """The node promised to the pod from now on; empty for none any more, None for no change."""


def plan(
    pod: PodInfo,
    nominated_node_name: str,
    diagnosis: Diagnosis,
    evaluator: Evaluator,
    nodes: NodeTable,
    objects: ClusterObjects,
    nominated: Sequence[PlacedPod],
    chance: random.Random,
    limits: PreemptionLimits = DEFAULT_PREEMPTION,
) -> Preemption:
    """Choose the node on which removing pods does the least harm. The table is as it was afterwards."""
    found = find_candidates(pod, nominated_node_name, diagnosis, evaluator, nodes, objects, nominated, chance, limits)
    return found if isinstance(found, Preemption) else conclude(found)


def conclude(candidates: Sequence[Candidate]) -> Preemption:
    """Of one or more candidates, the one whose loss hurts least."""
    chosen = choose(candidates)
    return Preemption(candidate=chosen, nominated_node_name=chosen.node_name)


def find_candidates(
    pod: PodInfo,
    nominated_node_name: str,
    diagnosis: Diagnosis,
    evaluator: Evaluator,
    nodes: NodeTable,
    objects: ClusterObjects,
    nominated: Sequence[PlacedPod],
    chance: random.Random,
    limits: PreemptionLimits = DEFAULT_PREEMPTION,
) -> Sequence[Candidate] | Preemption:
    """Nodes on which room can be made, as many as the limits ask for; where there is none, what came of it."""
    if not len(nodes):
        return Preemption()
    if pod.never_preempts:
        return Preemption(message=_NEVER)
    if _awaits_victims(pod, nominated_node_name, diagnosis, nodes):
        return Preemption(message=_TERMINATING)
    hopeful = diagnosis.hopeful().tolist()
    tried: Counter[Unschedulable] = Counter()
    candidates: list[Candidate] = []
    if all(priority >= pod.priority for priority in nodes.priorities):
        # Nobody in the whole cluster is less important: no node needs a closer look.
        tried[_NO_VICTIMS] = len(hopeful)
        hopeful = []
    enough = min(len(hopeful), max(limits.least_number, len(hopeful) * limits.least_percentage // 100))
    offset = int(chance.random() * len(hopeful))
    search = _Search(pod, evaluator, nodes, tuple(objects.budgets.values()), nominated)
    has_harmless = False
    for row in (*hopeful[offset:], *hopeful[:offset]):
        found = search.victims_on(row)
        if isinstance(found, Unschedulable):
            tried[found] += 1
            continue
        candidates.append(found)
        has_harmless |= not found.violations
        if has_harmless and len(candidates) >= enough:
            break
    if not candidates:
        return Preemption(message=preemption_message(len(nodes), tried), nominated_node_name="")
    return candidates


def choose(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate whose loss hurts least, by upstream's criteria in upstream's order; the first among equals."""
    return min(candidates, key=_harm)


def split_by_budget(
    pods: Sequence[PlacedPod], budgets: Iterable[BudgetInfo]
) -> tuple[list[PlacedPod], list[PlacedPod]]:
    """The pods whose removal violates a disruption budget, and the others; each in the order given."""
    left = {id(budget): budget.disruptions_allowed for budget in budgets}
    violating: list[PlacedPod] = []
    others: list[PlacedPod] = []
    for pod in pods:
        violates = False
        for budget in budgets:
            if not _protects(budget, pod):
                continue
            left[id(budget)] -= 1
            violates |= left[id(budget)] < 0
        (violating if violates else others).append(pod)
    return violating, others


class _Search:
    """Looks for the victims on one node after another, for one pod."""

    def __init__(
        self,
        pod: PodInfo,
        evaluator: Evaluator,
        nodes: NodeTable,
        budgets: Sequence[BudgetInfo],
        nominated: Sequence[PlacedPod],
    ) -> None:
        self._pod = pod
        self._evaluator = evaluator
        self._nodes = nodes
        self._budgets = budgets
        self._promised: dict[str, list[PlacedPod]] = {}
        for one in nominated:
            self._promised.setdefault(one.node_name, []).append(one)
        self._room_decides = evaluator.only_room_matters(pod)
        self._notes = evaluator.notes(pod)
        self._room = None if evaluator.fit is None else Room(pod, evaluator.fit, nodes)

    def victims_on(self, row: int) -> Candidate | Unschedulable:
        """Those who would have to go, or why that would not help."""
        promised = self._promised.get(self._nodes.nodes[row].name, ())
        if self._room_decides is None or self._budgets:
            return self._look_at(row, promised)
        # Where room decides, the answer holds until pods come to the node or leave it.
        seen = self._nodes.touches(row), [one.uid for one in promised]
        known = self._notes.get(row)
        if known is None or known[0] != seen:
            known = self._notes[row] = seen, self._look_at(row, promised)
        found: Candidate | Unschedulable = known[1]
        return found

    def _look_at(self, row: int, promised: Sequence[PlacedPod]) -> Candidate | Unschedulable:
        node_name = self._nodes.nodes[row].name
        lower = [one for one in self._nodes.pods_on(node_name) if one.info.priority < self._pod.priority]
        if not lower:
            return _NO_VICTIMS
        lower.sort(key=_importance)
        # Those that a budget protects are let off first, and of each sort the most important first.
        protected, others = split_by_budget(lower, self._budgets) if self._budgets else ([], lower)
        victims = self._chosen(row, [*protected, *others], promised)
        if isinstance(victims, Unschedulable):
            return victims
        violations = sum(one in victims for one in protected) if protected else 0
        victims.sort(key=_importance)
        return Candidate(node_name, tuple(victims), violations)

    def _chosen(
        self, row: int, lower: Sequence[PlacedPod], promised: Sequence[PlacedPod]
    ) -> list[PlacedPod] | Unschedulable:
        decides = self._room_decides
        if self._room is not None and decides is not None and decides[row] and not wants_more(promised):
            return self._room.victims(row, lower, promised)
        nodes, node_name = self._nodes, self._nodes.nodes[row].name
        victims: list[PlacedPod] = []
        with nodes.supposing(removed=lower):
            refusal = self._evaluator.fits(self._pod, row, promised)
            if refusal is not None:
                return refusal
            for victim in lower:
                nodes.add_pod(victim)
                if self._evaluator.fits(self._pod, row, promised) is not None:
                    nodes.remove_pod(node_name, victim.uid)
                    victims.append(victim)
        return victims


def _awaits_victims(pod: PodInfo, nominated_node_name: str, diagnosis: Diagnosis, nodes: NodeTable) -> bool:
    # A pod that has had room made for it waits for its victims to go, unless that node is out of the question by now.
    if not nominated_node_name or nominated_node_name not in nodes.row_of:
        return False
    if diagnosis.is_hopeless(nodes.row_of[nominated_node_name]):
        return False
    return any(
        one.terminating and one.preempted and one.info.priority < pod.priority
        for one in nodes.pods_on(nominated_node_name)
    )


def _protects(budget: BudgetInfo, pod: PlacedPod) -> bool:
    info = pod.info
    return (
        budget.namespace == info.namespace
        and bool(info.labels)
        and bool(budget.selector)
        and label_selectors.picks(budget.selector, info.labels)
        and pod.name not in budget.disrupted_pods
    )


def _importance(pod: PlacedPod) -> tuple[int, float, str]:
    # Among equals anything would do; it should be the same each time.
    return -pod.info.priority, pod.start_time, pod.uid


def _harm(candidate: Candidate) -> tuple[int, int, int, int, float]:
    victims = candidate.victims
    highest = max((victim.info.priority for victim in victims), default=-_PRIORITY_OFFSET)
    # Of the most important victims, the one that has run longest should have run as short a time as possible.
    earliest = min((victim.start_time for victim in victims if victim.info.priority == highest), default=0.0)
    return (
        candidate.violations,
        highest,
        sum(victim.info.priority + _PRIORITY_OFFSET for victim in victims),
        len(victims),
        -earliest,
    )
