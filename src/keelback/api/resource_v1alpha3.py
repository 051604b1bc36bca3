"""The type that resource/v1alpha3 alone has: shape, defaults and merge keys."""

from __future__ import annotations

from typing import Annotated

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
