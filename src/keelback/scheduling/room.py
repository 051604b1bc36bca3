"""Which pods must go from a node so that another one has room, where room is all that the pod needs there.

What plugins would answer for each pod that is taken away or put back, by adding and subtracting: a pod for which room
is to be made has hundreds of nodes looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from keelback.scheduling import node_resources_fit, resources
from keelback.scheduling.framework import Unschedulable
from keelback.scheduling.node_resources_fit import NodeResourcesFit
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.pod_info import PodInfo


def wants_more(pods: Iterable[PlacedPod]) -> bool:
    """Whether one of the pods can be in another's way by more than its requests."""
    return any(
        info.host_ports or info.claims or info.in_tree or info.disks or info.anti_affinity_required
        for info in (one.info for one in pods)
    )


class Room:
    """What one pod needs of a node, counted as NodeResourcesFit counts."""

    def __init__(self, pod: PodInfo, fit: NodeResourcesFit, nodes: NodeTable) -> None:
        self._nodes = nodes
        self._wanted = fit.counted(pod)
        self._names = [name for name, _ in self._wanted]

    def victims(
        self, row: int, lower: Sequence[PlacedPod], promised: Sequence[PlacedPod]
    ) -> list[PlacedPod] | Unschedulable:
        """Of `lower`, pods on the node, those that must go although the earlier ones are let off first; or what there
        is too little of even without all of them. `promised` pods count as if they were there already."""
        missing = self._missing(row)
        freed = self._sum(lower)
        refusal = self._refusal(row, missing, freed)
        if refusal is not None:
            return refusal
        if promised:
            missing = self._with(missing, row, promised)
            refusal = self._refusal(row, missing, freed)
            if refusal is not None:
                return refusal
        # How much more is freed than is needed: what may be let off.
        spare = [one - other for one, other in zip(freed, missing, strict=True)]
        victims = []
        for pod in lower:
            left = [one - other for one, other in zip(spare, self._sum((pod,)), strict=True)]
            if min(left) < 0:
                victims.append(pod)
            else:
                spare = left
        return victims

    def _missing(self, row: int) -> list[int]:
        """How many places for pods, and how much of each resource, the node has too little of as it is."""
        nodes = self._nodes
        places = int(nodes.pod_count[row]) + 1 - int(nodes.allocatable(resources.PODS)[row])
        return [
            places,
            *(
                wanted + int(nodes.requested(name)[row]) - int(nodes.allocatable(name)[row])
                for name, wanted in self._wanted
            ),
        ]

    def _with(self, missing: Sequence[int], row: int, promised: Sequence[PlacedPod]) -> list[int]:
        """What is missing when these pods are there as well, those of them that are not there already."""
        node_name = self._nodes.nodes[row].name
        coming = self._sum([one for one in promised if self._nodes.pod(node_name, one.uid) is None])
        return [one + more for one, more in zip(missing, coming, strict=True)]

    def _sum(self, pods: Sequence[PlacedPod]) -> list[int]:
        return [len(pods), *(sum(one.info.requests.get(name, 0) for one in pods) for name in self._names)]

    def _refusal(self, row: int, missing: Sequence[int], freed: Sequence[int]) -> Unschedulable | None:
        lacks = [short > more for short, more in zip(missing, freed, strict=True)]
        if not any(lacks):
            return None
        short = [name for name, lack in zip(self._names, lacks[1:], strict=True) if lack]
        hopeless = any(wanted > int(self._nodes.allocatable(name)[row]) for name, wanted in self._wanted)
        return node_resources_fit.unschedulable(lacks[0], short, hopeless)
