"""CSIStorageCapacities."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.storage_v1 import CSIStorageCapacity
from keelback.apimachinery.errors import FieldError, invalid
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text


class CSIStorageCapacityStrategy(Strategy[CSIStorageCapacity]):
    kind = CSIStorageCapacity
    counts_generations = False
    columns = (
        text("StorageClassName", lambda one: one.storage_class_name),
        text("Capacity", lambda one: one.capacity or "<unset>"),
        AGE,
    )

    def validate_update(self, new: CSIStorageCapacity, old: CSIStorageCapacity) -> Iterator[FieldError]:
        if new.storage_class_name != old.storage_class_name:
            yield invalid("storageClassName", new.storage_class_name, "field is immutable")
        if new.node_topology != old.node_topology:
            yield invalid("nodeTopology", new.node_topology, "field is immutable")
