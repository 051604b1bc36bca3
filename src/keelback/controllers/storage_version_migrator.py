"""The storage-version-migrator: has every object of a resource written anew, as the server encodes it today.

Each is applied with nothing but its identity: the server finds nothing to change but how it is stored.
https://kep.k8s.io/4192
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

from keelback.api import conditions
from keelback.api.storagemigration_v1beta1 import StorageVersionMigration, StorageVersionMigrationStatus
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Condition, replace
from keelback.client import ApplyPatch
from keelback.reconcile import discovery, patches
from keelback.reconcile.context import Context
from keelback.reconcile.discovery import Metadata, metadata_type
from keelback.reconcile.result import DONE, Result, again_after

RUNNING, SUCCEEDED, FAILED = "Running", "Succeeded", "Failed"
_REASONS = {
    RUNNING: "StorageVersionMigrationInProgress",
    SUCCEEDED: "StorageVersionMigrationSucceeded",
    FAILED: "StorageVersionMigrationFailed",
}
# A custom resource may be younger than what discovery says.
_PATIENCE = timedelta(minutes=1)
_RETRY_SECONDS = 10.0
_PAGE = 500


def with_outcome(
    status: StorageVersionMigrationStatus, type: str, message: str, now: datetime
) -> StorageVersionMigrationStatus:
    """The status that says so; what has ended runs no more."""
    found: tuple[Condition, ...] = status.conditions
    if type != RUNNING and conditions.is_true(found, RUNNING):
        ended = Condition(type=RUNNING, status="False", reason=_REASONS[RUNNING], last_transition_time=now)
        found = conditions.set_in_place(found, ended)
    said = Condition(type=type, status="True", reason=_REASONS[type], message=message, last_transition_time=now)
    return replace(status, conditions=conditions.set_in_place(found, said))


@dataclass(frozen=True, slots=True)
class StorageVersionMigrationReconciler:
    """Works through one migration at a time; one that was interrupted begins anew."""

    context: Context
    name: ClassVar = "storage-version-migrator-controller"
    role: ClassVar = "storage-version-migrator-controller"
    component: ClassVar = "storage-version-migrator-controller"
    kind: ClassVar = StorageVersionMigration
    owns: ClassVar = ()

    async def reconcile(self, migration: StorageVersionMigration) -> Result:
        found = migration.status.conditions
        if conditions.is_true(found, SUCCEEDED) or conditions.is_true(found, FAILED):
            return DONE
        cls = await self._type_of(migration)
        if cls is None:
            created = migration.metadata.creation_timestamp
            if created is not None and self.context.now() < created + _PATIENCE:
                return again_after(_RETRY_SECONDS)
            await self._say(migration, FAILED, "resource not found")
            return DONE
        migration = await self._say(migration, RUNNING, "")
        try:
            version = await self._migrate(cls)
        except errors.StatusError:
            await self._say(migration, FAILED, "migration encountered unhandled error")
            return DONE
        migration = replace(migration, status=replace(migration.status, resource_version=version))
        await self._say(migration, SUCCEEDED, "", version)
        return DONE

    async def _type_of(self, migration: StorageVersionMigration) -> type[Metadata] | None:
        wanted = migration.spec.resource
        for one in (await discovery.discover(self.context.client.client)).resources:
            if (one.kind.group, one.kind.plural) == (wanted.group, wanted.resource) and "patch" in one.verbs:
                return metadata_type(one.kind)
        return None

    async def _migrate(self, cls: type[Metadata]) -> str:
        """Write all anew; the version of the list they were in. Raises StatusError."""
        token, version = "", ""
        while True:
            page = await self.context.client.list(cls, limit=_PAGE, continue_=token)
            version = version or page.resource_version
            for obj in page.items:
                await self._write_anew(cls, obj)
            token = page.metadata.continue_
            if not token:
                return version

    async def _write_anew(self, cls: type[Metadata], obj: Metadata) -> None:
        metadata, kind = obj.metadata, cls.__kind__
        # With uid and version neither a successor is touched nor one that is gone made again.
        identity: dict[str, Any] = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": identity}
        try:
            await self.context.client.patch(
                cls, metadata.name, metadata.namespace, ApplyPatch(body, field_manager=self.name)
            )
        except (errors.Conflict, errors.NotFound):
            return  # whoever was faster has written it, or nobody needs to

    async def _say(
        self, migration: StorageVersionMigration, type: str, message: str, version: str = ""
    ) -> StorageVersionMigration:
        status = with_outcome(migration.status, type, message, self.context.now())
        before = replace(migration.status, resource_version="") if version else migration.status
        await patches.write_status(self.context.client, migration, before, status)
        return replace(migration, status=status)
