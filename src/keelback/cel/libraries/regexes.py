"""Kubernetes' `regex` library: `find` and `findAll`, on the expressions Go reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from keelback.apimachinery import go_regexp
from keelback.cel.declarations import CallEstimate, Library, Operand, function, member
from keelback.cel.errors import EvaluationError
from keelback.cel.estimates import ONE, Estimate
from keelback.cel.libraries import costs
from keelback.cel.syntax import Call, Expression, Literal
from keelback.cel.types import INT, STRING, Type, list_of
from keelback.cel.validators import children
from keelback.cel.values import Value


def _compiled(pattern: str) -> go_regexp.Pattern:
    try:
        return go_regexp.compiled(pattern)
    except go_regexp.RegexpError as error:
        raise EvaluationError(f"Illegal regex: {error}") from None


def _find(text: str, pattern: str) -> str:
    match = _compiled(pattern).search(text)
    return text[slice(*match.span())] if match else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    """Go's FindAllString: an empty match directly behind another match does not count."""
    compiled, found = _compiled(pattern), list[str]()
    position, last_end = 0, -1
    while (limit < 0 or len(found) < limit) and position <= len(text):
        match = compiled.search(text, position)
        if match is None:
            break
        start, end = match.span()
        if end != position or start != last_end:
            found.append(text[start:end])
        position = position + 1 if end == position else end
        last_end = end
    return found


def _validate(expression: Expression, _types: Mapping[int, Type], _report: Callable[[str, int], None]) -> None:
    """Constant patterns are compiled with the program: one with a wrong pattern cannot be made."""
    pending = [expression]
    while pending:
        node = pending.pop()
        pending.extend(children(node))
        if isinstance(node, Call) and node.function in ("find", "findAll") and node.arguments:
            pattern = node.arguments[0]
            if isinstance(pattern, Literal) and isinstance(pattern.value, str):
                try:
                    go_regexp.compiled(pattern.value)
                except go_regexp.RegexpError as error:
                    raise EvaluationError(str(error)) from None


def _runtime(arguments: Sequence[Value], _result: Value) -> int:
    text = costs.traversal(1 + len(arguments[0]))
    return text * costs.traversal(len(arguments[1]), costs.REGEX_STRING_LENGTH)


def _static(operands: Sequence[Operand]) -> CallEstimate:
    length = operands[0].size
    # One more, or an expensive pattern would cost nothing on an empty text.
    text = length.plus(ONE).scaled(costs.STRING_TRAVERSAL)
    pattern = operands[1].size.scaled(costs.REGEX_STRING_LENGTH)
    return CallEstimate(text.by(pattern), Estimate(0, length.most))


_COSTS = costs.Hooks(runtime_cost=_runtime, static_cost=_static)

LIBRARY = Library(
    "kubernetes.regex",
    functions=(
        function("find", member("string_find_string", (STRING, STRING), STRING, _find, **_COSTS)),
        function(
            "findAll",
            member("string_find_all_string", (STRING, STRING), list_of(STRING), _find_all, **_COSTS),
            member("string_find_all_string_int", (STRING, STRING, INT), list_of(STRING), _find_all, **_COSTS),
        ),
    ),
    validators=(_validate,),
)
