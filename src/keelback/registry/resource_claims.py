"""The kinds of resource.k8s.io: what a request for devices means when it says little, and specs that never change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from keelback.api.resource_v1 import (
    DeviceRequest,
    DeviceSubRequest,
    DeviceToleration,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimSpec,
    ResourceClaimTemplate,
)
from keelback.apimachinery.errors import FieldError, invalid
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.apimachinery.validation import annotation_map, label_map
from keelback.registry import device_allocations, device_claims
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

RequestT = TypeVar("RequestT", ExactDeviceRequest, DeviceSubRequest)

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
    keeps_metadata_in_status = True
    answers_deleted_object = True
    subresources = ("status",)
    counts_generations = False
    checks_metadata_as_new = True
    columns = (text("State", _state), AGE)

    def default(self, new: ResourceClaim, old: ResourceClaim | None = None) -> ResourceClaim:
        return replace(new, spec=_with_defaults(new.spec))

    def prepare_for_status_update(self, new: ResourceClaim, old: ResourceClaim) -> ResourceClaim:
        """Of devices that the claim no longer has, their drivers' news go with them."""
        new = super().prepare_for_status_update(new, old)
        return replace(new, status=device_allocations.without_lost_devices(new.status, old.status))

    def validate(self, new: ResourceClaim) -> Iterator[FieldError]:
        yield from device_claims.validate(new.spec.devices, "spec.devices")

    def validate_update(self, new: ResourceClaim, old: ResourceClaim) -> Iterator[FieldError]:
        if new.spec != old.spec:
            yield invalid("spec", new.spec, _IMMUTABLE)

    def validate_status_update(self, new: ResourceClaim, old: ResourceClaim) -> Iterator[FieldError]:
        yield from device_allocations.validate(new, old)


class ResourceClaimTemplateStrategy(Strategy[ResourceClaimTemplate]):
    kind = ResourceClaimTemplate
    answers_deleted_object = True
    counts_generations = False

    def default(self, new: ResourceClaimTemplate, old: ResourceClaimTemplate | None = None) -> ResourceClaimTemplate:
        template = new.spec
        metadata = template.metadata or ObjectMeta()
        return replace(new, spec=replace(template, metadata=metadata, spec=_with_defaults(template.spec)))

    def validate(self, new: ResourceClaimTemplate) -> Iterator[FieldError]:
        metadata = new.spec.metadata or ObjectMeta()
        yield from label_map(metadata.labels, "spec.metadata.labels")
        yield from annotation_map(metadata.annotations, "spec.metadata.annotations")
        yield from device_claims.validate(new.spec.spec.devices, "spec.spec.devices")

    def validate_update(self, new: ResourceClaimTemplate, old: ResourceClaimTemplate) -> Iterator[FieldError]:
        if new.spec != old.spec:
            yield invalid("spec", internal(new.spec), _IMMUTABLE)


def _with_defaults(spec: ResourceClaimSpec) -> ResourceClaimSpec:
    requests = tuple(_with_request_defaults(one) for one in spec.devices.requests)
    return replace(spec, devices=replace(spec.devices, requests=requests)) if requests else spec


def _with_request_defaults(request: DeviceRequest) -> DeviceRequest:
    exactly = None if request.exactly is None else _with_amount(request.exactly)
    return replace(request, exactly=exactly, first_available=tuple(map(_with_amount, request.first_available)))


def _with_amount(request: RequestT) -> RequestT:
    mode = request.allocation_mode or device_claims.EXACT_COUNT
    count = request.count or (1 if mode == device_claims.EXACT_COUNT else 0)
    tolerations = tuple(map(_with_operator, request.tolerations))
    return replace(request, allocation_mode=mode, count=count, tolerations=tolerations)


def _with_operator(toleration: DeviceToleration) -> DeviceToleration:
    return toleration if toleration.operator else replace(toleration, operator="Equal")
