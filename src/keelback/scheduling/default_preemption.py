"""DefaultPreemption: make room for a pod by removing pods of lower priority, as few and as unimportant as possible."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from keelback.scheduling import label_selectors
from keelback.scheduling.cluster_objects import BudgetInfo, ClusterObjects
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.fit_error import Diagnosis, preemption_message
from keelback.scheduling.framework import Unschedulable
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.plugins import DEFAULT_PREEMPTION, PreemptionLimits
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.room import Room, wants_more
from keelback.scheduling.victim_notes import VictimNotes

_NO_VICTIMS: Final = Unschedulable(("No preemption victims found for incoming pod",), unresolvable=True)
_NEVER: Final = "preemption: not eligible due to preemptionPolicy=Never."
_TERMINATING: Final = "preemption: not eligible due to a terminating pod on the nominated node."

_CRITERIA: Final = 5

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
    refused = _ineligible(pod, nominated_node_name, diagnosis, nodes)
    if refused is not None:
        return refused
    search = _Search(pod, evaluator, nodes, tuple(objects.budgets.values()), nominated)
    rows, enough = _rows_to_try(pod, diagnosis, nodes, chance, limits)
    if search.remembers:
        chosen = search.least_harmful(rows, enough)
        return _in_vain(nodes, diagnosis, rows, search) if chosen is None else _promised(chosen)
    candidates = search.candidates(rows, enough)
    return conclude(candidates) if candidates else _in_vain(nodes, diagnosis, rows, search)


def conclude(candidates: Sequence[Candidate]) -> Preemption:
    """Of one or more candidates, the one whose loss hurts least."""
    return _promised(choose(candidates))


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
    refused = _ineligible(pod, nominated_node_name, diagnosis, nodes)
    if refused is not None:
        return refused
    search = _Search(pod, evaluator, nodes, tuple(objects.budgets.values()), nominated)
    rows, enough = _rows_to_try(pod, diagnosis, nodes, chance, limits)
    return search.candidates(rows, enough) or _in_vain(nodes, diagnosis, rows, search)


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


def _ineligible(pod: PodInfo, nominated_node_name: str, diagnosis: Diagnosis, nodes: NodeTable) -> Preemption | None:
    if not len(nodes):
        return Preemption()
    if pod.never_preempts:
        return Preemption(message=_NEVER)
    if _awaits_victims(pod, nominated_node_name, diagnosis, nodes):
        return Preemption(message=_TERMINATING)
    return None


def _rows_to_try(
    pod: PodInfo, diagnosis: Diagnosis, nodes: NodeTable, chance: random.Random, limits: PreemptionLimits
) -> tuple[npt.NDArray[np.intp], int]:
    # In the order in which they are tried, which begins anywhere; and how many that help are enough.
    hopeful = diagnosis.hopeful()
    offset = int(chance.random() * len(hopeful))
    if all(priority >= pod.priority for priority in nodes.priorities):
        # Nobody in the whole cluster is less important: no node needs a closer look.
        return hopeful[:0], 0
    enough = min(len(hopeful), max(limits.least_number, len(hopeful) * limits.least_percentage // 100))
    return np.concatenate((hopeful[offset:], hopeful[:offset])), enough


def _promised(chosen: Candidate) -> Preemption:
    return Preemption(candidate=chosen, nominated_node_name=chosen.node_name)


def _in_vain(nodes: NodeTable, diagnosis: Diagnosis, rows: npt.NDArray[np.intp], search: _Search) -> Preemption:
    tried = Counter(search.refusals)
    if not len(rows):
        tried[_NO_VICTIMS] = len(diagnosis.hopeful())
    return Preemption(message=preemption_message(len(nodes), tried), nominated_node_name="")


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
        self._room = None if evaluator.fit is None else Room(pod, evaluator.fit, nodes)
        self.refusals: list[Unschedulable] = []
        """What the nodes answered that were looked at in vain."""
        # Where room decides, an answer holds until pods come to the node or leave it.
        self.remembers = self._room_decides is not None and not budgets

    def candidates(self, rows: npt.NDArray[np.intp], enough: int) -> list[Candidate]:
        """Those of the rows where room can be made, until there are enough and one breaks no budget."""
        found: list[Candidate] = []
        has_harmless = False
        for row in rows.tolist():
            one = self._look_at(row, self._promised_on(row))
            if isinstance(one, Unschedulable):
                self.refusals.append(one)
                continue
            found.append(one)
            has_harmless |= not one.violations
            if has_harmless and len(found) >= enough:
                break
        return found

    def least_harmful(self, rows: npt.NDArray[np.intp], enough: int) -> Candidate | None:
        """The best of those that `candidates` would find, by what is known of them already and a look at the others."""
        notes: VictimNotes[Candidate] = self._evaluator.notes(self._pod).setdefault(
            "victims", VictimNotes(len(self._nodes), _CRITERIA)
        )
        touches, promises = self._nodes.touch_counts, self._promises()
        unknown = notes.unknown(touches, promises)
        while True:
            # Up to where there are enough, as far as is known.
            helpful = notes.helpful(rows) & ~unknown[rows]
            end = int(np.searchsorted(np.cumsum(helpful), enough)) + 1
            asked = rows[:end]
            open_rows = asked[unknown[asked]]
            if not len(open_rows):
                break
            for row in open_rows[:enough].tolist():
                self._learn(notes, row, int(touches[row]), int(promises[row]))
                unknown[row] = False
        best = asked[notes.helpful(asked)]
        if not len(best):
            self.refusals = [one for row in asked.tolist() if isinstance(one := notes.found[row], Unschedulable)]
            return None
        chosen = notes.found[notes.least_harmful(best)]
        assert isinstance(chosen, Candidate)
        return chosen

    def _learn(self, notes: VictimNotes[Candidate], row: int, touches: int, promises: int) -> None:
        found = self._look_at(row, self._promised_on(row))
        if isinstance(found, Unschedulable):
            notes.refuse(row, touches, promises, found)
        else:
            notes.offer(row, touches, promises, found, _harm(found))

    def _promised_on(self, row: int) -> Sequence[PlacedPod]:
        return self._promised.get(self._nodes.nodes[row].name, ())

    def _promises(self) -> npt.NDArray[np.int64]:
        # For each row, what tells apart who is promised it.
        column = np.zeros(len(self._nodes), np.int64)
        for name, pods in self._promised.items():
            row = self._nodes.row_of.get(name)
            if row is not None:
                column[row] = hash(tuple(one.uid for one in pods)) | 1
        return column

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


def _harm(candidate: Candidate) -> tuple[float, ...]:
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
