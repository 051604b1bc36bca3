"""JSON text as Go's decoder takes it, made such that Python's decoders take it too.

Go replaces what is not UTF-8, and halves of surrogate pairs, with U+FFFD; Python's decoders refuse the one and let the
other through into strings that cannot be encoded again.
"""

from __future__ import annotations

import re
from typing import Final

DEEPEST: Final = 200
"""How deep arrays and objects may nest. Go stops at 10,000; no object in use comes near this, and recursion has its
bounds here."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)


class TooDeep(ValueError):
    """The text nests deeper than `DEEPEST`; worded as Go words it."""

    def __init__(self) -> None:
        super().__init__("exceeded max depth")


def as_go_reads(text: bytes) -> bytes:
    """The same JSON in valid UTF-8 without half surrogate pairs. Raises TooDeep."""
    if text.count(b"[") + text.count(b"{") > DEEPEST and _is_deep(text):
        raise TooDeep
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            text = text.decode("utf-8", "replace").encode()
    return _ESCAPE.sub(_whole, text) if _HALF_PAIR.search(text) else text


def _whole(escape: re.Match[bytes]) -> bytes:
    found = escape[0]
    return rb"\ufffd" if len(found) == 6 and found[2] in b"dD" and found[3] in b"89abcdefABCDEF" else found


def _is_deep(text: bytes) -> bool:
    """Whether brackets nest too deep: each round takes the innermost level away."""
    brackets = _STRING.sub(b"", text).translate(None, _NO_BRACKETS)
    for _ in range(DEEPEST):
        fewer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if len(fewer) == len(brackets):
            break
        brackets = fewer
    # What still pairs is deeper; what cannot pair is no JSON, and counts where so many are open.
    still_pairs = b"[]" in brackets or b"{}" in brackets
    return still_pairs or brackets.count(b"[") + brackets.count(b"{") > DEEPEST
