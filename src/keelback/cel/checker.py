"""The type checker: infers the type of every node, resolves names and overloads (cel-go, checker/checker.go).

Its words are cel-go's, since they are what users of Kubernetes read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from keelback.cel import unification
from keelback.cel.declarations import Overload
from keelback.cel.source import Source
from keelback.cel.syntax import (
    AND,
    OPTIONAL_SELECT,
    OR,
    Call,
    Comprehension,
    Entry,
    Expression,
    Identifier,
    ListLiteral,
    Literal,
    MapLiteral,
    ObjectLiteral,
    Select,
    qualified_name,
)
from keelback.cel.types import (
    BOOL,
    DYN,
    ERROR,
    OPTIONAL_NAME,
    Kind,
    Type,
    list_of,
    map_of,
    optional_of,
    parameter,
    type_name,
)
from keelback.cel.unification import Substitutions, are_assignable, is_assignable, most_general, substitute
from keelback.cel.values import Value, type_of_literal

DEEPEST_TREE = 250


@dataclass(frozen=True, slots=True)
class Declared:
    """A name: of a variable, or of a constant with its value."""

    name: str
    type: Type
    is_constant: bool = False
    value: Value = None


class Names(Protocol):
    """Where the checker looks names up."""

    @property
    def container(self) -> str:
        """The namespace that short names are looked up in first."""
        ...

    def identifier(self, name: str) -> Declared | None:
        """A variable, a constant, a type's name."""
        ...

    def overloads(self, name: str) -> tuple[str, Sequence[Overload]] | None:
        """A function: its whole name, and its overloads."""
        ...


@dataclass(slots=True)
class Checked:
    """What is known of each node, by its number."""

    types: dict[int, Type] = field(default_factory=dict)
    names: dict[int, Declared] = field(default_factory=dict)
    """Of identifiers, and of selections that are a qualified name."""
    functions: dict[int, str] = field(default_factory=dict)
    """The whole names of functions. That of a method's call whose target is part of the name has a dot."""
    overloads: dict[int, tuple[Overload, ...]] = field(default_factory=dict)


def check(expression: Expression, source: Source, names: Names) -> Checked:
    """Infer all types; what is wrong is reported to the source."""
    checker = _Checker(source, names)
    checker.check(expression)
    checked = checker.checked
    for id, type in checked.types.items():
        checked.types[id] = substitute(checker.substitutions, type, dyn=True)
    return checked


class _Checker:
    def __init__(self, source: Source, names: Names) -> None:
        self.checked = Checked()
        self.substitutions: Substitutions = {}
        self._source = source
        self._names = names
        self._scopes: list[Mapping[str, Type]] = []
        self._fresh = 0
        self._depth = 0

    def check(self, node: Expression) -> Type:
        self._depth += 1
        if self._depth > DEEPEST_TREE:
            # Deeper than that, evaluating could run out of Python's stack.
            raise RecursionError
        match node:
            case Literal():
                type = type_of_literal(node.value)
            case Identifier():
                type = self._identifier(node)
            case Select():
                type = self._select(node)
            case Call():
                type = self._call(node)
            case ListLiteral():
                type = self._list(node)
            case MapLiteral():
                type = self._map(node)
            case ObjectLiteral():
                type = self._object(node)
            case Comprehension():
                type = self._comprehension(node)
        self._depth -= 1
        self.checked.types[node.id] = type
        return type

    def _identifier(self, node: Identifier) -> Type:
        declared = self._lookup(node.name)
        if declared is None:
            return self._undeclared(node, node.name)
        self.checked.names[node.id] = declared
        return declared.type

    def _lookup(self, name: str) -> Declared | None:
        for scope in reversed(self._scopes):
            if name in scope:
                return Declared(name, scope[name])
        return self._names.identifier(name)

    def _undeclared(self, node: Expression, name: str) -> Type:
        self._report(node, f"undeclared reference to '{name}' (in container '{self._names.container}')")
        return ERROR

    def _select(self, node: Select) -> Type:
        if not node.is_test:
            name = qualified_name(node)
            declared = self._lookup(name) if name is not None else None
            if declared is not None:
                self.checked.names[node.id] = declared
                return declared.type
        type = self._field(node, node.operand, node.field, is_optional=False)
        return BOOL if node.is_test else substitute(self.substitutions, type)

    def _field(self, node: Expression, operand: Expression, name: str, *, is_optional: bool) -> Type:
        """What a selection gives; optional if either the operand or the selection is."""
        operand_type = substitute(self.substitutions, self.check(operand))
        target, was_optional = _unwrapped(operand_type)
        result: Type
        match target.kind:
            case Kind.MAP:
                result = target.parameters[1]
            case Kind.OBJECT:
                found = target.fields.get(name)
                if found is None and not target.is_open:
                    self._report(node, f"undefined field '{name}'")
                result = found if found is not None else DYN if target.is_open else ERROR
            case Kind.PARAMETER:
                self._assign(DYN, target)
                result = DYN
            case Kind.DYN | Kind.ANY | Kind.ERROR:
                result = DYN
            case _:
                self._report(node, f"type '{target}' does not support field selection")
                result = DYN
        return optional_of(result) if was_optional or is_optional else result

    def _call(self, node: Call) -> Type:
        if node.function == OPTIONAL_SELECT:
            return self._optional_select(node)
        arguments = list(map(self.check, node.arguments))
        if node.target is None:
            found = self._names.overloads(node.function)
            if found is None:
                return self._undeclared(node, node.function)
            return self._resolve(node, found, arguments, is_member=False)
        prefix = qualified_name(node.target)
        if prefix is not None:
            found = self._names.overloads(f"{prefix}.{node.function}")
            if found is not None:
                return self._resolve(node, found, arguments, is_member=False)
        target = self.check(node.target)
        found = self._names.overloads(node.function)
        if found is None:
            return self._undeclared(node, node.function)
        return self._resolve(node, found, [target, *arguments], is_member=True)

    def _optional_select(self, node: Call) -> Type:
        operand, name = node.arguments
        assert isinstance(name, Literal)
        type = self._field(node, operand, name.value, is_optional=True)
        self.checked.functions[node.id] = OPTIONAL_SELECT
        return substitute(self.substitutions, type)

    def _resolve(
        self, node: Call, function: tuple[str, Sequence[Overload]], arguments: list[Type], *, is_member: bool
    ) -> Type:
        name, overloads = function
        self.checked.functions[node.id] = name
        if name in (AND, OR):
            return self._logical(node, overloads, arguments)
        result: Type | None = None
        matching: list[Overload] = []
        for overload in overloads:
            if overload.is_member is not is_member or len(overload.arguments) != len(arguments):
                continue
            signature = self._instantiated(overload)
            substitutions = are_assignable(self.substitutions, arguments, signature[1:])
            if substitutions is None:
                continue
            self.substitutions = substitutions
            matching.append(overload)
            type = substitute(self.substitutions, signature[0])
            if result is None:
                result = type
            elif result.kind is not Kind.DYN and type != result:
                result = DYN
        if result is None:
            shown = [str(substitute(self.substitutions, argument, dyn=True)) for argument in arguments]
            receiver = f"{shown.pop(0)}." if is_member else ""
            self._report(node, f"found no matching overload for '{name}' applied to '{receiver}({', '.join(shown)})'")
            return ERROR
        self.checked.overloads[node.id] = tuple(matching)
        return result

    def _logical(self, node: Call, overloads: Sequence[Overload], arguments: list[Type]) -> Type:
        is_bool = True
        for argument, type in zip(node.arguments, arguments, strict=True):
            if not self._assign(type, BOOL):
                self._report(argument, f"expected type 'bool' but found '{type}'")
                is_bool = False
        self.checked.overloads[node.id] = tuple(overloads)
        return BOOL if is_bool else ERROR

    def _instantiated(self, overload: Overload) -> list[Type]:
        """Result and arguments, with a fresh variable for each parameter of the signature."""
        signature = [overload.result, *overload.arguments]
        parameters = sorted({name for type in signature for name in unification.parameters_of(type)})
        if not parameters:
            return signature
        fresh: Substitutions = {name: self._variable() for name in parameters}
        return [substitute(fresh, type) for type in signature]

    def _list(self, node: ListLiteral) -> Type:
        joined: Type | None = None
        for index, element in enumerate(node.elements):
            type = self.check(element)
            if index in node.optional:
                type = self._unwrapped_or_wrong(element, type)
            joined = self._join(element, joined, type)
        return list_of(joined if joined is not None else self._variable())

    def _map(self, node: MapLiteral) -> Type:
        keys: Type | None = None
        values: Type | None = None
        for entry in node.entries:
            assert not isinstance(entry.key, str)
            keys = self._join(entry.key, keys, self.check(entry.key))
            values = self._join(entry.value, values, self._entry(entry))
        if keys is None or values is None:
            return map_of(self._variable(), self._variable())
        return map_of(keys, values)

    def _entry(self, entry: Entry) -> Type:
        type = self.check(entry.value)
        return self._unwrapped_or_wrong(entry.value, type) if entry.is_optional else type

    def _unwrapped_or_wrong(self, node: Expression, type: Type) -> Type:
        inner, is_optional = _unwrapped(type)
        if not is_optional and inner.kind not in (Kind.DYN, Kind.ANY):
            self._report(node, f"expected type '{optional_of(inner)}' but found '{inner}'")
        return inner

    def _object(self, node: ObjectLiteral) -> Type:
        declared = self._lookup(node.name)
        if declared is None:
            return self._undeclared(node, node.name)
        result = ERROR
        if declared.type.kind is not Kind.TYPE:
            self._report(node, f"'{type_name(declared.type)}' is not a type")
        elif not declared.type.parameters or declared.type.parameters[0].kind is not Kind.OBJECT:
            inner = declared.type.parameters[0] if declared.type.parameters else declared.type
            self._report(node, f"'{type_name(inner)}' is not a message type")
        else:
            result = declared.type.parameters[0]
        for entry in node.entries:
            assert isinstance(entry.key, str)
            type = self._entry(entry)
            expected = result.fields.get(entry.key)
            if expected is None:
                if result is not ERROR and not result.is_open:
                    self._source.report(f"undefined field '{entry.key}'", entry.position)
                continue
            if not self._assign(expected, type):
                shown = f"expected type of field '{entry.key}' is '{expected}' but provided type is '{type}'"
                self._source.report(shown, entry.position)
        return result

    def _comprehension(self, node: Comprehension) -> Type:
        over = substitute(self.substitutions, self.check(node.range))
        initial = self.check(node.initial)
        key, value = self._iterated(node, over)
        self._scopes.append({node.accumulator: initial})
        if node.second_variable:
            self._scopes.append({node.variable: key, node.second_variable: value})
        else:
            self._scopes.append({node.variable: value if over.kind is Kind.LIST else key})
        self._expect(node.condition, BOOL, self.check(node.condition))
        self._expect(node.step, initial, self.check(node.step))
        self._scopes.pop()
        result = self.check(node.result)
        self._scopes.pop()
        return substitute(self.substitutions, result)

    def _iterated(self, node: Comprehension, over: Type) -> tuple[Type, Type]:
        """The types of keys (indices) and values (elements) of a range."""
        match over.kind:
            case Kind.LIST:
                return type_of_literal(0), over.parameters[0]
            case Kind.MAP:
                return over.parameters[0], over.parameters[1]
            case Kind.DYN | Kind.ERROR | Kind.PARAMETER | Kind.ANY:
                self._assign(DYN, over)
                return DYN, DYN
        self._report(
            node.range,
            f"expression of type '{over}' cannot be range of a comprehension (must be list, map, or dynamic)",
        )
        return ERROR, ERROR

    def _expect(self, node: Expression, expected: Type, actual: Type) -> None:
        if not self._assign(expected, actual):
            shown = substitute(self.substitutions, expected), substitute(self.substitutions, actual)
            self._report(node, f"expected type '{shown[0]}' but found '{shown[1]}'")

    def _join(self, node: Expression, previous: Type | None, current: Type) -> Type:
        """The type of both elements. Kubernetes has lists and maps of one type only (HomogeneousAggregateLiterals)."""
        if previous is None:
            return current
        if self._assign(previous, current):
            return most_general(previous, current)
        self._report(node, f"expected type '{previous}' but found '{current}'")
        return ERROR

    def _assign(self, to: Type, type: Type) -> bool:
        substitutions = is_assignable(self.substitutions, to, type)
        if substitutions is None:
            return False
        self.substitutions = substitutions
        return True

    def _variable(self) -> Type:
        self._fresh += 1
        return parameter(f"_var{self._fresh - 1}")

    def _report(self, node: Expression, message: str) -> None:
        self._source.report(message, node.position)


def _unwrapped(type: Type) -> tuple[Type, bool]:
    if type.kind is Kind.OPAQUE and type.name == OPTIONAL_NAME:
        return type.parameters[0], True
    return type, False
