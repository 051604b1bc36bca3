"""Trees as Go prints them, for messages that quote them."""

from __future__ import annotations

from typing import Any

import msgspec


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


_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    '"': '\\"',
    "\\": "\\\\",
}


def go_quoted(text: str) -> str:
    """A text as Go's %q prints it."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return '"' + "".join(map(_go_escaped, text)) + '"'


def _go_escaped(character: str) -> str:
    if (known := _ESCAPES.get(character)) is not None:
        return known
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def go_syntax(value: Any) -> str:
    """A tree as Go's %#v prints it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _json(value)
        case dict():
            inside = ", ".join(f"{_json(key)}:{go_syntax(value[key])}" for key in sorted(value))
            return f"map[string]interface {{}}{{{inside}}}"
        case list():
            return f"[]interface {{}}{{{', '.join(map(go_syntax, value))}}}"
        case None:
            return "interface {}(nil)"
        case _:
            return str(value)


def go_type(value: Any) -> str:
    """The Go type that a decoded JSON value has, as `%T` prints it."""
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


def _json(text: str) -> str:
    return msgspec.json.encode(text).decode()
