"""Trees seen through a schema: which fields they have, merging them, removing fields from them.

With `comparison` this is upstream's structured-merge-diff on plain JSON trees. No function changes its arguments;
results share parts with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from keelback.apimachinery.field_set import LEAF, SELF, FieldSet, is_member
from keelback.apimachinery.list_elements import FREE, by_path_element, path_element, schema_below
from keelback.apimachinery.schema import MISSING, Scalar, Schema, Shape

_LIST: Final = Shape.LIST


def field_set(tree: Any, schema: Schema) -> FieldSet:
    """The paths of every leaf and list element of a tree: what an applied configuration owns."""
    return _owned(tree, schema)


def merge(live: Any, config: Any, schema: Schema) -> Any:
    """`live` with everything that `config` says."""
    merged = _merged(live, config, schema)
    return {} if merged is MISSING else merged


def without(tree: Any, fields: FieldSet, schema: Schema) -> Any:
    """The tree without the members of a set and all that is below them; None if nothing is left of a list or map."""
    if not tree or schema.shape is Shape.SCALAR:
        return tree
    if schema.atomic:
        return None
    if isinstance(tree, list):
        return _list_without(tree, fields, schema) if schema.shape is _LIST else None
    if not isinstance(tree, dict):
        return tree
    kept: dict[str, Any] = {}
    for name, value in tree.items():
        node = fields.get(f"f:{name}")
        if node is not None:
            if is_member(node):
                continue
            remaining = without(value, node, schema_below(schema, name))
            if remaining is None and value is not None:
                continue
            value = remaining
        kept[name] = value
    return kept or None


def with_named_members(fields: FieldSet, schema: Schema) -> FieldSet:
    """The set with each declared field a member that has members below it, so that removing them can remove it."""
    result: FieldSet = {}
    for element, node in fields.items():
        if element == SELF:
            result[element] = node
            continue
        is_field = element.startswith("f:")
        below = schema_below(schema, element[2:]) if is_field else schema.element or FREE
        nested = with_named_members(node, below) if node else LEAF
        if nested and is_field and SELF not in nested and element[2:] in schema.fields:
            nested = {SELF: LEAF, **nested}
        result[element] = nested
    return result


def reconciled(fields: FieldSet, schema: Schema) -> FieldSet:
    """A set with what lies below atomic parts replaced by those parts themselves."""
    if not fields or schema.shape is Shape.ANY:
        return fields
    if schema.is_leaf:
        return LEAF
    result: FieldSet = {}
    for element, node in fields.items():
        inner = schema_below(schema, element[2:]) if element.startswith("f:") else schema.element or FREE
        result[element] = reconciled(node, inner) if node else LEAF
    return result


def without_nulls(tree: Any, schema: Schema) -> Any:
    """A built-in's tree as Go reads it: a null field is absent, a null in a map or list is the zero value."""
    if isinstance(tree, dict):
        cleaned: dict[str, Any] = {}
        for name, value in tree.items():
            below = schema_below(schema, name)
            if value is None and name in schema.fields:
                continue
            cleaned[name] = _zero(below) if value is None else without_nulls(value, below)
        return cleaned
    if isinstance(tree, list):
        element = schema.element or schema
        return [_zero(element) if value is None else without_nulls(value, element) for value in tree]
    return tree


def _owned(tree: Any, schema: Schema) -> FieldSet:
    """The node of a subtree: empty where it is a leaf; it has no "." of its own."""
    if schema.is_leaf or not tree:
        return LEAF
    result: FieldSet = {}
    if isinstance(tree, dict) and schema.shape is not _LIST:
        fields = schema.fields
        for name, value in tree.items():
            node = _owned(value, schema_below(schema, name))
            # Keys of a map are members themselves; declared fields only where they are leaves.
            result[f"f:{name}"] = {SELF: LEAF, **node} if node and name not in fields else node
        return result
    if isinstance(tree, list) and schema.shape is _LIST and schema.element is not None:
        by_element, repeated = by_path_element(tree, schema)
        for element, item in by_element.items():
            node = LEAF if element in repeated else _owned(item, schema.element)
            result[element] = {SELF: LEAF, **node} if node else LEAF
        return result
    return LEAF


def _merged(live: Any, config: Any, schema: Schema) -> Any:
    if config is MISSING:
        return live
    if live is MISSING or schema.is_leaf or (not live and not config):
        return config
    if isinstance(config, dict) or (config is None and isinstance(live, dict)):
        return _merged_map(live if isinstance(live, dict) else {}, config or {}, schema)
    if schema.shape is _LIST and (isinstance(config, list) or config is None):
        return _merged_list(live if isinstance(live, list) else [], config or [], schema)
    return config


def _merged_map(live: Mapping[str, Any], config: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    merged = dict(live)
    for name, value in config.items():
        merged[name] = _merged(live.get(name, MISSING), value, schema_below(schema, name))
    return merged


def _merged_list(live: Sequence[Any], config: Sequence[Any], schema: Schema) -> list[Any]:
    """Elements of both: in the order of the configuration where it says one, else where they were.

    Walks both lists at once, as upstream does: elements only `live` has stay before the shared one that they preceded.
    """
    assert schema.element is not None
    live_elements = [path_element(item, schema) for item in live]
    config_elements = [path_element(item, schema) for item in config]
    by_live: dict[str, Any] = {}
    repeated: set[str] = set()
    for element, item in zip(live_elements, live, strict=True):
        if element in by_live:
            repeated.add(element)
        by_live[element] = item
    by_config = dict(zip(config_elements, config, strict=True))
    # An element that `live` has more than once cannot be merged with: the configuration's takes the place of all.
    mergeable = {element: item for element, item in by_live.items() if element not in repeated}
    shared = [element for element in config_elements if element in by_live]
    next_shared = 0
    taken: set[str] = set()
    out: list[Any] = []

    def take(element: str) -> None:
        taken.add(element)
        out.append(_merged(mergeable.get(element, MISSING), by_config[element], schema.element or FREE))

    at_live = at_config = 0
    while at_live < len(live) or at_config < len(config):
        if at_live < len(live) and at_config < len(config):
            element = live_elements[at_live]
            if element == config_elements[at_config]:
                take(element)
                at_live += 1
                at_config += 1
                next_shared += 1
                continue
            if element in by_config and next_shared < len(shared) and shared[next_shared] != element:
                at_live += 1
                continue
        if at_live < len(live):
            element = live_elements[at_live]
            if element not in by_config:
                out.append(live[at_live])
                at_live += 1
                continue
            if element in taken:
                at_live += 1
        if at_config < len(config):
            element = config_elements[at_config]
            take(element)
            at_config += 1
            if next_shared < len(shared) and shared[next_shared] == element:
                next_shared += 1
    return out


def _list_without(items: Sequence[Any], fields: FieldSet, schema: Schema) -> list[Any] | None:
    kept: list[Any] = []
    for item in items:
        node = fields.get(path_element(item, schema))
        if node is not None:
            if is_member(node):
                continue
            item = without(item, node, schema.element or FREE)
        kept.append(item)
    return kept or None


def _zero(schema: Schema) -> Any:
    match schema.shape:
        case Shape.SCALAR:
            return {Scalar.STRING: "", Scalar.NUMERIC: 0, Scalar.BOOLEAN: False}.get(schema.scalar, "0")
        case Shape.STRUCT:
            return {}
        case _:
            return None
