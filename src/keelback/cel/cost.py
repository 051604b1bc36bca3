"""What an expression may cost at most, before any value is known: cel-go's static estimator (checker/cost.go).

Sizes come from literals, from what is computed of them, and from the schema of where a value is read from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from keelback.cel import syntax
from keelback.cel.checker import Checked
from keelback.cel.declarations import CallEstimate, Overload
from keelback.cel.estimates import MAXIMUM, NOTHING, ONE, UNKNOWN, Estimate, exactly
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
from keelback.cel.types import DYN, OPTIONAL_NAME, Kind, Type

Path = tuple[str, ...]
Sizes = Callable[[Path], Estimate | None] | Mapping[Path, Estimate]
"""The size of what is at a path: what cel-go asks its CostEstimator's EstimateSize for."""

_LIST_COST = exactly(10)
_MAP_COST = exactly(30)
_OBJECT_COST = exactly(40)
_NONE_YET = Estimate(MAXIMUM, 0)
_SCALAR = frozenset({Kind.BOOL, Kind.DOUBLE, Kind.DURATION, Kind.INT, Kind.TIMESTAMP, Kind.UINT})


def estimated(expression: Expression, checked: Checked, sizes: Sizes) -> Estimate:
    """The least and the most that the expression may cost."""
    lookup = sizes.get if isinstance(sizes, Mapping) else sizes
    return _Estimator(checked, lookup).cost(expression)


class _Entries(NamedTuple):
    """The sizes of what is in a container."""

    is_list: bool
    key: Estimate
    value: Estimate


class _Local(NamedTuple):
    path: Path
    size: Estimate | None
    entries: _Entries | None


@dataclass(frozen=True, slots=True)
class _Operand:
    """An argument as the hooks of libraries see it."""

    expression: Expression
    type: Type
    path: Path | None
    size: Estimate
    element_size: Estimate


class _Estimator:
    def __init__(self, checked: Checked, sizes: Callable[[Path], Estimate | None]) -> None:
        self._checked = checked
        self._sizes = sizes
        self._paths: dict[int, Path] = {}
        self._locals: list[tuple[str, _Local]] = []
        self._computed: dict[int, Estimate] = {}
        self._entries: dict[int, _Entries] = {}

    def cost(self, node: Expression) -> Estimate:
        match node:
            case Literal():
                return NOTHING
            case Identifier():
                local = self._local(node.name)
                self._paths[node.id] = local.path if local is not None else (node.name,)
                return ONE
            case Select():
                return self._select(node)
            case Call():
                return self._call(node)
            case ListLiteral():
                return self._list(node)
            case MapLiteral():
                return self._map(node)
            case ObjectLiteral():
                total = _OBJECT_COST
                for entry in node.entries:
                    total = total.plus(self.cost(entry.value))
                return total
            case Comprehension():
                return self._bind(node) if node.macro == "bind" else self._comprehension(node)

    def _local(self, name: str) -> _Local | None:
        for known, local in reversed(self._locals):
            if known == name:
                return local
        return None

    def _select(self, node: Select) -> Estimate:
        declared = self._checked.names.get(node.id)
        if declared is not None:
            self._paths[node.id] = (declared.name,)
            return ONE
        cost = self.cost(node.operand)
        if node.is_test:
            # Presence tests are free in Kubernetes (PresenceTestHasCost(false)).
            return cost
        if self._type(node.operand).kind in (Kind.MAP, Kind.OBJECT, Kind.PARAMETER):
            cost = cost.plus(ONE)
        self._paths[node.id] = (*self._path(node.operand), node.field)
        return cost

    def _call(self, node: Call) -> Estimate:
        if node.function == "dyn":
            (argument,) = node.arguments
            cost = self.cost(argument).plus(ONE)
            self._copy_sizes(node, argument)
            return cost
        arguments: list[Expression] = list(node.arguments)
        costs = list(map(self.cost, arguments))
        own = NOTHING
        name = self._checked.functions.get(node.id, node.function)
        if node.target is not None and "." not in name:
            own = self.cost(node.target)
            arguments.insert(0, node.target)
        overloads = self._checked.overloads.get(node.id, ())
        if not overloads:
            # Only optional selection is left without: cel-go's estimator finds its overload, at 1.
            return own.plus(_total(costs)).plus(ONE)
        union, size = _NONE_YET, None
        for overload in overloads:
            estimate = self._overload(node, overload, arguments, costs)
            union = union.union(estimate.cost)
            if estimate.result_size is not None:
                size = estimate.result_size if size is None else size.union(estimate.result_size)
            if overload.id in ("index_list", "index_map"):
                entries = self._entry_sizes(arguments[0])
                size = entries.value if entries is not None else None
                step = "@items" if overload.id == "index_list" else "@values"
                self._paths[node.id] = (*self._path(arguments[0]), step)
            if size is None:
                size = self._size(node)
        if size is not None:
            self._computed[node.id] = size
        return own.plus(union)

    def _overload(
        self, node: Call, overload: Overload, arguments: list[Expression], costs: list[Estimate]
    ) -> CallEstimate:
        """What one overload costs, its arguments with it (but for a receiver)."""
        if node.function in (syntax.AND, syntax.OR):
            left, right = costs
            return CallEstimate(Estimate(left.least, left.plus(right).most))
        if node.function == syntax.CONDITIONAL:
            return self._conditional(node, arguments, costs)
        if overload.id in ("add_string", "add_bytes", "add_list"):
            left_entries, right_entries = map(self._entry_sizes, arguments)
            if left_entries is not None and right_entries is not None:
                self._entries[node.id] = _joined(left_entries, right_entries)
        if overload.static_cost is None:
            return CallEstimate(ONE.plus(_total(costs)))
        estimate = overload.static_cost([self._operand(argument) for argument in arguments])
        return CallEstimate(estimate.cost.plus(_total(costs)), estimate.result_size)

    def _conditional(self, node: Call, arguments: list[Expression], costs: list[Estimate]) -> CallEstimate:
        _, if_true, if_false = arguments
        first, second = self._entry_sizes(if_true), self._entry_sizes(if_false)
        if first is not None and second is not None:
            self._entries[node.id] = _joined(first, second)
        size = self._size_or_unknown(if_true).union(self._size_or_unknown(if_false))
        return CallEstimate(costs[0].plus(costs[1].union(costs[2])), size)

    def _operand(self, node: Expression) -> _Operand:
        path: Path | None = self._path(node)
        if not path or path[0] == syntax.ACCUMULATOR:
            path = None
        # As upstream's listElementNode: only a schema says how large elements are, never what the list is made of.
        element = self._sizes((*path, "@items")) if path is not None else None
        return _Operand(node, self._type(node), path, self._size_or_unknown(node), element or UNKNOWN)

    def _list(self, node: ListLiteral) -> Estimate:
        cost, elements = _LIST_COST, _NONE_YET if node.elements else Estimate(0, 0)
        for element in node.elements:
            cost = cost.plus(self.cost(element))
            elements = elements.union(self._size_or_unknown(element))
        self._entries[node.id] = _Entries(True, ONE, elements)
        return cost

    def _map(self, node: MapLiteral) -> Estimate:
        cost = _MAP_COST
        keys = values = _NONE_YET if node.entries else Estimate(0, 0)
        for entry in node.entries:
            assert not isinstance(entry.key, str)
            cost = cost.plus(self.cost(entry.key)).plus(self.cost(entry.value))
            keys = keys.union(self._size_or_unknown(entry.key))
            values = values.union(self._size_or_unknown(entry.value))
        self._entries[node.id] = _Entries(False, keys, values)
        return cost

    def _comprehension(self, node: Comprehension) -> Estimate:
        cost = self.cost(node.range).plus(self.cost(node.initial))
        accumulator = _Local(self._path(node.initial), self._size(node.initial), self._entry_sizes(node.initial))
        self._locals.append((node.accumulator, accumulator))
        before = len(self._locals)
        if node.second_variable:
            self._locals.append((node.variable, self._iterated(node.range, is_key=True)))
            self._locals.append((node.second_variable, self._iterated(node.range, is_key=False)))
        else:
            is_map = not self._is_list(node.range)
            self._locals.append((node.variable, self._iterated(node.range, is_key=is_map)))
        turn = self.cost(node.condition).plus(self.cost(node.step))
        del self._locals[before:]
        cost = cost.plus(self.cost(node.result))
        self._locals.pop()
        count = self._size_or_unknown(node.range)
        if isinstance(node.initial, Literal):
            size = self._size(node.initial)
            if size is not None:
                self._computed[node.id] = size
        elif isinstance(node.initial, ListLiteral | MapLiteral):
            self._computed[node.id] = count
            entries = self._entry_sizes(node.step)
            if entries is not None:
                self._entries[node.id] = entries
        return cost.plus(count.by(turn))

    def _is_list(self, node: Expression) -> bool:
        entries = self._entry_sizes(node)
        return entries.is_list if entries is not None else self._type(node).kind is Kind.LIST

    def _iterated(self, over: Expression, *, is_key: bool) -> _Local:
        """A variable of a loop: where its values are from, and how large they are."""
        entries = self._entry_sizes(over)
        is_list = self._is_list(over)
        size = None if entries is None else entries.key if is_key else entries.value
        step = ("@indices" if is_list else "@keys") if is_key else ("@items" if is_list else "@values")
        return _Local((*self._path(over), step), size, None)

    def _bind(self, node: Comprehension) -> Estimate:
        cost = self.cost(node.range).plus(self.cost(node.initial))
        local = _Local(self._path(node.initial), self._size(node.initial), self._entry_sizes(node.initial))
        self._locals.append((node.accumulator, local))
        cost = cost.plus(self.cost(node.result))
        self._locals.pop()
        self._copy_sizes(node, node.result)
        return cost

    def _copy_sizes(self, to: Expression, of: Expression) -> None:
        size, entries = self._size(of), self._entry_sizes(of)
        if size is not None:
            self._computed[to.id] = size
        if entries is not None:
            self._entries[to.id] = entries

    def _type(self, node: Expression) -> Type:
        return self._checked.types.get(node.id, DYN)

    def _path(self, node: Expression) -> Path:
        if isinstance(node, Identifier):
            local = self._local(node.name)
            if local is not None:
                return local.path
        return self._paths.get(node.id, ())

    def _size_or_unknown(self, node: Expression) -> Estimate:
        return self._size(node) or UNKNOWN

    def _size(self, node: Expression) -> Estimate | None:
        computed = self._computed.get(node.id) or _written_size(node)
        if computed is not None:
            return computed
        path = self._path(node)
        known = self._sizes(path) if path else None
        if known is not None:
            self._computed[node.id] = known
            return known
        if _is_scalar(self._type(node)):
            return ONE
        if isinstance(node, Identifier):
            local = self._local(node.name)
            if local is not None:
                return local.size
        return None

    def _entry_sizes(self, node: Expression) -> _Entries | None:
        entries = self._entries.get(node.id)
        if entries is None and isinstance(node, Identifier):
            local = self._local(node.name)
            return local.entries if local is not None else None
        return entries


def _written_size(node: Expression) -> Estimate | None:
    """The size of what is written out."""
    match node:
        case Literal():
            return exactly(len(node.value) if isinstance(node.value, str | bytes) else 1)
        case ListLiteral():
            return exactly(len(node.elements))
        case MapLiteral():
            return exactly(len(node.entries))
    return None


def _is_scalar(type: Type) -> bool:
    if type.kind is Kind.OPAQUE and type.name == OPTIONAL_NAME:
        return _is_scalar(type.parameters[0])
    return type.kind in _SCALAR


def _joined(first: _Entries, second: _Entries) -> _Entries:
    return _Entries(first.is_list, first.key.union(second.key), first.value.union(second.value))


def _total(costs: list[Estimate]) -> Estimate:
    total = NOTHING
    for cost in costs:
        total = total.plus(cost)
    return total
