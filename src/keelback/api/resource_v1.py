"""The types of resource/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from keelback.api.core_v1 import NodeSelector
from keelback.apimachinery.meta import (
    Atomic,
    Condition,
    ListMap,
    Object,
    ObjectMeta,
    Quantity,
    Time,
    Value,
    kind,
    named,
    written,
)


class AllocatedDeviceStatus(Value):
    conditions: Annotated[tuple[Condition, ...], ListMap("type")] = ()
    data: msgspec.Raw = msgspec.Raw()
    device: str = written("")
    driver: str = written("")
    network_data: NetworkDeviceData | None = None
    pool: str = written("")
    share_id: str = named("shareID", "")


class DeviceAllocationResult(Value):
    config: tuple[DeviceAllocationConfiguration, ...] = ()
    results: tuple[DeviceRequestAllocationResult, ...] = ()


class AllocationResult(Value):
    allocation_timestamp: Time | None = None
    devices: DeviceAllocationResult = written(DeviceAllocationResult())
    node_selector: Annotated[NodeSelector | None, Atomic()] = None


class CELDeviceSelector(Value):
    expression: str = written("")


class CapacityRequestPolicy(Value):
    default: Quantity | None = None
    valid_range: CapacityRequestPolicyRange | None = None
    valid_values: tuple[Quantity, ...] = ()


class CapacityRequestPolicyRange(Value):
    max: Quantity | None = None
    min: Quantity = written("0")
    step: Quantity | None = None


class CapacityRequirements(Value):
    requests: Mapping[str, Quantity] = {}


class Counter(Value):
    value: Quantity = written("0")


class CounterSet(Value):
    counters: Mapping[str, Counter] = {}
    name: str = written("")


class Device(Value):
    all_nodes: bool | None = None
    allow_multiple_allocations: bool | None = None
    attributes: Mapping[str, DeviceAttribute] = {}
    binding_conditions: tuple[str, ...] = ()
    binding_failure_conditions: tuple[str, ...] = ()
    binds_to_node: bool | None = None
    capacity: Mapping[str, DeviceCapacity] = {}
    consumes_counters: tuple[DeviceCounterConsumption, ...] = ()
    name: str = written("")
    node_allocatable_resource_mappings: Mapping[str, NodeAllocatableResourceMapping] = {}
    node_name: str = ""
    node_selector: Annotated[NodeSelector | None, Atomic()] = None
    taints: tuple[DeviceTaint, ...] = ()


class DeviceAllocationConfiguration(Value):
    opaque: OpaqueDeviceConfiguration | None = None
    requests: tuple[str, ...] = ()
    source: str = written("")


class DeviceAttribute(Value):
    bool_: bool | None = None
    bools: tuple[bool, ...] = ()
    int_: int | None = None
    ints: tuple[int, ...] = ()
    string: str | None = None
    strings: tuple[str, ...] = ()
    version: str | None = None
    versions: tuple[str, ...] = ()


class DeviceCapacity(Value):
    request_policy: CapacityRequestPolicy | None = None
    value: Quantity = written("0")


class DeviceClaim(Value):
    config: tuple[DeviceClaimConfiguration, ...] = ()
    constraints: tuple[DeviceConstraint, ...] = ()
    requests: tuple[DeviceRequest, ...] = ()


class DeviceClaimConfiguration(Value):
    opaque: OpaqueDeviceConfiguration | None = None
    requests: tuple[str, ...] = ()


class DeviceClassSpec(Value):
    config: tuple[DeviceClassConfiguration, ...] = ()
    extended_resource_name: str = ""
    selectors: tuple[DeviceSelector, ...] = ()


@kind("resource.k8s.io/v1", "deviceclasses", namespaced=False)
class DeviceClass(Object):
    spec: DeviceClassSpec = written(DeviceClassSpec())


class DeviceClassConfiguration(Value):
    opaque: OpaqueDeviceConfiguration | None = None


class DeviceConstraint(Value):
    distinct_attribute: str = ""
    match_attribute: str = ""
    requests: tuple[str, ...] = ()


class DeviceCounterConsumption(Value):
    counter_set: str = written("")
    counters: Mapping[str, Counter] = {}


class DeviceRequest(Value):
    exactly: ExactDeviceRequest | None = None
    first_available: tuple[DeviceSubRequest, ...] = ()
    name: str = written("")


class DeviceRequestAllocationResult(Value):
    admin_access: bool | None = None
    binding_conditions: tuple[str, ...] = ()
    binding_failure_conditions: tuple[str, ...] = ()
    consumed_capacity: Mapping[str, Quantity] = {}
    device: str = written("")
    driver: str = written("")
    pool: str = written("")
    request: str = written("")
    share_id: str = named("shareID", "")
    tolerations: tuple[DeviceToleration, ...] = ()


class DeviceSelector(Value):
    cel: CELDeviceSelector | None = None


class DeviceSubRequest(Value):
    allocation_mode: str = ""
    capacity: CapacityRequirements | None = None
    count: int = 0
    device_class_name: str = written("")
    name: str = written("")
    selectors: tuple[DeviceSelector, ...] = ()
    tolerations: tuple[DeviceToleration, ...] = ()


class DeviceTaint(Value):
    effect: str = written("")
    key: str = written("")
    time_added: Time | None = None
    value: str = ""


class DeviceToleration(Value):
    effect: str = ""
    key: str = ""
    operator: str = ""
    toleration_seconds: int | None = None
    value: str = ""


class ExactDeviceRequest(Value):
    admin_access: bool | None = None
    allocation_mode: str = ""
    capacity: CapacityRequirements | None = None
    count: int = 0
    device_class_name: str = written("")
    selectors: tuple[DeviceSelector, ...] = ()
    tolerations: tuple[DeviceToleration, ...] = ()


class NetworkDeviceData(Value):
    hardware_address: str = ""
    interface_name: str = ""
    ips: tuple[str, ...] = ()


class NodeAllocatableResourceMapping(Value):
    allocation_multiplier: Quantity | None = None
    capacity_key: str = ""


class OpaqueDeviceConfiguration(Value):
    driver: str = written("")
    parameters: msgspec.Raw = msgspec.Raw()


class ResourceClaimSpec(Value):
    devices: DeviceClaim = written(DeviceClaim())


class ResourceClaimStatus(Value):
    allocation: AllocationResult | None = None
    devices: Annotated[tuple[AllocatedDeviceStatus, ...], ListMap("driver", "device", "pool", "shareID")] = ()
    reserved_for: Annotated[tuple[ResourceClaimConsumerReference, ...], ListMap("uid", merge_key="uid")] = ()


@kind("resource.k8s.io/v1", "resourceclaims")
class ResourceClaim(Object):
    spec: ResourceClaimSpec = written(ResourceClaimSpec())
    status: ResourceClaimStatus = written(ResourceClaimStatus())


class ResourceClaimConsumerReference(Value):
    api_group: str | None = None
    name: str = written("")
    resource: str = written("")
    uid: str = written("")


class ResourceClaimTemplateSpec(Value):
    metadata: ObjectMeta | None = None
    spec: ResourceClaimSpec = written(ResourceClaimSpec())


@kind("resource.k8s.io/v1", "resourceclaimtemplates")
class ResourceClaimTemplate(Object):
    spec: ResourceClaimTemplateSpec = written(ResourceClaimTemplateSpec())


class ResourcePool(Value):
    generation: int = written(0)
    name: str = written("")
    resource_slice_count: int = written(0)


class ResourceSliceSpec(Value):
    all_nodes: bool | None = None
    devices: tuple[Device, ...] = ()
    driver: str = written("")
    node_name: str | None = None
    node_selector: Annotated[NodeSelector | None, Atomic()] = None
    per_device_node_selection: bool | None = None
    pool: ResourcePool = written(ResourcePool())
    shared_counters: tuple[CounterSet, ...] = ()


@kind("resource.k8s.io/v1", "resourceslices", namespaced=False)
class ResourceSlice(Object):
    spec: ResourceSliceSpec = written(ResourceSliceSpec())
