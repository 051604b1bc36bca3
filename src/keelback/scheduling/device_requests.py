"""What claims ask for, compiled: requests with their alternatives, the classes' share in them, and constraints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from keelback.api.resource_v1 import (
    DeviceClaim,
    DeviceClaimConfiguration,
    DeviceClass,
    DeviceConstraint,
    DeviceRequest,
    DeviceSelector,
    DeviceSubRequest,
    DeviceToleration,
    ExactDeviceRequest,
)
from keelback.apimachinery import quantity
from keelback.apimachinery.quantity import Quantity

MOST_DEVICES: Final = 32
"""How many devices one claim can get (AllocationResultsMaxSize)."""
_MOST_ALTERNATIVES: Final = 8


class RequestError(Exception):
    """A claim that cannot be allocated as it is, wherever. The text is upstream's."""


@dataclass(frozen=True, slots=True, eq=False)
class Alternative:
    """One way to satisfy a request: most requests have but one."""

    name: str
    """`request`, or `request/subrequest`."""
    device_class: DeviceClass
    takes_all: bool
    count: int
    """Zero where all matching devices are wanted."""
    is_admin: bool
    capacity: Mapping[str, Quantity]
    tolerations: tuple[DeviceToleration, ...]
    selectors: tuple[str, ...]
    """Expressions: the class's, then the request's own."""
    points: int = 0
    """How much this one is preferred to others of its request."""

    def where(self, selector: int, claim: str) -> str:
        """Whose expression a selector is, by its place among all."""
        number = len(self.device_class.spec.selectors)
        if selector < number:
            return f"class {self.device_class.metadata.name}: selector #{selector}"
        return f"claim {claim}: selector #{selector - number}"


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request of a claim."""

    name: str
    alternatives: tuple[Alternative, ...]
    """The first that can be had is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class ClaimRequests:
    """All that one claim asks for."""

    requests: tuple[Request, ...]
    constraints: tuple[DeviceConstraint, ...] = ()
    config: tuple[DeviceClaimConfiguration, ...] = field(default=())

    @property
    def has_preferences(self) -> bool:
        """Whether it matters for an allocation's worth which alternative was taken."""
        return any(one.points for request in self.requests for one in request.alternatives)


def compile_claim(spec: DeviceClaim, classes: Mapping[str, DeviceClass], claim: str) -> ClaimRequests:
    """What a claim asks for; `claim` is what errors call it. Raises RequestError."""
    requests = tuple(_request(one, classes, claim) for one in spec.requests)
    least = sum(min(one.count for one in request.alternatives) for request in requests)
    if least > MOST_DEVICES:
        raise RequestError(
            f"claim {claim}: number of requested devices {least} exceeds the claim limit of {MOST_DEVICES}"
        )
    for number, constraint in enumerate(spec.constraints):
        if not constraint.match_attribute and not constraint.distinct_attribute:
            text = f"constraint #{number}: empty constraint (unsupported constraint type?)"
            raise RequestError(f"claim {claim}, {text}")
    return ClaimRequests(requests, spec.constraints, spec.config)


def missing_class(spec: DeviceClaim, classes: Mapping[str, DeviceClass]) -> str:
    """Why no device can be looked for yet: a class that does not exist. Empty where there is none such."""
    for request in spec.requests:
        for name, one in _alternatives(request):
            if one.device_class_name not in classes:
                return f"request {name}: device class {one.device_class_name} does not exist"
    return ""


def _alternatives(request: DeviceRequest) -> list[tuple[str, ExactDeviceRequest | DeviceSubRequest]]:
    if request.exactly is not None:
        return [(request.name, request.exactly)]
    return [(f"{request.name}/{one.name}", one) for one in request.first_available]


def _request(request: DeviceRequest, classes: Mapping[str, DeviceClass], claim: str) -> Request:
    found = _alternatives(request)
    if not found:
        raise RequestError(f"resource claim {claim}, request {request.name}: unknown request type")
    is_list = request.exactly is None
    return Request(
        request.name,
        tuple(
            _alternative(name, one, classes, claim, _MOST_ALTERNATIVES - place if is_list else 0)
            for place, (name, one) in enumerate(found)
        ),
    )


def _alternative(
    name: str,
    given: ExactDeviceRequest | DeviceSubRequest,
    classes: Mapping[str, DeviceClass],
    claim: str,
    points: int,
) -> Alternative:
    where = f"claim {claim}, request {name.rpartition('/')[2]}"
    found = classes.get(given.device_class_name)
    if found is None:
        raise RequestError(f"{where}: could not retrieve device class {given.device_class_name}")
    # What has not been through an API server may say nothing of the amount, and means one.
    mode = given.allocation_mode or "ExactCount"
    if mode not in ("ExactCount", "All"):
        raise RequestError(f"{where}: unsupported count mode {mode}")
    asked = given.capacity.requests if given.capacity is not None else {}
    takes_all = mode == "All"
    return Alternative(
        name=name,
        device_class=found,
        takes_all=takes_all,
        count=0 if takes_all else given.count or 1,
        is_admin=bool(given.admin_access) if isinstance(given, ExactDeviceRequest) else False,
        capacity={one: quantity.parse(amount) for one, amount in asked.items()},
        tolerations=given.tolerations,
        selectors=(
            *_expressions(found.spec.selectors, f"class {found.metadata.name}"),
            *_expressions(given.selectors, where),
        ),
        points=points,
    )


def _expressions(selectors: tuple[DeviceSelector, ...], where: str) -> list[str]:
    found = []
    for number, selector in enumerate(selectors):
        if selector.cel is None:
            raise RequestError(f"{where}, selector #{number}: CEL expression empty (unsupported selector type?)")
        found.append(selector.cel.expression)
    return found
