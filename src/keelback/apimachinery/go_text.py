"""Trees as Go prints them, for messages that quote them."""

from __future__ import annotations

import re
from collections.abc import Iterable
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


_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def go_quoted(text: str) -> str:
    """A text as Go's %q prints it. Texts may be whole objects: what is usual in them costs no step of its own."""
    if not text.isprintable() or '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
        text = _CONTROLS.sub(_control_escaped, text)
        if not text.isprintable():
            text = "".join([one if one.isprintable() else _unprintable_escaped(one) for one in text])
    return f'"{text}"'


def _control_escaped(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0]) or f"\\x{ord(found[0]):02x}"


def _unprintable_escaped(character: str) -> str:
    code = ord(character)
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


def aggregate(messages: Iterable[str]) -> str:
    """Several errors in one line, each once, as Go's aggregate prints them."""
    unique = list(dict.fromkeys(messages))
    return unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
