"""Extended resources that devices stand for (KEP-5004): the requests for devices that containers' amounts amount to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from keelback.api.core_v1 import ContainerExtendedResourceRequest, ResourceRequirements
from keelback.api.pods import amount
from keelback.api.resource_v1 import DeviceClass, DeviceRequest, ExactDeviceRequest


class AsksForResources(Protocol):
    """A container, whole or narrow."""

    @property
    def name(self) -> str: ...
    @property
    def resources(self) -> ResourceRequirements: ...
    @property
    def restart_policy(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class ContainerDemand:
    """What one container asks for besides cpu and memory."""

    place: int
    """Among all containers, those of the start first."""
    name: str
    ends_before_others: bool
    """It is one of those that run one after another before the pod's own: what it had is there for the next."""
    amounts: Mapping[str, tuple[int, int]]
    """By resource: the amount, and the resource's place among all that the container asks for."""


def demands(
    init_containers: Sequence[AsksForResources], containers: Sequence[AsksForResources]
) -> tuple[ContainerDemand, ...]:
    """What containers ask for that devices might stand for; nothing where no container asks for such things."""
    found = []
    for place, one in enumerate((*init_containers, *containers)):
        asked = sorted(one.resources.requests)
        amounts = {
            name: (amount(name, one.resources.requests[name]), number)
            for number, name in enumerate(asked)
            if "/" in name
        }
        ends = place < len(init_containers) and one.restart_policy != "Always"
        found.append(ContainerDemand(place, one.name, ends, amounts))
    return tuple(found) if any(one.amounts for one in found) else ()


def requests(
    containers: Sequence[ContainerDemand], resources: Iterable[str], class_of: Mapping[str, DeviceClass]
) -> tuple[tuple[DeviceRequest, ...], tuple[ContainerExtendedResourceRequest, ...]]:
    """The requests of the claim that stands for these resources, and which container's resource each request is."""
    asked: list[DeviceRequest] = []
    mappings: list[ContainerExtendedResourceRequest] = []
    for resource in sorted(resources):
        made, mapped = _of_resource(containers, resource, class_of[resource].metadata.name)
        asked += made
        mappings += mapped
    return tuple(sorted(asked, key=lambda one: one.name)), tuple(mappings)


def _of_resource(
    containers: Sequence[ContainerDemand], resource: str, class_name: str
) -> tuple[list[DeviceRequest], list[ContainerExtendedResourceRequest]]:
    lasting: dict[int, tuple[str, int]] = {}
    mappings = []
    for one in containers:
        wanted, number = one.amounts.get(resource, (0, 0))
        if wanted and not one.ends_before_others:
            name = f"container-{one.place}-request-{number}"
            lasting[one.place] = (name, wanted)
            mappings.append(_mapping(one, resource, name))
    # Containers that end before others start use what later ones will have, and together as much more as the greediest.
    passing: dict[str, int] = {}
    before: list[tuple[ContainerDemand, str]] = []
    for one in containers:
        wanted, number = one.amounts.get(resource, (0, 0))
        if not wanted or not one.ends_before_others:
            continue
        for place, (name, count) in sorted(lasting.items()):
            if place >= one.place and wanted > 0:
                before.append((one, name))
                wanted -= count
        if wanted > 0:
            name = f"container-{one.place}-request-{number}"
            passing[name] = wanted
            before.append((one, name))
    greediest = max(passing, key=lambda name: passing[name], default="")
    mappings += [_mapping(one, resource, greediest if name in passing else name) for one, name in before]
    made = {greediest: passing[greediest]} if greediest else {}
    made |= dict(lasting.values())
    return [_request(name, class_name, count) for name, count in made.items()], mappings


def _mapping(container: ContainerDemand, resource: str, request: str) -> ContainerExtendedResourceRequest:
    return ContainerExtendedResourceRequest(container_name=container.name, resource_name=resource, request_name=request)


def _request(name: str, class_name: str, count: int) -> DeviceRequest:
    return DeviceRequest(
        name=name,
        exactly=ExactDeviceRequest(device_class_name=class_name, allocation_mode="ExactCount", count=count),
    )
