"""JSON patch (RFC 6902) with upstream's semantics and bounds.

As upstream (and unlike the RFC), `replace` of a missing member of an object adds it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

MAX_OPERATIONS: Final = 10_000
"""More operations than this are refused, as upstream refuses them (413)."""
MAX_COPIED_BYTES: Final = 3 * 1024 * 1024
"""What the `copy` operations of one patch may add, so that a small patch cannot grow without end."""


class JSONPatchError(ValueError):
    """The patch cannot be applied: a path is missing, a test fails, an operation is unknown."""


class TestFailed(JSONPatchError):
    """A `test` found another value."""

    __test__ = False


class TooManyOperations(JSONPatchError):
    """The patch has more operations than allowed."""


@dataclass(frozen=True, slots=True)
class _Absent:
    """The value of an operation that has none; `test` takes it for null."""


_ABSENT: Final = _Absent()


def apply(document: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """The patched document; the argument is not changed.

    Raises:
        TooManyOperations: There are more than `MAX_OPERATIONS`.
        JSONPatchError: Some operation cannot be carried out.
    """
    if len(operations) > MAX_OPERATIONS:
        raise TooManyOperations(
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        )
    patched = _copied(document)
    copied_bytes = 0
    for operation in operations:
        if not isinstance(operation, Mapping):
            raise JSONPatchError("an operation must be an object")
        name = operation.get("op")
        path = _pointer(operation, "path")
        value = operation.get("value", _ABSENT)
        match name:
            case "add":
                patched = _add(patched, path, _copied(_given(value, "add")))
            case "remove":
                patched = _remove(patched, path)
            case "replace":
                patched = _replace(patched, path, _copied(_given(value, "replace")))
            case "move":
                origin = _pointer(operation, "from")
                moved = _get(patched, origin)
                patched = _add(_remove(patched, origin), path, moved)
            case "copy":
                source = _get(patched, _pointer(operation, "from"))
                copied_bytes += len(msgspec.json.encode(source))
                if copied_bytes > MAX_COPIED_BYTES:
                    raise JSONPatchError(
                        f"Unable to complete the copy, the accumulated size increase of copy is {copied_bytes}, "
                        f"exceeding the limit {MAX_COPIED_BYTES}"
                    )
                patched = _add(patched, path, _copied(source))
            case "test":
                _test(patched, path, None if value is _ABSENT else value)
            case _:
                raise JSONPatchError(f"Unexpected kind: {name}")
    return patched


def _copied(value: Any) -> Any:
    """A tree of its own: operations change their document in place."""
    if isinstance(value, dict):
        return {key: _copied(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_copied(element) for element in value]
    return value


def _given(value: Any, operation: str) -> Any:
    if value is _ABSENT:
        raise JSONPatchError(f"{operation} operation does not apply: missing value")
    return value


def _pointer(operation: Mapping[str, Any], name: str) -> list[str]:
    """The unescaped segments of a JSON pointer. What stands before its first slash is passed over, as upstream does."""
    text = operation.get(name)
    if not isinstance(text, str):
        raise JSONPatchError(f"{operation.get('op')} operation failed to decode {name}: missing value")
    if not text:
        return []
    _, slash, below = text.partition("/")
    if not slash:
        raise JSONPatchError(f"{operation.get('op')} operation does not apply: doc is missing path: {text}")
    return [segment.replace("~1", "/").replace("~0", "~") for segment in below.split("/")]


def _missing(path: Sequence[str]) -> JSONPatchError:
    return JSONPatchError(f"doc is missing path: /{'/'.join(path)}: missing value")


def _index(segment: str, length: int, path: Sequence[str]) -> int:
    """An index into a list; negative ones count from the end, as upstream's library allows."""
    digits = segment[1:] if segment.startswith("-") else segment
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise JSONPatchError(f"value was not a proper array index: '{segment}'")
    index = int(segment)
    if index < -length or index >= length:
        raise JSONPatchError(f"Unable to access invalid index: {index}: /{'/'.join(path)}: invalid index referenced")
    return index % length


def _child(parent: Any, segment: str, path: Sequence[str]) -> Any:
    if isinstance(parent, dict):
        if segment not in parent:
            raise _missing(path)
        return parent[segment]
    if isinstance(parent, list):
        return parent[_index(segment, len(parent), path)]
    raise _missing(path)


def _get(document: Any, path: Sequence[str]) -> Any:
    for segment in path:
        document = _child(document, segment, path)
    return document


def _add(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    last = path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1, path), value)
    else:
        raise _missing(path)
    return document


def _remove(document: Any, path: Sequence[str]) -> Any:
    if not path:
        raise JSONPatchError('remove operation does not apply: doc is missing path: "": missing value')
    parent = _get(document, path[:-1])
    if isinstance(parent, dict) and path[-1] not in parent:
        place = "/".join(path)
        raise JSONPatchError(
            f"error in remove for path: '/{place}': Unable to remove nonexistent key: {path[-1]}: missing value"
        )
    _child(parent, path[-1], path)
    del parent[path[-1] if isinstance(parent, dict) else _index(path[-1], len(parent), path)]
    return document


def _replace(document: Any, path: Sequence[str], value: Any) -> Any:
    if not path:
        return value
    parent = _get(document, path[:-1])
    last = path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        parent[_index(last, len(parent), path)] = value
    else:
        raise _missing(path)
    return document


def _test(document: Any, path: Sequence[str], wanted: Any) -> None:
    try:
        found = _get(document, path)
    except JSONPatchError:
        if wanted is None:
            return
        raise
    if not _same(found, wanted):
        raise TestFailed(f"testing value /{'/'.join(path)} failed: test failed")


def _same(left: Any, right: Any) -> bool:
    """JSON equality: unlike Python's, true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)
