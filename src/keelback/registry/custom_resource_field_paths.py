"""Paths to fields of a schema, as definitions write them: in selectable fields, and in what a rule blames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from keelback.apimachinery.structural_schema import SchemaTree


def resolve(path: str, schema: SchemaTree, *, takes_brackets: bool = True) -> tuple[str, SchemaTree | None]:
    """The field a simple path (`.spec.a`, `['a.b']`) leads to, as field errors write it, and that field's schema.

    Raises ValueError with upstream's words (apiextensions' cel.ValidFieldPath).
    """
    written, at = "", 0
    current: SchemaTree | None = schema
    tokens = list(_tokens(path))
    while at < len(tokens):
        token = tokens[at]
        if token == "[" and takes_brackets:  # noqa: S105 - a token of a path
            if at + 1 >= len(tokens):
                raise ValueError("unexpected end of JSON path")
            name = tokens[at + 1]
            if len(name) < 2 or name[0] != "'" or name[-1] != "'":
                raise ValueError(f"expected single quoted string but got {name}")
            name = _unquoted(name[1:-1])
            if at + 2 >= len(tokens):
                raise ValueError("unexpected end of JSON path")
            if tokens[at + 2] != "]":
                raise ValueError(f"expected ] but got {tokens[at + 2]}")
            at += 3
        elif token == ".":  # noqa: S105
            if at + 1 >= len(tokens):
                raise ValueError("unexpected end of JSON path")
            name = tokens[at + 1]
            at += 2
        elif token == "[":  # noqa: S105
            raise ValueError("array notation is not allowed")
        else:
            expected = "[ or ." if takes_brackets else "."
            raise ValueError(f"expected {expected} but got: {token}")
        if current is not None and current.get("properties"):
            if name not in current["properties"]:
                raise ValueError("does not refer to a valid field")
            written = f"{written}.{name}" if written else name
            current = current["properties"][name]
        elif current is not None and isinstance(current.get("additionalProperties"), Mapping):
            written = f"{written}[{name}]"
            current = current["additionalProperties"]
        else:
            raise ValueError("does not refer to a valid field")
    return written, current


def _tokens(path: str) -> Iterator[str]:
    at = 0
    while at < len(path):
        if path[at] in ".[]":
            yield path[at]
            at += 1
            continue
        end = at
        if path[at] == "'":
            end = at + 1
            while end < len(path) and not (path[end] == "'" and path[end - 1] != "\\"):
                end += 1
            end = min(end + 1, len(path))
        else:
            while end < len(path) and path[end] not in ".[]":
                end += 1
        yield path[at:end]
        at = end


_UNESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


def _unquoted(text: str) -> str:
    made, at = "", 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            if text[at + 1] not in _UNESCAPED:
                raise ValueError(f"invalid string literal: invalid escape char {text[at : at + 2]}")
            made += _UNESCAPED[text[at + 1]]
            at += 2
        else:
            made += text[at]
            at += 1
    return made
