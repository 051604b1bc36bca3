"""NodeAffinity: node selectors and required affinity choose nodes, preferred affinity ranks them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from keelback.api import nodes as api_nodes
from keelback.api.core_v1 import NodeAffinity as AddedAffinity
from keelback.api.core_v1 import NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
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
from keelback.scheduling.label_selectors import Selector
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
            enforced = selector_mask(nodes, added)
            mask = enforced if mask is None else mask & enforced
        return None if mask is None else mask[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """Whether the profile or the pod wants other nodes."""
        added = self._added.required_during_scheduling_ignored_during_execution if self._added is not None else None
        return _ENFORCED if added is not None and not selector_mask(nodes, added)[row] else _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """The labels that the node selector misses; of required affinity, what each of its terms misses."""
        node = nodes.nodes[row]
        wishes = [
            f"label the node {key}={value}" for key, value in pod.node_selector.items() if node.labels.get(key) != value
        ]
        required = _required(pod)
        if required is not None and not selector_mask(nodes, required)[row]:
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
            scores += weighted.weight * term_mask(nodes, weighted.preference)
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
        mask &= values_mask(nodes, key, (value,))
    if required is not None:
        anyone = np.zeros(len(nodes), np.bool_)
        for term in required.node_selector_terms:
            anyone |= term_mask(nodes, term)
        mask &= anyone
    return mask


def selector_mask(nodes: NodeTable, selector: NodeSelector) -> Mask:
    """Which nodes any term of the selector picks."""
    mask = np.zeros(len(nodes), np.bool_)
    for term in selector.node_selector_terms:
        mask |= term_mask(nodes, term)
    return mask


def term_mask(nodes: NodeTable, term: NodeSelectorTerm) -> Mask:
    """Which nodes a term picks: none if it is empty."""
    if not term.match_expressions and not term.match_fields:
        return np.zeros(len(nodes), np.bool_)
    mask = np.ones(len(nodes), np.bool_)
    for requirement in term.match_expressions:
        mask &= _requirement_mask(nodes, requirement)
    for requirement in term.match_fields:
        mask &= _name_mask(nodes, requirement)
    return mask


def _required(pod: PodInfo) -> NodeSelector | None:
    affinity = pod.affinity.node_affinity if pod.affinity else None
    return affinity.required_during_scheduling_ignored_during_execution if affinity else None


def _requirement_mask(nodes: NodeTable, requirement: NodeSelectorRequirement) -> Mask:
    key, operator, values = requirement.key, requirement.operator, requirement.values
    label = nodes.labels.get(key)
    if label is None:
        return np.full(len(nodes), api_nodes.holds(None, operator, values))
    match operator:
        case "In":
            return values_mask(nodes, key, values)
        case "NotIn":
            return ~values_mask(nodes, key, values)
        case "Exists":
            return np.not_equal(label.ids, 0)
        case "DoesNotExist":
            return np.equal(label.ids, 0)
        case _:
            # Comparisons look at each distinct value once.
            by_value = [False, *(api_nodes.holds(value, operator, values) for value in label.names[1:])]
            mask: Mask = np.array(by_value)[label.ids]
            return mask


def requirements_mask(nodes: NodeTable, selector: Selector) -> Mask:
    """Which nodes a label selector picks."""
    if selector is None:
        return np.zeros(len(nodes), np.bool_)
    mask = np.ones(len(nodes), np.bool_)
    for one in selector:
        mask &= _requirement_mask(nodes, NodeSelectorRequirement(key=one.key, operator=one.operator, values=one.values))
    return mask


def values_mask(nodes: NodeTable, key: str, values: tuple[str, ...]) -> Mask:
    """Which nodes have a label with one of the values."""
    label = nodes.labels.get(key)
    numbers = [label.numbers[value] for value in values if value in label.numbers] if label else []
    if label is None or not numbers:
        return np.zeros(len(nodes), np.bool_)
    if len(numbers) == 1:
        return np.equal(label.ids, numbers[0])
    return np.isin(label.ids, numbers)


def _name_mask(nodes: NodeTable, requirement: NodeSelectorRequirement) -> Mask:
    mask = np.zeros(len(nodes), np.bool_)
    if requirement.key != "metadata.name" or requirement.operator not in ("In", "NotIn"):
        return mask
    for name in requirement.values:
        row = nodes.row_of.get(name)
        if row is not None:
            mask[row] = True
    return mask if requirement.operator == "In" else ~mask


def _missed(name: str, labels: Mapping[str, str], term: NodeSelectorTerm) -> str:
    broken = [one for one in term.match_expressions if not api_nodes.matches_requirement(labels, one)]
    broken += [one for one in term.match_fields if not api_nodes.matches_requirement({"metadata.name": name}, one)]
    if not broken:
        return "an empty term, which picks no node"
    return " and ".join(f"{one.key} {one.operator}{' ' if one.values else ''}{', '.join(one.values)}" for one in broken)
