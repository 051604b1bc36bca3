"""TaintToleration: hard taints keep pods away that do not tolerate them, soft ones make a node less liked."""

from __future__ import annotations

import numpy as np

from keelback.api import taints
from keelback.api.core_v1 import Taint
from keelback.scheduling.events import Event
from keelback.scheduling.framework import (
    EVERY,
    CycleState,
    Mask,
    Rows,
    Scope,
    Scores,
    Unschedulable,
    default_normalize,
)
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_REASON = Unschedulable(("node(s) had untolerated taint(s)",), unresolvable=True)


class TaintToleration:
    name = "TaintToleration"
    scope = Scope.NODES
    wakes_on = frozenset({Event.NODE_ADDED, Event.NODE_TAINTS_CHANGED, Event.POD_CHANGED})

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where every hard taint of the node is tolerated."""
        # Nodes share few distinct lists of taints: each is looked at once.
        tolerated = [taints.untolerated(taint_set, pod.tolerations) is None for taint_set in nodes.taint_sets]
        if all(tolerated):
            return None
        mask: Mask = np.array(tolerated)[nodes.taint_set_ids[rows]]
        return mask

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """That some hard taint is not tolerated; which one is not for everybody who may read the pod (1.34.2)."""
        return _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Each hard taint that is not tolerated."""
        return tuple(
            f"tolerate {_written(taint)}, or remove this taint"
            for taint in nodes.nodes[row].taints
            if taint.effect != taints.PREFER_NO_SCHEDULE and not taints.tolerated(taint, pod.tolerations)
        )

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """How many soft taints are not tolerated."""
        tolerations = tuple(one for one in pod.tolerations if one.effect in ("", taints.PREFER_NO_SCHEDULE))

        def counts(taint: Taint) -> bool:
            return taint.effect == taints.PREFER_NO_SCHEDULE and not taints.tolerated(taint, tolerations)

        numbers = [sum(map(counts, taint_set)) for taint_set in nodes.taint_sets]
        if not any(numbers):
            return None
        scores: Scores = np.array(numbers, np.int64)[nodes.taint_set_ids[rows]]
        return scores

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        return default_normalize(scores, reverse=True)


def _written(taint: Taint) -> str:
    return f"{taint.key}{'=' if taint.value else ''}{taint.value}:{taint.effect}"
