"""What an environment knows by name: functions with their overloads, constants, types, and libraries of all these.

An implementation takes its arguments as positional values (a method's receiver first), whose types are the overload's,
and returns a value, or raises EvaluationError. It must not change what it is given, nor do I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from keelback.cel.estimates import Estimate
from keelback.cel.types import Type
from keelback.cel.values import Value

if TYPE_CHECKING:
    from keelback.cel.syntax import Expression, Macro


class Operand(Protocol):
    """What the static estimator knows of one argument (cel-go's checker.AstNode)."""

    @property
    def expression(self) -> Expression:
        """Its syntax: a literal can be looked at."""
        ...

    @property
    def type(self) -> Type:
        """Its checked type."""
        ...

    @property
    def path(self) -> tuple[str, ...] | None:
        """Where it is read from, `("self", "items", "@items")`, if it is read from a variable at all."""
        ...

    @property
    def size(self) -> Estimate:
        """Elements, code points or bytes: computed, or as the schema limits them, or anything (`estimates.UNKNOWN`)."""
        ...

    @property
    def element_size(self) -> Estimate:
        """The size of each element of a list: what the schema says of the path and `@items`, or anything."""
        ...


@dataclass(frozen=True, slots=True)
class CallEstimate:
    """What one call may cost, its arguments apart, and how large its result may be (None: not known)."""

    cost: Estimate
    result_size: Estimate | None = None


Implementation = Callable[..., Value]
RuntimeCost = Callable[[Sequence[Value], Value], int]
"""(arguments with the receiver first, result) -> the cost of this call, arguments apart (cel-go's CallCost)."""
StaticCost = Callable[[Sequence[Operand]], CallEstimate]
"""(operands with the receiver first) -> the estimate of this call, operands apart."""


@dataclass(frozen=True, slots=True)
class Overload:
    """One signature of a function. Without hooks a call costs 1. `id` is cel-go's or the Kubernetes library's."""

    id: str
    arguments: tuple[Type, ...]
    """With the receiver first if it is a method."""
    result: Type
    implementation: Implementation
    is_member: bool = False
    runtime_cost: RuntimeCost | None = None
    static_cost: StaticCost | None = None
    is_guarded: bool = True
    """Whether arguments whose types only show when they are evaluated are looked at before the call; else the
    implementation takes what comes, and fails in its own words."""


@dataclass(frozen=True, slots=True)
class Function:
    """A name with its overloads; names may be qualified: `ip.isCanonical`. Libraries may add overloads to a name."""

    name: str
    overloads: tuple[Overload, ...]


Validator = Callable[["Expression", Mapping[int, Type], Callable[[str, int], None]], None]
"""(expression, types of its nodes, report) -> None: what a library finds wrong with an expression whose types agree.

It reports a message and the position it is about, or raises EvaluationError for what no program can be made of.
"""


@dataclass(frozen=True, slots=True)
class Library:
    """A family of declarations, put into an environment together."""

    name: str
    functions: tuple[Function, ...] = ()
    types: tuple[Type, ...] = ()
    """Types whose names expressions may use as values: `type(x) == net.IP`."""
    constants: Mapping[str, tuple[Type, Value]] = field(default_factory=lambda: MappingProxyType({}))
    macros: tuple[Macro, ...] = ()
    validators: tuple[Validator, ...] = ()


def function(name: str, *overloads: Overload) -> Function:
    """A function, its overloads one after the other."""
    return Function(name, overloads)


def overload(
    id: str,
    arguments: Sequence[Type],
    result: Type,
    implementation: Implementation,
    *,
    runtime_cost: RuntimeCost | None = None,
    static_cost: StaticCost | None = None,
) -> Overload:
    """A global function's signature: `size(x)`."""
    return Overload(id, tuple(arguments), result, implementation, False, runtime_cost, static_cost)


def member(
    id: str,
    arguments: Sequence[Type],
    result: Type,
    implementation: Implementation,
    *,
    runtime_cost: RuntimeCost | None = None,
    static_cost: StaticCost | None = None,
) -> Overload:
    """A method's signature, `x.size()`: the receiver's type first."""
    return Overload(id, tuple(arguments), result, implementation, True, runtime_cost, static_cost)
