"""What stages' templates may ask of where an object is: the time, addresses of nodes and pods, a node's conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from keelback import __version__
from keelback.concurrency.clock import Clock
from keelback.simulation.pods import wire_time
from keelback.simulation.template_functions import PLAIN

PodAddress = Callable[[str, str], str]
"""The address of a pod, by its node's name and its uid; empty where its node is none of ours."""

_CONDITIONS: Final = tuple(
    {"type": kind, "status": status, "reason": reason, "message": message}
    for kind, status, reason, message in (
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("NetworkUnavailable", "False", "RouteCreated", "RouteController created a route"),
    )
)


class Surroundings:
    """`node_addresses` are those of our nodes, by name."""

    def __init__(self, node_addresses: Mapping[str, str], pod_address: PodAddress, clock: Clock) -> None:
        self._node_addresses = node_addresses
        self._pod_address = pod_address
        self._clock = clock
        self._started = clock.now()

    def of_node(self, name: str) -> Mapping[str, Callable[..., Any]]:
        """The functions of a node's templates."""
        return {
            **self._everywhere(),
            "NodeName": lambda: name,
            "NodeIP": lambda: self._node_address(name),
            # Who asks a simulated kubelet finds it without a port.
            "NodePort": lambda: 0,
        }

    def of_pod(self, node_name: str, uid: str, *, on_host_network: bool) -> Mapping[str, Callable[..., Any]]:
        """The functions of a pod's templates."""
        return {
            **self._everywhere(),
            "NodeName": lambda: node_name,
            "NodeIP": lambda: self._node_address(node_name),
            "PodIP": lambda: self._address_of_pod(node_name, on_host_network, uid),
        }

    def _everywhere(self) -> Mapping[str, Callable[..., Any]]:
        return {
            **PLAIN,
            "Now": lambda: wire_time(self._clock.now()),
            "StartTime": lambda: wire_time(self._started),
            "Version": lambda: __version__,
            "NodeConditions": lambda: list(_CONDITIONS),
            "NodeIPWith": self._node_address,
            "PodIPWith": self._address_of_pod,
        }

    def _node_address(self, name: str) -> str:
        return self._node_addresses.get(name, "")

    def _address_of_pod(
        self, node_name: str, on_host_network: bool, uid: str, _name: str = "", _namespace: str = ""
    ) -> str:
        return self._node_address(node_name) if on_host_network else self._pod_address(node_name, uid)
