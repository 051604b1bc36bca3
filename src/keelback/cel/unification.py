"""Which types go with which, while type variables are being found out (cel-go, checker/types.go).

Substitutions are never changed in place: a failed attempt leaves none behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from keelback.cel.types import DYN, Kind, Type

Substitutions = dict[str, Type]
"""What each type variable is known to stand for."""

_WILD = frozenset({Kind.DYN, Kind.ANY, Kind.ERROR})
_NULLABLE = frozenset({Kind.OPAQUE, Kind.DURATION, Kind.TIMESTAMP, Kind.OBJECT, Kind.NULL})
_WITH_PARAMETERS = frozenset({Kind.LIST, Kind.MAP, Kind.OPAQUE, Kind.TYPE})


def is_assignable(substitutions: Substitutions, to: Type, type: Type) -> Substitutions | None:
    """What is known once `type` is taken for `to`, or None if it cannot be."""
    found = dict(substitutions)
    return found if _assign(found, to, type) else None


def are_assignable(substitutions: Substitutions, to: Sequence[Type], types: Sequence[Type]) -> Substitutions | None:
    """The same of all, in turn."""
    found = dict(substitutions)
    return found if _assign_all(found, to, types) else None


def substitute(substitutions: Substitutions, type: Type, *, dyn: bool = False) -> Type:
    """The type with all that is known put in; with `dyn`, what is not known is dyn."""
    if type.kind is Kind.PARAMETER:
        known = substitutions.get(type.name)
        if known is not None:
            return substitute(substitutions, known, dyn=dyn)
        return DYN if dyn else type
    if not type.parameters:
        return type
    parameters = tuple(substitute(substitutions, inner, dyn=dyn) for inner in type.parameters)
    return type if parameters == type.parameters else replace(type, parameters=parameters)


def parameters_of(type: Type) -> Iterator[str]:
    """The names of the placeholders in a type."""
    if type.kind is Kind.PARAMETER:
        yield type.name
    for inner in type.parameters:
        yield from parameters_of(inner)


def most_general(first: Type, second: Type) -> Type:
    """The wider of two types that go together."""
    return first if _is_no_narrower(first, second) else second


def _is_no_narrower(first: Type, second: Type) -> bool:
    if first.kind in (Kind.DYN, Kind.ANY, Kind.PARAMETER):
        return True
    if second.kind in (Kind.DYN, Kind.ANY, Kind.PARAMETER) or first.kind is not second.kind:
        return False
    if first.kind is Kind.TYPE:
        return True
    if first.name != second.name or len(first.parameters) != len(second.parameters):
        return False
    return all(map(_is_no_narrower, first.parameters, second.parameters))


def _assign_all(found: Substitutions, to: Sequence[Type], types: Sequence[Type]) -> bool:
    return len(to) == len(types) and all(_assign(found, first, second) for first, second in zip(to, types, strict=True))


def _assign(found: Substitutions, to: Type, type: Type) -> bool:
    if type.kind is Kind.PARAMETER:
        is_valid, is_known = _stands_for(found, to, type)
        if is_valid or is_known:
            return is_valid
    if to.kind is Kind.PARAMETER:
        return _stands_for(found, type, to)[0]
    if to.kind in _WILD or type.kind in _WILD:
        return True
    if to.kind is Kind.NULL:
        return type.kind in _NULLABLE
    if type.kind is Kind.NULL:
        return to.kind in _NULLABLE
    if to.kind is Kind.TYPE:
        return type.kind is Kind.TYPE
    return to.kind is type.kind and to.name == type.name and _assign_all(found, to.parameters, type.parameters)


def _stands_for(found: Substitutions, type: Type, variable: Type) -> tuple[bool, bool]:
    """Whether the variable may stand for the type, and whether it already stood for something."""
    if type == variable:
        return True, True
    known = found.get(variable.name)
    if known is not None:
        if type == known:
            return True, True
        if not _assign(found, type, known):
            return False, True
        wider = most_general(type, known)
        if not _occurs(found, variable, wider):
            found[variable.name] = wider
        return True, True
    if _occurs(found, variable, type):
        return False, False
    found[variable.name] = type
    return True, False


def _occurs(found: Substitutions, variable: Type, within: Type) -> bool:
    if variable == within:
        return True
    if within.kind is Kind.PARAMETER:
        known = found.get(within.name)
        return known is not None and _occurs(found, variable, known)
    return within.kind in _WITH_PARAMETERS and any(_occurs(found, variable, inner) for inner in within.parameters)
