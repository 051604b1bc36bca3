"""RuntimeClasses: their handler never changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keelback.api.node_v1 import RuntimeClass
from keelback.apimachinery import names, validation
from keelback.apimachinery.errors import FieldError, duplicate, invalid
from keelback.registry import container_resources, node_label_warnings, placement
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text


class RuntimeClassStrategy(Strategy[RuntimeClass]):
    kind = RuntimeClass
    needs_resource_version_to_update = True
    is_created_by_update = True
    bare_finalizers = True
    counts_generations = False
    columns = (text("Handler", lambda one: one.handler), AGE)

    def validate(self, new: RuntimeClass) -> Iterator[FieldError]:
        for complaint in names.dns1123_label(new.handler):
            yield invalid("handler", new.handler, complaint)
        if new.overhead is not None:
            yield from container_resources.validate_overhead(new.overhead.pod_fixed, "overhead.podFixed")
        if new.scheduling is not None:
            yield from validation.label_map(new.scheduling.node_selector, "scheduling.nodeSelector")
            tolerations, path = new.scheduling.tolerations, "scheduling.tolerations"
            yield from placement.validate_tolerations(tolerations, path)
            for index, toleration in enumerate(tolerations):
                if toleration in tolerations[:index]:
                    yield duplicate(f"{path}[{index}]", toleration)

    def validate_update(self, new: RuntimeClass, old: RuntimeClass) -> Iterator[FieldError]:
        if new.handler != old.handler:
            yield invalid("handler", new.handler, "field is immutable")

    def warnings(self, new: RuntimeClass, old: RuntimeClass | None) -> Iterable[str]:
        for key in new.scheduling.node_selector if new.scheduling is not None else ():
            if key in node_label_warnings.DEPRECATED:
                yield f"scheduling.nodeSelector: {node_label_warnings.DEPRECATED[key]}"
