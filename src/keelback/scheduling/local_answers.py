"""What plugins say of each node that depends on it and its own pods alone, kept for all pods that ask for the same.

A placement changes one row, so most pods have one node looked at again, whichever pods were placed in between.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.framework import (
    EVERY,
    CycleState,
    FilterPlugin,
    Mask,
    RowFilterPlugin,
    Rows,
    RowScorePlugin,
    Scope,
    ScorePlugin,
    Scores,
)
from keelback.scheduling.node_ports import NodePorts
from keelback.scheduling.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from keelback.scheduling.node_resources_fit import NodeResourcesFit
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_info import PodInfo

FEW_ROWS: Final = 8
"""So many are asked one by one where plugins can: a call for one number costs as much as one for a hundred."""

_MOST_KEPT: Final = 512
_LOOKING_AT_REQUESTS: Final = frozenset({NodePorts, NodeResourcesBalancedAllocation, NodeResourcesFit})
"""These look at nothing of a pod but what it requests and its ports."""


@dataclass(slots=True)
class Answers:
    """For each row. Not to be changed by readers."""

    version: int
    position: int
    devices: int
    """Up to which change of nodes, of their pods, and of devices they hold."""
    mask: Mask
    """Where all filters let the pod run."""
    scores: Scores
    """The weighted sum of all scores."""


class LocalAnswers:
    """Those of the plugins of scope `NODE_PODS`."""

    def __init__(self, plugins: Plugins, nodes: NodeTable, objects: ClusterObjects, asked: Callable[..., Any]) -> None:
        """`asked` calls a plugin, given an extension point's and the plugin's name, the method and its arguments."""
        self._nodes = nodes
        self._objects = objects
        self._asked = asked
        self._kept: OrderedDict[Hashable, Answers] = OrderedDict()
        self.filters = [plugin for plugin in plugins.filters if plugin.scope is Scope.NODE_PODS]
        self._scores = [one for one in plugins.scores if one[0].scope is Scope.NODE_PODS]
        self._looks_at_requests = all(
            type(plugin) in _LOOKING_AT_REQUESTS for plugin in (*self.filters, *(one for one, _ in self._scores))
        )
        self._weighed: frozenset[str] = frozenset().union(
            *(getattr(plugin, "weighed", ()) for plugin, _ in self._scores)
        )
        self._row_filters = [(plugin.name, filter_of_row(plugin)) for plugin in self.filters]
        self._row_scores = [(plugin.name, _score_of_row(plugin), weight) for plugin, weight in self._scores]

    def of(self, pod: PodInfo, known: Answers | None = None) -> Answers:
        """The answers for the pod, as of now; `known` are those that alike pods were given."""
        nodes = self._nodes
        if known is None or known.version != nodes.version:
            key = self._key(pod)
            known = self._kept.get(key)
            if known is None or known.version != nodes.version:
                known = self._kept[key] = self._all(pod)
                if len(self._kept) > _MOST_KEPT:
                    self._kept.popitem(last=False)
                return known
        if known.devices != self._objects.devices.changes and self._weighs_devices(pod):
            self._look_again(known, pod)
        elif known.position != nodes.position:
            self._bring_up_to_date(known, pod)
        return known

    def _key(self, pod: PodInfo) -> Hashable:
        if not self._looks_at_requests:
            return pod
        requests, nominal = frozenset(pod.requests.items()), frozenset(pod.nominal_requests.items())
        return requests, nominal, pod.host_ports

    def _weighs_devices(self, pod: PodInfo) -> bool:
        """Whether its scores change with devices that are taken, without a pod's coming or going."""
        asked = self._weighed & pod.requests.keys()
        return bool(asked) and not asked.isdisjoint(self._objects.devices.class_of)

    def _all(self, pod: PodInfo) -> Answers:
        nodes = self._nodes
        return Answers(nodes.version, nodes.position, self._objects.devices.changes, *self._ask(pod, EVERY, len(nodes)))

    def _look_again(self, known: Answers, pod: PodInfo) -> None:
        known.position, known.devices = self._nodes.position, self._objects.devices.changes
        known.mask, known.scores = self._ask(pod, EVERY, len(self._nodes))

    def _bring_up_to_date(self, known: Answers, pod: PodInfo) -> None:
        nodes = self._nodes
        touched = nodes.touched_since(known.position)
        if touched is None or len(touched) > max(len(nodes) // 4, FEW_ROWS):
            self._look_again(known, pod)
            return
        known.position = nodes.position
        if len(touched) <= FEW_ROWS:
            state = CycleState(self._objects)
            for row in touched:
                known.mask[row], known.scores[row] = self._ask_row(state, pod, row)
        else:
            rows = np.fromiter(touched, np.intp, len(touched))
            known.mask[rows], known.scores[rows] = self._ask(pod, rows, len(rows))

    def _ask_row(self, state: CycleState, pod: PodInfo, row: int) -> tuple[bool, int]:
        nodes, asked = self._nodes, self._asked
        fits = all(asked("Filter", name, call, state, pod, nodes, row) for name, call in self._row_filters)
        score = sum(
            weight * asked("Score", name, call, state, pod, nodes, row) for name, call, weight in self._row_scores
        )
        return fits, score

    def _ask(self, pod: PodInfo, rows: Rows, number: int) -> tuple[Mask, Scores]:
        state, nodes = CycleState(self._objects), self._nodes
        fits = np.ones(number, np.bool_)
        for plugin in self.filters:
            mask = self._asked("Filter", plugin.name, plugin.filter, state, pod, nodes, rows)
            if mask is not None:
                fits &= mask
        total = np.zeros(number, np.int64)
        for scoring, weight in self._scores:
            # Scores that depend on the node alone are used as they are: there is nothing to compare them with.
            scores = self._asked("Score", scoring.name, scoring.score, state, pod, nodes, rows)
            if scores is not None:
                total += weight * scores
        return fits, total


def filter_of_row(plugin: FilterPlugin) -> Callable[[CycleState, PodInfo, NodeTable, int], bool]:
    """The shortest way to what the plugin says of one row."""
    if isinstance(plugin, RowFilterPlugin):
        return plugin.filter_row

    def ask(state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> bool:
        mask = plugin.filter(state, pod, nodes, np.array([row]))
        return mask is None or bool(mask[0])

    return ask


def _score_of_row(plugin: ScorePlugin) -> Callable[[CycleState, PodInfo, NodeTable, int], int]:
    if isinstance(plugin, RowScorePlugin):
        return plugin.score_row

    def ask(state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> int:
        scores = plugin.score(state, pod, nodes, np.array([row]))
        return 0 if scores is None else int(scores[0])

    return ask
