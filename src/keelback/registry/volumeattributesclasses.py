"""VolumeAttributesClasses: nothing in them ever changes."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.storage_v1 import VolumeAttributesClass
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, required
from keelback.registry.storageclasses import validate_parameters
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text


class VolumeAttributesClassStrategy(Strategy[VolumeAttributesClass]):
    kind = VolumeAttributesClass
    checks_metadata_as_new = True
    answers_deleted_object = True
    counts_generations = False
    columns = (text("DriverName", lambda one: one.driver_name), AGE)

    def validate(self, new: VolumeAttributesClass) -> Iterator[FieldError]:
        if not new.driver_name:
            yield required("driverName")
        else:
            for complaint in names.qualified_name(new.driver_name.lower()):
                yield invalid("driverName", new.driver_name.lower(), complaint)
        yield from validate_parameters(new.parameters)
        if not new.parameters:
            yield required("parameters", "must contain at least one key/value pair")

    def validate_update(self, new: VolumeAttributesClass, old: VolumeAttributesClass) -> Iterator[FieldError]:
        if new.driver_name != old.driver_name:
            yield forbidden("driverName", "updates to driverName are forbidden.")
        if new.parameters != old.parameters:
            yield forbidden("parameters", "updates to parameters are forbidden.")
        yield from self.validate(new)
