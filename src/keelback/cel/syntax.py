"""The syntax tree of expressions. Each node has a number of its own, by which the checker keeps what it learns of it.

Macros are expanded while parsing; a comprehension still says which macro it came from, so that it can be run as a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from keelback.cel.values import Value

ACCUMULATOR = "@result"
UNUSED = "#unused"
AND = "_&&_"
OR = "_||_"
CONDITIONAL = "_?_:_"
EQUALS = "_==_"
NOT_EQUALS = "_!=_"
INDEX = "_[_]"
OPTIONAL_INDEX = "_[?_]"
OPTIONAL_SELECT = "_?._"
NOT = "!_"
NEGATE = "-_"
IN = "@in"
NOT_STRICTLY_FALSE = "@not_strictly_false"
MAP_INSERT = "cel.@mapInsert"


@dataclass(frozen=True, slots=True, eq=False)
class Literal:
    """A constant; `value` has the type of the literal."""

    id: int
    position: int
    value: Value


@dataclass(frozen=True, slots=True, eq=False)
class Identifier:
    """A variable, the name of a type, or the beginning of a qualified name."""

    id: int
    position: int
    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Select:
    """`operand.field`, or `has(operand.field)` if it is a test."""

    id: int
    position: int
    operand: Expression
    field: str
    is_test: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A function, an operator (`_+_`), or a method if there is a target."""

    id: int
    position: int
    function: str
    target: Expression | None
    arguments: tuple[Expression, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ListLiteral:
    """`[a, ?b]`; `optional` has the indices of elements with a question mark."""

    id: int
    position: int
    elements: tuple[Expression, ...]
    optional: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """`key: value` of a map, or `field: value` of an object (the key is then a string)."""

    id: int
    position: int
    key: Expression | str
    value: Expression
    is_optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class MapLiteral:
    """`{a: b, ?c: d}`."""

    id: int
    position: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ObjectLiteral:
    """`Name{field: value}`."""

    id: int
    position: int
    name: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Comprehension:
    """A fold over a range: what `all`, `map` and their like become.

    `macro` and `parts` say what was written: the predicate of `all`; the filter (or None) and the transformation of
    `map`.
    """

    id: int
    position: int
    range: Expression
    variable: str
    second_variable: str
    accumulator: str
    initial: Expression
    condition: Expression
    step: Expression
    result: Expression
    macro: str = ""
    parts: tuple[Expression | None, ...] = ()


Expression = Literal | Identifier | Select | Call | ListLiteral | MapLiteral | ObjectLiteral | Comprehension


class Expander(Protocol):
    """What a macro builds its expansion with; every node made stands where the macro's call stands."""

    def literal(self, value: Value) -> Literal:
        """A constant."""
        ...

    def identifier(self, name: str) -> Identifier:
        """A variable."""
        ...

    def call(self, function: str, *arguments: Expression, target: Expression | None = None) -> Call:
        """A call."""
        ...

    def list(self, *elements: Expression) -> ListLiteral:
        """A list."""
        ...

    def map(self) -> MapLiteral:
        """An empty map."""
        ...

    def test(self, operand: Expression, field: str) -> Select:
        """`has(operand.field)`."""
        ...

    def comprehension(
        self,
        over: Expression,
        variables: tuple[str, str],
        accumulator: str,
        fold: Fold,
        macro: str = "",
        parts: tuple[Expression | None, ...] = (),
    ) -> Comprehension:
        """A fold."""
        ...

    def fail(self, message: str, at: Expression) -> Expression:
        """Report what is wrong with the call, where an argument stands."""
        ...


Fold = tuple[Expression, Expression, Expression, Expression]
"""The initial value, the condition to go on, the step and the result."""

Expand = Callable[[Expander, Expression | None, tuple[Expression, ...]], Expression | None]
"""(expander, target, arguments) -> the expansion, or None if this call is not of the macro after all."""


@dataclass(frozen=True, slots=True)
class Macro:
    """A call that is replaced while parsing: `x.all(e, predicate)`."""

    name: str
    is_member: bool
    argument_count: int
    expand: Expand


def qualified_name(expression: Expression) -> str | None:
    """`a.b.c` if that is all the expression is."""
    names = []
    while isinstance(expression, Select) and not expression.is_test:
        names.append(expression.field)
        expression = expression.operand
    if not isinstance(expression, Identifier):
        return None
    return ".".join([expression.name, *reversed(names)])
