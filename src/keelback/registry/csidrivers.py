"""CSIDrivers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api.storage_v1 import CSIDriver
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text

_MIN_PERIOD_SECONDS: Final = 10
_MIN_TOKEN_SECONDS: Final = 600
_GROUP_POLICIES: Final = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLE_MODES: Final = ("Persistent", "Ephemeral")

_MUTABLE: Final = ("token_requests", "requires_republish", "se_linux_mount", "node_allocatable_update_period_seconds")


def _audiences(driver: CSIDriver) -> str:
    return ",".join(one.audience for one in driver.spec.token_requests) or "<unset>"


class CSIDriverStrategy(Strategy[CSIDriver]):
    kind = CSIDriver
    needs_resource_version_to_update = True
    answers_deleted_object = True
    first_generation = 0
    columns = (
        Column("AttachRequired", lambda one, _now: one.spec.attach_required, type="boolean"),
        Column("PodInfoOnMount", lambda one, _now: one.spec.pod_info_on_mount, type="boolean"),
        Column("StorageCapacity", lambda one, _now: one.spec.storage_capacity, type="boolean"),
        text("TokenRequests", _audiences),
        Column("RequiresRepublish", lambda one, _now: one.spec.requires_republish, type="boolean"),
        text("Modes", lambda one: ",".join(one.spec.volume_lifecycle_modes) or "<none>"),
        AGE,
    )

    def spec_changed(self, new: CSIDriver, old: CSIDriver) -> bool:
        """Only what may be changed counts."""
        return any(getattr(new.spec, name) != getattr(old.spec, name) for name in _MUTABLE)

    def validate(self, new: CSIDriver) -> Iterator[FieldError]:
        spec = new.spec
        if spec.fs_group_policy not in _GROUP_POLICIES:
            yield not_supported("spec.fsGroupPolicy", spec.fs_group_policy, _GROUP_POLICIES)
        seen: set[str] = set()
        for index, wanted in enumerate(spec.token_requests):
            path = f"spec.tokenRequests[{index}]"
            if wanted.audience in seen:
                yield duplicate(f"{path}.audience", wanted.audience)
                continue
            seen.add(wanted.audience)
            seconds = wanted.expiration_seconds
            if seconds is not None and seconds < _MIN_TOKEN_SECONDS:
                yield invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
            if seconds is not None and seconds > 1 << 32:
                why = "may not specify a duration larger than 2^32 seconds"
                yield invalid(f"{path}.expirationSeconds", seconds, why)
        for mode in spec.volume_lifecycle_modes:
            if mode not in _LIFECYCLE_MODES:
                # Upstream does not say which of them.
                yield not_supported("spec.volumeLifecycleModes", mode, _LIFECYCLE_MODES, in_given_order=True)
        period, in_secrets = spec.node_allocatable_update_period_seconds, spec.service_account_token_in_secrets
        if period is not None and period < _MIN_PERIOD_SECONDS:
            why = f"must be greater than or equal to {_MIN_PERIOD_SECONDS} seconds"
            yield invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, why)
        if in_secrets is not None and not spec.token_requests:
            why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
            yield invalid("spec.serviceAccountTokenInSecrets", in_secrets, why)

    def validate_update(self, new: CSIDriver, old: CSIDriver) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.spec.attach_required != old.spec.attach_required:
            yield invalid("spec.attachedRequired", new.spec.attach_required, "field is immutable")
        if new.spec.volume_lifecycle_modes != old.spec.volume_lifecycle_modes:
            yield invalid("spec.volumeLifecycleModes", list(new.spec.volume_lifecycle_modes), "field is immutable")
