"""DeviceClasses: what the devices of a class have in common, and how they are set up."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.resource_v1 import DeviceClass
from keelback.apimachinery.errors import FieldError, required, too_many
from keelback.registry.resource_claims import opaque_problems
from keelback.registry.strategy import Strategy

_MOST = 32


class DeviceClassStrategy(Strategy[DeviceClass]):
    kind = DeviceClass
    answers_deleted_object = True

    def validate(self, new: DeviceClass) -> Iterator[FieldError]:
        spec = new.spec
        if len(spec.selectors) > _MOST:
            yield too_many("spec.selectors", len(spec.selectors), _MOST)
        for index, selector in enumerate(spec.selectors):
            if selector.cel is None:
                yield required(f"spec.selectors[{index}].cel")
            elif not selector.cel.expression:
                yield required(f"spec.selectors[{index}].cel.expression")
        if len(spec.config) > _MOST:
            yield too_many("spec.config", len(spec.config), _MOST)
        for index, config in enumerate(spec.config):
            yield from opaque_problems(config.opaque, f"spec.config[{index}].opaque")
