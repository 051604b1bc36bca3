"""The kinds of resource.k8s.io: their columns."""

from __future__ import annotations

from keelback.api.resource_v1 import ResourceClaim, ResourceSlice
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text


def _state(claim: ResourceClaim) -> str:
    words = ["deleted"] if claim.metadata.deletion_timestamp is not None else []
    if claim.status.allocation is None:
        return ",".join([*words, "pending"]) if not words else ",".join(words)
    words.append("allocated")
    if claim.status.reserved_for:
        words.append("reserved")
    return ",".join(words)


class ResourceClaimStrategy(Strategy[ResourceClaim]):
    kind = ResourceClaim
    subresources = ("status",)
    counts_generations = False
    columns = (text("State", _state), AGE)


class ResourceSliceStrategy(Strategy[ResourceSlice]):
    kind = ResourceSlice
    columns = (
        text("Node", lambda one: one.spec.node_name or ("<all>" if one.spec.all_nodes else "<unset>")),
        text("Driver", lambda one: one.spec.driver),
        text("Pool", lambda one: one.spec.pool.name),
        AGE,
    )
