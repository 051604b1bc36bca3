"""Who wrote which fields: managedFields of every write that is not an apply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keelback.apimachinery import field_set, managed_fields
from keelback.apimachinery.field_set import FieldSet
from keelback.apimachinery.meta import ManagedFieldsEntry, replace
from keelback.apimachinery.schema import Schema
from keelback.apiserver.resource_store import Write


def _nothing(subresource: str) -> FieldSet:
    return field_set.LEAF


class ManagedFields:
    """Keeps the managed fields of one resource. `not_written_by` tells which fields an endpoint resets."""

    def __init__(
        self, schema: Schema | Callable[[], Schema], not_written_by: Callable[[str], FieldSet] = _nothing
    ) -> None:
        # Schemas of custom resources are large, and made when the first object is written.
        self._given = schema
        self._not_written_by = not_written_by

    def track(self, old: Any, new: Any, write: Write) -> tuple[ManagedFieldsEntry, ...]:
        """The managed fields after a write; an apply has brought its own."""
        if write.is_apply:
            entries: tuple[ManagedFieldsEntry, ...] = new.metadata.managed_fields
            return entries
        entries = managed_fields.track_object(
            old,
            new,
            manager=write.manager,
            schema=self._given() if callable(self._given) else self._given,
            now=write.now,
            subresource=write.subresource,
            reset_fields=self._not_written_by(write.subresource),
        )
        if write.subresource == "scale":
            # As upstream, who came to own the replicas this way gets no time.
            return tuple(replace(one, time=None) if one.subresource == "scale" else one for one in entries)
        return entries
