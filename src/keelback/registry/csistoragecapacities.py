"""CSIStorageCapacities."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keelback.api.storage_v1 import CSIStorageCapacity
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, invalid
from keelback.registry import label_selectors, node_label_warnings
from keelback.registry.strategy import Strategy
from keelback.registry.workloads import text


class CSIStorageCapacityStrategy(Strategy[CSIStorageCapacity]):
    kind = CSIStorageCapacity
    needs_resource_version_to_update = True
    counts_generations = False
    columns = (
        text("StorageClassName", lambda one: one.storage_class_name),
        text("Capacity", lambda one: one.capacity or "<unset>"),
    )

    def validate(self, new: CSIStorageCapacity) -> Iterator[FieldError]:
        yield from label_selectors.validate(new.node_topology, "nodeTopology")
        for complaint in names.dns1123_subdomain(new.storage_class_name):
            yield invalid("storageClassName", new.storage_class_name, complaint)
        if new.capacity is not None and quantity.parse(new.capacity).nanos < 0:
            yield invalid("capacity", new.capacity, "must be greater than or equal to 0")

    def validate_update(self, new: CSIStorageCapacity, old: CSIStorageCapacity) -> Iterator[FieldError]:
        if new.node_topology != old.node_topology:
            yield invalid("nodeTopology", new.node_topology, "field is immutable")
        if new.storage_class_name != old.storage_class_name:
            yield invalid("storageClassName", new.storage_class_name, "field is immutable")

    def warnings(self, new: CSIStorageCapacity, old: CSIStorageCapacity | None) -> Iterable[str]:
        return node_label_warnings.of_selector(new.node_topology, "nodeTopology")
