"""CSIDrivers."""

from __future__ import annotations

from keelback.api.storage_v1 import CSIDriver
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text


def _audiences(driver: CSIDriver) -> str:
    return ",".join(one.audience for one in driver.spec.token_requests) or "<unset>"


class CSIDriverStrategy(Strategy[CSIDriver]):
    kind = CSIDriver
    answers_deleted_object = True
    counts_generations = False
    columns = (
        Column("AttachRequired", lambda one, _now: one.spec.attach_required, type="boolean"),
        Column("PodInfoOnMount", lambda one, _now: one.spec.pod_info_on_mount, type="boolean"),
        Column("StorageCapacity", lambda one, _now: one.spec.storage_capacity, type="boolean"),
        text("TokenRequests", _audiences),
        Column("RequiresRepublish", lambda one, _now: one.spec.requires_republish, type="boolean"),
        text("Modes", lambda one: ",".join(one.spec.volume_lifecycle_modes) or "<none>"),
        AGE,
    )
