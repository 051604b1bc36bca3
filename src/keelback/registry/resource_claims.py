"""The kinds of resource.k8s.io: what a request for devices means when it says little, and specs that never change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from typing import TypeVar

from keelback.api.resource_v1 import (
    DeviceClaim,
    DeviceConstraint,
    DeviceRequest,
    DeviceSubRequest,
    DeviceToleration,
    ExactDeviceRequest,
    OpaqueDeviceConfiguration,
    ResourceClaim,
    ResourceClaimSpec,
    ResourceClaimTemplate,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required, too_many
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

RequestT = TypeVar("RequestT", ExactDeviceRequest, DeviceSubRequest)

_ALL = "All"
_EXACT_COUNT = "ExactCount"
_IMMUTABLE = "field is immutable"
_UNKNOWN_REQUEST = (
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
)
_MOST = 32
_MOST_ALTERNATIVES = 8
_EFFECTS = ("NoExecute", "NoSchedule")


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
    keeps_metadata_in_status = True
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
    yield from _size(claim.requests, f"{path}.requests")
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
        if len(request.first_available) > _MOST_ALTERNATIVES:
            yield too_many(f"{here}.firstAvailable", len(request.first_available), _MOST_ALTERNATIVES)
        for place, part in enumerate(request.first_available):
            yield from _name(part.name, f"{here}.firstAvailable[{place}].name")
            if part.name in {one.name for one in request.first_available[:place]}:
                yield duplicate(f"{here}.firstAvailable[{place}].name", part.name)
            yield from _request(part, f"{here}.firstAvailable[{place}]")
    known = _request_names(claim)
    yield from _size(claim.constraints, f"{path}.constraints")
    for index, constraint in enumerate(claim.constraints):
        yield from _constraint(constraint, known, f"{path}.constraints[{index}]")
    yield from _size(claim.config, f"{path}.config")
    for index, config in enumerate(claim.config):
        here = f"{path}.config[{index}]"
        yield from _references(config.requests, known, f"{here}.requests")
        yield from opaque_problems(config.opaque, f"{here}.opaque")


def _request_names(claim: DeviceClaim) -> frozenset[str]:
    """What constraints and configurations may speak of: requests, and alternatives as REQUEST/ALTERNATIVE."""
    found: set[str] = set()
    for request in claim.requests:
        found.add(request.name)
        found.update(f"{request.name}/{one.name}" for one in request.first_available)
    return frozenset(found)


def _size(items: Sized, path: str) -> Iterator[FieldError]:
    if len(items) > _MOST:
        yield too_many(path, len(items), _MOST)


def _references(requests: Sequence[str], known: frozenset[str], path: str) -> Iterator[FieldError]:
    yield from _size(requests, path)
    for index, name in enumerate(requests):
        here = f"{path}[{index}]"
        if name in requests[:index]:
            yield duplicate(here, name)
        if name not in known:
            problem = (
                "must be the name of a request in the claim or the name of a request and a subrequest separated by"
            )
            yield invalid(here, name, f"{problem} '/'")


def _constraint(constraint: DeviceConstraint, known: frozenset[str], path: str) -> Iterator[FieldError]:
    yield from _references(constraint.requests, known, f"{path}.requests")
    if constraint.match_attribute:
        yield from _qualified_attribute(constraint.match_attribute, f"{path}.matchAttribute")
    elif constraint.distinct_attribute:
        yield from _qualified_attribute(constraint.distinct_attribute, f"{path}.distinctAttribute")
    else:
        yield required(path, "exactly one of `matchAttribute` or `distinctAttribute` is required")


def _qualified_attribute(name: str, path: str) -> Iterator[FieldError]:
    domain, slash, identifier = name.partition("/")
    if not slash:
        yield invalid(path, name, "must include a domain")
        return
    for complaint in names.dns1123_subdomain(domain):
        yield invalid(path, domain, complaint)
    for complaint in names.c_identifier(identifier):
        yield invalid(path, identifier, complaint)


def opaque_problems(opaque: OpaqueDeviceConfiguration | None, path: str) -> Iterator[FieldError]:
    """Everything wrong with a driver's own configuration."""
    if opaque is None:
        yield required(path)
        return
    if not opaque.driver:
        yield required(f"{path}.driver")
    else:
        for complaint in names.dns1123_subdomain(opaque.driver):
            yield invalid(f"{path}.driver", opaque.driver, complaint)
    if not bytes(opaque.parameters):
        yield required(f"{path}.parameters")


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
    yield from _size(request.selectors, f"{path}.selectors")
    for index, selector in enumerate(request.selectors):
        if selector.cel is None:
            yield required(f"{path}.selectors[{index}].cel")
        elif not selector.cel.expression:
            yield required(f"{path}.selectors[{index}].cel.expression")
    for index, toleration in enumerate(request.tolerations):
        yield from _toleration(toleration, f"{path}.tolerations[{index}]")


def _toleration(toleration: DeviceToleration, path: str) -> Iterator[FieldError]:
    if toleration.key:
        for complaint in names.qualified_name(toleration.key):
            yield invalid(f"{path}.key", toleration.key, complaint)
    if toleration.operator == "Exists":
        if toleration.value:
            yield invalid(f"{path}.value", toleration.value, "must be empty for operator `Exists`")
    elif toleration.operator == "Equal":
        for complaint in names.label_value(toleration.value):
            yield invalid(f"{path}.value", toleration.value, complaint)
    else:
        yield not_supported(f"{path}.operator", toleration.operator, ("Equal", "Exists"))
    if toleration.effect and toleration.effect not in _EFFECTS:
        yield not_supported(f"{path}.effect", toleration.effect, _EFFECTS)
