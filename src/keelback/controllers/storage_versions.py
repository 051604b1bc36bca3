"""The storageversion-garbage-collector: forgets what API servers that are gone said of how they store things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keelback.api.apiserverinternal_v1alpha1 import ServerStorageVersion, StorageVersion, StorageVersionStatus
from keelback.api.coordination_v1 import Lease
from keelback.apimachinery import errors
from keelback.apimachinery.meta import replace
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

_NAMESPACE = "kube-system"
_COMPONENT = ("apiserver.kubernetes.io/identity", "kube-apiserver")


def without_servers(status: StorageVersionStatus, left: Sequence[ServerStorageVersion]) -> StorageVersionStatus:
    """What the status says when only these servers are left; they agree on an encoding or there is none."""
    encodings = {one.encoding_version for one in left}
    common = encodings.pop() if len(encodings) == 1 else None
    return replace(status, storage_versions=tuple(left), common_encoding_version=common)


def is_identity(lease: Lease) -> bool:
    """Whether the lease says that an API server lives."""
    key, value = _COMPONENT
    return lease.metadata.namespace == _NAMESPACE and lease.metadata.labels.get(key) == value


@dataclass(frozen=True, slots=True)
class StorageVersionReconciler:
    """Looks at a storage version when it changes or a server's lease goes."""

    context: Context
    name: ClassVar = "storageversion-garbage-collector-controller"
    role: ClassVar = "storage-version-garbage-collector"
    component: ClassVar = "storageversion-garbage-collector"
    kind: ClassVar = StorageVersion
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        return (Source(Lease, self._said_by, lambda change: change.new is None),)

    async def reconcile(self, version: StorageVersion) -> Result:
        left = [one for one in version.status.storage_versions if await self._lives(one.api_server_id)]
        if len(left) == len(version.status.storage_versions):
            return DONE
        if left:
            status = without_servers(version.status, left)
            await patches.write_status(self.context.client, version, version.status, status)
        else:
            metadata = version.metadata
            await self.context.client.delete(StorageVersion, metadata.name, uid=metadata.uid)
        return DONE

    async def _lives(self, server: str) -> bool:
        lease = self.context.caches.store(Lease).get(_NAMESPACE, server)
        if lease is None:
            try:
                lease = await self.context.client.get(Lease, server, _NAMESPACE)
            except errors.NotFound:
                return False
        return is_identity(lease)

    def _said_by(self, lease: Lease) -> list[tuple[str, str]]:
        if not is_identity(lease):
            return []
        held = self.context.caches.store(StorageVersion).list()
        name = lease.metadata.name
        return [
            ("", one.metadata.name)
            for one in held
            if any(said.api_server_id == name for said in one.status.storage_versions)
        ]
