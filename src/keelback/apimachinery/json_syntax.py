"""Where JSON is broken, in the words of Go's scanner, which names the character and what it was in the middle of."""

from __future__ import annotations

import re
from typing import Final

from keelback.apimachinery.go_text import go_quoted

TRUNCATED: Final = "unexpected end of JSON input"

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_STRING_PART: Final = re.compile(rb'(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})*')
_HEXADECIMAL: Final = re.compile(rb"[0-9a-fA-F]{0,4}")
_DIGITS: Final = re.compile(rb"[0-9]*")
_LITERALS: Final = {b"t": b"true", b"f": b"false", b"n": b"null"}


class _Broken(Exception):
    pass


def complaint(text: bytes) -> str:
    """What Go says is wrong with a text; empty for one that it takes. It takes time: for small texts."""
    try:
        _Scanner(text).scan()
    except _Broken as error:
        return str(error)
    return ""


class _Scanner:
    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    def scan(self) -> None:
        """One value with nothing after it. Raises _Broken."""
        open_: list[bytes] = []
        self._begin_value(open_)
        while open_:
            if open_[-1] == b"{":
                self._end_of_member(open_)
            else:
                self._end_of_element(open_)
        if self._peek():
            self._refuse("after top-level value")

    def _begin_value(self, open_: list[bytes]) -> None:
        match letter := self._next("looking for beginning of value"):
            case b"{":
                if self._peek() == b"}":
                    self._at += 1
                else:
                    open_.append(letter)
                    self._key()
                    self._begin_value(open_)
            case b"[":
                if self._peek() == b"]":
                    self._at += 1
                else:
                    open_.append(letter)
                    self._begin_value(open_)
            case b'"':
                self._string()
            case b"t" | b"f" | b"n":
                self._literal(_LITERALS[letter])
            case _ if letter == b"-" or letter.isdigit():
                self._number(letter)
            case _:
                self._at -= 1
                self._refuse("looking for beginning of value")

    def _end_of_member(self, open_: list[bytes]) -> None:
        match self._next("after object key:value pair"):
            case b",":
                self._key()
                self._begin_value(open_)
            case b"}":
                open_.pop()
            case _:
                self._at -= 1
                self._refuse("after object key:value pair")

    def _end_of_element(self, open_: list[bytes]) -> None:
        match self._next("after array element"):
            case b",":
                self._begin_value(open_)
            case b"]":
                open_.pop()
            case _:
                self._at -= 1
                self._refuse("after array element")

    def _key(self) -> None:
        self._expect(b'"', "looking for beginning of object key string")
        self._string()
        self._expect(b":", "after object key")

    def _string(self) -> None:
        self._skip(_STRING_PART)
        match self._byte():
            case b'"':
                self._at += 1
            case b"\\":
                self._at += 1
                if self._byte() == b"u":
                    self._at += 1
                    self._skip(_HEXADECIMAL)
                    self._refuse("in \\u hexadecimal character escape")
                self._refuse("in string escape code")
            case _:
                self._refuse("in string literal")

    def _literal(self, word: bytes) -> None:
        for letter in word[1:]:
            if self._byte() != bytes((letter,)):
                self._refuse(f"in literal {word.decode()} (expecting '{chr(letter)}')")
            self._at += 1

    def _number(self, first: bytes) -> None:
        if first == b"-":
            first = self._byte()
            if not first.isdigit():
                self._refuse("in numeric literal")
            self._at += 1
        if first != b"0":
            self._skip(_DIGITS)
        if self._byte() == b".":
            self._at += 1
            if not self._byte().isdigit():
                self._refuse("after decimal point in numeric literal")
            self._skip(_DIGITS)
        if self._byte() in (b"e", b"E"):
            self._at += 1
            if self._byte() in (b"+", b"-"):
                self._at += 1
            if not self._byte().isdigit():
                self._refuse("in exponent of numeric literal")
            self._skip(_DIGITS)

    def _skip(self, pattern: re.Pattern[bytes]) -> None:
        found = pattern.match(self._text, self._at)
        assert found is not None
        self._at = found.end()

    def _byte(self) -> bytes:
        return self._text[self._at : self._at + 1]

    def _peek(self) -> bytes:
        self._skip(_SPACE)
        return self._byte()

    def _next(self, context: str) -> bytes:
        letter = self._peek()
        if not letter:
            self._refuse(context)
        self._at += 1
        return letter

    def _expect(self, wanted: bytes, context: str) -> None:
        if self._peek() != wanted:
            self._refuse(context)
        self._at += 1

    def _refuse(self, context: str) -> None:
        letter = self._byte()
        if not letter:
            raise _Broken(TRUNCATED)
        shown = {b"'": "\\'", b'"': '"'}.get(letter) or go_quoted(letter.decode("latin-1"))[1:-1]
        raise _Broken(f"invalid character '{shown}' {context}")
