"""Text to tokens, as CEL's grammar (CEL.g4 of cel-go) has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_ESCAPE = r"""\\(?:[abfnrtv"'\\?`]|[0-3][0-7][0-7]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"""
_STRING = rf"""
    [rR]\"\"\"(?s:.*?)\"\"\" | [rR]'''(?s:.*?)''' | [rR]"[^"\n\r]*" | [rR]'[^'\n\r]*'
  | \"\"\"(?:{_ESCAPE}|[^\\])*?\"\"\" | '''(?:{_ESCAPE}|[^\\])*?'''
  | "(?:{_ESCAPE}|[^\\"\n\r])*" | '(?:{_ESCAPE}|[^\\'\n\r])*'
"""
_TOKENS = re.compile(
    rf"""
    (?P<hidden>[\t \r\n\f]+|//[^\n]*)
  | (?P<bytes>[bB](?:{_STRING}))
  | (?P<string>{_STRING})
  | (?P<double>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
  | (?P<uint>(?:0x[0-9a-fA-F]+|[0-9]+)[uU])
  | (?P<int>0x[0-9a-fA-F]+|[0-9]+)
  | (?P<identifier>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<symbol>==|!=|<=|>=|&&|\|\||[<>\[\]{{}}().,\-!?:+*/%])
    """,
    re.VERBOSE,
)
_KEYWORDS = frozenset({"in", "true", "false", "null"})
END = "<EOF>"
_BROKEN_STRING = re.compile(rf"""[bBrR]{{0,2}}(?:"{{3}}|'{{3}}|"|')(?:{_ESCAPE}|[^\\\n\r])*(?:\\.?)?""")


class Token(NamedTuple):
    """`kind` is a symbol's or keyword's own text, or one of bytes, string, double, uint, int, identifier, END."""

    kind: str
    text: str
    position: int


class Unrecognised(NamedTuple):
    """Text that is no token."""

    text: str
    position: int


def tokens(text: str) -> Iterator[Token | Unrecognised]:
    """Every token, at last one of kind END. What is none is passed on as Unrecognised, and skipped."""
    position, length = 0, len(text)
    while position < length:
        match = _TOKENS.match(text, position)
        if match is None:
            unknown = _unrecognised(text, position)
            yield Unrecognised(unknown, position)
            position += len(unknown)
            continue
        kind, found = match.lastgroup or "", match[0]
        if kind == "symbol" or (kind == "identifier" and found in _KEYWORDS):
            yield Token(found, found, position)
        elif kind != "hidden":
            yield Token(kind, found, position)
        position = match.end()
    yield Token(END, END, length)


def _unrecognised(text: str, position: int) -> str:
    """As much as ANTLR's lexer had read when it gave up."""
    broken = _BROKEN_STRING.match(text, position)
    if broken is not None:
        return broken[0]
    if text[position] in "|&=":
        return text[position : position + 2]
    return text[position]
