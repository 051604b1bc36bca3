"""Label selectors: the query syntax (`a=b,c in (d,e),!f,n>1`), the LabelSelector object, and matching.

Error texts are those of upstream's parser, which clients show to people.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Protocol

from keelback.apimachinery import names


class LabelSelectorError(ValueError):
    """A text or an object that is not a label selector; the message is upstream's."""


IN: Final = "in"
NOT_IN: Final = "notin"
EQUALS: Final = "="
DOUBLE_EQUALS: Final = "=="
NOT_EQUALS: Final = "!="
EXISTS: Final = "exists"
DOES_NOT_EXIST: Final = "!"
GREATER_THAN: Final = "gt"
LESS_THAN: Final = "lt"

_BINARY_OPERATORS: Final = "in, notin, =, ==, !=, gt, lt"
_POSITIVE: Final = frozenset({IN, EQUALS, DOUBLE_EQUALS})
_NEGATIVE: Final = frozenset({NOT_IN, NOT_EQUALS})
_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)


class LabelSelectorRequirementLike(Protocol):
    """What is read of a LabelSelectorRequirement object."""

    @property
    def key(self) -> str: ...
    @property
    def operator(self) -> str: ...
    @property
    def values(self) -> Sequence[str]: ...


class LabelSelectorLike(Protocol):
    """What is read of a LabelSelector object."""

    @property
    def match_labels(self) -> Mapping[str, str]: ...
    @property
    def match_expressions(self) -> Sequence[LabelSelectorRequirementLike]: ...


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a selector; `values` is sorted and without repetition."""

    key: str
    operator: str
    values: tuple[str, ...] = ()
    _wanted: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_wanted", frozenset(self.values))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels satisfies the term."""
        value = labels.get(self.key)
        operator = self.operator
        if operator in _POSITIVE:
            return value is not None and value in self._wanted
        if operator in _NEGATIVE:
            return value is None or value not in self._wanted
        if operator == EXISTS:
            return value is not None
        if operator == DOES_NOT_EXIST:
            return value is None
        number = None if value is None else _int64(value)
        bound = _int64(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if operator == GREATER_THAN else number < bound

    def __str__(self) -> str:
        match self.operator:
            case "exists":
                return self.key
            case "!":
                return f"!{self.key}"
            case "in" | "notin":
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case "gt":
                return f"{self.key}>{self.values[0]}"
            case "lt":
                return f"{self.key}<{self.values[0]}"
            case _:
                return f"{self.key}{self.operator}{self.values[0]}"


@dataclass(frozen=True, slots=True)
class Selector:
    """Terms that must all hold, sorted by key; no terms select everything, unless the selector is `NOTHING`."""

    requirements: tuple[Requirement, ...] = ()
    selects_nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        if self.selects_nothing:
            return False
        for requirement in self.requirements:  # noqa: SIM110  a loop is half the cost of a generator here
            if not requirement.matches(labels):
                return False
        return True

    @property
    def is_everything(self) -> bool:
        """Whether every object is selected."""
        return not self.requirements and not self.selects_nothing

    def exact(self, key: str) -> str | None:
        """The one value that the label must have, if some term demands one: for use with an index."""
        for requirement in self.requirements:
            if requirement.key == key and requirement.operator in _POSITIVE and len(requirement.values) == 1:
                return requirement.values[0]
        return None

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING: Final = Selector()
NOTHING: Final = Selector(selects_nothing=True)


@lru_cache(maxsize=2048)
def parse(text: str) -> Selector:
    """The selector of a `labelSelector` query option.

    Raises:
        LabelSelectorError: The text is none, with upstream's message.
    """
    return _sorted(_Parser(text).parse())


def from_set(labels: Mapping[str, str]) -> Selector:
    """The selector of exactly these labels, unvalidated; none select everything."""
    return Selector(tuple(Requirement(key, EQUALS, (value,)) for key, value in sorted(labels.items())))


def from_label_selector(selector: LabelSelectorLike | None) -> Selector:
    """The selector of a LabelSelector object: an absent one selects nothing, an empty one everything.

    Raises:
        LabelSelectorError: A key, operator or value is invalid.
    """
    if selector is None:
        return NOTHING
    return _from_parts(
        tuple(selector.match_labels.items()),
        tuple((term.key, term.operator, tuple(term.values)) for term in selector.match_expressions),
    )


def go_printed(selector: LabelSelectorLike | None) -> str:
    """A LabelSelector as Go prints it with %+v: upstream quotes it so in messages."""
    if selector is None:
        return "nil"
    matched = "".join(f"{key}: {value}," for key, value in sorted(selector.match_labels.items()))
    expressions = "".join(
        f"LabelSelectorRequirement{{Key:{one.key},Operator:{one.operator},Values:[{' '.join(one.values)}],}},"
        for one in selector.match_expressions
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{matched}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )


@lru_cache(maxsize=4096)
def _from_parts(
    match_labels: tuple[tuple[str, str], ...], expressions: tuple[tuple[str, str, tuple[str, ...]], ...]
) -> Selector:
    terms = [_requirement(key, EQUALS, (value,)) for key, value in match_labels]
    for key, operator, values in expressions:
        terms.append(_requirement(key, _object_operator(operator), values))
    return _sorted(terms)


def _object_operator(operator: str) -> str:
    match operator:
        case "In":
            return IN
        case "NotIn":
            return NOT_IN
        case "Exists":
            return EXISTS
        case "DoesNotExist":
            return DOES_NOT_EXIST
        case _:
            raise LabelSelectorError(f'"{operator}" is not a valid label selector operator')


def _sorted(requirements: Sequence[Requirement]) -> Selector:
    return Selector(tuple(sorted(requirements, key=lambda requirement: requirement.key)))


def _int64(text: str) -> int | None:
    if not _INTEGER.fullmatch(text) or len(text) > 20:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def _quoted_list(values: Sequence[str]) -> str:
    return "[" + ",".join(f'"{value}"' for value in values) + "]"


def _key_complaint(key: str, path: str) -> str | None:
    complaints = names.qualified_name(key)
    return f'{path}: Invalid value: "{key}": {"; ".join(complaints)}' if complaints else None


def _requirement(key: str, operator: str, values: Sequence[str]) -> Requirement:
    """A validated term; all that is wrong with it is reported at once."""
    unique = tuple(sorted(set(values)))
    complaints = list(_complaints(key, operator, unique))
    if len(complaints) == 1:
        raise LabelSelectorError(complaints[0])
    if complaints:
        raise LabelSelectorError(f"[{', '.join(complaints)}]")
    return Requirement(key, operator, unique)


def _complaints(key: str, operator: str, values: Sequence[str]) -> Iterator[str]:
    complaint = _key_complaint(key, "key")
    if complaint:
        yield complaint
    shown = _quoted_list(values)
    if operator in (IN, NOT_IN):
        if not values:
            yield f"values: Invalid value: {shown}: for 'in', 'notin' operators, values set can't be empty"
    elif operator in (EXISTS, DOES_NOT_EXIST):
        if values:
            yield f"values: Invalid value: {shown}: values set must be empty for exists and does not exist"
    elif operator in (GREATER_THAN, LESS_THAN):
        for index, value in enumerate(values):
            if _int64(value) is None:
                yield (
                    f'values[{index}]: Invalid value: "{value}": '
                    "for 'Gt', 'Lt' operators, the value must be an integer"
                )
    for index, value in enumerate(values):
        wrong = names.label_value(value)
        if wrong:
            yield f'values[{index}][{key}]: Invalid value: "{value}": {"; ".join(wrong)}'


# Token kinds. An operator's kind is the operator itself.
_END: Final = "end of string"
_IDENTIFIER: Final = "identifier"
_ERROR: Final = "error"
_SYMBOLS: Final = {
    ")": ")",
    "(": "(",
    "!": DOES_NOT_EXIST,
    "=": EQUALS,
    "==": DOUBLE_EQUALS,
    "!=": NOT_EQUALS,
    ",": ",",
    ">": GREATER_THAN,
    "<": LESS_THAN,
}
_SPECIAL: Final = frozenset("=!(),><")
_SPACE: Final = frozenset(" \t\r\n")


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    index, end = 0, len(text)
    while index < end:
        if text[index] in _SPACE:
            index += 1
            continue
        start = index
        if text[index] not in _SPECIAL:
            while index < end and text[index] not in _SPECIAL and text[index] not in _SPACE:
                index += 1
            word = text[start:index]
            yield (word if word in (IN, NOT_IN) else _IDENTIFIER), word
            continue
        index += 2 if text[start : start + 2] in _SYMBOLS else 1
        symbol = text[start:index]
        yield _SYMBOLS[symbol], symbol
    yield _END, ""


class _Parser:
    """A recursive-descent reader of one selector; words `in` and `notin` are operators only where one can stand."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._position = 0

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            kind, literal = self._look()
            if kind == _END:
                return requirements
            if kind not in (_IDENTIFIER, DOES_NOT_EXIST):
                raise LabelSelectorError(f"found '{literal}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except LabelSelectorError as error:
                raise LabelSelectorError(f"unable to parse requirement: {error}") from None
            kind, literal = self._take()
            if kind == _END:
                return requirements
            if kind != ",":
                raise LabelSelectorError(f"found '{literal}', expected: ',' or 'end of string'")
            kind, literal = self._look()
            if kind not in (_IDENTIFIER, DOES_NOT_EXIST):
                raise LabelSelectorError(f"found '{literal}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        kind, literal = self._take()
        operator = ""
        if kind == DOES_NOT_EXIST:
            operator = DOES_NOT_EXIST
            kind, literal = self._take()
        if kind != _IDENTIFIER:
            raise LabelSelectorError(f"found '{literal}', expected: identifier")
        key = literal
        complaint = _key_complaint(key, "<nil>")
        if complaint:
            raise LabelSelectorError(complaint)
        if self._look()[0] in (_END, ","):
            operator = operator or EXISTS
        if operator:
            return _requirement(key, operator, ())
        operator = self._operator()
        values = self._values() if operator in (IN, NOT_IN) else (self._exact_value(),)
        return _requirement(key, operator, values)

    def _operator(self) -> str:
        kind, literal = self._take(as_value=False)
        if kind not in (IN, NOT_IN, EQUALS, DOUBLE_EQUALS, NOT_EQUALS, GREATER_THAN, LESS_THAN):
            raise LabelSelectorError(f"found '{literal}', expected: {_BINARY_OPERATORS}")
        return kind

    def _exact_value(self) -> str:
        if self._look()[0] in (_END, ","):
            return ""
        kind, literal = self._take()
        if kind != _IDENTIFIER:
            raise LabelSelectorError(f"found '{literal}', expected: identifier")
        return literal

    def _values(self) -> list[str]:
        kind, literal = self._take()
        if kind != "(":
            raise LabelSelectorError(f"found '{literal}' expected: '('")
        kind, literal = self._look()
        if kind == ")":
            self._take()
            return []
        if kind not in (_IDENTIFIER, ","):
            raise LabelSelectorError(f"found '{literal}', expected: ',', ')' or identifier")
        values = self._identifiers()
        if self._take()[0] != ")":
            raise LabelSelectorError(f"found '{literal}', expected: ')'")
        return values

    def _identifiers(self) -> list[str]:
        values: list[str] = []
        while True:
            kind, literal = self._take()
            if kind == _IDENTIFIER:
                values.append(literal)
                kind, literal = self._look()
                if kind == ")":
                    return values
                if kind != ",":
                    raise LabelSelectorError(f"found '{literal}', expected: ',' or ')'")
            elif kind == ",":
                # An empty place between commas stands for the empty value.
                if not values:
                    values.append("")
                kind, _ = self._look()
                if kind == ")":
                    values.append("")
                    return values
                if kind == ",":
                    self._take()
                    values.append("")
            else:
                raise LabelSelectorError(f"found '{literal}', expected: ',', or identifier")

    def _look(self) -> tuple[str, str]:
        kind, literal = self._tokens[min(self._position, len(self._tokens) - 1)]
        return (_IDENTIFIER if kind in (IN, NOT_IN) else kind), literal

    def _take(self, as_value: bool = True) -> tuple[str, str]:
        kind, literal = self._tokens[min(self._position, len(self._tokens) - 1)]
        self._position += 1
        return (_IDENTIFIER if as_value and kind in (IN, NOT_IN) else kind), literal
