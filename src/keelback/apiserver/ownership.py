"""Who wrote which fields: managedFields of every write that is not an apply."""

from __future__ import annotations

from typing import Any

from keelback.apimachinery import field_set, managed_fields
from keelback.apimachinery.meta import ManagedFieldsEntry
from keelback.apimachinery.schema import Schema
from keelback.apiserver.resource_store import Write

NOT_WRITTEN_BY = {
    "": field_set.of(("status",)),
    "status": field_set.of(("spec",), ("metadata",)),
}
"""By endpoint: the fields that it resets, and that its writers therefore do not come to own."""


class ManagedFields:
    """Keeps the managed fields of one resource."""

    def __init__(self, schema: Schema, *, has_status: bool) -> None:
        self._schema = schema
        self._reset = NOT_WRITTEN_BY if has_status else {}

    def track(self, old: Any, new: Any, write: Write) -> tuple[ManagedFieldsEntry, ...]:
        """The managed fields after a write; an apply has brought its own."""
        if write.is_apply:
            entries: tuple[ManagedFieldsEntry, ...] = new.metadata.managed_fields
            return entries
        return managed_fields.track_object(
            old,
            new,
            manager=write.manager,
            schema=self._schema,
            now=write.now,
            subresource=write.subresource,
            reset_fields=self._reset.get(write.subresource, field_set.LEAF),
        )
