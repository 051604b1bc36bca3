"""NodeUnschedulable: a cordoned node takes only pods that tolerate being on one."""

from __future__ import annotations

from keelback.api import taints
from keelback.api.core_v1 import Taint
from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_TAINT = Taint(key=taints.UNSCHEDULABLE, effect=taints.NO_SCHEDULE)
_REASON = Unschedulable(("node(s) were unschedulable",), unresolvable=True)


class NodeUnschedulable:
    name = "NodeUnschedulable"
    scope = Scope.NODES
    wakes_on = frozenset({Event.NODE_ADDED, Event.NODE_TAINTS_CHANGED, Event.POD_CHANGED})

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where the node is not cordoned."""
        cordoned = nodes.unschedulable[rows]
        if not cordoned.any() or taints.tolerated(_TAINT, pod.tolerations):
            return None
        return ~cordoned

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        return _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Uncordoning the node."""
        return (f"uncordon node {nodes.nodes[row].name}, or tolerate {taints.UNSCHEDULABLE}:{taints.NO_SCHEDULE}",)
