"""The macros of the language and of cel-go's extensions that Kubernetes takes: comprehensions, bindings, optionals.

Expansions are cel-go's (parser/macro.go, cel/library.go, ext/bindings.go, ext/comprehensions.go), since costs follow
from them.
"""

from __future__ import annotations

from keelback.cel.declarations import Library
from keelback.cel.syntax import (
    ACCUMULATOR,
    AND,
    CONDITIONAL,
    EQUALS,
    MAP_INSERT,
    NOT,
    NOT_STRICTLY_FALSE,
    OR,
    UNUSED,
    Expander,
    Expression,
    Fold,
    Identifier,
    Macro,
    Select,
)

_Arguments = tuple[Expression, ...]


def _has(expander: Expander, target: Expression | None, arguments: _Arguments) -> Expression | None:
    (argument,) = arguments
    if not isinstance(argument, Select) or argument.is_test:
        return expander.fail("invalid argument to has() macro", argument)
    return expander.test(argument.operand, argument.field)


def _variables(expander: Expander, arguments: _Arguments, count: int, wrong: str) -> tuple[str, str] | Expression:
    """The names that a macro's first arguments give to what it goes through."""
    names = []
    for argument in arguments[:count]:
        if not isinstance(argument, Identifier) or argument.name.startswith("."):
            return expander.fail(wrong, argument)
        if argument.name in (ACCUMULATOR, "__result__"):
            return expander.fail("iteration variable overwrites accumulator variable", argument)
        names.append(argument.name)
    if len(names) == 2 and names[0] == names[1]:
        return expander.fail(f"duplicate variable name: {names[1]}", arguments[1])
    return (names[0], names[1] if count == 2 else "")


def _quantifier(name: str, count: int) -> Macro:
    wrong = "argument must be a simple name"

    def expand(expander: Expander, target: Expression | None, arguments: _Arguments) -> Expression | None:
        assert target is not None
        variables = _variables(expander, arguments, count, wrong)
        if not isinstance(variables, tuple):
            return variables
        predicate = arguments[count]
        return expander.comprehension(
            target, variables, ACCUMULATOR, _fold_of(expander, name, predicate), _RUN_AS.get(name, name), (predicate,)
        )

    return Macro(name, is_member=True, argument_count=count + 1, expand=expand)


_RUN_AS = {"existsOne": "exists_one"}


def _fold_of(expander: Expander, name: str, predicate: Expression) -> Fold:
    def accumulator() -> Identifier:
        return expander.identifier(ACCUMULATOR)

    if name == "all":
        return (
            expander.literal(True),
            expander.call(NOT_STRICTLY_FALSE, accumulator()),
            expander.call(AND, accumulator(), predicate),
            accumulator(),
        )
    if name == "exists":
        return (
            expander.literal(False),
            expander.call(NOT_STRICTLY_FALSE, expander.call(NOT, accumulator())),
            expander.call(OR, accumulator(), predicate),
            accumulator(),
        )
    more = expander.call("_+_", accumulator(), expander.literal(1))
    return (
        expander.literal(0),
        expander.literal(True),
        expander.call(CONDITIONAL, predicate, more, accumulator()),
        expander.call(EQUALS, accumulator(), expander.literal(1)),
    )


def _transformation(name: str, count: int, arguments_count: int) -> Macro:
    """`map(x, [filter,] transform)`, `transformList(i, x, [filter,] transform)`, and those that make maps."""
    has_filter = arguments_count == count + 2

    def expand(expander: Expander, target: Expression | None, arguments: _Arguments) -> Expression | None:
        assert target is not None
        wrong = "argument is not an identifier" if count == 1 else "argument must be a simple name"
        variables = _variables(expander, arguments, count, wrong)
        if not isinstance(variables, tuple):
            return variables
        accumulator = expander.identifier(ACCUMULATOR)
        transform = arguments[-1]
        initial: Expression
        if name in ("map", "transformList"):
            initial, step = expander.list(), expander.call("_+_", accumulator, expander.list(transform))
        else:
            initial = expander.map()
            inserted = (transform,) if name == "transformMapEntry" else (expander.identifier(variables[0]), transform)
            step = expander.call(MAP_INSERT, accumulator, *inserted)
        if has_filter:
            step = expander.call(CONDITIONAL, arguments[count], step, expander.identifier(ACCUMULATOR))
        fold = (initial, expander.literal(True), step, expander.identifier(ACCUMULATOR))
        parts = (arguments[count] if has_filter else None, transform)
        run_as = "map" if name == "transformList" else name
        return expander.comprehension(target, variables, ACCUMULATOR, fold, run_as, parts)

    return Macro(name, is_member=True, argument_count=arguments_count, expand=expand)


def _filter(expander: Expander, target: Expression | None, arguments: _Arguments) -> Expression | None:
    assert target is not None
    variables = _variables(expander, arguments, 1, "argument is not an identifier")
    if not isinstance(variables, tuple):
        return variables
    element, predicate = arguments
    added = expander.call("_+_", expander.identifier(ACCUMULATOR), expander.list(element))
    step = expander.call(CONDITIONAL, predicate, added, expander.identifier(ACCUMULATOR))
    fold = (expander.list(), expander.literal(True), step, expander.identifier(ACCUMULATOR))
    return expander.comprehension(target, variables, ACCUMULATOR, fold, "map", (predicate, element))


def _bound(expander: Expander, name: str, value: Expression, body: Expression) -> Expression:
    fold = (value, expander.literal(False), expander.identifier(name), body)
    return expander.comprehension(expander.list(), (UNUSED, ""), name, fold, "bind")


def _bind(expander: Expander, target: Expression | None, arguments: _Arguments) -> Expression | None:
    if not isinstance(target, Identifier) or target.name != "cel":
        return None
    variable, value, body = arguments
    if not isinstance(variable, Identifier):
        return expander.fail("cel.bind() variable names must be simple identifiers", variable)
    return _bound(expander, variable.name, value, body)


def _optional_map(name: str) -> Macro:
    def expand(expander: Expander, target: Expression | None, arguments: _Arguments) -> Expression | None:
        assert target is not None
        variable, body = arguments
        if not isinstance(variable, Identifier):
            return expander.fail(f"{name}() variable name must be a simple identifier", variable)
        mapped = _bound(expander, variable.name, expander.call("value", target=target), body)
        return expander.call(
            CONDITIONAL,
            expander.call("hasValue", target=target),
            expander.call("optional.of", mapped) if name == "optMap" else mapped,
            expander.call("optional.none"),
        )

    return Macro(name, is_member=True, argument_count=2, expand=expand)


MACROS = (
    Macro("has", is_member=False, argument_count=1, expand=_has),
    *(_quantifier(name, 1) for name in ("all", "exists", "exists_one", "existsOne")),
    _transformation("map", 1, 2),
    _transformation("map", 1, 3),
    Macro("filter", is_member=True, argument_count=2, expand=_filter),
    _optional_map("optMap"),
    _optional_map("optFlatMap"),
    # ext.TwoVarComprehensions, in Kubernetes since 1.32.
    *(_quantifier(name, 2) for name in ("all", "exists", "exists_one", "existsOne")),
    *(
        _transformation(name, 2, count)
        for name in ("transformList", "transformMap", "transformMapEntry")
        for count in (3, 4)
    ),
)

BINDINGS = Library("cel-go.bindings", macros=(Macro("bind", is_member=True, argument_count=3, expand=_bind),))
"""`cel.bind(name, value, expression)`, which Kubernetes' own fields do not have."""
