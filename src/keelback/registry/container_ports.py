"""What the ports of a pod's containers may say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keelback.api.core_v1 import Container, ContainerPort
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")


def validate(ports: Sequence[ContainerPort], path: str) -> Iterator[FieldError]:
    """Everything wrong with the ports of one container."""
    seen: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if port.name:
            complaints = names.port_name(port.name)
            for complaint in complaints:
                yield invalid(f"{here}.name", port.name, complaint)
            if not complaints and port.name in seen:
                yield duplicate(f"{here}.name", port.name)
            seen.add(port.name)
        if not port.container_port:
            yield required(f"{here}.containerPort")
        else:
            for complaint in names.port_number(port.container_port):
                yield invalid(f"{here}.containerPort", port.container_port, complaint)
        if port.host_port:
            for complaint in names.port_number(port.host_port):
                yield invalid(f"{here}.hostPort", port.host_port, complaint)
        if not port.protocol:
            yield required(f"{here}.protocol")
        elif port.protocol not in PROTOCOLS:
            yield not_supported(f"{here}.protocol", port.protocol, PROTOCOLS)


def validate_host_ports(containers: Sequence[Container], path: str) -> Iterator[FieldError]:
    """The complaints about two containers that take the same port of their node."""
    seen: set[str] = set()
    for index, container in enumerate(containers):
        for place, port in enumerate(container.ports):
            if not port.host_port:
                continue
            key = f"{port.protocol}/{port.host_ip}/{port.host_port}"
            if key in seen:
                yield duplicate(f"{path}[{index}].ports[{place}].hostPort", key)
            seen.add(key)


def validate_on_host_network(containers: Sequence[Container], path: str, *, is_pod: bool) -> Iterator[FieldError]:
    """The complaints about ports other than the container's own; a template may leave them to the pod's defaults."""
    for index, container in enumerate(containers):
        for place, port in enumerate(container.ports):
            if (is_pod or port.host_port) and port.host_port != port.container_port:
                yield invalid(
                    f"{path}[{index}].ports[{place}].hostPort",
                    port.host_port,
                    "must match `containerPort` when `hostNetwork` is true",
                )
