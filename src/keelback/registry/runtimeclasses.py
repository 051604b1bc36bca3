"""RuntimeClasses: their handler never changes."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.node_v1 import RuntimeClass
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text


class RuntimeClassStrategy(Strategy[RuntimeClass]):
    kind = RuntimeClass
    counts_generations = False
    columns = (text("Handler", lambda one: one.handler), AGE)

    def validate(self, new: RuntimeClass) -> Iterator[FieldError]:
        for complaint in names.dns1123_label(new.handler):
            yield invalid("handler", new.handler, complaint)

    def validate_update(self, new: RuntimeClass, old: RuntimeClass) -> Iterator[FieldError]:
        if new.handler != old.handler:
            yield invalid("handler", new.handler, "field is immutable")
