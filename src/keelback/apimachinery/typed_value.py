"""Trees seen through a schema: what is wrong with them, which fields they have, how two differ, merging, removing.

This is upstream's structured-merge-diff on plain JSON trees. No function changes its arguments; results share parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from keelback.apimachinery.field_set import LEAF, SELF, FieldSet, is_member
from keelback.apimachinery.schema import MISSING, ListType, Scalar, Schema, Shape

_LIST: Final = Shape.LIST
_STRUCT: Final = Shape.STRUCT
_MAP: Final = Shape.MAP
_ANY: Final = Shape.ANY
_SET: Final = ListType.SET


class PathElementError(ValueError):
    """A list element that cannot be told apart from others; the message is upstream's."""


class Comparison(NamedTuple):
    """How a tree became another: the paths that were added or changed, and those that were removed."""

    changed: FieldSet
    removed: FieldSet

    def __bool__(self) -> bool:
        return bool(self.changed) or bool(self.removed)


def field_set(tree: Any, schema: Schema) -> FieldSet:
    """The paths of every leaf and list element of a tree: what an applied configuration owns."""
    return _owned(tree, schema)


def compare(old: Any, new: Any, schema: Schema) -> Comparison:
    """How `old` became `new`. Presence of what Go's zero value has anyway is neither added nor removed."""
    if old == new:
        return Comparison(LEAF, LEAF)
    changed: FieldSet = {}
    removed: FieldSet = {}
    _compare_map(old, new, schema, changed, removed)
    return Comparison(changed, removed)


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
            remaining = without(value, node, _below(schema, name))
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
        below = _below(schema, element[2:]) if is_field else schema.element or _FREE
        nested = with_named_members(node, below) if node else LEAF
        if nested and is_field and SELF not in nested and element[2:] in schema.fields:
            nested = {SELF: LEAF, **nested}
        result[element] = nested
    return result


def errors(tree: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """What is wrong with a tree that shall be applied, in upstream's words: types, unknown fields, list keys."""
    if tree is None:
        return
    match schema.shape:
        case Shape.SCALAR:
            complaint = _scalar_error(tree, schema.scalar)
            if complaint:
                yield _at(path, complaint)
        case Shape.STRUCT | Shape.MAP:
            if not isinstance(tree, dict):
                yield _at(path, f"expected map, got {_go(tree)}")
                return
            for name, value in tree.items():
                below = schema.below(name)
                if below is None:
                    yield _at(f"{path}.{name}", "field not declared in schema")
                else:
                    yield from errors(value, below, f"{path}.{name}")
        case Shape.LIST:
            if not isinstance(tree, list):
                yield _at(path, f"expected list, got {_go(tree)}")
                return
            yield from _list_errors(tree, schema, path)
        case _:
            return


def without_nulls(tree: Any, schema: Schema) -> Any:
    """A built-in's tree as Go reads it: a null field is absent, a null in a map or list is the zero value."""
    if isinstance(tree, dict):
        cleaned: dict[str, Any] = {}
        for name, value in tree.items():
            below = _below(schema, name)
            if value is None and name in schema.fields:
                continue
            cleaned[name] = _zero(below) if value is None else without_nulls(value, below)
        return cleaned
    if isinstance(tree, list):
        element = schema.element or schema
        return [_zero(element) if value is None else without_nulls(value, element) for value in tree]
    return tree


def path_element(item: Any, schema: Schema) -> str:
    """What tells an element of an associative list apart: `k:{"name":"c"}` or `v:"value"`.

    Raises:
        PathElementError: The element has no such thing.
    """
    if schema.list_type is _SET:
        if isinstance(item, dict):
            raise PathElementError("associative list without keys has an element that's a map type")
        if isinstance(item, list):
            raise PathElementError("not supported: associative list with lists as elements")
        if item is None:
            raise PathElementError("associative list without keys has an element that's an explicit null")
        return f"v:{_json(item)}" if isinstance(item, str) else f"v:{msgspec.json.encode(item).decode()}"
    if item is None:
        raise PathElementError("associative list with keys may not have a null element")
    if not isinstance(item, dict):
        raise PathElementError("associative list with keys may not have non-map elements")
    keys = schema.keys
    if len(keys) == 1:
        value = item.get(keys[0], MISSING)
        if isinstance(value, str):
            return f'k:{{"{keys[0]}":{_json(value)}}}'
    return "k:" + msgspec.json.encode({key: _key_value(item, key, schema) for key in keys}).decode()


def _key_value(item: Mapping[str, Any], key: str, schema: Schema) -> Any:
    value = item.get(key, MISSING)
    if value is not MISSING:
        return value
    declared = schema.element.fields.get(key) if schema.element is not None else None
    if declared is None or declared.default is MISSING:
        raise PathElementError(
            f'associative list with keys has an element that omits key field "{key}" (and doesn\'t have default value)'
        )
    return declared.default


@lru_cache(maxsize=16384)
def _json(text: str) -> str:
    return msgspec.json.encode(text).decode()


_FREE: Final = Schema(Shape.ANY)


def _below(schema: Schema, name: str) -> Schema:
    """The schema of a member; what is not declared is free-form."""
    field = schema.fields.get(name)
    if field is not None:
        return field.schema
    return schema.element if schema.element is not None and schema.shape is not _LIST else _FREE


def _elements(items: Sequence[Any], schema: Schema) -> tuple[dict[str, Any], frozenset[str]]:
    """List elements by path element, and those path elements that occur more than once."""
    by_element: dict[str, Any] = {}
    repeated: set[str] = set()
    for item in items:
        element = path_element(item, schema)
        if element in by_element:
            repeated.add(element)
        else:
            by_element[element] = item
    return by_element, frozenset(repeated)


# --- What a tree owns.


def _owned(tree: Any, schema: Schema) -> FieldSet:
    """The node of a subtree: empty where it is a leaf; it has no "." of its own."""
    if schema.is_leaf or not tree:
        return LEAF
    result: FieldSet = {}
    if isinstance(tree, dict) and schema.shape is not _LIST:
        fields = schema.fields
        for name, value in tree.items():
            node = _owned(value, _below(schema, name))
            # Keys of a map are members themselves; declared fields only where they are leaves.
            result[f"f:{name}"] = {SELF: LEAF, **node} if node and name not in fields else node
        return result
    if isinstance(tree, list) and schema.shape is _LIST and schema.element is not None:
        by_element, repeated = _elements(tree, schema)
        for element, item in by_element.items():
            node = LEAF if element in repeated else _owned(item, schema.element)
            result[element] = {SELF: LEAF, **node} if node else LEAF
        return result
    return LEAF


# --- Comparing.


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
                    result[f"f:{name}"] = _present(value, schema.element or _FREE)
                elif field.schema.is_leaf or not value:
                    result[field.path_element] = LEAF
                else:
                    result[field.path_element] = _present(value, field.schema)
            return result
        if shape is not _LIST:
            below = schema.element or _FREE
            if below.is_leaf:
                return {SELF: LEAF, **{f"f:{name}": LEAF for name in tree}}
            return {SELF: LEAF, **{f"f:{name}": _present(value, below) for name, value in tree.items()}}
    if isinstance(tree, list) and schema.shape is _LIST and schema.element is not None:
        try:
            by_element, repeated = _elements(tree, schema)
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
            _compare(before, value, schema.element or _FREE, f"f:{name}", changed, removed)
            continue
        if before is MISSING and field.always:
            if not value:
                continue
            before = {} if field.schema.shape is _STRUCT else None
        _compare(before, value, field.schema, field.path_element, changed, removed)
    for name, before in old.items():
        if name in new:
            continue
        field = fields.get(name)
        if field is None:
            removed[f"f:{name}"] = _present(before, schema.element or _FREE)
        elif field.always and field.schema.shape is _STRUCT and not field.schema.is_leaf:
            _compare(before, {}, field.schema, field.path_element, changed, removed)
        elif before is not None or not native:
            removed[field.path_element] = _present(before, field.schema)


def _compare(before: Any, value: Any, schema: Schema, element: str, changed: FieldSet, removed: FieldSet) -> None:
    """Compare what stands at one path element on both sides, one of which may be `MISSING`."""
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
    before_by_element, repeated_before = _elements(old, schema)
    now_by_element, repeated_now = _elements(new, schema)
    for element, item in now_by_element.items():
        before = before_by_element.get(element, MISSING)
        if element in repeated_now or element in repeated_before:
            if _all_of(old, element, schema) != _all_of(new, element, schema):
                changed[element] = LEAF
        elif before != item:
            _compare(before, item, schema.element, element, changed, removed)
    for element, item in before_by_element.items():
        if element not in now_by_element:
            removed[element] = LEAF if element in repeated_before else _present(item, schema.element)


def _all_of(items: Sequence[Any], element: str, schema: Schema) -> list[Any]:
    return [item for item in items if path_element(item, schema) == element]


# --- Merging.


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
        merged[name] = _merged(live.get(name, MISSING), value, _below(schema, name))
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
        out.append(_merged(mergeable.get(element, MISSING), by_config[element], schema.element or _FREE))

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


# --- Removing.


def _list_without(items: Sequence[Any], fields: FieldSet, schema: Schema) -> list[Any] | None:
    kept: list[Any] = []
    for item in items:
        node = fields.get(path_element(item, schema))
        if node is not None:
            if is_member(node):
                continue
            item = without(item, node, schema.element or _FREE)
        kept.append(item)
    return kept or None


# --- Checking.


def _list_errors(items: Sequence[Any], schema: Schema, path: str) -> Iterator[str]:
    element_schema = schema.element or _FREE
    seen: set[str] = set()
    for index, item in enumerate(items):
        if schema.list_type is ListType.ATOMIC:
            shown = f"[{index}]"
        else:
            try:
                element = path_element(item, schema)
            except PathElementError as error:
                yield _at(path, f"element {index}: {error}")
                return
            shown = _shown_element(item, schema)
            if element in seen:
                yield _at(path, f"duplicate entries for key {shown}")
            seen.add(element)
        yield from errors(item, element_schema, f"{path}{shown}")


def _shown_element(item: Any, schema: Schema) -> str:
    if schema.list_type is _SET:
        return f"[={msgspec.json.encode(item).decode()}]"
    pairs = (f"{key}={msgspec.json.encode(_key_value(item, key, schema)).decode()}" for key in schema.keys)
    return f"[{','.join(pairs)}]"


def _scalar_error(value: Any, scalar: Scalar) -> str:
    match scalar:
        case Scalar.STRING if not isinstance(value, str):
            return f"expected string, got &value.valueUnstructured{{Value:{_go_syntax(value)}}}"
        case Scalar.NUMERIC if isinstance(value, bool) or not isinstance(value, int | float):
            return f"expected numeric (int or float), got {_go_type(value)}"
        case Scalar.BOOLEAN if not isinstance(value, bool):
            return f"expected boolean, got {_go(value)}"
        case Scalar.UNTYPED if isinstance(value, dict | list):
            return f"expected any scalar, got {_go(value)}"
        case _:
            return ""


def _at(path: str, message: str) -> str:
    return f"{path}: {message}" if path else message


def _go_type(value: Any) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case list():
            return "[]interface {}"
        case dict():
            return "map[string]interface {}"
        case _:
            return "float64"


def _go(value: Any) -> str:
    return f"&{{{go_printed(value)}}}"


def go_printed(value: Any) -> str:
    """A tree as Go's %v prints it: `map[a:1 b:[x y]]`, keys sorted."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case dict():
            return "map[" + " ".join(f"{key}:{go_printed(value[key])}" for key in sorted(value)) + "]"
        case list():
            return "[" + " ".join(map(go_printed, value)) + "]"
        case _:
            return str(value)


def _go_syntax(value: Any) -> str:
    """A tree as Go's %#v prints it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _json(value)
        case dict():
            inside = ", ".join(f"{_json(key)}:{_go_syntax(value[key])}" for key in sorted(value))
            return f"map[string]interface {{}}{{{inside}}}"
        case list():
            return f"[]interface {{}}{{{', '.join(map(_go_syntax, value))}}}"
        case None:
            return "interface {}(nil)"
        case _:
            return str(value)


def _zero(schema: Schema) -> Any:
    match schema.shape:
        case Shape.SCALAR:
            return {Scalar.STRING: "", Scalar.NUMERIC: 0, Scalar.BOOLEAN: False}.get(schema.scalar, "0")
        case Shape.STRUCT:
            return {}
        case _:
            return None
