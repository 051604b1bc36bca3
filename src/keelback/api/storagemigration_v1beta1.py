"""The types of storagemigration/v1beta1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.apimachinery.meta import Condition, ListMap, Object, Value, kind, written


class GroupResource(Value):
    group: str = written("")
    resource: str = written("")


class StorageVersionMigrationSpec(Value):
    resource: GroupResource = written(GroupResource())


class StorageVersionMigrationStatus(Value):
    conditions: Annotated[tuple[Condition, ...], ListMap("type", merge_key="type")] = ()
    resource_version: str = ""


@kind("storagemigration.k8s.io/v1beta1", "storageversionmigrations", namespaced=False)
class StorageVersionMigration(Object):
    spec: StorageVersionMigrationSpec = written(StorageVersionMigrationSpec())
    status: StorageVersionMigrationStatus = written(StorageVersionMigrationStatus())
