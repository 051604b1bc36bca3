"""IngressClasses: their controller never changes."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.networking_v1 import IngressClass
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry.cells import NONE
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text


def _parameters(ingress_class: IngressClass) -> str:
    given = ingress_class.spec.parameters
    if given is None:
        return NONE
    return f"{given.kind}.{given.api_group}/{given.name}" if given.api_group else f"{given.kind}/{given.name}"


class IngressClassStrategy(Strategy[IngressClass]):
    kind = IngressClass
    columns = (text("Controller", lambda one: one.spec.controller), text("Parameters", _parameters), AGE)

    def validate(self, new: IngressClass) -> Iterator[FieldError]:
        if not new.spec.controller:
            yield required("spec.controller")
        elif len(new.spec.controller) > 250:
            yield FieldError("spec.controller", "FieldValueTooLong", "may not be more than 250 bytes")

    def validate_update(self, new: IngressClass, old: IngressClass) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.spec.controller != old.spec.controller:
            yield invalid("spec.controller", new.spec.controller, "field is immutable")
