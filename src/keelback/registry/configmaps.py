"""ConfigMaps."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.core_v1 import ConfigMap
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, too_long
from keelback.registry.strategy import AGE, Column, Strategy

MAX_BYTES = 1024 * 1024


class ConfigMapStrategy(Strategy[ConfigMap]):
    kind = ConfigMap
    checks_metadata_as_new = True
    counts_generations = False
    columns = (Column("Data", lambda one, _now: len(one.data) + len(one.binary_data)), AGE)

    def validate(self, new: ConfigMap) -> Iterator[FieldError]:
        total = 0
        for key, value in new.data.items():
            for complaint in names.config_map_key(key):
                yield invalid(f"data[{key}]", key, complaint)
            if key in new.binary_data:
                yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
            total += len(value) if value.isascii() else len(value.encode())
        for key, data in new.binary_data.items():
            for complaint in names.config_map_key(key):
                yield invalid(f"binaryData[{key}]", key, complaint)
            total += len(data)
        if total > MAX_BYTES:
            yield too_long("[]", MAX_BYTES)

    def validate_update(self, new: ConfigMap, old: ConfigMap) -> Iterator[FieldError]:
        if old.immutable:
            if not new.immutable:
                yield forbidden("immutable", "field is immutable when `immutable` is set")
            if new.data != old.data:
                yield forbidden("data", "field is immutable when `immutable` is set")
            if new.binary_data != old.binary_data:
                yield forbidden("binaryData", "field is immutable when `immutable` is set")
        yield from self.validate(new)
