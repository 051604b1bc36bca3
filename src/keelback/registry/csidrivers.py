"""CSIDrivers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api.storage_v1 import CSIDriver
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, too_long
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text

_MAX_NAME_LENGTH: Final = 63
_MIN_TOKEN_SECONDS: Final = 600
_GROUP_POLICIES: Final = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLE_MODES: Final = ("Ephemeral", "Persistent")


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

    def validate(self, new: CSIDriver) -> Iterator[FieldError]:
        name, spec = new.metadata.name, new.spec
        if len(name) > _MAX_NAME_LENGTH:
            yield too_long("metadata.name", _MAX_NAME_LENGTH)
        if spec.fs_group_policy not in _GROUP_POLICIES:
            yield not_supported("spec.fsGroupPolicy", spec.fs_group_policy, _GROUP_POLICIES)
        seen: set[str] = set()
        for index, wanted in enumerate(spec.token_requests):
            path = f"spec.tokenRequests[{index}]"
            if wanted.audience in seen:
                yield duplicate(f"{path}.audience", wanted.audience)
            seen.add(wanted.audience)
            seconds = wanted.expiration_seconds
            if seconds is not None and seconds < _MIN_TOKEN_SECONDS:
                yield invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
        for index, mode in enumerate(spec.volume_lifecycle_modes):
            if mode not in _LIFECYCLE_MODES:
                yield not_supported(f"spec.volumeLifecycleModes[{index}]", mode, _LIFECYCLE_MODES)

    def validate_update(self, new: CSIDriver, old: CSIDriver) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.spec.attach_required != old.spec.attach_required:
            yield invalid("spec.attachedRequired", new.spec.attach_required, "field is immutable")
        if new.spec.volume_lifecycle_modes != old.spec.volume_lifecycle_modes:
            yield invalid("spec.volumeLifecycleModes", list(new.spec.volume_lifecycle_modes), "field is immutable")
