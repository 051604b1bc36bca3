"""CSINodes."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.storage_v1 import CSINode
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, required
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number

_LONGEST_ID = 192


class CSINodeStrategy(Strategy[CSINode]):
    kind = CSINode
    checks_metadata_twice = False
    checks_metadata_as_new = True
    answers_deleted_object = True
    counts_generations = False
    columns = (number("Drivers", lambda one: len(one.spec.drivers or ())), AGE)

    def validate(self, new: CSINode) -> Iterator[FieldError]:
        seen: set[str] = set()
        for index, driver in enumerate(new.spec.drivers or ()):
            path = f"spec.drivers[{index}]"
            if not driver.name:
                yield required(f"{path}.name")
            if driver.name in seen:
                yield duplicate(f"{path}.name", driver.name)
            seen.add(driver.name)
            if not driver.node_id:
                yield required(f"{path}.nodeID")
            elif len(driver.node_id) > _LONGEST_ID:
                problem = f"must be {_LONGEST_ID} characters or less"
                yield invalid(f"{path}.nodeID", driver.node_id, problem)
            for place, key in enumerate(driver.topology_keys):
                if key in driver.topology_keys[:place]:
                    yield duplicate(f"{path}.topologyKeys", key)
                for complaint in names.qualified_name(key):
                    yield invalid(f"{path}.topologyKeys", key, complaint)
            if driver.allocatable is not None and (driver.allocatable.count or 0) < 0:
                yield invalid(
                    f"{path}.allocatable.count", driver.allocatable.count, "must be greater than or equal to 0"
                )
