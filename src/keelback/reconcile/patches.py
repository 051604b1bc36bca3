"""Patches made from two states: what changed between them, and nothing that a reader did not know."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from keelback.apimachinery.meta import Object, Value
from keelback.client import MergePatch
from keelback.reconcile.writer import Writer

T = TypeVar("T", bound=Object)

_MISSING = object()


def difference(old: Any, new: Any) -> Any:
    """The RFC 7386 merge patch, as a tree, that turns `old` into `new`; an empty dictionary where they are the same."""
    patch: dict[str, Any] = {}
    for key, value in new.items():
        before = old.get(key, _MISSING)
        if isinstance(value, dict) and isinstance(before, dict):
            inner = difference(before, value)
            if inner:
                patch[key] = inner
        elif value != before:
            patch[key] = value
    for key in old.keys() - new.keys():
        patch[key] = None
    return patch


def tree(value: Value) -> Any:
    """The value as plain JSON, the way it goes on the wire."""
    return msgspec.json.decode(msgspec.json.encode(value))


def status_difference(old: Value, new: Value) -> Any:
    """What of a status changed, as the tree of a merge patch; empty where nothing did."""
    return {} if old == new else difference(tree(old), tree(new))


async def write_status(
    client: Writer,
    obj: T,
    old: Value,
    new: Value,
    *,
    resource_version: str = "",
    annotations: Mapping[str, str] = MappingProxyType({}),
) -> T | None:
    """Patch the status of `obj` with what changed from `old` to `new`; the object after it, None where nothing did.

    With a `resourceVersion` only as long as the object is at that one, for what is counted up rather than anew. Raises
    Conflict when it is not. `annotations` that the object lacks go with it: written so they make no new generation.
    """
    changed = status_difference(old, new)
    metadata = obj.metadata
    notes = {key: value for key, value in annotations.items() if metadata.annotations.get(key) != value}
    if not changed and not notes:
        return None
    # The uid makes sure that a namesake made meanwhile does not get this status.
    held: dict[str, Any] = {"uid": metadata.uid}
    if resource_version:
        held["resourceVersion"] = resource_version
    if notes:
        held["annotations"] = notes
    patch = MergePatch({"metadata": held, "status": changed} if changed else {"metadata": held})
    return await client.patch(type(obj), metadata.name, metadata.namespace, patch, "status")
