"""What plugins of users' own are made of: a judgement of one node at a time, or of all nodes as columns.

A configuration enables them by name, as it does the built-in ones; docs/scheduler-plugins.md shows how.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from keelback.api.core_v1 import Taint
from keelback.scheduling import resources
from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, MAX_NODE_SCORE, CycleState, Mask, Rows, Scope, Scores, Unschedulable
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.pod_info import PodInfo

_EVERYTHING: Final = frozenset(Event)


class NodeView:
    """One node, as a plugin sees it. Amounts are millicores of cpu and base units of all else."""

    __slots__ = ("_nodes", "_row")

    def __init__(self, nodes: NodeTable, row: int) -> None:
        self._nodes = nodes
        self._row = row

    @property
    def name(self) -> str:
        return self._nodes.nodes[self._row].name

    @property
    def labels(self) -> Mapping[str, str]:
        return self._nodes.nodes[self._row].labels

    @property
    def taints(self) -> tuple[Taint, ...]:
        return self._nodes.nodes[self._row].taints

    @property
    def is_cordoned(self) -> bool:
        return self._nodes.nodes[self._row].unschedulable

    @property
    def pods(self) -> tuple[PlacedPod, ...]:
        """The pods on it; the `info` of each is what a plugin is given of the pod that it judges."""
        return tuple(self._nodes.pods_on(self.name))

    def allocatable(self, resource: str = resources.CPU) -> int:
        """How much it offers to pods."""
        return int(self._nodes.allocatable(resource)[self._row])

    def requested(self, resource: str = resources.CPU) -> int:
        """How much the pods on it ask for."""
        return int(self._nodes.requested(resource)[self._row])


class NodePlugin:
    """A plugin that judges one node at a time: override `filter_node`, `score_node`, or both.

    Its answers are kept until the node changes, or a pod comes to it or leaves it. Whatever else they depend on, they
    must not; such a plugin is a `ColumnPlugin`.
    """

    name = ""
    """Under which it is registered, once it is."""
    scope: Scope = Scope.NODE_PODS
    wakes_on: frozenset[Event] = _EVERYTHING

    def filter_node(self, pod: PodInfo, node: NodeView) -> str | None:
        """Why the node does not take the pod, as events count it ("node(s) had no licence"); None if it does."""
        return None

    def score_node(self, pod: PodInfo, node: NodeView) -> int:
        """How well the pod would run there, from 0 to 100."""
        return 0

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """For the framework."""
        if type(self).filter_node is NodePlugin.filter_node:
            return None
        return np.array(
            [self.filter_node(pod, NodeView(nodes, row)) is None for row in _numbers(nodes, rows)], np.bool_
        )

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """For the framework."""
        reason = self.filter_node(pod, NodeView(nodes, row))
        return Unschedulable((reason or f"node(s) were refused by {self.name}",))

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """For the framework. Raises ValueError for a score that is not from 0 to 100."""
        if type(self).score_node is NodePlugin.score_node:
            return None
        scores = np.array([self.score_node(pod, NodeView(nodes, row)) for row in _numbers(nodes, rows)], np.int64)
        if scores.size and not 0 <= scores.min() <= scores.max() <= MAX_NODE_SCORE:
            raise ValueError(
                f"plugin {self.name} scored {scores.min()} to {scores.max()}, not from 0 to {MAX_NODE_SCORE}"
            )
        return scores

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        """For the framework: what comes from `score` is from 0 to 100 already."""
        return scores


class ColumnPlugin:
    """A plugin that judges all nodes at once, by arithmetic over columns (NumPy): override what it has to say.

    Asked for every pod, unless `scope` says that its answers may be kept for longer.
    """

    name = ""
    scope: Scope = Scope.CLUSTER
    wakes_on: frozenset[Event] = _EVERYTHING
    reason = "node(s) were refused by a plugin"
    """What events count of the nodes that `filter` refuses."""

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where the node may take the pod, for the asked rows; None when every node may."""
        return None

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """The reason of a row for which `filter` was False."""
        return Unschedulable((self.reason,))

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """A whole number for each asked row; None when there is no preference."""
        return None

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        """The scores of the rows that passed all filters, brought to 0 to 100."""
        return scores


def _numbers(nodes: NodeTable, rows: Rows) -> list[int]:
    chosen: list[int] = np.arange(len(nodes))[rows].tolist()
    return chosen
