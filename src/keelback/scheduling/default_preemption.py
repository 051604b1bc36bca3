"""DefaultPreemption: make room for a pod by removing pods of lower priority, as few and as unimportant as possible."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from keelback.scheduling import label_selectors
from keelback.scheduling.cluster_objects import BudgetInfo, ClusterObjects
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.fit_error import Diagnosis, preemption_message
from keelback.scheduling.framework import DEFAULT_PREEMPTION, PreemptionLimits, Unschedulable
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.pod_info import PodInfo

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
    if not len(nodes):
        return Preemption()
    if pod.never_preempts:
        return Preemption(message=_NEVER)
    if _awaits_victims(pod, nominated_node_name, diagnosis, nodes):
        return Preemption(message=_TERMINATING)
    hopeful = [node.name for node in nodes.nodes if not diagnosis.unresolvable(node.name)]
    tried: dict[str, Unschedulable] = {}
    candidates: list[Candidate] = []
    if all(priority >= pod.priority for priority in nodes.priorities):
        # Nobody in the whole cluster is less important: no node needs a closer look.
        tried = dict.fromkeys(hopeful, _NO_VICTIMS)
        hopeful = []
    enough = min(len(hopeful), max(limits.least_number, len(hopeful) * limits.least_percentage // 100))
    offset = int(chance.random() * len(hopeful))
    for node_name in (*hopeful[offset:], *hopeful[:offset]):
        found = _select_victims(pod, node_name, evaluator, nodes, objects.budgets.values(), nominated)
        if isinstance(found, Unschedulable):
            tried[node_name] = found
            continue
        candidates.append(found)
        if len(candidates) >= enough and any(not candidate.violations for candidate in candidates):
            break
    if not candidates:
        return Preemption(message=preemption_message(len(nodes), tried), nominated_node_name="")
    chosen = choose(candidates)
    return Preemption(candidate=chosen, nominated_node_name=chosen.node_name)


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


def _select_victims(
    pod: PodInfo,
    node_name: str,
    evaluator: Evaluator,
    nodes: NodeTable,
    budgets: Iterable[BudgetInfo],
    nominated: Sequence[PlacedPod],
) -> Candidate | Unschedulable:
    row = nodes.row_of[node_name]
    lower = sorted((one for one in nodes.pods_on(node_name) if one.info.priority < pod.priority), key=_importance)
    if not lower:
        return _NO_VICTIMS
    promised = [one for one in nominated if one.node_name == node_name]
    victims: list[PlacedPod] = []
    violations = 0
    with nodes.supposing(removed=lower):
        refusal = _refusal(pod, row, evaluator, nodes, promised)
        if refusal is not None:
            return refusal
        # Those that a budget protects are let off first, and of each sort the most important first.
        protected, others = split_by_budget(lower, tuple(budgets))
        for number, victim in enumerate((*protected, *others)):
            nodes.add_pod(victim)
            if _refusal(pod, row, evaluator, nodes, promised) is not None:
                nodes.remove_pod(node_name, victim.uid)
                victims.append(victim)
                violations += number < len(protected)
    return Candidate(node_name, tuple(sorted(victims, key=_importance)), violations)


def _refusal(
    pod: PodInfo, row: int, evaluator: Evaluator, nodes: NodeTable, promised: Sequence[PlacedPod]
) -> Unschedulable | None:
    refusal = evaluator.fits(pod, row)
    if refusal is None and promised:
        with nodes.supposing(added=promised):
            refusal = evaluator.fits(pod, row)
    return refusal


def _awaits_victims(pod: PodInfo, nominated_node_name: str, diagnosis: Diagnosis, nodes: NodeTable) -> bool:
    # A pod that has had room made for it waits for its victims to go, unless that node is out of the question by now.
    if not nominated_node_name or nominated_node_name not in nodes.row_of:
        return False
    answer = diagnosis.by_node.get(nominated_node_name)
    if answer is not None and answer.unresolvable:
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


def _importance(pod: PlacedPod) -> tuple[int, float]:
    return -pod.info.priority, pod.start_time


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
