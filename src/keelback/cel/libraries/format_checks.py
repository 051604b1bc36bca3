"""Calls of `string.format` with a constant template are checked before they run (cel-go's stringFormatValidator)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from keelback.cel.errors import EvaluationError
from keelback.cel.libraries.formatting import COMPLAINTS, clause, clauses
from keelback.cel.syntax import Call, Expression, ListLiteral, Literal, MapLiteral
from keelback.cel.types import DYN, Kind, Type, type_name
from keelback.cel.validators import children

_INTEGERS = frozenset({Kind.INT, Kind.UINT})
_DOUBLES = frozenset({Kind.DOUBLE, Kind.STRING})
_STRINGS = frozenset(
    {
        *(Kind.LIST, Kind.MAP, Kind.INT, Kind.UINT, Kind.DOUBLE, Kind.BOOL, Kind.STRING, Kind.TIMESTAMP),
        *(Kind.BYTES, Kind.DURATION, Kind.TYPE, Kind.NULL),
    }
)
_KINDS = {
    "s": _STRINGS,
    "d": _INTEGERS,
    "f": _DOUBLES,
    "e": _DOUBLES,
    "b": _INTEGERS | {Kind.BOOL},
    "x": _INTEGERS | {Kind.STRING, Kind.BYTES},
    "X": _INTEGERS | {Kind.STRING, Kind.BYTES},
    "o": _INTEGERS,
}


def validate(expression: Expression, types: Mapping[int, Type], report: Callable[[str, int], None]) -> None:
    """Report clauses that do not fit their arguments, and arguments that no clause takes."""
    pending = [expression]
    while pending:
        node = pending.pop()
        pending.extend(children(node))
        if not isinstance(node, Call) or node.function != "format" or len(node.arguments) != 1:
            continue
        template, arguments = node.target, node.arguments[0]
        if not isinstance(template, Literal) or not isinstance(template.value, str):
            continue
        if isinstance(arguments, ListLiteral):
            for message, position in _problems(node, template.value, arguments.elements, types):
                report(message, position)


def _problems(
    node: Call, template: str, arguments: tuple[Expression, ...], types: Mapping[int, Type]
) -> Iterator[tuple[str, int]]:
    found = clauses(template)
    for place, match in enumerate(found):
        try:
            if place >= len(arguments) and match.end() > match.start() + 1:
                raise EvaluationError(f"index {place} out of range")
            verb, _ = clause(match)
        except EvaluationError as error:
            yield error.message, node.position
            return
        wrong = _misfit(verb, arguments[place], types)
        if wrong is not None:
            name = type_name(types.get(wrong.id, DYN))
            yield f"error during formatting: {COMPLAINTS[verb]}, was given {name}", wrong.position
            return
    if len(arguments) > len(found):
        counts = f"(expected {len(found)}, got {len(arguments)})"
        yield f"too many arguments supplied to string.format {counts}", node.position


def _misfit(verb: str, argument: Expression, types: Mapping[int, Type]) -> Expression | None:
    """The argument, or what in it the clause cannot print."""
    kind = types.get(argument.id, DYN).kind
    if kind is not Kind.DYN and kind not in _KINDS[verb]:
        return argument
    if verb != "s" or not isinstance(argument, ListLiteral | MapLiteral):
        return None
    return next((wrong for child in children(argument) if (wrong := _misfit(verb, child, types))), None)
