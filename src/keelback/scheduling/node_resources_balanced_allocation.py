"""NodeResourcesBalancedAllocation: prefer the node on which the pod makes resources more evenly used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from keelback.scheduling import node_resources_scoring, resources
from keelback.scheduling.framework import EVERY, MAX_NODE_SCORE, CycleState, Rows, Scope, Scores
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

DEFAULT_RESOURCES: Final = (resources.CPU, resources.MEMORY)

_Numbers = npt.NDArray[np.float64]


class NodeResourcesBalancedAllocation:
    def __init__(self, balanced: tuple[str, ...] = DEFAULT_RESOURCES) -> None:
        self._balanced = balanced

    name = "NodeResourcesBalancedAllocation"
    scope = Scope.NODE_PODS

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """100 minus the deviation, with the pod against without it, brought into 50..100."""
        wanted = {name: pod.requests.get(name, 0) for name in self._balanced}
        if not any(wanted.values()):
            # A pod that requests nothing cannot change the balance.
            return None
        counted = [name for name in self._balanced if wanted[name] or name in resources.NATIVE]
        uses = [_use(state, nodes, name, rows) for name in counted]
        with_pod = _balance(uses, [wanted[name] for name in counted])
        without_pod = _balance(uses, [0] * len(counted))
        half = MAX_NODE_SCORE // 2
        return half + (half + with_pod - without_pod) // 2

    @property
    def weighed(self) -> frozenset[str]:
        """Resources whose devices, where such stand for them, count for the score."""
        return node_resources_scoring.weighed(self._balanced)

    def score_row(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> int:
        """As `score`, of one node."""
        if self._balanced != DEFAULT_RESOURCES:
            scores = self.score(state, pod, nodes, np.array([row]))
            return 0 if scores is None else scores.item()
        cpu, memory = (pod.requests.get(name, 0) for name in DEFAULT_RESOURCES)
        if not (cpu or memory):
            return 0
        (cpus, cpu_used), (bytes_, bytes_used) = (nodes.amounts(name, row) for name in DEFAULT_RESOURCES)
        half = MAX_NODE_SCORE // 2
        if not (cpus and bytes_):
            # One resource, or none, is always even.
            return half + half // 2
        with_pod = _of_two((cpu_used + cpu) / cpus, (bytes_used + memory) / bytes_)
        without_pod = _of_two(cpu_used / cpus, bytes_used / bytes_)
        return half + (half + with_pod - without_pod) // 2

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        return scores


@dataclass(frozen=True, slots=True)
class _Use:
    # What is taken of one resource, what to divide that by, and where there is any of it; None for everywhere.
    taken: npt.NDArray[np.int64]
    divisor: _Numbers
    offered: npt.NDArray[np.bool_] | None


def _use(state: CycleState, nodes: NodeTable, name: str, rows: Rows) -> _Use:
    if name in resources.NATIVE:
        capacity = nodes.capacity(name)
        offered = None if capacity.offered is None else capacity.offered[rows]
        return _Use(nodes.requested(name)[rows], capacity.divisor[rows], offered)
    amounts, taken = node_resources_scoring.load(state, nodes, name, rows)
    return _Use(taken, np.maximum(amounts, 1).astype(float), amounts != 0)


def _balance(uses: list[_Use], more: list[int]) -> Scores:
    used: list[_Numbers] = [
        np.minimum((one.taken + amount) / one.divisor, 1.0) for one, amount in zip(uses, more, strict=True)
    ]
    if len(used) == 2:
        # The deviation of two numbers is half their distance; of one it is nothing.
        deviation = np.abs((used[0] - used[1]) / 2)
        for one in uses:
            if one.offered is not None:
                deviation = deviation * one.offered
    else:
        everywhere = np.ones(len(used[0]), np.bool_)
        deviation = _deviation(used, [everywhere if one.offered is None else one.offered for one in uses])
    return ((1 - deviation) * MAX_NODE_SCORE).astype(np.int64)


def _of_two(one: float, other: float) -> int:
    return int((1 - abs((min(one, 1.0) - min(other, 1.0)) / 2)) * MAX_NODE_SCORE)


def _deviation(used: list[_Numbers], offered: list[npt.NDArray[np.bool_]]) -> _Numbers:
    """The standard deviation of the fractions that each row offers at all, added up in the order of the resources."""
    number = np.maximum(sum(one.astype(float) for one in offered), 1.0)
    total: _Numbers = sum((fraction * one for fraction, one in zip(used, offered, strict=True)), np.zeros(len(number)))
    mean = total / number
    squares: _Numbers = sum(
        ((fraction - mean) ** 2 * one for fraction, one in zip(used, offered, strict=True)), np.zeros(len(number))
    )
    # Of two, the shorter way that upstream takes rounds as it does.
    halves: _Numbers = np.zeros(len(number))
    for index, first in enumerate(used):
        for other in range(index + 1, len(used)):
            halves += np.abs((first - used[other]) / 2) * offered[index] * offered[other]
    return np.where(number == 2, halves, np.sqrt(squares / number))
