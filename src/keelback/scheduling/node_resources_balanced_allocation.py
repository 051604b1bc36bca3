"""NodeResourcesBalancedAllocation: prefer the node on which the pod makes cpu and memory more evenly used."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from keelback.scheduling import resources
from keelback.scheduling.framework import EVERY, MAX_NODE_SCORE, CycleState, Rows, Scope, Scores
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_Fractions = npt.NDArray[np.float64]


class NodeResourcesBalancedAllocation:
    name = "NodeResourcesBalancedAllocation"
    scope = Scope.NODE_PODS

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """100 minus the deviation, with the pod against without it, brought into 50..100."""
        cpu, memory = pod.requests.get(resources.CPU, 0), pod.requests.get(resources.MEMORY, 0)
        if not cpu and not memory:
            # A pod that requests nothing cannot change the balance.
            return None
        with_pod = _balance(nodes, rows, cpu, memory)
        without_pod = _balance(nodes, rows, 0, 0)
        half = MAX_NODE_SCORE // 2
        return half + (half + with_pod - without_pod) // 2

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        return scores


def _balance(nodes: NodeTable, rows: Rows, cpu: int, memory: int) -> Scores:
    cpu_used, memory_used = _fraction(nodes, rows, resources.CPU, cpu), _fraction(nodes, rows, resources.MEMORY, memory)
    # The deviation of two numbers is half their distance; of one it is nothing.
    deviation = np.abs((cpu_used - memory_used) / 2)
    for name in (resources.CPU, resources.MEMORY):
        offered = nodes.capacity(name).offered
        if offered is not None:
            deviation = deviation * offered[rows]
    return ((1 - deviation) * MAX_NODE_SCORE).astype(np.int64)


def _fraction(nodes: NodeTable, rows: Rows, name: str, more: int) -> _Fractions:
    fraction: _Fractions = np.minimum((nodes.requested(name)[rows] + more) / nodes.capacity(name).divisor[rows], 1.0)
    return fraction
