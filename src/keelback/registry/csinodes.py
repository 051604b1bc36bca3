"""CSINodes."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.storage_v1 import CSINode
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, required
from keelback.apimachinery.meta import replace
from keelback.registry import volume_sources
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number

_LONGEST_ID = 256


class CSINodeStrategy(Strategy[CSINode]):
    kind = CSINode
    needs_resource_version_to_update = True
    checks_metadata_twice = False
    checks_metadata_as_new = True
    answers_deleted_object = True
    counts_generations = False
    columns = (number("Drivers", lambda one: len(one.spec.drivers or ())), AGE)

    def validate(self, new: CSINode) -> Iterator[FieldError]:
        seen: set[str] = set()
        for index, driver in enumerate(new.spec.drivers or ()):
            path = f"spec.drivers[{index}]"
            yield from volume_sources.validate_driver(driver.name, f"{path}.name")
            if not driver.node_id:
                yield required(f"{path}.nodeID")
            elif len(driver.node_id) > _LONGEST_ID:
                problem = f"must be {_LONGEST_ID} characters or less"
                yield invalid(f"{path}.nodeID", driver.node_id, problem)
            if driver.allocatable is not None and (driver.allocatable.count or 0) < 0:
                yield invalid(
                    f"{path}.allocatable.count", driver.allocatable.count, "must be greater than or equal to 0"
                )
            if driver.name in seen:
                yield duplicate(f"{path}.name", driver.name)
            seen.add(driver.name)
            # Upstream does not say that it is about the keys.
            keys = driver.topology_keys or ()
            for place, key in enumerate(keys):
                if not key:
                    yield required(path)
                if key in keys[:place]:
                    yield duplicate(path, key)
                for complaint in names.qualified_name(key):
                    yield invalid(path, key, complaint)

    def validate_update(self, new: CSINode, old: CSINode) -> Iterator[FieldError]:
        yield from self.validate(new)
        now = {one.name: replace(one, allocatable=None) for one in new.spec.drivers or ()}
        for driver in old.spec.drivers or ():
            after = now.get(driver.name)
            if after is not None and after != replace(driver, allocatable=None):
                yield invalid("spec.drivers", internal(after), "field is immutable")
