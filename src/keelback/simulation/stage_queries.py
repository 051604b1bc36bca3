"""The queries of stages: as much of jq as selecting a Kubernetes object by its fields takes. Pure.

Paths, `[]`, indexes, `?`, pipes, `,`, `//`, comparisons, `and`, `or`, literals and the functions of `FUNCTIONS`. What
is beyond is refused when it is read; a query that fails on an object finds nothing there, as KWOK has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Run: TypeAlias = Callable[[Any], Iterator[Any]]
"""From one value to the values that a filter makes of it."""

FUNCTIONS: Final = (
    *("select", "not", "length", "has", "keys", "any", "all", "map", "empty", "first", "last"),
    *("tostring", "tonumber", "startswith", "endswith", "contains"),
)
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>\d+(?:\.\d+)?)|(?P<field>\.[A-Za-z_]\w*)|(?P<word>[A-Za-z_]\w*)
    |(?P<sign>//|==|!=|<=|>=|\.\.|[.\[\](){}|,<>?:;+\-*/%$=]))""",
    re.VERBOSE,
)
_ORDER: Final[tuple[Any, ...]] = (type(None), bool, (int, float), str, list, dict)
_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": lambda left, right: _rank(left) == _rank(right) and left == right,
    "!=": lambda left, right: _rank(left) != _rank(right) or left != right,
    "<": lambda left, right: _less(left, right),
    "<=": lambda left, right: not _less(right, left),
    ">": lambda left, right: _less(right, left),
    ">=": lambda left, right: not _less(left, right),
}


class QueryError(ValueError):
    """The text is no query, or one that is not supported; the message says what and where."""


class _Failure(Exception):
    """A filter does not apply to a value."""


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """A query that was read."""

    text: str
    run: Run

    def values(self, tree: Any) -> list[Any]:
        """What it finds in an object; nothing where it fails."""
        try:
            return list(self.run(tree))
        except _Failure:
            return []


def parse(text: str) -> Query:
    """Read a query. Raises QueryError."""
    return Query(text, _Reader(text).read())


class _Reader:
    """Reads by descent, loosest operator first: `|`, `,`, `//`, `or`, `and`, comparisons, postfixes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._next = 0

    def read(self) -> Run:
        found = self._pipe()
        if self._kind():
            raise self._unexpected()
        return found

    def _pipe(self) -> Run:
        found = self._comma()
        while self._take("|"):
            found = _piped(found, self._comma())
        return found

    def _comma(self) -> Run:
        found = self._alternative()
        while self._take(","):
            found = _both(found, self._alternative())
        return found

    def _alternative(self) -> Run:
        found = self._or()
        # It binds to the right: `a // b // c` is `a // (b // c)`.
        return _alternative(found, self._alternative()) if self._take("//") else found

    def _or(self) -> Run:
        found = self._and()
        while self._take("or"):
            found = _either(found, self._and(), decides=True)
        return found

    def _and(self) -> Run:
        found = self._comparison()
        while self._take("and"):
            found = _either(found, self._comparison(), decides=False)
        return found

    def _comparison(self) -> Run:
        found = self._postfix()
        for sign, compare in _COMPARISONS.items():
            if self._take(sign):
                return _compared(found, self._postfix(), compare)
        return found

    def _postfix(self) -> Run:
        found = self._term()
        while True:
            kind, text = self._token()
            if kind == "field":
                self._next += 1
                found = _piped(found, _field(text[1:]))
            elif text == "." and kind == "sign":
                self._next += 1
                found = _piped(found, self._after_dot())
            elif self._take("["):
                found = self._bracket(found)
            elif self._take("?"):
                found = _optional(found)
            else:
                return found

    def _term(self) -> Run:
        kind, text = self._token()
        if kind in ("string", "number"):
            self._next += 1
            return _literal(json.loads(text))
        if kind == "field":
            self._next += 1
            return _field(text[1:])
        if self._take("("):
            found = self._pipe()
            self._expect(")")
            return found
        if text == "." and kind == "sign":
            self._next += 1
            following = self._token()
            return self._after_dot() if following[0] == "string" or following[1] == "[" else _itself
        if kind == "word":
            self._next += 1
            return self._word(text)
        raise self._unexpected()

    def _after_dot(self) -> Run:
        """What follows a dot that stands alone: a quoted name, or brackets."""
        kind, text = self._token()
        if kind == "string":
            self._next += 1
            return _field(json.loads(text))
        self._expect("[")
        return self._bracket(_itself)

    def _bracket(self, of: Run) -> Run:
        if self._take("]"):
            return _piped(of, _each)
        is_negative = self._take("-")
        index = self._pipe()
        self._expect("]")
        return _indexed(of, index, sign=-1 if is_negative else 1)

    def _word(self, name: str) -> Run:
        if name in ("true", "false", "null"):
            return _literal(json.loads(name))
        if name not in FUNCTIONS:
            raise QueryError(f"{self._text!r}: no function {name!r}: there are {', '.join(FUNCTIONS)}")
        argument = None
        if self._take("("):
            argument = self._pipe()
            self._expect(")")
        return _call(self._text, name, argument)

    def _token(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("", "")

    def _kind(self) -> str:
        return self._token()[0]

    def _take(self, text: str) -> bool:
        kind, found = self._token()
        if found != text or kind not in ("sign", "word"):
            return False
        self._next += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._unexpected()

    def _unexpected(self) -> QueryError:
        return QueryError(f"{self._text!r}: {self._token()[1] or 'the end'!r} is not understood there")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise QueryError(f"{text!r}: {text[at:].strip()[:1]!r} is not understood there")
        at = found.end()
        assert found.lastgroup is not None
        yield found.lastgroup, found.group(found.lastgroup)


# Filters.


def _itself(value: Any) -> Iterator[Any]:
    yield value


def _literal(constant: Any) -> Run:
    return lambda value: iter((constant,))


def _field(name: str) -> Run:
    return lambda value: iter((_at(value, name),))


def _at(value: Any, key: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, dict) and isinstance(key, str):
        return value.get(key)
    if isinstance(value, list) and isinstance(key, int | float) and not isinstance(key, bool):
        return value[int(key)] if -len(value) <= key < len(value) else None
    raise _Failure


def _each(value: Any) -> Iterator[Any]:
    if not isinstance(value, list | dict):
        raise _Failure
    yield from value.values() if isinstance(value, dict) else value


def _indexed(of: Run, index: Run, sign: int) -> Run:
    def run(value: Any) -> Iterator[Any]:
        for container in of(value):
            # What stands in brackets is asked of the whole input.
            for key in index(value):
                yield _at(container, key if sign == 1 else -key)

    return run


def _piped(first: Run, then: Run) -> Run:
    def run(value: Any) -> Iterator[Any]:
        for one in first(value):
            yield from then(one)

    return run


def _both(first: Run, second: Run) -> Run:
    def run(value: Any) -> Iterator[Any]:
        yield from first(value)
        yield from second(value)

    return run


def _alternative(first: Run, second: Run) -> Run:
    def run(value: Any) -> Iterator[Any]:
        found = [one for one in _optional(first)(value) if _is_true(one)]
        yield from found or second(value)

    return run


def _optional(wanted: Run) -> Run:
    def run(value: Any) -> Iterator[Any]:
        try:
            yield from wanted(value)
        except _Failure:
            return

    return run


def _either(left: Run, right: Run, *, decides: bool) -> Run:
    """`or` where `decides`, `and` where not: the right side is asked only where the left has not decided."""

    def run(value: Any) -> Iterator[Any]:
        for one in left(value):
            if _is_true(one) == decides:
                yield decides
            else:
                yield from (_is_true(other) for other in right(value))

    return run


def _compared(left: Run, right: Run, compare: Callable[[Any, Any], bool]) -> Run:
    def run(value: Any) -> Iterator[Any]:
        for other in right(value):
            for one in left(value):
                yield compare(one, other)

    return run


def _call(text: str, name: str, argument: Run | None) -> Run:
    needs = name in ("select", "has", "map", "startswith", "endswith", "contains")
    if (argument is None and needs) or (argument is not None and name in ("not", "length", "keys", "empty", "last")):
        raise QueryError(f"{text!r}: {name} takes {'an' if needs else 'no'} argument")
    given = argument or _itself
    match name:
        case "select":
            return lambda value: (value for one in given(value) if _is_true(one))
        case "map":
            return lambda value: iter(([one for element in _each(value) for one in given(element)],))
        case "any" | "all":
            decide = any if name == "any" else all
            return lambda value: iter((decide(_is_true(one) for element in _each(value) for one in given(element)),))
        case "first":
            chosen = argument or _each
            return lambda value: (one for _, one in zip(range(1), chosen(value), strict=False))
        case "has" | "startswith" | "endswith" | "contains":
            return lambda value: (_asked(name, value, one) for one in given(value))
        case "empty":
            return lambda value: iter(())
        case _:
            return lambda value: iter((_made(name, value),))


def _asked(name: str, value: Any, argument: Any) -> bool:
    if name == "has" and isinstance(value, dict | list):
        return argument in value if isinstance(value, dict) else 0 <= argument < len(value)
    if not isinstance(value, str) or not isinstance(argument, str):
        raise _Failure
    return {"startswith": value.startswith, "endswith": value.endswith, "contains": value.__contains__}[name](argument)


def _made(name: str, value: Any) -> Any:
    if name == "not":
        return not _is_true(value)
    if name == "tostring":
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    if name == "length" and (value is None or isinstance(value, str | list | dict)):
        return 0 if value is None else len(value)
    if name == "keys" and isinstance(value, dict):
        return sorted(value)
    if name == "last" and isinstance(value, list):
        return value[-1] if value else None
    if name == "tonumber" and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return float(value) if "." in str(value) else int(value)
        except ValueError:
            raise _Failure from None
    raise _Failure


def _is_true(value: Any) -> bool:
    return value is not None and value is not False


def _rank(value: Any) -> int:
    return next(rank for rank, kind in enumerate(_ORDER) if isinstance(value, kind))


def _less(left: Any, right: Any) -> bool:
    if _rank(left) != _rank(right):
        return _rank(left) < _rank(right)
    if isinstance(left, dict | list) or left is None:
        raise _Failure
    return bool(left < right)
