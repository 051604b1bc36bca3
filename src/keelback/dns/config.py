"""What a node's DNS server must know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DNSConfig:
    """`addresses` are put on `interface` unless it is empty. Names outside `domain` go to the servers of `resolv_conf`.

    `stub_domains` names other servers, as `ADDRESS` or `ADDRESS:PORT`, for some of those names.
    """

    addresses: tuple[str, ...] = ("10.96.0.10",)
    port: int = 53
    domain: str = "cluster.local"
    ttl_seconds: int = 5
    resolv_conf: Path = Path("/etc/resolv.conf")
    stub_domains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    interface: str = "lo"
    observe_namespaces: bool = False
    """Whether names of namespaces that do not exist are denied; the client must then be allowed to list namespaces."""
    forward_seconds: float = 2.0
    """How long one server outside is waited for."""
