"""A checked tree to nested Python functions, compiled once and called for each evaluation.

Each takes the frame, and charges there only what could not be known before: `Code.cost` is what it costs always, for
whoever it is part of to charge. Costs are cel-go's (interpreter/runtimecost.go), with the optimizations that Kubernetes
turns on: literals of constants are free.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

from keelback.cel import loops, operations, syntax
from keelback.cel.calls import LOGIC, call_of
from keelback.cel.checker import Checked
from keelback.cel.errors import EvaluationError, no_such_overload
from keelback.cel.frames import COST, FIRST_VARIABLE, Absent, Code, Frame, constant
from keelback.cel.standard import CONVERSIONS
from keelback.cel.syntax import (
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
from keelback.cel.values import OptionalValue, Value

_LIST_COST = 10
_MAP_COST = 30
_OBJECT_COST = 40


def compiled(expression: Expression, checked: Checked, variables: Sequence[str]) -> tuple[Code, int]:
    """The code of an expression, and how long its frames are. Variables take the first places, in their order.

    Raises EvaluationError for a conversion of a literal that is sure to fail.
    """
    compiler = Compiler(checked, variables)
    code = compiler.compile(expression)
    return code, compiler.frame_size


class Compiler:
    """Compiles one expression; `loops` and `calls` do so for their nodes with its help."""

    def __init__(self, checked: Checked, variables: Sequence[str]) -> None:
        self.checked = checked
        self.frame_size = FIRST_VARIABLE + len(variables)
        self._scopes: list[Mapping[str, Code]] = []
        self._variables = {name: self._variable(name, FIRST_VARIABLE + i) for i, name in enumerate(variables)}

    def compile(self, node: Expression) -> Code:
        """The code of a node and all below."""
        match node:
            case Literal():
                return constant(node.value)
            case Identifier():
                return self._name(node)
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListLiteral():
                return self._list(node)
            case MapLiteral():
                return self._map(node)
            case ObjectLiteral():
                return self._object(node)
            case Comprehension():
                return loops.compiled(self, node)

    def place(self) -> int:
        """A place of its own in the frame."""
        self.frame_size += 1
        return self.frame_size - 1

    def within(self, names: Mapping[str, Code], node: Expression) -> Code:
        """The code of a node that sees these names too."""
        self._scopes.append(names)
        code = self.compile(node)
        self._scopes.pop()
        return code

    @staticmethod
    def local(place: int) -> Code:
        """Reads a place that always has a value."""
        return Code(operator.itemgetter(place), 1, is_attribute=True)

    @staticmethod
    def _variable(name: str, place: int) -> Code:
        def run(frame: Frame) -> Value:
            value = frame[place]
            if value.__class__ is Absent:
                raise value.error()
            return value

        return Code(run, 1, is_attribute=True)

    def _name(self, node: Identifier | Select) -> Code:
        declared = self.checked.names[node.id]
        for scope in reversed(self._scopes):
            if declared.name in scope:
                return scope[declared.name]
        if declared.is_constant:
            return constant(declared.value)
        return self._variables[declared.name]

    def _select(self, node: Select) -> Code:
        if node.id in self.checked.names:
            return self._name(node)
        operand = self.compile(node.operand)
        run, field, select = operand.run, node.field, operations.select
        cost = operand.cost + (1 if operand.is_attribute else 2)
        if node.is_test:
            return Code(_test(operand, field), cost - 1)

        def read(frame: Frame) -> Value:
            value = run(frame)
            try:
                return value[field]
            except (KeyError, TypeError):
                return select(value, field)

        return Code(read, cost, is_attribute=True, is_choice=operand.is_choice)

    def _call(self, node: Call) -> Code:
        logic = LOGIC.get(node.function)
        if logic is not None:
            return logic(*map(self.compile, node.arguments))
        if node.function == syntax.CONDITIONAL:
            return _conditional(*map(self.compile, node.arguments))
        name = self.checked.functions[node.id]
        arguments = list(map(self.compile, node.arguments))
        if node.target is not None and "." not in name:
            arguments.insert(0, self.compile(node.target))
        if node.function in (syntax.INDEX, syntax.OPTIONAL_INDEX):
            return _index(node, arguments)
        if node.function == syntax.OPTIONAL_SELECT:
            return _optional_select(arguments[0], node.arguments[1])
        if name in ("or", "orValue"):
            return _optional_or(name, *arguments)
        if name == syntax.IN and _is_in_list(self, node):
            membership = _membership(*arguments)
            if membership is not None:
                return membership
        code = call_of(self, node, name, arguments)
        if name in CONVERSIONS and all(argument.is_constant for argument in arguments):
            return constant(code.run([0, 0]))
        return code

    def _list(self, node: ListLiteral) -> Code:
        elements = list(map(self.compile, node.elements))
        if all(element.is_constant for element in elements) and not node.optional:
            return constant([element.run([]) for element in elements])
        cost = sum(element.cost for element in elements) + _LIST_COST
        runs = [element.run for element in elements]
        if node.optional:
            optional = [index in node.optional for index in range(len(runs))]
            return Code(_optional_list(list(zip(runs, optional, strict=True))), cost)

        def run(frame: Frame) -> Value:
            return [run(frame) for run in runs]

        return Code(run, cost)

    def _map(self, node: MapLiteral) -> Code:
        entries: list[tuple[Code, Code, bool]] = []
        for entry in node.entries:
            assert not isinstance(entry.key, str)
            entries.append((self.compile(entry.key), self.compile(entry.value), entry.is_optional))
        run = _map(entries)
        if all(key.is_constant and value.is_constant and not optional for key, value, optional in entries):
            return constant(run([]))
        return Code(run, sum(key.cost + value.cost for key, value, _ in entries) + _MAP_COST)

    def _object(self, node: ObjectLiteral) -> Code:
        entries: list[tuple[Code, Code, bool]] = []
        for entry in node.entries:
            assert isinstance(entry.key, str)
            entries.append((constant(entry.key), self.compile(entry.value), entry.is_optional))
        return Code(_map(entries), sum(value.cost for _, value, _ in entries) + _OBJECT_COST)


def _test(operand: Code, field: str) -> Callable[[Frame], Value]:
    run, has_field = operand.run, operations.has_field

    def test(frame: Frame) -> Value:
        value = run(frame)
        return field in value if value.__class__ is dict else has_field(value, field)

    return test


def _conditional(condition: Code, first: Code, second: Code) -> Code:
    run = condition.run
    if_true, if_false = first.run, second.run
    # cel-go resolves a branch that is an attribute without charging for its variable.
    cost_true = first.cost - (first.is_attribute and not first.is_choice)
    cost_false = second.cost - (second.is_attribute and not second.is_choice)

    def choose(frame: Frame) -> Value:
        chosen = run(frame)
        if chosen is True:
            frame[COST] += cost_true
            return if_true(frame)
        if chosen is False:
            frame[COST] += cost_false
            return if_false(frame)
        raise no_such_overload()

    return Code(choose, condition.cost, is_attribute=True, is_choice=True)


def _index(node: Call, arguments: Sequence[Code]) -> Code:
    operand, key = arguments
    run, key_run = operand.run, key.run
    cost = operand.cost + (not operand.is_attribute) + key.cost
    if not key.is_attribute:
        cost += 1
    if node.function == syntax.OPTIONAL_INDEX:
        return Code(_optional(run, key_run, operations.optional_index), cost - 1, is_attribute=True)
    index = operations.index
    if key.is_constant:
        known = key_run([])
        if type(known) is str:

            def read_text(frame: Frame) -> Value:
                value = run(frame)
                if value.__class__ is dict and known in value:
                    return value[known]
                return index(value, known)

            return Code(read_text, cost, is_attribute=True, is_choice=operand.is_choice)

    def read(frame: Frame) -> Value:
        return index(run(frame), key_run(frame))

    return Code(read, cost, is_attribute=True, is_choice=operand.is_choice)


def _optional_select(operand: Code, field: Expression) -> Code:
    assert isinstance(field, Literal)
    name = constant(field.value)
    cost = operand.cost + (not operand.is_attribute)
    return Code(_optional(operand.run, name.run, operations.optional_select), cost, is_attribute=True)


def _optional(
    operand: Callable[[Frame], Value], key: Callable[[Frame], Value], read: Callable[[Value, Value], OptionalValue]
) -> Callable[[Frame], Value]:
    """A selection that may find nothing, and then costs nothing."""

    def run(frame: Frame) -> Value:
        found = read(operand(frame), key(frame))
        if found.is_present:
            frame[COST] += 1
        return found

    return run


def _optional_or(name: str, optional: Code, other: Code) -> Code:
    run, instead, cost = optional.run, other.run, other.cost
    is_value = name == "orValue"

    def choose(frame: Frame) -> Value:
        found = run(frame)
        if not isinstance(found, OptionalValue):
            raise no_such_overload()
        if found.is_present:
            return found.value if is_value else found
        frame[COST] += cost
        result = instead(frame)
        if not is_value and not isinstance(result, OptionalValue):
            raise no_such_overload()
        return result

    return Code(choose, optional.cost)


def _is_in_list(compiler: Compiler, node: Call) -> bool:
    return [overload.id for overload in compiler.checked.overloads[node.id]] == ["in_list"]


def _membership(element: Code, elements: Code) -> Code | None:
    """`x in ["a", "b"]`: looked up in a set, free of charge (cel-go, maybeOptimizeSetMembership)."""
    if not elements.is_constant:
        return None
    members = elements.run([])
    if not members:
        return constant(False)
    if any(isinstance(member, list | dict) or not isinstance(member, str | int | float | bool) for member in members):
        return None
    run = element.run
    texts = frozenset(member for member in members if type(member) is str)
    if len(texts) == len(set(members)):

        def is_text_in(frame: Frame) -> Value:
            value = run(frame)
            return value.__class__ is str and value in texts

        return Code(is_text_in, element.cost)

    flags = frozenset(member for member in members if type(member) is bool)
    numbers = frozenset(member for member in members if type(member) not in (str, bool))

    def is_in(frame: Frame) -> Value:
        value = run(frame)
        if value.__class__ is bool:
            return value in flags
        return value in texts if value.__class__ is str else isinstance(value, int | float) and value in numbers

    return Code(is_in, element.cost)


def _optional_list(elements: Sequence[tuple[Callable[[Frame], Value], bool]]) -> Callable[[Frame], Value]:
    def run(frame: Frame) -> Value:
        built = []
        for element, is_optional in elements:
            value = element(frame)
            if not is_optional:
                built.append(value)
            elif not isinstance(value, OptionalValue):
                raise EvaluationError(f"cannot initialize optional list element from non-optional value {value}")
            elif value.is_present:
                built.append(value.value)
        return built

    return run


def _map(entries: Sequence[tuple[Code, Code, bool]]) -> Callable[[Frame], Value]:
    runs = [(key.run, value.run, is_optional) for key, value, is_optional in entries]

    def run(frame: Frame) -> Value:
        built: dict[Value, Value] = {}
        for key_run, value_run, is_optional in runs:
            key, value = key_run(frame), value_run(frame)
            if not isinstance(key, str | int | float | bool):
                raise EvaluationError("unsupported key type")
            if not is_optional:
                built[key] = value
            elif not isinstance(value, OptionalValue):
                raise EvaluationError(f"cannot initialize optional entry '{key}' from non-optional value {value}")
            elif value.is_present:
                built[key] = value.value
        return built

    return run
