"""The node IPAM controller: gives each node a part of the cluster's pod addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from keelback.client import MergePatch
from keelback.controllers.config import Config
from keelback.controllers.observed import NodeView
from keelback.reconcile.context import Context
from keelback.reconcile.result import DONE, Result, again_after

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_RETRY_SECONDS = 10.0


def free_range(cluster: Network, prefix: int, taken: Iterable[Network]) -> Network | None:
    """The first part of `cluster` of that prefix length which overlaps nothing taken; None where all is."""
    size = 1 << (cluster.max_prefixlen - prefix)
    first = int(cluster.network_address)
    used: set[int] = set()
    for one in taken:
        if one.version != cluster.version or not one.overlaps(cluster):
            continue
        start = (int(one.network_address) - first) // size
        used.update(range(start, start + max(1, one.num_addresses // size)))
    for number in range(cluster.num_addresses // size):
        if number not in used:
            return ipaddress.ip_network((first + number * size, prefix))
    return None


@dataclass(frozen=True, slots=True)
class NodeIPAMReconciler:
    """One node at a time: two workers could choose the same range."""

    context: Context
    config: Config
    name: ClassVar = "node-ipam-controller"
    role: ClassVar = "node-controller"
    component: ClassVar = "cidrAllocator"
    kind: ClassVar = NodeView
    owns: ClassVar = ()

    async def reconcile(self, node: NodeView) -> Result:
        if node.spec.pod_cidr or node.metadata.deletion_timestamp is not None:
            return DONE
        ranges = self._choose()
        if not ranges:
            message = f"Node {node.metadata.name} status is now: CIDRNotAvailable"
            await self.context.events.event(node, "Normal", "CIDRNotAvailable", message)
            return again_after(_RETRY_SECONDS)
        spec = {"podCIDR": ranges[0], "podCIDRs": list(ranges)}
        patch = MergePatch({"metadata": {"uid": node.metadata.uid}, "spec": spec})
        await self.context.client.patch(NodeView, node.metadata.name, "", patch)
        return DONE

    def _choose(self) -> Sequence[str]:
        taken = [
            ipaddress.ip_network(text, strict=False)
            for node in self.context.caches.store(NodeView).list()
            for text in node.spec.pod_cidrs or ((node.spec.pod_cidr,) if node.spec.pod_cidr else ())
        ]
        # The Services' addresses are no pod's, even where the two ranges overlap.
        taken.extend(ipaddress.ip_network(text, strict=False) for text in self.config.service_cidrs)
        chosen = []
        for text in self.config.cluster_cidrs:
            cluster = ipaddress.ip_network(text, strict=False)
            mask = self.config.node_cidr_mask_size_ipv4
            if cluster.version == 6:
                mask = self.config.node_cidr_mask_size_ipv6
            found = free_range(cluster, max(mask, cluster.prefixlen), taken)
            if found is None:
                return ()
            chosen.append(str(found))
        return tuple(chosen)
