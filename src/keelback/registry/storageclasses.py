"""StorageClasses: nothing that volumes were made from ever changes."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.storage_v1 import StorageClass
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text


class StorageClassStrategy(Strategy[StorageClass]):
    kind = StorageClass
    answers_deleted_object = True
    counts_generations = False
    columns = (
        text("Provisioner", lambda one: one.provisioner),
        text("ReclaimPolicy", lambda one: one.reclaim_policy),
        text("VolumeBindingMode", lambda one: one.volume_binding_mode),
        Column("AllowVolumeExpansion", lambda one, _now: bool(one.allow_volume_expansion), type="boolean"),
        AGE,
    )

    def validate(self, new: StorageClass) -> Iterator[FieldError]:
        if not new.provisioner:
            yield required("provisioner")
        else:
            for complaint in names.qualified_name(new.provisioner.lower()):
                yield invalid("provisioner", new.provisioner, complaint)
        if new.reclaim_policy not in ("Delete", "Retain"):
            yield not_supported("reclaimPolicy", new.reclaim_policy, ("Delete", "Retain"))
        if new.volume_binding_mode not in ("Immediate", "WaitForFirstConsumer"):
            yield not_supported("volumeBindingMode", new.volume_binding_mode, ("Immediate", "WaitForFirstConsumer"))

    def validate_update(self, new: StorageClass, old: StorageClass) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.parameters != old.parameters:
            yield forbidden("parameters", "updates to parameters are forbidden.")
        if new.provisioner != old.provisioner:
            yield forbidden("provisioner", "updates to provisioner are forbidden.")
        if new.reclaim_policy != old.reclaim_policy:
            yield forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden.")
        if new.volume_binding_mode != old.volume_binding_mode:
            yield invalid("volumeBindingMode", new.volume_binding_mode, "field is immutable")
