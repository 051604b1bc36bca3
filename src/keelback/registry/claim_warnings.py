"""What a claim may say and had better not."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.core_v1 import PersistentVolumeClaimSpec
from keelback.apimachinery import quantity


def of_spec(spec: PersistentVolumeClaimSpec, path: str) -> Iterator[str]:
    """The warnings about a claim's spec: there are no fractions of a byte."""
    for field, held in (("requests", spec.resources.requests), ("limits", spec.resources.limits)):
        storage = held.get("storage")
        if storage is not None and quantity.parse(storage).milli_value % 1000:
            where = f"{path}.resources.{field}[storage]"
            yield f'{where}: fractional byte value "{storage}" is invalid, must be an integer'
