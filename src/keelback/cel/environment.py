"""What expressions are compiled in, and what comes of it: names, libraries, programs, and what a program may spend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from keelback.cel import cost, interpreter, parser, validators
from keelback.cel.checker import Checked, Declared, check
from keelback.cel.declarations import Library, Overload, Validator
from keelback.cel.errors import (
    CompileError,
    CostLimitExceeded,
    EvaluationError,
    Issue,
    ResultTypeError,
    TakesLongError,
    no_such_overload,
)
from keelback.cel.estimates import Estimate
from keelback.cel.frames import COST, FIRST_VARIABLE, LIMIT, Absent, Code, Frame
from keelback.cel.macros import MACROS
from keelback.cel.optionals import OPTIONALS
from keelback.cel.source import Source
from keelback.cel.standard import STANDARD
from keelback.cel.syntax import Expression, Macro
from keelback.cel.types import BOOL, Type, type_name, type_of
from keelback.cel.values import Value

PER_CALL_LIMIT = 1_000_000
"""What one evaluation may cost (k8s.io/apiserver/pkg/apis/cel, PerCallLimit)."""
RUNTIME_BUDGET = 10_000_000
"""What all expressions that look at one object may cost together (RuntimeCELCostBudget)."""
_UNLIMITED = float("inf")
_NOTHING_MORE = -1.0
"""The limit of an evaluation that is to end."""


class Patience:
    """How long evaluations may take, all together, where somebody waits for their end.

    They are given the cost that may be spent; without one they take the time they need, until `end` is called, by
    another thread. Then each fails with TakesLongError.
    """

    __slots__ = ("_has_ended", "_left", "_running")

    def __init__(self, cost: float = _UNLIMITED) -> None:
        self._left = cost
        self._running: list[Frame] = []
        self._has_ended = False

    def end(self) -> None:
        """Wait no more: what is evaluated ends at the next turn of a loop."""
        self._has_ended = True
        for frame in tuple(self._running):
            frame[LIMIT] = _NOTHING_MORE

    def begin(self, frame: Frame) -> None:
        """An evaluation begins; it may be part of another."""
        if self._left < frame[LIMIT]:
            frame[LIMIT] = self._left
        self._running.append(frame)
        if self._has_ended:
            frame[LIMIT] = _NOTHING_MORE

    def finish(self, frame: Frame) -> None:
        """It ended. Raises TakesLongError if that was for lack of patience."""
        self._running.pop()
        self._left -= frame[COST]
        if self._left < 0 or frame[LIMIT] == _NOTHING_MORE:
            raise TakesLongError


@dataclass(slots=True)
class Budget:
    """What evaluations may cost: together `remaining`, each one `per_call`; and the patience with them, if there is a
    limit to that."""

    remaining: int = RUNTIME_BUDGET
    per_call: int = PER_CALL_LIMIT
    patience: Patience | None = None


class Environment:
    """The names an expression may use. Never changed: `extend` makes another."""

    def __init__(
        self, variables: Mapping[str, Type] | None = None, libraries: Iterable[Library] = (), container: str = ""
    ) -> None:
        self.container = container
        self._variables: dict[str, Type] = {}
        self._constants: dict[str, Declared] = {}
        self._functions: dict[str, tuple[Overload, ...]] = {}
        self._macros: dict[parser.MacroKey, Macro] = {}
        self._validators: tuple[Validator, ...] = ()
        for macro in MACROS:
            self._macros[macro.name, macro.is_member, macro.argument_count] = macro
        self._add(variables or {}, (STANDARD, OPTIONALS, *libraries))

    def extend(
        self,
        variables: Mapping[str, Type] | None = None,
        libraries: Iterable[Library] = (),
        container: str | None = None,
    ) -> Self:
        """The same with more; a variable of a name that there is already takes its place."""
        wider = object.__new__(type(self))
        wider.container = self.container if container is None else container
        wider._variables = dict(self._variables)
        wider._constants = self._constants
        wider._functions = self._functions
        wider._macros = self._macros
        wider._validators = self._validators
        libraries = tuple(libraries)
        if libraries:
            wider._constants = dict(self._constants)
            wider._functions = dict(self._functions)
            wider._macros = dict(self._macros)
        wider._add(variables or {}, libraries)
        return wider

    def _add(self, variables: Mapping[str, Type], libraries: Iterable[Library]) -> None:
        self._variables.update(variables)
        for library in libraries:
            self._validators += library.validators
            for function in library.functions:
                known = self._functions.get(function.name, ())
                ids = {overload.id for overload in function.overloads}
                kept = tuple(overload for overload in known if overload.id not in ids)
                self._functions[function.name] = (*kept, *function.overloads)
            for type in library.types:
                name = type_name(type)
                self._constants[name] = Declared(name, type_of(type), is_constant=True, value=type)
            for name, (type, value) in library.constants.items():
                self._constants[name] = Declared(name, type, is_constant=True, value=value)
            for macro in library.macros:
                self._macros[macro.name, macro.is_member, macro.argument_count] = macro

    def identifier(self, name: str) -> Declared | None:
        """What a name stands for, the nearest namespace first."""
        for candidate in self._candidates(name):
            variable = self._variables.get(candidate)
            if variable is not None:
                return Declared(candidate, variable)
            constant = self._constants.get(candidate)
            if constant is not None:
                return constant
        return None

    def overloads(self, name: str) -> tuple[str, Sequence[Overload]] | None:
        """What a function's name stands for."""
        for candidate in self._candidates(name):
            found = self._functions.get(candidate)
            if found is not None:
                return candidate, found
        return None

    def _candidates(self, name: str) -> Iterable[str]:
        if name.startswith("."):
            return (name[1:],)
        if not self.container:
            return (name,)
        parts = self.container.split(".")
        return [".".join([*parts[:length], name]) for length in range(len(parts), -1, -1)]

    def compile(self, text: str, expected: Sequence[Type] = (BOOL,)) -> Program:
        """Ready to evaluate. Raises CompileError, ResultTypeError for a result of another type than expected."""
        source = Source(text)
        expression = parser.parse(source, self._macros)
        try:
            checked = check(expression, source, self)
            if not source.has_issues:
                validators.validate(expression, checked, source)
                for validator in self._validators:
                    validator(expression, checked.types, source.report)
            if source.has_issues:
                raise CompileError(source.issues())
            found = checked.types[expression.id]
            if expected and found not in expected:
                raise ResultTypeError((Issue(_must_evaluate_to(expected), 0, 0),))
            names = list(self._variables)
            code, frame_size = interpreter.compiled(expression, checked, names)
        except RecursionError:
            source.report(f"expression recursion limit exceeded: {parser.DEEPEST_EXPRESSION}", None)
            raise CompileError(source.issues()) from None
        except EvaluationError as error:
            raise CompileError((Issue(f"program instantiation failed: {error.message}", 0, 0),)) from None
        return Program(text, expression, checked, code, frame_size, names)


def _must_evaluate_to(expected: Sequence[Type]) -> str:
    if len(expected) == 1:
        return f"must evaluate to {expected[0]}"
    return f"must evaluate to one of [{' '.join(map(str, expected))}]"


class Program:
    """A compiled expression. Evaluations leave nothing behind in it: any number may share one."""

    __slots__ = ("_checked", "_code", "_expression", "_frame", "_places", "text", "type")

    def __init__(
        self, text: str, expression: Expression, checked: Checked, code: Code, frame_size: int, names: Sequence[str]
    ) -> None:
        self.text = text
        self.type: Type = checked.types[expression.id]
        """What it evaluates to."""
        self._expression = expression
        self._checked = checked
        self._code = code
        self._places = [(name, place) for place, name in enumerate(names, FIRST_VARIABLE)]
        others = frame_size - FIRST_VARIABLE - len(names)
        self._frame: Frame = [code.cost, _UNLIMITED, *map(Absent, names), *[None] * others]

    def evaluate(self, activation: Mapping[str, Value], budget: Budget | None = None) -> Value:
        """The value, for these values of the variables. Raises EvaluationError, CostLimitExceeded.

        What it cost is taken off the budget also if it fails. A budget may become negative: what ends an evaluation is
        `per_call`. Raises TakesLongError, if the budget's patience is at its end.
        """
        frame = self._frame.copy()
        for name, place in self._places:
            if name in activation:
                frame[place] = activation[name]
        patience = None
        if budget is not None:
            frame[LIMIT] = budget.per_call
            patience = budget.patience
            if patience is not None:
                patience.begin(frame)
        try:
            value = self._code.run(frame)
        except (AttributeError, LookupError, TypeError):
            # A value was not of the type declared.
            raise no_such_overload() from None
        except RecursionError:
            raise EvaluationError("expression recursion limit exceeded") from None
        finally:
            if budget is not None:
                budget.remaining -= frame[COST]
            if patience is not None:
                patience.finish(frame)
        if frame[COST] > frame[LIMIT]:
            raise CostLimitExceeded
        return value

    def reads(self, variable: str) -> bool:
        """Whether the expression names a variable, be it where it never looks at it."""
        return any(declared.name == variable for declared in self._checked.names.values())

    def selects(self, variable: str, field: str) -> bool:
        """Whether `variable.field` or `variable.?field` stands somewhere in the expression."""
        return validators.selects(self._expression, variable, field)

    def estimate_cost(self, sizes: cost.Sizes | None = None) -> Estimate:
        """The least and most it may cost, for the sizes that a schema allows at each path."""
        return cost.estimated(self._expression, self._checked, sizes if sizes is not None else {})
