"""Field selectors: `metadata.name=a,status.phase!=Running`, with backslash escapes for `\\`, `,` and `=`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class FieldSelectorError(ValueError):
    """A text that is not a field selector; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term: the field's value is, or is not, the given one."""

    field: str
    value: str
    equal: bool = True

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether the object with these fields satisfies the term; an absent field counts as empty."""
        return (fields.get(self.field, "") == self.value) is self.equal

    def __str__(self) -> str:
        return f"{self.field}{'=' if self.equal else '!='}{escaped(self.value)}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Terms that must all hold."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether the object with these fields satisfies every term."""
        return all(requirement.matches(fields) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))

    def exact(self, field: str) -> str | None:
        """The value that the field must have, if some term demands one."""
        return next((term.value for term in self.requirements if term.equal and term.field == field), None)


EVERYTHING = FieldSelector()


def parse(text: str) -> FieldSelector:
    """The selector of a `fieldSelector` query option.

    Raises:
        FieldSelectorError: The text is none.
    """
    terms: list[Requirement] = []
    for part in _split(text):
        if not part:
            continue
        terms.append(_requirement(text, part))
    return FieldSelector(tuple(terms))


def escaped(value: str) -> str:
    """A value with the characters escaped that mean something in a selector."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _split(text: str) -> list[str]:
    """The terms between commas that are not escaped."""
    terms: list[str] = []
    start = 0
    in_slash = False
    for index, character in enumerate(text):
        if in_slash:
            in_slash = False
        elif character == "\\":
            in_slash = True
        elif character == ",":
            terms.append(text[start:index])
            start = index + 1
    terms.append(text[start:])
    return terms


def _requirement(selector: str, part: str) -> Requirement:
    for index in range(len(part)):
        for operator in ("!=", "==", "="):
            if part.startswith(operator, index):
                value = _unescaped(part[index + len(operator) :])
                return Requirement(part[:index], value, operator != "!=")
    raise FieldSelectorError(f"invalid selector: '{selector}'; can't understand '{part}'")


def _unescaped(value: str) -> str:
    if not any(character in value for character in "\\,="):
        return value
    out: list[str] = []
    in_slash = False
    for character in value:
        if in_slash:
            if character not in "\\,=":
                raise FieldSelectorError(f"invalid field selector: invalid escape sequence: \\{character}")
            out.append(character)
            in_slash = False
        elif character == "\\":
            in_slash = True
        elif character in ",=":
            raise FieldSelectorError(f"invalid field selector: unescaped character in value: {ord(character)}")
        else:
            out.append(character)
    if in_slash:
        raise FieldSelectorError("invalid field selector: invalid escape sequence: \\")
    return "".join(out)
