"""What compiled expressions run on: a list that holds the cost so far, the most it may be, and the variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from keelback.cel.errors import EvaluationError
from keelback.cel.values import Value

Frame = list[Any]
COST = 0
LIMIT = 1
FIRST_VARIABLE = 2

Run = Callable[[Frame], Value]


class Code(NamedTuple):
    """A compiled expression."""

    run: Run
    cost: int
    """What it costs whenever it succeeds, beside what `run` charges itself. Its user's to charge."""
    is_attribute: bool = False
    """A variable, or something selected from one: cel-go charges these together, once."""
    is_constant: bool = False
    is_choice: bool = False
    """Of `?:`, or selected from that: an attribute without a variable of its own to charge for."""


class Absent:
    """Stands where a variable has no value; whoever looks into it fails."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __getitem__(self, key: object) -> NoReturn:
        raise self.error()

    def error(self) -> EvaluationError:
        """What reading the variable gives."""
        return EvaluationError(f"no such attribute(s): {self.name}")


def constant(value: Value) -> Code:
    """A literal: free of charge."""

    def run(frame: Frame) -> Value:
        return value

    return Code(run, 0, is_constant=True)
