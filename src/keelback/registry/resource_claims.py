"""The kinds of resource.k8s.io: what a request for devices means when it says little, and specs that never change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from keelback.api.resource_v1 import (
    DeviceClaim,
    DeviceRequest,
    DeviceSubRequest,
    DeviceToleration,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimSpec,
    ResourceClaimTemplate,
    ResourceSlice,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

RequestT = TypeVar("RequestT", ExactDeviceRequest, DeviceSubRequest)

_ALL = "All"
_EXACT_COUNT = "ExactCount"
_IMMUTABLE = "field is immutable"


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
    answers_deleted_object = True
    subresources = ("status",)
    counts_generations = False
    columns = (text("State", _state), AGE)

    def default(self, new: ResourceClaim, old: ResourceClaim | None = None) -> ResourceClaim:
        return replace(new, spec=_with_defaults(new.spec))

    def validate(self, new: ResourceClaim) -> Iterator[FieldError]:
        yield from _devices(new.spec.devices, "spec.devices")

    def validate_update(self, new: ResourceClaim, old: ResourceClaim) -> Iterator[FieldError]:
        if new.spec != old.spec:
            yield invalid("spec", new.spec, _IMMUTABLE)


class ResourceClaimTemplateStrategy(Strategy[ResourceClaimTemplate]):
    kind = ResourceClaimTemplate
    answers_deleted_object = True
    counts_generations = False

    def default(self, new: ResourceClaimTemplate, old: ResourceClaimTemplate | None = None) -> ResourceClaimTemplate:
        template = new.spec
        metadata = template.metadata or ObjectMeta()
        return replace(new, spec=replace(template, metadata=metadata, spec=_with_defaults(template.spec)))

    def validate(self, new: ResourceClaimTemplate) -> Iterator[FieldError]:
        yield from _devices(new.spec.spec.devices, "spec.spec.devices")

    def validate_update(self, new: ResourceClaimTemplate, old: ResourceClaimTemplate) -> Iterator[FieldError]:
        if new.spec != old.spec:
            yield invalid("spec", new.spec, _IMMUTABLE)


class ResourceSliceStrategy(Strategy[ResourceSlice]):
    kind = ResourceSlice
    answers_deleted_object = True
    columns = (
        text("Node", lambda one: one.spec.node_name or ("<all>" if one.spec.all_nodes else "<unset>")),
        text("Driver", lambda one: one.spec.driver),
        text("Pool", lambda one: one.spec.pool.name),
        AGE,
    )

    def validate_update(self, new: ResourceSlice, old: ResourceSlice) -> Iterator[FieldError]:
        if new.spec.driver != old.spec.driver:
            yield invalid("spec.driver", new.spec.driver, _IMMUTABLE)
        if new.spec.pool.name != old.spec.pool.name:
            yield invalid("spec.pool.name", new.spec.pool.name, _IMMUTABLE)
        if new.spec.node_name != old.spec.node_name:
            yield invalid("spec.nodeName", new.spec.node_name, _IMMUTABLE)


def _with_defaults(spec: ResourceClaimSpec) -> ResourceClaimSpec:
    requests = tuple(_with_request_defaults(one) for one in spec.devices.requests)
    return replace(spec, devices=replace(spec.devices, requests=requests)) if requests else spec


def _with_request_defaults(request: DeviceRequest) -> DeviceRequest:
    exactly = None if request.exactly is None else _with_amount(request.exactly)
    return replace(request, exactly=exactly, first_available=tuple(map(_with_amount, request.first_available)))


def _with_amount(request: RequestT) -> RequestT:
    mode = request.allocation_mode or _EXACT_COUNT
    count = request.count or (1 if mode == _EXACT_COUNT else 0)
    tolerations = tuple(map(_with_operator, request.tolerations))
    return replace(request, allocation_mode=mode, count=count, tolerations=tolerations)


def _with_operator(toleration: DeviceToleration) -> DeviceToleration:
    return toleration if toleration.operator else replace(toleration, operator="Equal")


def _devices(claim: DeviceClaim, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, request in enumerate(claim.requests):
        here = f"{path}.requests[{index}]"
        yield from _name(request.name, f"{here}.name")
        if request.name in seen:
            yield duplicate(f"{here}.name", request.name)
        seen.add(request.name)
        if request.exactly is None and not request.first_available:
            yield required(here, "exactly one of `exactly` or `firstAvailable` is required")
        elif request.exactly is not None and request.first_available:
            yield invalid(
                here, None, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
            )
        if request.exactly is not None:
            yield from _request(request.exactly, f"{here}.exactly")
        for place, part in enumerate(request.first_available):
            yield from _name(part.name, f"{here}.firstAvailable[{place}].name")
            yield from _request(part, f"{here}.firstAvailable[{place}]")


def _name(name: str, path: str) -> Iterator[FieldError]:
    if not name:
        yield required(path)
        return
    for complaint in names.dns1123_label(name):
        yield invalid(path, name, complaint)


def _request(request: ExactDeviceRequest | DeviceSubRequest, path: str) -> Iterator[FieldError]:
    if not request.device_class_name:
        yield required(f"{path}.deviceClassName")
    else:
        for complaint in names.dns1123_subdomain(request.device_class_name):
            yield invalid(f"{path}.deviceClassName", request.device_class_name, complaint)
    if request.allocation_mode == _ALL:
        if request.count:
            yield invalid(f"{path}.count", request.count, "must not be specified when allocationMode is 'All'")
    elif request.allocation_mode != _EXACT_COUNT:
        yield not_supported(f"{path}.allocationMode", request.allocation_mode, (_ALL, _EXACT_COUNT))
    elif request.count <= 0:
        yield invalid(f"{path}.count", request.count, "must be greater than zero")
