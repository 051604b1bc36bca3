"""NodeDeclaredFeatures: what a pod can only have from nodes that say they have it (KEP-5328).

A node declares features that are still new; which of them a pod needs is read off its spec.
"""

from __future__ import annotations

import numpy as np

from keelback.scheduling.events import Event
from keelback.scheduling.framework import EVERY, CycleState, Mask, Rows, Scope, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_REASON = Unschedulable(("node(s) didn't match Pod's required features",), unresolvable=True)


class NodeDeclaredFeatures:
    name = "NodeDeclaredFeatures"
    scope = Scope.NODES
    wakes_on = frozenset({Event.NODE_ADDED, Event.NODE_FEATURES_CHANGED, Event.POD_CHANGED})

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where the node declares all that the pod needs."""
        if not pod.required_features:
            return None
        return np.array([pod.required_features <= node.declared_features for node in nodes.nodes], np.bool_)[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        return _REASON

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Which features the node lacks."""
        return tuple(
            f"run a kubelet on the node that declares the feature {name}"
            for name in sorted(pod.required_features - nodes.nodes[row].declared_features)
        )
