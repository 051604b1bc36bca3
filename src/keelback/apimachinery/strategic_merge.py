"""Strategic merge patch: a merge patch that knows how each list merges, and obeys directives within the patch.

Directives: `$patch: replace|delete`, `$retainKeys`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from keelback.apimachinery.go_text import go_printed
from keelback.apimachinery.schema import Field, Schema, Shape

__all__ = ["BadPatch", "StrategicMergeError", "conversion_error", "go_printed", "merge"]

_PATCH: Final = "$patch"
_RETAIN_KEYS: Final = "$retainKeys"
_SET_ELEMENT_ORDER: Final = "$setElementOrder"
_DELETE_FROM_PRIMITIVE_LIST: Final = "$deleteFromPrimitiveList"
_PREFIXES: Final = (_SET_ELEMENT_ORDER + "/", _DELETE_FROM_PRIMITIVE_LIST + "/")

_FREE: Final = Schema(Shape.ANY)

_Added: TypeAlias = Callable[[Any], Any]
"""What is put where there was nothing, of what a patch has there; `_DROPPED` for nothing at all."""


class StrategicMergeError(Exception):
    """A patch that cannot be applied. Upstream answers 500 and no reason, unless it is a `BadPatch`."""


class BadPatch(StrategicMergeError):
    """A patch whose directives are malformed: a 400."""


def merge(
    original: Mapping[str, Any], patch: Mapping[str, Any], schema: Schema, *, is_plain: bool = False
) -> dict[str, Any]:
    """The patched tree; the arguments stay as they are, and unpatched parts are shared with both.

    `is_plain` promises that there is neither a directive nor a null in the patch: what it adds is taken as it is.

    Raises:
        StrategicMergeError: The patch contradicts itself or lacks a merge key.
    """
    return _merged_map(original, patch, schema, _as_it_is if is_plain else _without_directives)


def conversion_error(tree: Any, schema: Schema) -> str:
    """Why a patched tree is none of the type, as Go's converter says it, or "" if it is one.

    Upstream answers it as a 422 on the field `patch`, the bad value being the patch in Go's printing (`go_printed`).
    """
    if tree is None or schema.shape in (Shape.SCALAR, Shape.ANY):
        return ""
    if schema.shape is Shape.LIST:
        if not isinstance(tree, list):
            return f"cannot restore slice from {_kind(tree)}"
        below: Sequence[tuple[Any, Schema]] = [(item, schema.element or _FREE) for item in tree]
    elif not isinstance(tree, dict):
        return f"cannot restore {'struct from:' if schema.shape is Shape.STRUCT else 'map from'} {_kind(tree)}"
    else:
        below = [(value, _field(schema, name).schema) for name, value in tree.items()]
    for value, inner in below:
        message = conversion_error(value, inner)
        if message:
            return message
    return ""


def _kind(tree: Any) -> str:
    match tree:
        case dict():
            return "map"
        case list():
            return "slice"
        case str():
            return "string"
        case bool():
            return "bool"
        case int():
            return "int64"
        case _:
            return "float64"


def _field(schema: Schema, name: str) -> Field:
    declared = schema.fields.get(name)
    if declared is not None:
        return declared
    return Field(name, schema.element if schema.element is not None and schema.shape is not Shape.LIST else _FREE)


def _merged_map(original: Any, patch: Mapping[str, Any], schema: Schema, added: _Added) -> dict[str, Any]:
    if _PATCH in patch:
        return _directed(patch)
    merged: dict[str, Any] = dict(original) if isinstance(original, dict) else {}
    rest = dict(patch)
    if _RETAIN_KEYS in rest:
        _retain(merged, rest)
    _order_elements(merged, rest, schema, added)
    for key, value in rest.items():
        name, is_deletion = key, False
        if key.startswith(_DELETE_FROM_PRIMITIVE_LIST):
            name, is_deletion = _listed(key, _DELETE_FROM_PRIMITIVE_LIST), True
        if value is None:
            merged.pop(name, None)
            continue
        before = merged.get(name)
        if is_deletion:
            if isinstance(before, list) and isinstance(value, list):
                merged[name] = [item for item in before if item not in value]
        elif isinstance(before, dict) and isinstance(value, dict):
            declared = _field(schema, name)
            merged[name] = value if declared.replaces else _merged_map(before, value, declared.schema, added)
        elif isinstance(before, list) and isinstance(value, list):
            merged[name] = _merged_list(before, value, _field(schema, name), added)
        else:
            kept = added(value)
            if kept is not _DROPPED:
                merged[name] = kept
    return merged


def _directed(patch: Mapping[str, Any]) -> dict[str, Any]:
    """What a map becomes by its `$patch` directive."""
    match patch[_PATCH]:
        case "replace":
            return {name: value for name, value in patch.items() if name != _PATCH}
        case "delete":
            return {}
        case directive:
            raise StrategicMergeError(f"unknown patch type: {directive} in map: {go_printed(patch)}")


def _retain(merged: dict[str, Any], patch: dict[str, Any]) -> None:
    """Drop what `$retainKeys` does not name; what the patch itself sets must be named."""
    keys = patch.pop(_RETAIN_KEYS)
    named = isinstance(keys, list) and all(
        value is None or name in keys or name.startswith(_PREFIXES) for name, value in patch.items()
    )
    if not named:
        raise BadPatch("invalid patch format of retainKeys")
    for name in [name for name in merged if name not in keys]:
        del merged[name]


def _order_elements(merged: dict[str, Any], patch: dict[str, Any], schema: Schema, added: _Added) -> None:
    """Merge the lists that have a `$setElementOrder` and take them out of the patch."""
    for directive in [key for key in patch if key.startswith(_SET_ELEMENT_ORDER)]:
        order = patch.pop(directive)
        name = _listed(directive, _SET_ELEMENT_ORDER)
        before, patched = merged.get(name), patch.get(name)
        for value in (order, before, patched):
            if value is not None and not isinstance(value, list):
                raise StrategicMergeError(f"expected a []interface {{}}, but received a {_go_type(value)}")
        declared = _field(schema, name)
        key = declared.patch_merge_key
        if patched is not None:
            _check_order(patched, order or [], key)
        if before is None and patched is None:
            continue
        if patched is None:
            items = before or []
        elif before is None:
            items = [item for item in map(added, patched) if item is not _DROPPED]
        else:
            items = _merged_list(before, patched, declared, added)
        patch.pop(name, None)
        merged[name] = _ordered(items, order or [], before or [], _identity(key))


def _check_order(patched: Sequence[Any], order: Sequence[Any], key: str) -> None:
    identity = _identity(key)
    wanted = iter([identity(item) for item in order])
    for item in patched:
        if isinstance(item, dict) and item.get(_PATCH) == "delete":
            continue
        if not any(other == identity(item) for other in wanted):
            raise StrategicMergeError(
                f"The order in patch list:\n{go_printed(list(patched))}\n doesn't match {_SET_ELEMENT_ORDER} list:\n"
                f"{go_printed(list(order))}\n"
            )


def _merged_list(original: list[Any], patch: list[Any], declared: Field, added: _Added) -> list[Any]:
    if not declared.merges:
        return patch
    if not original and not patch:
        return original
    _check_elements([*original, *patch])
    if not isinstance((original or patch)[0], dict):
        both = list(dict.fromkeys([*original, *patch]))
        return _ordered(both, patch, original, _itself)
    key = declared.patch_merge_key
    if not key:
        raise StrategicMergeError(f"cannot merge lists without merge key for {declared.name}")
    remaining, plain, replaces = _without_special_elements(original, patch, key)
    if replaces:
        return plain
    merged = list(remaining)
    element = declared.schema.element or _FREE
    for item in plain:
        if key not in item:
            raise StrategicMergeError(f"map: {go_printed(item)} does not contain declared merge key: {key}")
        for index, candidate in enumerate(merged):
            if key not in candidate:
                raise StrategicMergeError(f"map: {go_printed(candidate)} does not contain declared merge key: {key}")
            if candidate[key] == item[key]:
                merged[index] = _merged_map(candidate, item, element, added)
                break
        else:
            kept = added(item)
            if kept is not _DROPPED:
                merged.append(kept)
    return _ordered(merged, plain, remaining, _identity(key))


def _without_special_elements(
    original: Sequence[Any], patch: Sequence[Any], key: str
) -> tuple[list[Any], list[Any], bool]:
    """The original without deleted elements, the patch without directives, and whether the list is replaced."""
    remaining, plain, replaces = list(original), [], False
    for item in patch:
        match item.get(_PATCH):
            case None:
                plain.append(item)
            case "delete":
                if key not in item:
                    raise StrategicMergeError(f"map: {go_printed(item)} does not contain declared merge key: {key}")
                remaining = [other for other in remaining if other.get(key) != item[key]]
            case "replace":
                replaces = True
            case "merge":
                raise StrategicMergeError("merging lists cannot yet be specified in the patch")
            case directive:
                raise StrategicMergeError(f"unknown patch type: {directive} in map: {go_printed(item)}")
    return remaining, plain, replaces


def _check_elements(items: Sequence[Any]) -> None:
    kinds = {type(item) for item in items}
    if list in kinds:
        raise StrategicMergeError("lists of lists are not supported")
    if len(kinds) > 1:
        raise StrategicMergeError(f"list element types are not identical: {go_printed(list(items))}")


def _identity(key: str) -> Callable[[Any], Any]:
    """What tells elements apart: their merge key, or themselves where they have none."""
    return (lambda item: _itself(item.get(key) if isinstance(item, dict) else item)) if key else _itself


def _itself(item: Any) -> Any:
    # A key that is no scalar is the client's mistake; it must not be ours that it has no hash.
    return go_printed(item) if isinstance(item, dict | list) else item


def _ordered(
    items: Sequence[Any], order: Sequence[Any], server_order: Sequence[Any], identity: Callable[[Any], Any]
) -> list[Any]:
    """Items named by the patch in its order, the others woven in where the server had them, as well as that goes."""
    wanted = {identity(item): index for index, item in reversed(list(enumerate(order)))}
    places = {identity(item): index for index, item in reversed(list(enumerate(server_order)))}
    patched = sorted((item for item in items if identity(item) in wanted), key=lambda item: wanted[identity(item)])
    others = sorted(
        (item for item in items if identity(item) not in wanted), key=lambda item: places.get(identity(item), -1)
    )
    woven: list[Any] = []
    at_other = at_patched = 0
    while at_other < len(others) and at_patched < len(patched):
        other = places.get(identity(others[at_other]))
        patched_place = places.get(identity(patched[at_patched]))
        if other is not None and patched_place is not None and other < patched_place:
            woven.append(others[at_other])
            at_other += 1
        else:
            woven.append(patched[at_patched])
            at_patched += 1
    return [*woven, *others[at_other:], *patched[at_patched:]]


class _Dropped:
    """What is left of a value whose directive deletes it."""


_DROPPED: Final = _Dropped()


def _without_directives(value: Any) -> Any:
    """A patch's value for a place where there was nothing: without directives and nulls."""
    if isinstance(value, dict):
        if value.get(_PATCH) == "delete":
            return _DROPPED
        kept = {
            name: _without_directives(member)
            for name, member in value.items()
            if member is not None and name not in (_PATCH, _RETAIN_KEYS) and not name.startswith(_PREFIXES)
        }
        return {name: member for name, member in kept.items() if member is not _DROPPED}
    if isinstance(value, list):
        # `{"$patch": "replace"}` alone speaks of the list; it is no element of it.
        elements = (item for item in value if not (isinstance(item, dict) and set(item) == {_PATCH}))
        return [item for item in map(_without_directives, elements) if item is not _DROPPED]
    return value


def _as_it_is(value: Any) -> Any:
    return value


def _listed(directive: str, prefix: str) -> str:
    """The name of the list that a directive speaks of."""
    head, slash, name = directive.partition("/")
    if head != prefix or not slash or not name:
        if prefix == _SET_ELEMENT_ORDER:
            raise BadPatch("invalid patch format of setElementOrder list")
        raise BadPatch("invalid patch format of primitive list")
    return name


def _go_type(value: Any) -> str:
    return {"map": "map[string]interface {}", "slice": "[]interface {}"}.get(_kind(value), _kind(value))
