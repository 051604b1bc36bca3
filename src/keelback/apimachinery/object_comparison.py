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
from keelback.apimachinery.comparison import UNOWNED, Comparison, compare, compare_at, without_system_fields
from keelback.apimachinery.field_set import LEAF, FieldSet
from keelback.apimachinery.meta import Object, ObjectMeta, Value
from keelback.apimachinery.object_parts import parts_of
from keelback.apimachinery.remembered import remembered
from keelback.apimachinery.schema import Schema
from keelback.apimachinery.unstructured import Unstructured

_SPEC: Final = "spec"
_NO_METADATA: Final = ObjectMeta()
_UNOWNED: Final = frozenset(one.name for one in msgspec.structs.fields(ObjectMeta) if one.encode_name in UNOWNED)


def compare_objects(live: Object | None, new: Object, schema: Schema) -> Comparison:
    """How `live` (None: there was none) became `new`, but for what the server itself keeps in the metadata."""
    if live is None:
        return _compare_new(new, schema)
    if type(live) is type(new) and (by_parts := _compare_parts(live, new, schema)) is not None:
        return by_parts
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
    return remembered(lambda spec: compare({}, {_SPEC: _part_tree(spec)}, schema).changed)


def _compare_parts(live: Object, new: Object, schema: Schema) -> Comparison | None:
    """How the metadata, the spec and the status became others, of which only what differs becomes a tree. None where
    something else did."""
    parts = parts_of(type(new))
    changed: FieldSet = {}
    removed: FieldSet = {}
    for name in new.__struct_fields__:
        old_part, new_part = getattr(live, name), getattr(new, name)
        if old_part is new_part or old_part == new_part:
            continue
        blank = _NO_METADATA if name == "metadata" else parts.get(name)
        field = schema.fields.get(name)
        if blank is None or field is None or field.schema.is_leaf or type(old_part) is not type(new_part):
            return None
        before, after = _differing(old_part, new_part, blank)
        if before != after:
            compare_at(_part_tree(before), _part_tree(after), field.schema, field.path_element, changed, removed)
    return Comparison(changed, removed)


def _differing(old: Value, new: Value, blank: Value) -> tuple[Value, Value]:
    """Two values of one type without what is the same in both, and without what nobody owns."""
    unowned = _UNOWNED if blank is _NO_METADATA else ()
    names = [
        name
        for name, one, other in zip(blank.__struct_fields__, astuple(old), astuple(new), strict=True)
        if one is not other and one != other and name not in unowned
    ]
    return (
        meta.replace(blank, **{name: getattr(old, name) for name in names}),
        meta.replace(blank, **{name: getattr(new, name) for name in names}),
    )


def _part_tree(value: Value) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _tree(obj: Object) -> dict[str, Any]:
    unmanaged = meta.with_metadata(obj, managed_fields=())
    flat = unmanaged.flat() if isinstance(unmanaged, Unstructured) else unmanaged
    return without_system_fields(msgspec.json.decode(msgspec.json.encode(flat)))
