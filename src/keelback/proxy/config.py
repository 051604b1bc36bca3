"""What a proxy must know of its node."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """`node_ips` answer NodePorts; pods have addresses of `cluster_cidrs`, this node's of `pod_cidrs`.

    Without `pod_cidrs` any pod's traffic that leaves the cluster is masqueraded here, which is the same where pods of
    other nodes do not route through this one. `local_addresses` are served by this node itself (cluster DNS on `lo`):
    no rule touches them although Services have them.
    """

    node_name: str
    node_ips: tuple[str, ...]
    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    pod_cidrs: tuple[str, ...] = ()
    zone: str = ""
    local_addresses: frozenset[str] = frozenset({"10.96.0.10"})
    debounce_seconds: float = 0.02
    health_port: int = 10256
    """Where `/healthz` and `/metrics` are served, on all addresses of the node; 0 serves neither."""
