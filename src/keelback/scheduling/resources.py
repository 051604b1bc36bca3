"""What a pod asks of a node, in whole numbers: millicores of cpu, base units of everything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from keelback.api import pod_demand
from keelback.api.core_v1 import ResourceRequirements
from keelback.api.pods import amounts

CPU: Final = "cpu"
MEMORY: Final = "memory"
EPHEMERAL_STORAGE: Final = "ephemeral-storage"
PODS: Final = "pods"
NATIVE: Final = (CPU, MEMORY, EPHEMERAL_STORAGE)
"""Those that are scored whether a pod asks for them or not."""

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
    """What the whole pod needs.

    Requests at the pod's level replace what its containers add up to; overhead comes on top. `when_missing` is what a
    container that does not name a resource counts as.
    """
    missing = when_missing or {}
    total = pod_demand.total(containers, init_containers, lambda one: {**missing, **amounts(one.resources.requests)})
    if pod_level is not None:
        total.update(amounts(pod_level.requests))
    if overhead:
        pod_demand.add_to(total, amounts(overhead))
    return total
