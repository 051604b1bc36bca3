"""NodeName: a pod that insists on a node fits no other."""

from __future__ import annotations

import numpy as np

from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_REASON = Unschedulable(("node(s) didn't match the requested node name",), unresolvable=True)


class NodeName:
    name = "NodeName"
    scope = Scope.NODES
    wakes_on = frozenset({Event.NODE_ADDED})

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True at the named node alone."""
        if not pod.node_name:
            return None
        mask = np.zeros(len(nodes), np.bool_)
        row = nodes.row_of.get(pod.node_name)
        if row is not None:
            mask[row] = True
        return mask[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        return _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Nothing but another pod."""
        return (f"the pod's spec.nodeName insists on {pod.node_name}",)
