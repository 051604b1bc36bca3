"""How one typed object became another, path by path, without making trees of what stayed as it was.

Most writes change little: a binding gives a pod a node, a kubelet its status. And what is new is often known: the spec
of one pod of a template is that of all the others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec.structs import astuple

from keelback.apimachinery import meta
from keelback.apimachinery.comparison import Comparison, compare, without_system_fields
from keelback.apimachinery.field_set import LEAF, FieldSet
from keelback.apimachinery.meta import Object, ObjectMeta, Value
from keelback.apimachinery.object_parts import parts_of
from keelback.apimachinery.remembered import remembered
from keelback.apimachinery.schema import Schema
from keelback.apimachinery.unstructured import Unstructured

_SPEC: Final = "spec"
_NO_METADATA: Final = ObjectMeta()
_SYSTEM: Final = frozenset({"managed_fields", "resource_version"})
"""What differs in every write, and nobody owns."""


def compare_objects(live: Object | None, new: Object, schema: Schema) -> Comparison:
    """How `live` (None: there was none) became `new`, but for what the server itself keeps in the metadata."""
    if live is None:
        return _compare_new(new, schema)
    if type(live) is type(new):
        live, new = _without_what_stayed(live, new, schema)
    return compare(_tree(live), _tree(new), schema)


def _compare_new(new: Object, schema: Schema) -> Comparison:
    blank = parts_of(type(new)).get(_SPEC)
    if blank is None:
        return compare({}, _tree(new), schema)
    spec = getattr(new, _SPEC)
    tree = _tree(meta.replace(new, **{_SPEC: blank}))
    del tree[_SPEC]
    return Comparison({**compare({}, tree, schema).changed, **_of_new_spec(schema)(spec)}, LEAF)


@lru_cache(maxsize=256)
def _of_new_spec(schema: Schema) -> Callable[[Value], FieldSet]:
    return remembered(lambda spec: compare({}, {_SPEC: msgspec.json.decode(msgspec.json.encode(spec))}, schema).changed)


def _without_what_stayed(live: Object, new: Object, schema: Schema) -> tuple[Object, Object]:
    """Both without what is the same in both, part by part."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name, blank in (*parts_of(type(new)).items(), ("metadata", _NO_METADATA)):
        old_part, new_part = getattr(live, name), getattr(new, name)
        if old_part is new_part or old_part == new_part:
            before[name] = after[name] = blank
            continue
        field = schema.fields.get(name)
        if field is None or field.schema.is_leaf or not type(old_part) is type(blank) is type(new_part):
            continue
        differing = [
            (one, old, latest)
            for one, old, latest in zip(blank.__struct_fields__, astuple(old_part), astuple(new_part), strict=True)
            if old is not latest and old != latest and not (name == "metadata" and one in _SYSTEM)
        ]
        before[name] = meta.replace(blank, **{one: old for one, old, _ in differing})
        after[name] = meta.replace(blank, **{one: latest for one, _, latest in differing})
    return meta.replace(live, **before), meta.replace(new, **after)


def _tree(obj: Object) -> dict[str, Any]:
    unmanaged = meta.with_metadata(obj, managed_fields=())
    flat = unmanaged.flat() if isinstance(unmanaged, Unstructured) else unmanaged
    return without_system_fields(msgspec.json.decode(msgspec.json.encode(flat)))
