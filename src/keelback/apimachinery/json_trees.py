"""JSON as clients send it, as a tree: repeated keys are remembered, and what is wrong is said in Go's words."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from keelback.apimachinery import json_syntax, json_text

_SCANNED_BYTES = 64 * 1024
"""What is scanned once more to say what is wrong with it; of more than this it is told roughly."""


class DecodeError(Exception):
    """A body does not have the shape of the type; the message is worded as Go's JSON decoder words it."""


class Duplicated(dict[str, Any]):
    """A JSON object in which a key stood twice; `repeated` has those keys."""

    repeated: tuple[str, ...] = ()


def loads(data: bytes) -> Any:
    """A JSON tree in which objects with repeated keys are `Duplicated`. Raises DecodeError in Go's words."""
    try:
        # As text: of bytes the decoder guesses the encoding, and takes zeros for UTF-16.
        return json.loads(
            json_text.as_go_reads(data).decode(), object_pairs_hook=_from_pairs, parse_constant=_refuse_constant
        )
    except json_text.TooDeep as error:
        raise DecodeError(str(error)) from error
    except json.JSONDecodeError as error:
        raise DecodeError(_syntax_error(data, error)) from error
    except ValueError as error:
        # Python refuses to read thousands of digits, and such a number fits nothing.
        raise DecodeError("json: cannot unmarshal number into Go value of type float64") from error


def _from_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    repeated = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
    marked = Duplicated(made)
    marked.repeated = tuple(dict.fromkeys(repeated))
    return marked


def _refuse_constant(text: str) -> Any:
    raise DecodeError(f"invalid character '{text[0]}' looking for beginning of value")


def _syntax_error(data: bytes, error: Exception) -> str:
    told = json_syntax.complaint(data) if len(data) <= _SCANNED_BYTES else ""
    return told or _likely_error(data, error)


def _likely_error(data: bytes, error: Exception) -> str:
    """Of a large text: what Python's decoder says, put in Go's words."""
    text = data.decode("utf-8", "replace")
    at = len(text) if not isinstance(error, json.JSONDecodeError) else error.pos
    while at < len(text) and text[at].isspace():
        at += 1
    if at >= len(text):
        return "unexpected end of JSON input"
    wanted = {
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Expecting ':' delimiter": "after object key",
        "Expecting ',' delimiter": "after array element" if "[" in text[:at] else "after object key:value pair",
        "Extra data": "after top-level value",
    }.get(getattr(error, "msg", ""), "looking for beginning of value")
    return f"invalid character '{text[at]}' {wanted}"


def marked_tree(body_json: bytes) -> Any:
    """As `loads`, quicker where the text is compact, as most clients send it. Raises DecodeError."""
    if body_json.count(b"[") + body_json.count(b"{") <= json_text.DEEPEST:
        try:
            tree = msgspec.json.decode(body_json)
            # When encoding gives the same bytes, nothing was repeated.
            if msgspec.json.encode(tree) == body_json.rstrip(b"\n"):
                return tree
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            pass
    return loads(body_json)
