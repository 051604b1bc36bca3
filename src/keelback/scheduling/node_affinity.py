"""NodeAffinity: node selectors and required affinity choose nodes, preferred affinity ranks them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from keelback.api import nodes as api_nodes
from keelback.api.core_v1 import NodeAffinity as AddedAffinity
from keelback.api.core_v1 import NodeSelector, NodeSelectorTerm
from keelback.scheduling import node_selectors
from keelback.scheduling.events import Event
from keelback.scheduling.framework import (
    EVERY,
    CycleState,
    Mask,
    OnlyNodes,
    Rows,
    Scope,
    Scores,
    Unschedulable,
    default_normalize,
)
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_REASON = Unschedulable(("node(s) didn't match Pod's node affinity/selector",), unresolvable=True)
_ENFORCED = Unschedulable(("node(s) didn't match scheduler-enforced node affinity",), unresolvable=True)
_CONFLICT = Unschedulable(("pod affinity terms conflict",), unresolvable=True)


class NodeAffinity:
    def __init__(self, added: AddedAffinity | None = None) -> None:
        self._added = added
        """What the profile asks of nodes beside what its pods ask."""

    name = "NodeAffinity"
    scope = Scope.NODES
    wakes_on = frozenset({Event.NODE_ADDED, Event.NODE_LABELS_CHANGED, Event.POD_CHANGED})

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable) -> Unschedulable | OnlyNodes | None:
        """The nodes that every term names by `metadata.name`, as those of DaemonSets do."""
        required = _required(pod)
        if required is None or not required.node_selector_terms:
            return None
        named: set[str] = set()
        for term in required.node_selector_terms:
            sets = [
                set(field.values)
                for field in term.match_fields
                if field.key == "metadata.name" and field.operator == "In"
            ]
            if not sets:
                return None
            named |= set.intersection(*sets)
        return OnlyNodes(frozenset(named)) if named else _CONFLICT

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where the node selector and any term of the required affinity pick the node."""
        mask = selected(pod, nodes)
        added = self._added.required_during_scheduling_ignored_during_execution if self._added is not None else None
        if added is not None:
            enforced = node_selectors.selector_mask(nodes, added)
            mask = enforced if mask is None else mask & enforced
        return None if mask is None else mask[rows]

    def filter_row(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> bool:
        """As `filter`, of one node."""
        node = nodes.nodes[row]
        if any(node.labels.get(key) != value for key, value in pod.node_selector.items()):
            return False
        added = self._added.required_during_scheduling_ignored_during_execution if self._added is not None else None
        return all(node_selectors.picks(node, one) for one in (_required(pod), added) if one is not None)

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """Whether the profile or the pod wants other nodes."""
        added = self._added.required_during_scheduling_ignored_during_execution if self._added is not None else None
        return _ENFORCED if added is not None and not node_selectors.selector_mask(nodes, added)[row] else _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """The labels that the node selector misses; of required affinity, what each of its terms misses."""
        node = nodes.nodes[row]
        wishes = [
            f"label the node {key}={value}" for key, value in pod.node_selector.items() if node.labels.get(key) != value
        ]
        required = _required(pod)
        if required is not None and not node_selectors.selector_mask(nodes, required)[row]:
            missed = (_missed(node.name, node.labels, term) for term in required.node_selector_terms)
            wishes.append(f"fulfil a term of the required node affinity: {', or '.join(missed)}")
        return tuple(wishes) or ("fulfil the affinity that the scheduler's profile adds",)

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """The sum of the weights of the preferred terms that pick the node."""
        affinity = pod.affinity.node_affinity if pod.affinity else None
        preferred = affinity.preferred_during_scheduling_ignored_during_execution if affinity else ()
        if self._added is not None:
            preferred = (*self._added.preferred_during_scheduling_ignored_during_execution, *preferred)
        if not preferred:
            return None
        scores = np.zeros(len(nodes), np.int64)
        for weighted in preferred:
            scores += weighted.weight * node_selectors.term_mask(nodes, weighted.preference)
        return scores[rows]

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        return default_normalize(scores)


def selected(pod: PodInfo, nodes: NodeTable) -> Mask | None:
    """Which nodes the pod's node selector and required affinity pick; None for all."""
    required = _required(pod)
    if not pod.node_selector and required is None:
        return None
    mask = np.ones(len(nodes), np.bool_)
    for key, value in pod.node_selector.items():
        mask &= node_selectors.values_mask(nodes, key, (value,))
    if required is not None:
        anyone = np.zeros(len(nodes), np.bool_)
        for term in required.node_selector_terms:
            anyone |= node_selectors.term_mask(nodes, term)
        mask &= anyone
    return mask


def _required(pod: PodInfo) -> NodeSelector | None:
    affinity = pod.affinity.node_affinity if pod.affinity else None
    return affinity.required_during_scheduling_ignored_during_execution if affinity else None


def _missed(name: str, labels: Mapping[str, str], term: NodeSelectorTerm) -> str:
    broken = [one for one in term.match_expressions if not api_nodes.matches_requirement(labels, one)]
    broken += [one for one in term.match_fields if not api_nodes.matches_requirement({"metadata.name": name}, one)]
    if not broken:
        return "an empty term, which picks no node"
    return " and ".join(f"{one.key} {one.operator}{' ' if one.values else ''}{', '.join(one.values)}" for one in broken)
