"""PodTopologySpread: keep the number of matching pods in each topology domain within a skew, or near one another."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from keelback.api import nodes as api_nodes
from keelback.api import taints
from keelback.scheduling import label_selectors, node_affinity
from keelback.scheduling.columns import LabelColumn
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
from keelback.scheduling.pod_counts import CountKey, Counts, Tally
from keelback.scheduling.pod_info import PodInfo, PodMatcher, SpreadConstraint

_MISSING = Unschedulable(
    ("node(s) didn't match pod topology spread constraints (missing required label)",), unresolvable=True
)
_SKEWED = Unschedulable(("node(s) didn't match pod topology spread constraints",))

# Upstream's defaults for pods that have none of their own but belong to a Service or a controller.
SYSTEM_DEFAULTS: Final = ((api_nodes.HOSTNAME, 3), (api_nodes.ZONE, 5))

# What the plugin notes in a cycle: for each constraint, where it is kept; and the rows that are not scored.
_KEPT: Final = "PodTopologySpread/kept"
_IGNORED: Final = "PodTopologySpread/ignored"


class PodTopologySpread:
    def __init__(
        self, defaults: tuple[tuple[str, int], ...] = SYSTEM_DEFAULTS, required: tuple[tuple[str, int], ...] = ()
    ) -> None:
        self._defaults = defaults
        """The topology keys, with their skews, by which pods are spread that say nothing themselves."""
        self._required = required
        """Those by which they must be."""

    name = "PodTopologySpread"
    scope = Scope.CLUSTER
    wakes_on = frozenset(
        {
            Event.NODE_ADDED,
            Event.NODE_REMOVED,
            Event.NODE_LABELS_CHANGED,
            Event.NODE_TAINTS_CHANGED,
            Event.ASSIGNED_POD_ADDED,
            Event.ASSIGNED_POD_CHANGED,
            Event.ASSIGNED_POD_REMOVED,
            Event.POD_CHANGED,
        }
    )

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where the pod keeps every required constraint."""
        constraints = self._constraints(state, pod)
        if not constraints:
            return None
        complete = _has_all(nodes, [nodes.labels.get(one.topology_key) for one in constraints])
        kept = [_kept(constraint, complete, pod, nodes) for constraint in constraints]
        state.notes[_KEPT] = kept
        mask: Mask = np.logical_and.reduce(kept)
        return mask[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """Of the first constraint that is broken: a missing label is told from a skew."""
        for constraint, kept in zip(self._constraints(state, pod), state.notes[_KEPT], strict=True):
            if not kept[row]:
                return _SKEWED if constraint.topology_key in nodes.nodes[row].labels else _MISSING
        raise AssertionError("a reason is asked for only where the filter said no")

    def _constraints(self, state: CycleState, pod: PodInfo) -> tuple[SpreadConstraint, ...]:
        if pod.has_spread or not self._required:
            return pod.spread_required
        return _default(state, pod, self._required)

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """The weighted number of matching pods in the node's domains: fewer is better."""
        constraints = _preferred(state, pod, self._defaults)
        if not constraints:
            return None
        labels = [nodes.labels.get(constraint.topology_key) for constraint in constraints]
        # Of the system's defaults a node need not have every label; of the pod's own constraints it must.
        complete = _has_all(nodes, labels) if pod.has_spread or self._defaults is not SYSTEM_DEFAULTS else None
        candidates = complete
        if complete is not None:
            state.notes[_IGNORED] = ~complete
        if not isinstance(state.feasible, slice):
            candidates = np.zeros(len(nodes), np.bool_)
            candidates[state.feasible] = True
            if complete is not None:
                candidates &= complete
        # Added first, so that the sum rounds down to the nearest whole number, half upwards as in Go.
        score = np.full(len(nodes), 0.5)
        for constraint, label in zip(constraints, labels, strict=True):
            if label is not None:
                score += _scored(constraint, label, pod, nodes, candidates, complete)
        return score.astype(np.int64)[rows]

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        """The fewest pods become 100; nodes that lack a label get 0."""
        ignored = state.notes.get(_IGNORED)
        skipped = ignored[state.feasible] if ignored is not None else None
        counted = scores if skipped is None else scores[~skipped]
        if not counted.size:
            return np.zeros_like(scores)
        least, greatest = int(counted.min()), int(counted.max())
        if greatest == 0:
            normalized = np.full_like(scores, MAX_NODE_SCORE)
        else:
            normalized = MAX_NODE_SCORE * (greatest + least - scores) // greatest
        return normalized if skipped is None else np.where(skipped, 0, normalized)


def _kept(constraint: SpreadConstraint, complete: Mask | None, pod: PodInfo, nodes: NodeTable) -> Mask:
    """Where one more pod keeps the constraint: nowhere without the label. `complete` is None for all nodes."""
    label = nodes.labels.get(constraint.topology_key)
    if label is None:
        return np.zeros(len(nodes), np.bool_)
    eligible = _both(complete, _included(constraint, pod, nodes))
    counts = _by_domain(constraint, label, pod, nodes, eligible)
    domains = label.present if eligible is None else label.sums(eligible) > 0
    least = _least(counts, domains, constraint.min_domains)
    self_match = label_selectors.picks(constraint.selector, pod.labels)
    allowed = counts + self_match - least <= constraint.max_skew
    allowed[0] = False
    if eligible is None and allowed[domains].all():
        return np.ones(len(nodes), np.bool_)
    return allowed.take(label.ids)


def _scored(
    constraint: SpreadConstraint,
    label: LabelColumn,
    pod: PodInfo,
    nodes: NodeTable,
    candidates: Mask | None,
    complete: Mask | None,
) -> Counts:
    """What one constraint adds to each node's score. `candidates` and `complete` are None for all nodes."""
    extra = constraint.max_skew - 1
    if constraint.topology_key == api_nodes.HOSTNAME:
        size = len(nodes) if candidates is None else int(candidates.sum())
        tally = _matching(constraint, pod, nodes)
        by_node = (np.zeros(len(nodes)) if tally is None else tally.by_node) * math.log(size + 2) + extra
        return by_node if label.users == len(nodes) else by_node * (label.ids != 0)
    by_domain = _by_domain(constraint, label, pod, nodes, _both(complete, _included(constraint, pod, nodes)))
    # Candidates without the label count as one more domain, as upstream has it.
    if candidates is None:
        size = label.distinct + (label.users < len(nodes))
    else:
        present = label.sums(candidates) > 0
        size = int(present.sum())
        by_domain = by_domain * present
    by_domain = by_domain * math.log(size + 2) + extra
    by_domain[0] = 0.0
    return by_domain.take(label.ids)


def _preferred(state: CycleState, pod: PodInfo, defaults: tuple[tuple[str, int], ...]) -> tuple[SpreadConstraint, ...]:
    return pod.spread_preferred if pod.has_spread else _default(state, pod, defaults)


def _default(state: CycleState, pod: PodInfo, defaults: tuple[tuple[str, int], ...]) -> tuple[SpreadConstraint, ...]:
    selector = state.objects.default_selector(pod)
    if not selector:
        return ()
    return tuple(SpreadConstraint(key, max_skew, selector) for key, max_skew in defaults)


def _has_all(nodes: NodeTable, labels: list[LabelColumn | None]) -> Mask | None:
    """The nodes that have every label; None for all nodes."""
    if all(label is not None and label.users == len(nodes) for label in labels):
        return None
    mask = np.ones(len(nodes), np.bool_)
    for label in labels:
        if label is None:
            mask[:] = False
        else:
            mask &= label.ids != 0
    return mask


def _matching(constraint: SpreadConstraint, pod: PodInfo, nodes: NodeTable) -> Tally | None:
    if not constraint.selector:
        # A missing selector counts nothing, and upstream counts nothing for an empty one either.
        return None
    matcher = PodMatcher(frozenset((pod.namespace,)), constraint.selector)
    return nodes.counts.matching(CountKey((matcher,), with_terminating=False))


def _by_domain(
    constraint: SpreadConstraint, label: LabelColumn, pod: PodInfo, nodes: NodeTable, counted: Mask | None
) -> Counts:
    """How many matching pods the counted nodes of each domain have (None for all nodes). Not to be changed."""
    tally = _matching(constraint, pod, nodes)
    if tally is None:
        return np.zeros(len(label.names))
    return nodes.counts.by_domain(tally, label) if counted is None else label.sums(tally.by_node * counted)


def _included(constraint: SpreadConstraint, pod: PodInfo, nodes: NodeTable) -> Mask | None:
    """The nodes whose pods count: by default those that the pod's own node affinity picks, whatever their taints. None
    for all."""
    included: Mask | None = node_affinity.selected(pod, nodes) if constraint.honors_affinity else None
    if constraint.honors_taints:
        tolerated = [taints.untolerated(taint_set, pod.tolerations) is None for taint_set in nodes.taint_sets]
        included = _both(included, np.array(tolerated)[nodes.taint_set_ids])
    return included


def _both(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _least(counts: Counts, domains: Mask, min_domains: int) -> float:
    # Label number 0 stands for "no label": eligible nodes have one, so it is never among the domains.
    number = int(domains.sum())
    if number < min_domains:
        return 0.0
    return float(counts[domains].min()) if number else math.inf
