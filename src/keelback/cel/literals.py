"""The values that literals of an expression denote (cel-go, parser/unescape.go), and back."""

from __future__ import annotations

import math
import re

from keelback.cel.values import INT_MAX, INT_MIN, UINT_MAX, UInt

_SIMPLE = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
    "`": "`",
    "?": "?",
}
_ESCAPED = re.compile(r"\\(?:([xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL)
_SURROGATES = range(0xD800, 0xE000)
_LARGEST_CODE_POINT = 0x10FFFF
_MOST_DIGITS = 20


class LiteralError(ValueError):
    """A token that denotes no value; the message is cel-go's."""


def parse_int(text: str, *, is_negative: bool = False) -> int:
    """`12`, `0x1f`, within an int64. Raises LiteralError."""
    number = _number(text) * (-1 if is_negative else 1)
    if not INT_MIN <= number <= INT_MAX:
        raise LiteralError("invalid int literal")
    return number


def parse_uint(text: str) -> UInt:
    """`12u`. Raises LiteralError."""
    number = _number(text[:-1])
    if number > UINT_MAX:
        raise LiteralError("invalid uint literal")
    return UInt(number)


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text, 16)
    # Python refuses to read thousands of digits.
    digits = text.lstrip("0")
    return int(digits or "0") if len(digits) <= _MOST_DIGITS else UINT_MAX + 1


def parse_double(text: str) -> float:
    """`1.5e3`. Raises LiteralError beyond the range of a double."""
    number = float(text)
    if math.isinf(number):
        raise LiteralError("invalid double literal")
    return number


def parse_string(text: str) -> str:
    """`'abc'`, quotes and prefix included. Raises LiteralError."""
    body, is_raw = _body(text)
    return body if is_raw else _ESCAPED.sub(_character, body)


def parse_bytes(text: str) -> bytes:
    """`b'abc'`: escapes denote bytes, everything else its UTF-8. Raises LiteralError."""
    body, is_raw = _body(text[1:])
    if is_raw:
        return body.encode()
    parts, position = [], 0
    for match in _ESCAPED.finditer(body):
        parts.append(body[position : match.start()].encode())
        parts.append(_byte(match))
        position = match.end()
    parts.append(body[position:].encode())
    return b"".join(parts)


def _body(text: str) -> tuple[str, bool]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    is_raw = text[0] in "rR"
    text = text[is_raw:]
    quotes = 3 if len(text) >= 6 and text[:3] in ('"""', "'''") else 1
    return text[quotes:-quotes], is_raw


def _character(match: re.Match[str]) -> str:
    coded, octal, simple = match.groups()
    if simple is not None:
        return _SIMPLE[simple]
    number = int(octal, 8) if octal is not None else int(coded[1:], 16)
    if number in _SURROGATES or number > _LARGEST_CODE_POINT:
        raise LiteralError("invalid unicode code point")
    return chr(number)


def _byte(match: re.Match[str]) -> bytes:
    coded, octal, simple = match.groups()
    if simple is not None:
        return _SIMPLE[simple].encode()
    if octal is not None:
        return bytes([int(octal, 8)])
    if coded[0] in "uU":
        raise LiteralError("unable to unescape string")
    return bytes([int(coded[1:], 16)])


def quote(text: str) -> str:
    """A string literal that denotes the text."""
    escaped = "".join(_escape(character) for character in text)
    return f'"{escaped}"'


def quote_bytes(data: bytes) -> str:
    """A bytes literal that denotes the data."""
    return (
        'b"'
        + "".join(chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03o}" for byte in data)
        + '"'
    )


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
