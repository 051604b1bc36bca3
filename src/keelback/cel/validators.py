"""What Kubernetes checks of an expression beside its types: literals that functions could only fail on.

cel-go's ASTValidators of durations, timestamps and regular expressions, on since Kubernetes 1.29 (cel/validator.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keelback.apimachinery import go_regexp
from keelback.cel import times
from keelback.cel.checker import Checked
from keelback.cel.source import Source
from keelback.cel.syntax import (
    OPTIONAL_SELECT,
    Call,
    Comprehension,
    Expression,
    Identifier,
    ListLiteral,
    Literal,
    MapLiteral,
    ObjectLiteral,
    Select,
)


def _is_regexp(text: str) -> bool:
    try:
        go_regexp.compiled(text)
    except go_regexp.RegexpError:
        return False
    return True


_VALID: dict[str, tuple[int, Callable[[str], bool]]] = {
    "duration": (0, lambda text: times.parse_duration(text) is not None),
    "timestamp": (0, lambda text: times.parse_timestamp(text) is not None),
    "matches": (-1, _is_regexp),
}


def validate(expression: Expression, checked: Checked, source: Source) -> None:
    """Report literals that cannot be what a function takes them for."""
    pending = [expression]
    while pending:
        node = pending.pop()
        pending.extend(children(node))
        if not isinstance(node, Call) or node.function not in _VALID or not node.arguments:
            continue
        place, is_valid = _VALID[node.function]
        argument = node.arguments[place]
        if isinstance(argument, Literal) and isinstance(argument.value, str) and not is_valid(argument.value):
            source.report(f"invalid {node.function} argument", argument.position)


def children(node: Expression) -> Iterator[Expression]:
    """What was written directly below a node; of a macro, its arguments."""
    match node:
        case Select():
            yield node.operand
        case Call():
            if node.target is not None:
                yield node.target
            yield from node.arguments
        case ListLiteral():
            yield from node.elements
        case MapLiteral() | ObjectLiteral():
            for entry in node.entries:
                if not isinstance(entry.key, str):
                    yield entry.key
                yield entry.value
        case Comprehension():
            yield node.range
            yield node.initial
            yield from (part for part in node.parts if part is not None)
            if node.macro == "bind":
                yield node.result


def selects(node: Expression, variable: str, field: str) -> bool:
    """Whether `variable.field` or `variable.?field` stands at the node or below."""
    match node:
        case Select(operand=Identifier() as operand, field=found):
            is_it = (operand.name, found) == (variable, field)
        case Call(function=function, arguments=(Identifier() as operand, Literal() as literal)):
            is_it = (function, operand.name, literal.value) == (OPTIONAL_SELECT, variable, field)
        case _:
            is_it = False
    return is_it or any(selects(child, variable, field) for child in children(node))
