"""How one tree became another, path by path: what decides conflicts and ownership.

It runs on every write, so equal subtrees are passed over by a plain `==` and FieldsV1 is built directly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from keelback.apimachinery.field_set import LEAF, SELF, FieldSet
from keelback.apimachinery.list_elements import FREE, PathElementError, by_path_element, path_element
from keelback.apimachinery.schema import MISSING, Schema, Shape

_LIST: Final = Shape.LIST
_STRUCT: Final = Shape.STRUCT


class Comparison(NamedTuple):
    """How a tree became another: the paths that were added or changed, and those that were removed."""

    changed: FieldSet
    removed: FieldSet

    def __bool__(self) -> bool:
        return bool(self.changed) or bool(self.removed)


def compare(old: Any, new: Any, schema: Schema) -> Comparison:
    """How `old` became `new`. Presence of what Go's zero value has anyway is neither added nor removed."""
    if old == new:
        return Comparison(LEAF, LEAF)
    changed: FieldSet = {}
    removed: FieldSet = {}
    _compare_map(old, new, schema, changed, removed)
    return Comparison(changed, removed)


UNOWNED: Final = frozenset({"name", "namespace", "creationTimestamp", "selfLink", "uid", "generation"}) | frozenset(
    {"managedFields", "resourceVersion"}
)


def without_system_fields(tree: Mapping[str, Any]) -> dict[str, Any]:
    """An object's tree without what nobody owns: comparing it would only be thrown away."""
    trimmed = dict(tree)
    trimmed.pop("kind", None)
    trimmed.pop("apiVersion", None)
    metadata = trimmed.get("metadata")
    if isinstance(metadata, Mapping):
        trimmed["metadata"] = {name: value for name, value in metadata.items() if name not in UNOWNED}
    return trimmed


def _present(tree: Any, schema: Schema) -> FieldSet:
    """The node of a subtree that only one side has: containers are members along with what they hold."""
    if schema.is_leaf or not tree:
        return LEAF
    if isinstance(tree, dict):
        shape = schema.shape
        if shape is _STRUCT:
            result: FieldSet = {SELF: LEAF}
            fields = schema.fields
            native = schema.native
            for name, value in tree.items():
                if value is None and native:
                    continue
                field = fields.get(name)
                if field is None:
                    result[f"f:{name}"] = _present(value, schema.element or FREE)
                elif field.schema.is_leaf or not value:
                    result[field.path_element] = LEAF
                else:
                    result[field.path_element] = _present(value, field.schema)
            return result
        if shape is not _LIST:
            below = schema.element or FREE
            if below.is_leaf:
                return {SELF: LEAF, **{f"f:{name}": LEAF for name in tree}}
            return {SELF: LEAF, **{f"f:{name}": _present(value, below) for name, value in tree.items()}}
    if isinstance(tree, list) and schema.shape is _LIST and schema.element is not None:
        try:
            by_element, repeated = by_path_element(tree, schema)
        except PathElementError:
            return LEAF
        result = {SELF: LEAF}
        element_schema = schema.element
        for element, item in by_element.items():
            result[element] = LEAF if element in repeated else _present(item, element_schema)
        return result
    return LEAF


def _compare_map(
    old: Mapping[str, Any], new: Mapping[str, Any], schema: Schema, changed: FieldSet, removed: FieldSet
) -> None:
    fields = schema.fields
    native = schema.native
    for name, value in new.items():
        before = old.get(name, MISSING)
        if before == value:
            continue
        field = fields.get(name)
        if native:
            # Null is how Go writes what is absent.
            if value is None:
                if before is MISSING:
                    continue
                value = MISSING
            if before is None:
                before = MISSING
        if field is None:
            compare_at(before, value, schema.element or FREE, f"f:{name}", changed, removed)
            continue
        if before is MISSING and field.always:
            if not value:
                continue
            before = {} if field.schema.shape is _STRUCT else None
        compare_at(before, value, field.schema, field.path_element, changed, removed)
    for name, before in old.items():
        if name in new:
            continue
        field = fields.get(name)
        if field is None:
            removed[f"f:{name}"] = _present(before, schema.element or FREE)
        elif field.always and field.schema.shape is _STRUCT and not field.schema.is_leaf:
            compare_at(before, {}, field.schema, field.path_element, changed, removed)
        elif before is not None or not native:
            removed[field.path_element] = _present(before, field.schema)


def compare_at(before: Any, value: Any, schema: Schema, element: str, changed: FieldSet, removed: FieldSet) -> None:
    """Compare what stands at one path element on both sides, one of which may be `MISSING`; what differs goes into the
    two sets."""
    if before is MISSING:
        changed[element] = _present(value, schema)
        return
    if value is MISSING:
        removed[element] = _present(before, schema)
        return
    if schema.is_leaf:
        changed[element] = LEAF
        return
    if not before and not value:
        if before is not None:
            changed[element] = LEAF
        return
    before_or_empty = type(value)() if before is None else before
    value_or_empty = type(before)() if value is None else value
    below_changed: FieldSet = {}
    below_removed: FieldSet = {}
    if isinstance(before_or_empty, dict) and isinstance(value_or_empty, dict):
        _compare_map(before_or_empty, value_or_empty, schema, below_changed, below_removed)
    elif schema.shape is _LIST and isinstance(before_or_empty, list) and isinstance(value_or_empty, list):
        try:
            _compare_list(before_or_empty, value_or_empty, schema, below_changed, below_removed)
        except PathElementError:
            changed[element] = LEAF
            return
    else:
        changed[element] = LEAF
        return
    if below_changed:
        changed[element] = below_changed
    if below_removed:
        removed[element] = below_removed


def _compare_list(old: Sequence[Any], new: Sequence[Any], schema: Schema, changed: FieldSet, removed: FieldSet) -> None:
    assert schema.element is not None
    before_by_element, repeated_before = by_path_element(old, schema)
    now_by_element, repeated_now = by_path_element(new, schema)
    for element, item in now_by_element.items():
        before = before_by_element.get(element, MISSING)
        if element in repeated_now or element in repeated_before:
            if _all_of(old, element, schema) != _all_of(new, element, schema):
                changed[element] = LEAF
        elif before != item:
            compare_at(before, item, schema.element, element, changed, removed)
    for element, item in before_by_element.items():
        if element not in now_by_element:
            removed[element] = LEAF if element in repeated_before else _present(item, schema.element)


def _all_of(items: Sequence[Any], element: str, schema: Schema) -> list[Any]:
    return [item for item in items if path_element(item, schema) == element]
