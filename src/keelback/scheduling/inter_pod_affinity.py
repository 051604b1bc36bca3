"""InterPodAffinity: run with pods, or apart from them, within a topology; the wishes of running pods count as well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

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
from keelback.scheduling.pod_counts import CountKey, Counts, ExistingTerm, Tally, TermKind
from keelback.scheduling.pod_info import AffinityTerm, PodInfo

_AFFINITY = Unschedulable(("node(s) didn't match pod affinity rules",), unresolvable=True)
_ANTI_AFFINITY = Unschedulable(("node(s) didn't match pod anti-affinity rules",))
_EXISTING = Unschedulable(("node(s) didn't satisfy existing pods anti-affinity rules",))

HARD_POD_AFFINITY_WEIGHT: Final = 1


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
        if not (pod.affinity_required or pod.anti_affinity_required or nodes.counts.terms):
            return None
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
        if not pod.affinity_preferred and (self._only_own_wishes or not nodes.counts.terms):
            return None
        weighted = [(weight, term.topology_key, _matching(nodes, (term,))) for weight, term in pod.affinity_preferred]
        for existing in nodes.counts.terms_picking(pod):
            weight = _weight(existing, self._hard_weight)
            if weight:
                weighted.append((weight, existing.term.topology_key, nodes.counts.terms[existing]))
        # Added up by domain first: there are fewer of them than nodes, and fewer topologies than terms.
        sums: dict[str, Counts] = {}
        for weight, key, tally in weighted:
            found = _by_domain(nodes, key, tally)
            if found is not None:
                sums[key] = weight * found + sums.get(key, 0.0)
        scores = [_of_nodes(nodes, key, found.astype(np.int64)) for key, found in sums.items()]
        differing = [one for one in scores if one is not None]
        return sum(differing[1:], start=differing[0])[rows] if differing else None

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
    labels = [nodes.labels.get(term.topology_key) for term in terms]
    found = [_by_domain(nodes, term.topology_key, matching) for term in terms]
    if all(one is None or not one[1:].any() for one in found) and _picks_itself(pod, nodes):
        # The first of a series that wants its own kind near: it may start anywhere that has the labels.
        found = [np.ones(len(label.names)) if label is not None else None for label in labels]
    together = np.ones(len(nodes), np.bool_)
    for term, one in zip(terms, found, strict=True):
        if one is None:
            return np.zeros(len(nodes), np.bool_)
        allowed = one > 0
        allowed[0] = False
        together &= _where(nodes, term.topology_key, allowed)
    return together


def _anti_affinity_mask(pod: PodInfo, nodes: NodeTable) -> Mask | None:
    if not pod.anti_affinity_required:
        return None
    mask = np.ones(len(nodes), np.bool_)
    for term in pod.anti_affinity_required:
        found = _by_domain(nodes, term.topology_key, _matching(nodes, (term,)))
        if found is not None:
            mask &= _free(nodes, term.topology_key, found)
    return mask


def _existing_mask(pod: PodInfo, nodes: NodeTable) -> Mask | None:
    mask: Mask | None = None
    for existing in nodes.counts.terms_picking(pod):
        if existing.kind is not TermKind.ANTI_AFFINITY_REQUIRED:
            continue
        key = existing.term.topology_key
        found = _by_domain(nodes, key, nodes.counts.terms[existing])
        if found is not None:
            free = _free(nodes, key, found)
            mask = free if mask is None else mask & free
    return mask


def _matching(nodes: NodeTable, terms: Iterable[AffinityTerm]) -> Tally:
    return nodes.counts.matching(CountKey(tuple(term.matcher for term in terms), with_terminating=True))


def _by_domain(nodes: NodeTable, topology_key: str, tally: Tally) -> Counts | None:
    """How many pods each domain has, by the number of the label's value; None where no node has the label, or there are
    no such pods."""
    label = nodes.labels.get(topology_key)
    return nodes.counts.by_domain(tally, label) if label is not None and tally.total else None


def _free(nodes: NodeTable, topology_key: str, found: Counts) -> Mask:
    """The nodes in whose domain there is none, and those that are in no domain."""
    free = found <= 0
    free[0] = True
    return _where(nodes, topology_key, free)


def _where(nodes: NodeTable, topology_key: str, by_domain: Mask) -> Mask:
    """The nodes whose domain's number is True."""
    label = nodes.labels.get(topology_key)
    assert label is not None
    if by_domain[1:][label.present[1:]].all() and (by_domain[0] or label.users == len(nodes)):
        return np.ones(len(nodes), np.bool_)
    return by_domain.take(label.ids)


def _of_nodes(nodes: NodeTable, topology_key: str, by_domain: Scores) -> Scores | None:
    """What each node's domain has, 0 for nodes that are in none; None where all have the same."""
    label = nodes.labels.get(topology_key)
    assert label is not None
    by_domain[0] = 0
    if label.distinct == 1 and label.users == len(nodes):
        return None
    return by_domain.take(label.ids)


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
