"""The types of internal.apiserver.k8s.io/v1alpha1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.apimachinery.meta import Condition, ListMap, ListSet, Object, Value, kind, named, written


class ServerStorageVersion(Value):
    api_server_id: str = named("apiServerID", "")
    decodable_versions: Annotated[tuple[str, ...], ListSet()] = ()
    encoding_version: str = ""
    served_versions: Annotated[tuple[str, ...], ListSet()] = ()


class StorageVersionSpec(Value):
    """Nothing: upstream keeps the place."""


class StorageVersionStatus(Value):
    common_encoding_version: str | None = None
    conditions: Annotated[tuple[Condition, ...], ListMap("type")] = ()
    storage_versions: Annotated[tuple[ServerStorageVersion, ...], ListMap("apiServerID")] = ()


@kind("internal.apiserver.k8s.io/v1alpha1", "storageversions", namespaced=False)
class StorageVersion(Object):
    spec: StorageVersionSpec = written(StorageVersionSpec())
    status: StorageVersionStatus = written(StorageVersionStatus())
