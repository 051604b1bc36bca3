"""The types that resource/v1alpha3 has and resource/v1 has not: shape, defaults and merge keys."""

from __future__ import annotations

from typing import Annotated

from keelback.api.resource_v1 import DeviceTaint
from keelback.apimachinery.meta import Condition, ListMap, Object, Value, kind, written


class ResourcePoolStatusRequestSpec(Value):
    driver: str = written("")
    limit: int | None = None
    pool_name: str | None = None


class PoolStatus(Value):
    allocated_devices: int | None = None
    available_devices: int | None = None
    driver: str = written("")
    generation: int = written(0)
    node_name: str | None = None
    pool_name: str = written("")
    resource_slice_count: int | None = None
    total_devices: int | None = None
    unavailable_devices: int | None = None
    validation_error: str | None = None


class ResourcePoolStatusRequestStatus(Value):
    conditions: Annotated[tuple[Condition, ...], ListMap("type", merge_key="type")] = ()
    pool_count: int | None = None
    pools: tuple[PoolStatus, ...] = ()


@kind("resource.k8s.io/v1alpha3", "resourcepoolstatusrequests", namespaced=False)
class ResourcePoolStatusRequest(Object):
    spec: ResourcePoolStatusRequestSpec = written(ResourcePoolStatusRequestSpec())
    status: ResourcePoolStatusRequestStatus | None = None


class DeviceTaintSelector(Value):
    device: str | None = None
    driver: str | None = None
    pool: str | None = None


class DeviceTaintRuleSpec(Value):
    device_selector: DeviceTaintSelector | None = None
    taint: DeviceTaint = written(DeviceTaint())


class DeviceTaintRuleStatus(Value):
    conditions: Annotated[tuple[Condition, ...], ListMap("type", merge_key="type")] = ()


@kind("resource.k8s.io/v1alpha3", "devicetaintrules", namespaced=False)
class DeviceTaintRule(Object):
    spec: DeviceTaintRuleSpec = written(DeviceTaintRuleSpec())
    status: DeviceTaintRuleStatus = written(DeviceTaintRuleStatus())
