"""The parts of an object that a patch touches: only they need become a tree, and an object again.

A status patch of a pod leaves its spec and most of its metadata alone, which is more than half of what there would be
to convert there and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import replace

from keelback.apimachinery.errors import StatusError
from keelback.apimachinery.meta import ObjectMeta


def patched(old: Any, patch: Mapping[str, Any], apply: Callable[[Any], Any]) -> Any:
    """What `apply` makes of the object by this patch, which is shown no more of it than the patch touches.

    The words of a failure may tell of more: then `apply` has the whole object.
    """
    cls: Any = type(old)
    metadata = patch.get("metadata")
    touched = _attributes(cls, patch)
    inner = _attributes(ObjectMeta, metadata) if isinstance(metadata, dict) else None
    if touched is None or (inner is None and "metadata" in patch):
        return apply(old)
    part = {name: getattr(old, name) for name in touched}
    if inner is not None:
        part["metadata"] = ObjectMeta(**{name: getattr(old.metadata, name) for name in inner})
    try:
        made = apply(cls(**part))
    except StatusError:
        return apply(old)
    changed = {name: getattr(made, name) for name in touched}
    if inner is not None:
        changed["metadata"] = replace(old.metadata, **{name: getattr(made.metadata, name) for name in inner})
    return replace(old, **changed)


def _attributes(cls: Any, patch: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The attributes that the names in a patch stand for; None where one is a directive, or unknown."""
    known = _known(cls)
    try:
        return tuple([known[name] for name in patch])
    except KeyError:
        return None


@cache
def _known(cls: Any) -> Mapping[str, str]:
    return {field.encode_name: field.name for field in msgspec.structs.fields(cls)}
