"""The types of resource/v1beta1 that are shaped otherwise than those of resource/v1: a request names its devices
itself, and a device has its properties in `basic`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from keelback.api import resource_v1
from keelback.api.core_v1 import NodeSelector
from keelback.api.resource_v1 import (
    CapacityRequirements,
    CounterSet,
    DeviceAttribute,
    DeviceCapacity,
    DeviceClaimConfiguration,
    DeviceConstraint,
    DeviceCounterConsumption,
    DeviceSelector,
    DeviceSubRequest,
    DeviceTaint,
    DeviceToleration,
    NodeAllocatableResourceMapping,
    ResourceClaimStatus,
    ResourcePool,
)
from keelback.apimachinery.meta import Atomic, Object, ObjectMeta, Value, kind, written


class DeviceRequest(Value):
    admin_access: bool | None = None
    allocation_mode: str = ""
    capacity: CapacityRequirements | None = None
    count: int = 0
    device_class_name: str = ""
    first_available: tuple[DeviceSubRequest, ...] = ()
    name: str = written("")
    selectors: tuple[DeviceSelector, ...] = ()
    tolerations: tuple[DeviceToleration, ...] = ()


class DeviceClaim(Value):
    config: tuple[DeviceClaimConfiguration, ...] = ()
    constraints: tuple[DeviceConstraint, ...] = ()
    requests: tuple[DeviceRequest, ...] = ()


class ResourceClaimSpec(Value):
    devices: DeviceClaim = written(DeviceClaim())


@kind("resource.k8s.io/v1beta1", "resourceclaims")
class ResourceClaim(Object):
    spec: ResourceClaimSpec = written(ResourceClaimSpec())
    status: ResourceClaimStatus = written(ResourceClaimStatus())


class ResourceClaimTemplateSpec(Value):
    metadata: ObjectMeta | None = None
    spec: ResourceClaimSpec = written(ResourceClaimSpec())


@kind("resource.k8s.io/v1beta1", "resourceclaimtemplates")
class ResourceClaimTemplate(Object):
    spec: ResourceClaimTemplateSpec = written(ResourceClaimTemplateSpec())


class BasicDevice(Value):
    all_nodes: bool | None = None
    allow_multiple_allocations: bool | None = None
    attributes: Mapping[str, DeviceAttribute] = {}
    binding_conditions: tuple[str, ...] = ()
    binding_failure_conditions: tuple[str, ...] = ()
    binds_to_node: bool | None = None
    capacity: Mapping[str, DeviceCapacity] = {}
    consumes_counters: tuple[DeviceCounterConsumption, ...] = ()
    node_allocatable_resource_mappings: Mapping[str, NodeAllocatableResourceMapping] = {}
    node_name: str | None = None
    node_selector: Annotated[NodeSelector | None, Atomic()] = None
    taints: tuple[DeviceTaint, ...] = ()


class Device(Value):
    basic: BasicDevice | None = None
    name: str = written("")


class ResourceSliceSpec(Value):
    all_nodes: bool | None = None
    devices: tuple[Device, ...] = ()
    driver: str = written("")
    node_name: str = ""
    node_selector: Annotated[NodeSelector | None, Atomic()] = None
    per_device_node_selection: bool | None = None
    pool: ResourcePool = written(ResourcePool())
    shared_counters: tuple[CounterSet, ...] = ()


@kind("resource.k8s.io/v1beta1", "resourceslices", namespaced=False)
class ResourceSlice(Object):
    spec: ResourceSliceSpec = written(ResourceSliceSpec())


def claim_to_v1(claim: ResourceClaim) -> resource_v1.ResourceClaim:
    """The claim as resource/v1 says it."""
    return resource_v1.ResourceClaim(metadata=claim.metadata, spec=_spec_to_v1(claim.spec), status=claim.status)


def claim_from_v1(claim: resource_v1.ResourceClaim) -> ResourceClaim:
    """The claim as resource/v1beta1 says it."""
    return ResourceClaim(metadata=claim.metadata, spec=_spec_from_v1(claim.spec), status=claim.status)


def template_to_v1(template: ResourceClaimTemplate) -> resource_v1.ResourceClaimTemplate:
    """The template as resource/v1 says it."""
    spec = resource_v1.ResourceClaimTemplateSpec(metadata=template.spec.metadata, spec=_spec_to_v1(template.spec.spec))
    return resource_v1.ResourceClaimTemplate(metadata=template.metadata, spec=spec)


def template_from_v1(template: resource_v1.ResourceClaimTemplate) -> ResourceClaimTemplate:
    """The template as resource/v1beta1 says it."""
    spec = ResourceClaimTemplateSpec(metadata=template.spec.metadata, spec=_spec_from_v1(template.spec.spec))
    return ResourceClaimTemplate(metadata=template.metadata, spec=spec)


def slice_to_v1(resource_slice: ResourceSlice) -> resource_v1.ResourceSlice:
    """The slice as resource/v1 says it."""
    spec = resource_slice.spec
    devices = []
    for device in spec.devices:
        basic = device.basic or BasicDevice()
        values = {name: getattr(basic, name) for name in _DEVICE_FIELDS}
        devices.append(resource_v1.Device(name=device.name, node_name=basic.node_name or "", **values))
    return resource_v1.ResourceSlice(
        metadata=resource_slice.metadata,
        spec=resource_v1.ResourceSliceSpec(
            devices=tuple(devices),
            node_name=spec.node_name or None,
            **{name: getattr(spec, name) for name in _SLICE_FIELDS},
        ),
    )


def slice_from_v1(resource_slice: resource_v1.ResourceSlice) -> ResourceSlice:
    """The slice as resource/v1beta1 says it."""
    spec = resource_slice.spec
    devices = []
    for device in spec.devices:
        values = {name: getattr(device, name) for name in _DEVICE_FIELDS}
        devices.append(Device(name=device.name, basic=BasicDevice(node_name=device.node_name or None, **values)))
    return ResourceSlice(
        metadata=resource_slice.metadata,
        spec=ResourceSliceSpec(
            devices=tuple(devices),
            node_name=spec.node_name or "",
            **{name: getattr(spec, name) for name in _SLICE_FIELDS},
        ),
    )


_DEVICE_FIELDS = tuple(name for name in BasicDevice.__struct_fields__ if name != "node_name")
_SLICE_FIELDS = tuple(name for name in ResourceSliceSpec.__struct_fields__ if name not in ("devices", "node_name"))
_EXACT_FIELDS = resource_v1.ExactDeviceRequest.__struct_fields__


def _spec_to_v1(spec: ResourceClaimSpec) -> resource_v1.ResourceClaimSpec:
    claim = spec.devices
    devices = resource_v1.DeviceClaim(
        config=claim.config, constraints=claim.constraints, requests=tuple(map(_request_to_v1, claim.requests))
    )
    return resource_v1.ResourceClaimSpec(devices=devices)


def _spec_from_v1(spec: resource_v1.ResourceClaimSpec) -> ResourceClaimSpec:
    claim = spec.devices
    requests = tuple(map(_request_from_v1, claim.requests))
    devices = DeviceClaim(config=claim.config, constraints=claim.constraints, requests=requests)
    return ResourceClaimSpec(devices=devices)


def _request_to_v1(request: DeviceRequest) -> resource_v1.DeviceRequest:
    exactly = resource_v1.ExactDeviceRequest(**{name: getattr(request, name) for name in _EXACT_FIELDS})
    return resource_v1.DeviceRequest(
        name=request.name,
        first_available=request.first_available,
        exactly=None if exactly == resource_v1.ExactDeviceRequest() else exactly,
    )


def _request_from_v1(request: resource_v1.DeviceRequest) -> DeviceRequest:
    exactly = request.exactly or resource_v1.ExactDeviceRequest()
    values = {name: getattr(exactly, name) for name in _EXACT_FIELDS}
    return DeviceRequest(name=request.name, first_available=request.first_available, **values)
