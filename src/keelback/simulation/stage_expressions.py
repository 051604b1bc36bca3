"""The CEL of stages: expressions over `self`, the object, in place of queries. Pure.

They have the functions that Kubernetes gives to expressions. One that fails on an object finds nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final, Literal, TypeAlias

from keelback.cel import times
from keelback.cel.environment import Budget, Environment, Program
from keelback.cel.errors import CompileError, EvaluationError
from keelback.cel.libraries.kubernetes import kubernetes
from keelback.cel.types import BOOL, DYN
from keelback.cel.values import Duration, Timestamp
from keelback.simulation.stage_queries import Query, QueryError

Purpose: TypeAlias = Literal["condition", "number", "delay"]
"""What is asked for: a truth, a number, or a moment or duration."""

_COST_LIMIT: Final = 1_000_000


def parse(text: str, purpose: Purpose) -> Query:
    """Read an expression. Raises QueryError with the compiler's words."""
    try:
        program = _environment().compile(text, expected=(BOOL, DYN) if purpose == "condition" else ())
    except CompileError as error:
        raise QueryError(f"cel {text!r}: {error}") from None
    return Query(text, _run(program, _delay if purpose == "delay" else _number if purpose == "number" else _condition))


@cache
def _environment() -> Environment:
    return kubernetes().extend(variables={"self": DYN})


def _run(program: Program, told: Callable[[Any], Any]) -> Callable[[Any], Iterator[Any]]:
    def run(tree: Any) -> Iterator[Any]:
        try:
            found = told(program.evaluate({"self": tree}, Budget(_COST_LIMIT, _COST_LIMIT)))
        except EvaluationError:
            return
        if found is not None:
            yield found

    return run


def _condition(value: Any) -> bool:
    return value is True


def _number(value: Any) -> int | None:
    if isinstance(value, Duration):
        return value.nanoseconds
    return int(value) if isinstance(value, int | float) else None


def _delay(value: Any) -> str | None:
    """As the object would name it: a moment, or a duration, whose plain numbers are nanoseconds."""
    match value:
        case str():
            return value
        case Duration():
            return times.duration_text(value)
        case Timestamp():
            return times.timestamp_text(value)
        case bool():
            return None
        case int() | float():
            return f"{int(value)}ns"
    return None
