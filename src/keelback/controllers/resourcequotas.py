"""The resourcequota controller: counts anew what a namespace uses, for admission only ever counts up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from keelback.api import pods
from keelback.api.apps_v1 import Deployment, ReplicaSet, StatefulSet
from keelback.api.batch_v1 import CronJob, Job
from keelback.api.core_v1 import PersistentVolumeClaim, Pod, ReplicationController, ResourceQuota, Secret, Service
from keelback.apimachinery.meta import Kind, Object, narrow, replace, written
from keelback.client import Change, MergePatch
from keelback.controllers.observed import ConfigMapName, HeldMeta, PodView
from keelback.quota import usage
from keelback.reconcile.context import Context
from keelback.reconcile.discovery import Discovered, discover, metadata_type
from keelback.reconcile.loop import Source
from keelback.reconcile.patches import status_difference
from keelback.reconcile.result import Result, again_after

_RESYNC_SECONDS = 300.0
# Usage is more than a count only for these; of all others the metadata says enough.
_WHOLE: dict[str, type[Object]] = {
    "pods": Pod,
    "services": Service,
    "persistentvolumeclaims": PersistentVolumeClaim,
}
_LEGACY_COUNTS = frozenset({"configmaps", "replicationcontrollers", "resourcequotas", "secrets"})


@narrow(Secret)
class SecretName(Object):
    """That a Secret is there."""

    metadata: HeldMeta = written(HeldMeta())


def resources_counted(hard: Iterable[str]) -> set[str]:
    """The resources (`pods`, `deployments.apps`) whose objects decide about these quota names."""
    found = set()
    for name in hard:
        if name.startswith("count/"):
            found.add(name.removeprefix("count/"))
        elif name in _LEGACY_COUNTS:
            found.add(name)
        elif name == "services" or name.startswith("services."):
            found.add("services")
        elif name in ("persistentvolumeclaims", "requests.storage") or ".storageclass.storage.k8s.io/" in name:
            found.add("persistentvolumeclaims")
        else:
            found.add("pods")
    return found


@dataclass(frozen=True, slots=True)
class ResourceQuotaReconciler:
    """Lists what the quota is about, adds it up, and writes the sum if nobody wrote another meanwhile."""

    context: Context
    sync_seconds: float = _RESYNC_SECONDS
    name: ClassVar = "resourcequota-controller"
    role: ClassVar = "resourcequota-controller"
    component: ClassVar = "resourcequota-controller"
    kind: ClassVar = ResourceQuota
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        counted = (
            Service,
            PersistentVolumeClaim,
            ConfigMapName,
            SecretName,
            ReplicationController,
            Deployment,
            ReplicaSet,
            StatefulSet,
            Job,
            CronJob,
        )
        others = (Source(cls, self._quotas_of, _was_deleted) for cls in counted)
        return (Source(PodView, self._quotas_of, _freed_something), *others)

    def is_relevant(self, change: Change[Any]) -> bool:
        old, new = change.old, change.new
        return old is None or new is None or old.spec != new.spec or new.status.hard != new.spec.hard

    async def reconcile(self, quota: ResourceQuota) -> Result:
        discovered = await self._discovered(quota)
        objects = await self._observe(quota, discovered)
        used = {**usage.total(quota, objects, self.context.now()), **_as_before(quota, discovered.stale)}
        status = replace(quota.status, hard=dict(quota.spec.hard), used=used)
        changed = status_difference(quota.status, status)
        if changed:
            # Admission may have counted something up since this quota was read: then the sum is made anew.
            metadata = {"resourceVersion": quota.metadata.resource_version, "uid": quota.metadata.uid}
            patch = MergePatch({"metadata": metadata, "status": changed})
            name, namespace = quota.metadata.name, quota.metadata.namespace
            await self.context.client.patch(ResourceQuota, name, namespace, patch, "status")
        return again_after(self.sync_seconds * (1 + self.context.chance.random()))

    async def _discovered(self, quota: ResourceQuota) -> Discovered:
        """What there is, where the quota counts more than what every server has."""
        if resources_counted(quota.spec.hard) <= _WHOLE.keys():
            return Discovered(())
        return await discover(self.context.client.client)

    async def _observe(self, quota: ResourceQuota, discovered: Discovered) -> list[tuple[Kind, object]]:
        objects: list[tuple[Kind, object]] = []
        wanted = resources_counted(quota.spec.hard)
        kinds = {one.kind.resource: one.kind for one in discovered.resources if "list" in one.verbs}
        for resource in sorted(wanted):
            cls: type[Object] | None = _WHOLE.get(resource)
            if cls is None and resource in kinds:
                cls = metadata_type(kinds[resource])
            if cls is not None:
                listed = await self.context.client.list(cls, quota.metadata.namespace)
                objects.extend((cls.__kind__, obj) for obj in listed.items)
        return objects

    def _quotas_of(self, obj: Object) -> list[tuple[str, str]]:
        store = self.context.caches.store(ResourceQuota)
        if not len(store):
            return []
        return [(one.metadata.namespace, one.metadata.name) for one in store.list(obj.metadata.namespace)]


def _as_before(quota: ResourceQuota, stale: Iterable[str]) -> dict[str, str]:
    """What was used of resources whose server cannot be asked: they are still there as far as anybody knows."""
    groups = {group_version.rpartition("/")[0] for group_version in stale}
    counted = (name for name in quota.spec.hard if name.startswith("count/") and name.partition(".")[2] in groups)
    return {name: quota.status.used[name] for name in counted if name in quota.status.used}


def _was_deleted(change: Change[Any]) -> bool:
    return change.new is None


def _freed_something(change: Change[PodView]) -> bool:
    if change.new is None:
        return True
    if change.old is None:
        return False
    return pods.is_active(change.old) and not pods.is_active(change.new)
