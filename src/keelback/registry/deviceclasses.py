"""DeviceClasses: what the devices of a class have in common, and how they are set up."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.resource_v1 import DeviceClass, DeviceClassConfiguration
from keelback.apimachinery.errors import FieldError, invalid
from keelback.registry import device_rules, resource_names
from keelback.registry.strategy import Strategy


class DeviceClassStrategy(Strategy[DeviceClass]):
    kind = DeviceClass
    answers_deleted_object = True
    checks_metadata_as_new = True

    def validate(self, new: DeviceClass) -> Iterator[FieldError]:
        spec = new.spec
        yield from device_rules.selectors(spec.selectors, "spec.selectors")
        yield from device_rules.each(spec.config, "spec.config", _configuration)
        name = spec.extended_resource_name
        if name and not resource_names.is_extended(name):
            yield invalid("spec.extendedResourceName", name, "must be a valid extended resource name")


def _configuration(configuration: DeviceClassConfiguration, path: str) -> Iterator[FieldError]:
    yield from device_rules.opaque(configuration.opaque, f"{path}.opaque")
