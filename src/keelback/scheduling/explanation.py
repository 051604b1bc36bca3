"""What every plugin says of every node for one pod: asked when a person wants to know, never to place a pod.

Where `Evaluator.explain` stops at the first plugin that refuses a node, as upstream does, this asks them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.framework import CycleState, OnlyNodes, PluginError, RemedyPlugin, Unschedulable
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_info import PodInfo


@dataclass(frozen=True, slots=True)
class Refusal:
    """One plugin's no."""

    plugin: str
    reasons: tuple[str, ...]
    remedies: tuple[str, ...] = ()
    """What would have to change, all of it; empty where the plugin cannot tell."""
    preemption_helps: bool = False
    """Whether removing pods from the node might."""


@dataclass(frozen=True, slots=True)
class PluginScore:
    """What one plugin gives a node: `score` is from 0 to 100 and counts `weight` times."""

    plugin: str
    weight: int
    score: int


@dataclass(frozen=True, slots=True)
class NodeExplanation:
    """One node: either who refuses the pod, or how good the node is for it."""

    name: str
    refusals: tuple[Refusal, ...] = ()
    scores: tuple[PluginScore, ...] = ()

    @property
    def total(self) -> int:
        """What nodes are compared by."""
        return sum(score.weight * score.score for score in self.scores)


@dataclass(frozen=True, slots=True)
class Explanation:
    """All nodes: those that may take the pod first, the best of them at the top."""

    nodes: tuple[NodeExplanation, ...]
    refusals: tuple[Refusal, ...] = ()
    """Why no node is even asked."""


def explain(
    plugins: Plugins, pod: PodInfo, nodes: NodeTable, objects: ClusterObjects, nominated: Sequence[PlacedPod] = ()
) -> Explanation:
    """Ask every plugin about every node, with the `nominated` pods where they are promised to be."""
    if not len(nodes):
        return Explanation(())
    with nodes.supposing(added=nominated):
        refusals: list[list[Refusal]] = [[] for _ in range(len(nodes))]
        everywhere = _pre_filter(plugins, pod, nodes, objects, refusals)
        everywhere += _filter(plugins, pod, nodes, objects, refusals)
    feasible = np.array([not found for found in refusals]) & (not everywhere)
    scores = _score(plugins, pod, nodes, objects, feasible)
    explained = [
        NodeExplanation(node.name, tuple(refusals[row]), scores.get(row, ())) for row, node in enumerate(nodes.nodes)
    ]
    explained.sort(key=lambda one: (bool(one.refusals), -one.total, one.name))
    return Explanation(tuple(explained), everywhere)


def _pre_filter(
    plugins: Plugins, pod: PodInfo, nodes: NodeTable, objects: ClusterObjects, refusals: list[list[Refusal]]
) -> tuple[Refusal, ...]:
    state = CycleState(objects)
    everywhere = []
    for plugin in plugins.pre_filters:
        answer = plugin.pre_filter(state, pod, nodes)
        if isinstance(answer, Unschedulable):
            everywhere.append(Refusal(plugin.name, answer.reasons, preemption_helps=not answer.unresolvable))
        elif isinstance(answer, OnlyNodes) and not _also_filters(plugins, plugin.name):
            for row, node in enumerate(nodes.nodes):
                if node.name not in answer.names:
                    refusals[row].append(Refusal(plugin.name, (f"node(s) didn't satisfy plugin(s) [{plugin.name}]",)))
    return tuple(everywhere)


def _also_filters(plugins: Plugins, name: str) -> bool:
    # Its filter says the same of the nodes it left out, and more.
    return any(plugin.name == name for plugin in plugins.filters)


def _filter(
    plugins: Plugins, pod: PodInfo, nodes: NodeTable, objects: ClusterObjects, refusals: list[list[Refusal]]
) -> tuple[Refusal, ...]:
    failures = []
    for plugin in plugins.filters:
        state = CycleState(objects)
        try:
            mask = plugin.filter(state, pod, nodes)
        except PluginError as error:
            failures.append(Refusal(plugin.name, (str(error),)))
            continue
        if mask is None:
            continue
        for row in np.flatnonzero(~mask).tolist():
            answer = plugin.why_not(state, pod, nodes, row)
            remedies = plugin.remedies(state, pod, nodes, row) if isinstance(plugin, RemedyPlugin) else ()
            refusals[row].append(Refusal(plugin.name, answer.reasons, remedies, not answer.unresolvable))
    return tuple(failures)


def _score(
    plugins: Plugins, pod: PodInfo, nodes: NodeTable, objects: ClusterObjects, feasible: np.typing.NDArray[np.bool_]
) -> dict[int, tuple[PluginScore, ...]]:
    rows = np.flatnonzero(feasible)
    if not rows.size:
        return {}
    columns = []
    for plugin, weight in plugins.scores:
        state = CycleState(objects, rows)
        scores = plugin.score(state, pod, nodes)
        if scores is not None:
            columns.append((plugin.name, weight, plugin.normalize(state, scores[rows])))
    return {
        int(row): tuple(PluginScore(name, weight, int(column[position])) for name, weight, column in columns)
        for position, row in enumerate(rows)
    }
