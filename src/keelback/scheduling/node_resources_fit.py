"""NodeResourcesFit: a node takes what it has room for; the emptier it stays, the better (LeastAllocated)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from keelback.scheduling import node_resources_scoring, resources
from keelback.scheduling.events import Event
from keelback.scheduling.framework import (
    EVERY,
    MAX_NODE_SCORE,
    CycleState,
    Mask,
    Rows,
    Scope,
    Scores,
    Unschedulable,
)
from keelback.scheduling.node_resources_scoring import Strategy
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

_NO_MORE: Final[Mapping[str, npt.NDArray[np.int64]]] = {}
_SCORED = (resources.CPU, resources.MEMORY)


class NodeResourcesFit:
    def __init__(
        self,
        strategy: Strategy = node_resources_scoring.DEFAULT,
        ignored: frozenset[str] = frozenset(),
        ignored_groups: frozenset[str] = frozenset(),
    ) -> None:
        self._strategy = strategy
        self._ignored = ignored
        self._ignored_groups = ignored_groups
        """The part before the slash of resources that are somebody else's to count."""

    def ignoring(self, names: frozenset[str]) -> NodeResourcesFit:
        """The same, but for resources that it does not look at either."""
        return NodeResourcesFit(self._strategy, self._ignored | names, self._ignored_groups)

    @property
    def weighed(self) -> frozenset[str]:
        """Resources whose devices, where such stand for them, count for the score."""
        return node_resources_scoring.weighed(name for name, _ in self._strategy.resources)

    name = "NodeResourcesFit"
    scope = Scope.NODE_PODS
    wakes_on = frozenset(
        {
            Event.NODE_ADDED,
            Event.NODE_ALLOCATABLE_CHANGED,
            Event.ASSIGNED_POD_REMOVED,
            Event.ASSIGNED_POD_CHANGED,
            Event.POD_CHANGED,
        }
    )

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where one more pod, and all that it requests, still has room."""
        mask: Mask = nodes.pod_count[rows] < nodes.allocatable(resources.PODS)[rows]
        for name, wanted in pod.requests.items():
            if self._ignores(name):
                continue
            offered = nodes.allocatable(name)[rows]
            has_room = offered - nodes.requested(name)[rows] >= wanted
            # Where a node offers none of it, devices may stand for it: that is for DynamicResources to say.
            mask &= has_room | (offered == 0) if name in state.objects.devices.class_of else has_room
        return mask

    def filter_row(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> bool:
        """As `filter`, of one node."""
        if nodes.pod_count.item(row) >= nodes.amounts(resources.PODS, row)[0]:
            return False
        for name, wanted in pod.requests.items():
            if self._ignores(name):
                continue
            offered, requested = nodes.amounts(name, row)
            if offered - requested < wanted and (offered or name not in state.objects.devices.class_of):
                return False
        return True

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """Everything there is too little of; removing pods is no help where even an empty node has too little."""
        return next(answer for answer, _ in self.why_none(state, pod, nodes, np.array([row])))

    def why_none(
        self,
        state: CycleState,
        pod: PodInfo,
        nodes: NodeTable,
        rows: npt.NDArray[np.intp],
        more: Mapping[str, npt.NDArray[np.int64]] = _NO_MORE,
    ) -> Iterator[tuple[Unschedulable, npt.NDArray[np.intp]]]:
        """As `why_not`, of the rows that lack something: those that lack the same have the same answer.

        `more` is taken of each of these rows as well, by resource; of `pods` too.
        """
        wanted = self.counted(pod)
        lacks = [nodes.pod_count[rows] + more.get(resources.PODS, 0) >= nodes.allocatable(resources.PODS)[rows]]
        hopeless = np.zeros(len(rows), np.bool_)
        for name, amount in wanted:
            offered = nodes.allocatable(name)[rows]
            counts = offered > 0 if name in state.objects.devices.class_of else True
            lacks.append(counts & (amount > offered - nodes.requested(name)[rows] - more.get(name, 0)))
            hopeless |= counts & (amount > offered)
        # Each row's combination of lacks as one number.
        key = np.packbits(np.array([hopeless, *lacks]), axis=0)
        _, first, of_row = np.unique(key, axis=1, return_index=True, return_inverse=True)
        for number, example in enumerate(first.tolist()):
            short = tuple(name for (name, _), lack in zip(wanted, lacks[1:], strict=True) if lack[example])
            if short or lacks[0][example]:
                answer = unschedulable(bool(lacks[0][example]), short, bool(hopeless[example]))
                yield answer, rows[of_row == number]

    def counted(self, pod: PodInfo) -> list[tuple[str, int]]:
        """What the pod requests of the resources that are counted here, in upstream's order."""
        wanted = [request for request in pod.requests.items() if not self._ignores(request[0])]
        return sorted(wanted, key=_in_upstream_order)

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """How much more of each scarce resource must become free, or how much more the node must have."""
        wishes = []
        pods = int(nodes.allocatable(resources.PODS)[row])
        if nodes.pod_count[row] >= pods:
            wishes.append(f"remove {int(nodes.pod_count[row]) - pods + 1} of its pods: it takes {pods}")
        for name, wanted in self.counted(pod):
            offered, used = int(nodes.allocatable(name)[row]), int(nodes.requested(name)[row])
            if not offered and name in state.objects.devices.class_of:
                continue
            if wanted > offered:
                text = f"ask for {_amount(name, wanted - offered)} less {name} than {_amount(name, wanted)}"
                wishes.append(f"{text}: the node has {_amount(name, offered)} in all")
            elif wanted > offered - used:
                text = f"free {_amount(name, wanted - (offered - used))} {name}, or ask for as much less"
                wishes.append(f"{text}: {_amount(name, used)} of {_amount(name, offered)} are taken")
        return tuple(wishes)

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """By default the mean of the free shares of cpu and memory in percent, each rounded down."""
        if self._strategy is not node_resources_scoring.DEFAULT:
            return node_resources_scoring.score(self._strategy, state, pod, nodes, rows)
        total = np.zeros(1, np.int64)
        number: int | Scores = 0
        for name in _SCORED:
            capacity = nodes.capacity(name)
            free = nodes.allocatable(name)[rows] - nodes.nominal_requested(name)[rows] - pod.nominal_requests[name]
            # Exact up to 2**45 units, far beyond any node: the quotient rounds down as whole numbers would.
            total = total + (np.maximum(free, 0) * float(MAX_NODE_SCORE) / capacity.divisor[rows]).astype(np.int64)
            number = number + (1 if capacity.offered is None else capacity.offered[rows].astype(np.int64))
        mean: Scores = total // np.maximum(number, 1)
        return mean

    def score_row(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> int:
        """As `score`, of one node."""
        if self._strategy is not node_resources_scoring.DEFAULT:
            return node_resources_scoring.score(self._strategy, state, pod, nodes, np.array([row])).item()
        total = number = 0
        for name in _SCORED:
            offered, _ = nodes.amounts(name, row)
            free = offered - nodes.nominal_of(name, row) - pod.nominal_requests[name]
            total += int(max(free, 0) * float(MAX_NODE_SCORE) / max(offered, 1))
            number += offered != 0
        return total // max(number, 1)

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        return scores

    def _ignores(self, name: str) -> bool:
        if not self._ignored and not self._ignored_groups:
            return False
        extended = "/" in name and not name.startswith("kubernetes.io/")
        return extended and (name in self._ignored or name.partition("/")[0] in self._ignored_groups)


def unschedulable(too_many_pods: bool, short: Iterable[str], hopeless: bool) -> Unschedulable:
    """The answer of a node that is short of these resources; `hopeless` where it never has enough of one."""
    first = ("Too many pods",) if too_many_pods else ()
    return Unschedulable((*first, *(f"Insufficient {name}" for name in short)), hopeless)


def _in_upstream_order(request: tuple[str, int]) -> tuple[int, str]:
    known = (resources.CPU, resources.MEMORY, resources.EPHEMERAL_STORAGE)
    name = request[0]
    return (known.index(name) if name in known else len(known), name)


def _amount(name: str, number: int) -> str:
    if name == resources.CPU:
        return f"{number}m" if number % 1000 else str(number // 1000)
    for power, suffix in ((3, "Gi"), (2, "Mi"), (1, "Ki")):
        if number and name in (resources.MEMORY, resources.EPHEMERAL_STORAGE) and number % 1024**power == 0:
            return f"{number // 1024**power}{suffix}"
    return str(number)
