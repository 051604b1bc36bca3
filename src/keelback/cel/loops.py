"""Comprehensions, compiled to loops: what the fold of each macro comes to, at the fold's cost.

The costs of a turn are those of cel-go's expansions: 1 wherever the accumulator is read, and the calls around it. The
limit is read at each turn, since another thread may end the evaluation by lowering it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from keelback.cel.errors import CostLimitExceeded, EvaluationError, no_such_overload
from keelback.cel.frames import COST, LIMIT, Code, Frame, Run
from keelback.cel.operations import shown
from keelback.cel.syntax import Comprehension
from keelback.cel.values import Value

if TYPE_CHECKING:
    from keelback.cel.interpreter import Compiler

_LIST_COST = 10
_END = object()

Turns = Callable[[Frame], Iterable[Value]]
"""What a loop goes through. The value goes to the first place; what has two variables puts both where they belong."""


def compiled(compiler: Compiler, node: Comprehension) -> Code:
    """The loop of a comprehension; every one comes from a macro."""
    if node.macro == "bind":
        return _bound(compiler, node)
    over = compiler.compile(node.range)
    place = compiler.place()
    names = {node.variable: compiler.local(place)}
    turns = _elements(over.run)
    if node.second_variable:
        second = compiler.place()
        names[node.second_variable] = compiler.local(second)
        turns = _pairs(over.run, second)
    parts = [None if part is None else compiler.within(names, part) for part in node.parts]
    body = parts[-1]
    assert body is not None
    # The accumulator is read once more, for the result.
    cost = over.cost + 1
    match node.macro:
        case "all":
            return Code(_quantified(turns, place, body, 2, stops_at=False), cost)
        case "exists":
            return Code(_quantified(turns, place, body, 3, stops_at=True), cost)
        case "exists_one":
            return Code(_exists_one(turns, place, body), cost + 1)
        case "map":
            return Code(_list_made(turns, place, parts[0], body), cost)
        case macro:
            return Code(_map_made(turns, place, parts[0], body, is_keyed=macro == "transformMap"), cost)


def _elements(over: Run) -> Turns:
    def turns(frame: Frame) -> Iterable[Value]:
        elements = over(frame)
        if not isinstance(elements, list | dict):
            raise no_such_overload()
        return elements

    return turns


def _pairs(over: Run, second: int) -> Turns:
    def turns(frame: Frame) -> Iterator[Value]:
        elements = over(frame)
        if not isinstance(elements, list | dict):
            raise no_such_overload()
        for key, value in enumerate(elements) if isinstance(elements, list) else elements.items():
            frame[second] = value
            yield key

    return turns


def _quantified(turns: Turns, place: int, predicate: Code, condition_cost: int, *, stops_at: bool) -> Run:
    """`all` ends with the first false, `exists` with the first true; errors count only if neither is found."""
    holds = predicate.run
    cost = condition_cost + 1 + predicate.cost
    goes_on = not stops_at

    def run(frame: Frame) -> Value:
        failure: Exception | None = None
        elements = iter(turns(frame))
        for frame[place] in elements:
            frame[COST] += cost
            if frame[COST] > frame[LIMIT]:
                raise CostLimitExceeded
            try:
                value = holds(frame)
            except CostLimitExceeded:
                raise
            except (EvaluationError, TypeError) as error:
                failure = failure or error
                continue
            if value is stops_at:
                if next(elements, _END) is not _END:
                    frame[COST] += condition_cost
                return stops_at
            if value is not goes_on:
                failure = failure or no_such_overload()
        if failure is not None:
            raise failure
        return goes_on

    return run


def _exists_one(turns: Turns, place: int, predicate: Code) -> Run:
    holds, cost = predicate.run, predicate.cost

    def run(frame: Frame) -> Value:
        count = 0
        elements = turns(frame)
        for frame[place] in elements:
            value = holds(frame)
            frame[COST] += cost
            if value is True:
                count += 1
                frame[COST] += 2
            elif value is not False:
                raise no_such_overload()
            if frame[COST] > frame[LIMIT]:
                raise CostLimitExceeded
        return count == 1

    return run


def _list_made(turns: Turns, place: int, condition: Code | None, body: Code) -> Run:
    transform = body.run
    cost = body.cost + 2 + (0 if body.is_constant else _LIST_COST)
    if condition is not None:
        return _filtered_list(turns, place, condition, transform, cost)

    def run(frame: Frame) -> Value:
        made = []
        elements = turns(frame)
        for frame[place] in elements:
            made.append(transform(frame))
            frame[COST] += cost
            if frame[COST] > frame[LIMIT]:
                raise CostLimitExceeded
        return made

    return run


def _filtered_list(turns: Turns, place: int, condition: Code, transform: Run, cost: int) -> Run:
    holds, condition_cost = condition.run, condition.cost

    def run(frame: Frame) -> Value:
        made = []
        elements = turns(frame)
        for frame[place] in elements:
            frame[COST] += condition_cost
            value = holds(frame)
            if value is True:
                made.append(transform(frame))
                frame[COST] += cost
            elif value is not False:
                raise no_such_overload()
            if frame[COST] > frame[LIMIT]:
                raise CostLimitExceeded
        return made

    return run


def _map_made(turns: Turns, place: int, condition: Code | None, body: Code, *, is_keyed: bool) -> Run:
    """`transformMap` keeps the keys; `transformMapEntry` has a map of what to insert."""
    transform = body.run
    holds = None if condition is None else condition.run
    condition_cost = 0 if condition is None else condition.cost
    # The accumulator, the key's variable, and the call that inserts.
    cost = body.cost + (3 if is_keyed else 2)

    def run(frame: Frame) -> Value:
        made: dict[Value, Value] = {}
        elements = turns(frame)
        for frame[place] in elements:
            frame[COST] += condition_cost
            if frame[COST] > frame[LIMIT]:
                raise CostLimitExceeded
            if holds is not None:
                value = holds(frame)
                if value is False:
                    continue
                if value is not True:
                    raise no_such_overload()
            found = transform(frame)
            for key, value in ((frame[place], found),) if is_keyed else _entries(found):
                if key in made:
                    raise EvaluationError(f"insert failed: key {shown(key)} already exists")
                made[key] = value
            frame[COST] += cost
        return made

    return run


def _entries(found: Value) -> Iterable[tuple[Value, Value]]:
    if not isinstance(found, dict):
        raise no_such_overload()
    return found.items()


_UNREAD = object()


def _bound(compiler: Compiler, node: Comprehension) -> Code:
    """`cel.bind(name, value, body)`: the value is found out, and charged for, when it is first read."""
    value = compiler.compile(node.initial)
    place = compiler.place()
    find, cost = value.run, value.cost

    def read(frame: Frame) -> Value:
        found = frame[place]
        if found is _UNREAD:
            found = frame[place] = find(frame)
            frame[COST] += cost
        return found

    body = compiler.within({node.accumulator: Code(read, 1, is_attribute=True)}, node.result)
    result = body.run

    def run(frame: Frame) -> Value:
        frame[place] = _UNREAD
        return result(frame)

    return Code(run, body.cost)
