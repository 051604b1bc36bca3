"""InterPodAffinity: run with pods, or apart from them, within a topology; the wishes of running pods count as well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from keelback.scheduling.events import Event
from keelback.scheduling.framework import (
    EVERY,
    MAX_NODE_SCORE,
    CycleState,
    Mask,
    Rows,
    Scope,
    Scores,
    Unschedulable,
)
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_counts import CountKey, ExistingTerm, TermKind
from keelback.scheduling.pod_info import AffinityTerm, PodInfo

_AFFINITY = Unschedulable(("node(s) didn't match pod affinity rules",), unresolvable=True)
_ANTI_AFFINITY = Unschedulable(("node(s) didn't match pod anti-affinity rules",))
_EXISTING = Unschedulable(("node(s) didn't satisfy existing pods anti-affinity rules",))

HARD_POD_AFFINITY_WEIGHT: Final = 1

_Counts = npt.NDArray[np.float64]


class InterPodAffinity:
    def __init__(
        self, hard_weight: int = HARD_POD_AFFINITY_WEIGHT, *, ignore_preferred_terms_of_existing_pods: bool = False
    ) -> None:
        self._hard_weight = hard_weight
        """What a required affinity term of a running pod counts, of 100."""
        self._only_own_wishes = ignore_preferred_terms_of_existing_pods
        """Whether running pods' wishes count only for pods that have wishes of that sort themselves."""

    name = "InterPodAffinity"
    scope = Scope.CLUSTER
    wakes_on = frozenset(
        {
            Event.NODE_ADDED,
            Event.NODE_LABELS_CHANGED,
            Event.ASSIGNED_POD_ADDED,
            Event.ASSIGNED_POD_CHANGED,
            Event.ASSIGNED_POD_REMOVED,
            Event.POD_CHANGED,
            Event.NAMESPACE_CHANGED,
        }
    )

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where the pod's required terms hold, and those of the pods that run already."""
        rules = (
            (_affinity_mask(pod, nodes), _AFFINITY),
            (_anti_affinity_mask(pod, nodes), _ANTI_AFFINITY),
            (_existing_mask(pod, nodes), _EXISTING),
        )
        kept = [(mask, reason) for mask, reason in rules if mask is not None]
        if not kept:
            return None
        state.notes[self.name] = kept
        together: Mask = np.logical_and.reduce([mask for mask, _ in kept])
        return together[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """Which of the three kinds of rule is broken, in upstream's order."""
        reason: Unschedulable = next(reason for mask, reason in state.notes[self.name] if not mask[row])
        return reason

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """The weights of the terms that hold in the node's domains, the pod's own and those of running pods."""
        if self._only_own_wishes and not pod.affinity_preferred:
            return None
        score: _Counts | None = None
        for weight, term in pod.affinity_preferred:
            found = _in_domain(nodes, term.topology_key, _matching(nodes, (term,)))
            if found is not None:
                score = weight * found if score is None else score + weight * found
        for existing in nodes.counts.terms_picking(pod):
            weight = _weight(existing, self._hard_weight)
            if weight:
                found = _in_domain(nodes, existing.term.topology_key, nodes.counts.terms[existing].column.values)
                if found is not None:
                    score = weight * found if score is None else score + weight * found
        return None if score is None else score.astype(np.int64)[rows]

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        """The least becomes 0 and the greatest 100."""
        least, greatest = int(scores.min()), int(scores.max())
        if greatest == least:
            return np.zeros_like(scores)
        return (MAX_NODE_SCORE * ((scores - least) / (greatest - least))).astype(np.int64)


def _affinity_mask(pod: PodInfo, nodes: NodeTable) -> Mask | None:
    terms = pod.affinity_required
    if not terms:
        return None
    # A running pod counts only if every term picks it.
    matching = _matching(nodes, terms)
    labelled = np.ones(len(nodes), np.bool_)
    together = np.ones(len(nodes), np.bool_)
    anyone = False
    for term in terms:
        label = nodes.labels.get(term.topology_key)
        if label is None:
            return np.zeros(len(nodes), np.bool_)
        has_label = label.ids != 0
        labelled &= has_label
        found = _in_domain(nodes, term.topology_key, matching)
        if found is not None:
            together &= found > 0
            anyone |= bool((found > 0).any())
        else:
            together[:] = False
    if not anyone and _picks_itself(pod, nodes):
        # The first of a series that wants its own kind near: it may start anywhere that has the labels.
        return labelled
    return together & labelled


def _anti_affinity_mask(pod: PodInfo, nodes: NodeTable) -> Mask | None:
    if not pod.anti_affinity_required:
        return None
    mask = np.ones(len(nodes), np.bool_)
    for term in pod.anti_affinity_required:
        found = _in_domain(nodes, term.topology_key, _matching(nodes, (term,)))
        if found is not None:
            mask &= found <= 0
    return mask


def _existing_mask(pod: PodInfo, nodes: NodeTable) -> Mask | None:
    mask: Mask | None = None
    for existing in nodes.counts.terms_picking(pod):
        if existing.kind is not TermKind.ANTI_AFFINITY_REQUIRED:
            continue
        found = _in_domain(nodes, existing.term.topology_key, nodes.counts.terms[existing].column.values)
        if found is not None:
            free = found <= 0
            mask = free if mask is None else mask & free
    return mask


def _matching(nodes: NodeTable, terms: Iterable[AffinityTerm]) -> _Counts:
    return nodes.counts.matching(CountKey(tuple(term.matcher for term in terms), with_terminating=True))


def _in_domain(nodes: NodeTable, topology_key: str, by_node: _Counts) -> _Counts | None:
    """For each node, the sum over its topology domain, 0 where it is in none; None when all are 0."""
    label = nodes.labels.get(topology_key)
    if label is None or not by_node.any():
        return None
    by_domain = label.sums(by_node)
    by_domain[0] = 0.0
    found: _Counts = by_domain[label.ids]
    return found if found.any() else None


def _picks_itself(pod: PodInfo, nodes: NodeTable) -> bool:
    labels = nodes.counts.namespace_labels(pod.namespace)
    return all(term.matcher.picks(pod.namespace, pod.labels, labels) for term in pod.affinity_required)


def _weight(existing: ExistingTerm, hard_weight: int) -> int:
    match existing.kind:
        case TermKind.PREFERRED:
            return existing.weight
        case TermKind.AFFINITY_REQUIRED:
            return hard_weight
        case _:
            return 0
