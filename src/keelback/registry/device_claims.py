"""What a claim for devices may say: its requests, and the constraints and configurations that speak of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keelback.api.resource_v1 import (
    DeviceClaim,
    DeviceClaimConfiguration,
    DeviceConstraint,
    DeviceRequest,
    DeviceSubRequest,
    ExactDeviceRequest,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required
from keelback.registry import device_rules

ALL: Final = "All"
EXACT_COUNT: Final = "ExactCount"
_MOST_ALTERNATIVES: Final = 8
_ONE_KIND: Final = "exactly one of `exactly` or `firstAvailable` is required"
_UNKNOWN: Final = (
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
)


def validate(claim: DeviceClaim, path: str) -> Iterator[FieldError]:
    """Everything wrong with a claim."""
    known = request_names(claim)

    def constraint(one: DeviceConstraint, here: str) -> Iterator[FieldError]:
        yield from _constraint(one, known, here)

    def configuration(one: DeviceClaimConfiguration, here: str) -> Iterator[FieldError]:
        yield from references(one.requests, known, f"{here}.requests")
        yield from device_rules.opaque(one.opaque, f"{here}.opaque")

    yield from device_rules.each_once(claim.requests, f"{path}.requests", _request, lambda one: one.name)
    yield from device_rules.each(claim.constraints, f"{path}.constraints", constraint)
    yield from device_rules.each(claim.config, f"{path}.config", configuration)


def request_names(claim: DeviceClaim) -> frozenset[str]:
    """What constraints and configurations may speak of: requests, and alternatives as REQUEST/ALTERNATIVE."""
    found: set[str] = set()
    for request in claim.requests:
        found.add(request.name)
        found.update(f"{request.name}/{one.name}" for one in request.first_available)
    return frozenset(found)


def references(requests: Sequence[str], known: frozenset[str], path: str) -> Iterator[FieldError]:
    """Everything wrong with the requests that something is about."""

    def problems(name: str, here: str) -> Iterator[FieldError]:
        yield from reference(name, known, here)

    yield from device_rules.each_once(requests, path, problems, str)


def reference(name: str, known: frozenset[str], path: str) -> Iterator[FieldError]:
    """Everything wrong with one of them."""
    parts = name.split("/")
    if len(parts) <= 2:
        for part in parts:
            yield from device_rules.label(part, path)
    if name not in known:
        yield invalid(path, name, _UNKNOWN)


def _request(request: DeviceRequest, path: str) -> Iterator[FieldError]:
    yield from device_rules.label(request.name, f"{path}.name")
    if request.exactly is not None and request.first_available:
        yield invalid(path, None, f"{_ONE_KIND}, but multiple fields are set")
    elif request.exactly is not None:
        yield from _amount(request.exactly, f"{path}.exactly")
    elif request.first_available:
        yield from device_rules.each_once(
            request.first_available, f"{path}.firstAvailable", _alternative, lambda one: one.name, _MOST_ALTERNATIVES
        )
    else:
        yield required(path, _ONE_KIND)


def _alternative(request: DeviceSubRequest, path: str) -> Iterator[FieldError]:
    yield from device_rules.label(request.name, f"{path}.name")
    yield from _amount(request, path)


def _amount(request: ExactDeviceRequest | DeviceSubRequest, path: str) -> Iterator[FieldError]:
    if not request.device_class_name:
        yield required(f"{path}.deviceClassName")
    else:
        for complaint in names.dns1123_subdomain(request.device_class_name):
            yield invalid(f"{path}.deviceClassName", request.device_class_name, complaint)
    yield from device_rules.selectors(request.selectors, f"{path}.selectors")
    if request.allocation_mode == ALL:
        if request.count:
            yield invalid(f"{path}.count", request.count, "must not be specified when allocationMode is 'All'")
    elif request.allocation_mode != EXACT_COUNT:
        yield not_supported(f"{path}.allocationMode", request.allocation_mode, (ALL, EXACT_COUNT))
    elif request.count <= 0:
        yield invalid(f"{path}.count", request.count, "must be greater than zero")
    for index, toleration in enumerate(request.tolerations):
        yield from device_rules.toleration(toleration, f"{path}.tolerations[{index}]")


def _constraint(constraint: DeviceConstraint, known: frozenset[str], path: str) -> Iterator[FieldError]:
    yield from references(constraint.requests, known, f"{path}.requests")
    if constraint.match_attribute:
        yield from device_rules.full_attribute_name(constraint.match_attribute, f"{path}.matchAttribute")
    elif constraint.distinct_attribute:
        yield from device_rules.full_attribute_name(constraint.distinct_attribute, f"{path}.distinctAttribute")
    else:
        # The end of the sentence is upstream's.
        why = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
        yield required(path, why)
