"""Which nodes are simulated, and how their pods behave unless they are annotated otherwise."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from keelback.api import nodes as nodes_of_api
from keelback.api.core_v1 import Taint
from keelback.concurrency.clock import Clock
from keelback.simulation.stages import Stage

SIMULATED_LABEL: Final = nodes_of_api.SIMULATED


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedNode:
    """One node as it will appear in the API. Quantities are Kubernetes'."""

    name: str
    internal_ip: str
    capacity: Mapping[str, str] = field(
        default_factory=lambda: {"cpu": "32", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "110"}
    )
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    pod_cidr: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedConfig:
    """The nodes and their manners. Delays are in seconds."""

    nodes: tuple[SimulatedNode, ...]
    start_seconds: float = 0.1
    job_seconds: float = 1.0
    stop_seconds: float = 0.1
    lease_duration_seconds: int = 40
    lease_renew_seconds: float = 10.0
    status_seconds: float = 300.0
    kubelet_version: str = "v1.36.0"
    seed: int = 0
    """What chance in the lives of containers begins with."""
    stages: tuple[Stage, ...] = ()
    """KWOK's: pods, or nodes, go through them from the beginning, and behave in no other way."""

    def reporting_rarely(self, rarity: float) -> SimulatedConfig:
        """The same, with nodes that report so many times more rarely."""
        return replace(
            self,
            lease_duration_seconds=max(1, round(self.lease_duration_seconds * rarity)),
            lease_renew_seconds=self.lease_renew_seconds * rarity,
            status_seconds=self.status_seconds * rarity,
        )

    @property
    def pod_selector(self) -> str:
        """Which pods to watch: a node may see its own only, and one that is alone must not ask for more."""
        return f"spec.nodeName={self.nodes[0].name}" if len(self.nodes) == 1 else "spec.nodeName!="

    @property
    def node_selector(self) -> str:
        """Which of the simulated nodes to watch: one that is alone may see itself only."""
        return f"metadata.name={self.nodes[0].name}" if len(self.nodes) == 1 else ""


class Links(Protocol):
    """How each node of many in one process stands to the API server: whether it reaches it, and by which clock."""

    def reaches(self, node: str) -> bool:
        """Whether anything passes between the node and the API server."""
        ...

    def clock_of(self, node: str) -> Clock:
        """By which the node writes times."""
        ...


@dataclass(frozen=True, slots=True)
class Connected:
    """All nodes reach the API server, and have one clock."""

    clock: Clock

    def reaches(self, node: str) -> bool:
        """Always."""
        return True

    def clock_of(self, node: str) -> Clock:
        """The one."""
        return self.clock


def cut_off(node: str) -> ConnectionRefusedError:
    """What a node meets with that does not reach the API server."""
    return ConnectionRefusedError(f"node {node} is cut off: the API server cannot be reached")


def nodes(count: int, *, prefix: str = "node-", capacity: Mapping[str, str] | None = None) -> tuple[SimulatedNode, ...]:
    """`count` like nodes, named and numbered from 0, each with an address and a pod network of its own."""
    addresses = ipaddress.ip_network("172.24.0.0/13")
    pod_networks = ipaddress.ip_network("10.128.0.0/9").subnets(new_prefix=24)
    extra: dict[str, Any] = {} if capacity is None else {"capacity": capacity}
    return tuple(
        SimulatedNode(name=f"{prefix}{index}", internal_ip=str(addresses[index + 1]), pod_cidr=str(network), **extra)
        for index, network in zip(range(count), pod_networks, strict=False)
    )
