"""What a pod asks of a node, in whole numbers: millicores of cpu, base units of everything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from keelback.api.core_v1 import ResourceRequirements
from keelback.api.pods import amounts

CPU: Final = "cpu"
MEMORY: Final = "memory"
EPHEMERAL_STORAGE: Final = "ephemeral-storage"
PODS: Final = "pods"

# What scoring takes a container to use that does not say: otherwise all such pods would land on one node.
NOMINAL: Final[Mapping[str, int]] = {CPU: 100, MEMORY: 200 * 1024 * 1024}


class AsksForResources(Protocol):
    """A container, whole or narrow."""

    @property
    def resources(self) -> ResourceRequirements: ...
    @property
    def restart_policy(self) -> str | None: ...


def pod_requests(
    containers: Iterable[AsksForResources],
    init_containers: Sequence[AsksForResources] = (),
    pod_level: ResourceRequirements | None = None,
    overhead: Mapping[str, str] | None = None,
    when_missing: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """What the whole pod needs: containers together, init containers one at a time beside the sidecars before them.

    Requests at the pod's level replace what its containers add up to; overhead comes on top. `when_missing` is what a
    container that does not name a resource counts as.
    """
    missing = when_missing or {}
    total: dict[str, int] = {}
    for container in containers:
        _add(total, {**missing, **amounts(container.resources.requests)})
    beside: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in init_containers:
        wanted = {**missing, **amounts(container.resources.requests)}
        if container.restart_policy == "Always":
            _add(total, wanted)
            _add(beside, wanted)
            wanted = beside
        else:
            _add(wanted, beside)
        _raise_to(peak, wanted)
    _raise_to(total, peak)
    if pod_level is not None:
        total.update(amounts(pod_level.requests))
    if overhead:
        _add(total, amounts(overhead))
    return total


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, number in more.items():
        total[name] = total.get(name, 0) + number


def _raise_to(total: dict[str, int], least: Mapping[str, int]) -> None:
    for name, number in least.items():
        if number > total.get(name, 0):
            total[name] = number
