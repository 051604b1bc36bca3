"""Environments and programs: what is shared, what is kept, and that nothing else can ever come out of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.cel.declarations import Library, function, member, overload
from keelback.cel.environment import Budget, Environment
from keelback.cel.errors import CompileError, EvaluationError
from keelback.cel.macros import BINDINGS
from keelback.cel.types import BOOL, DYN, INT, STRING, list_of, map_of, object_of, opaque
from keelback.cel.values import OpaqueValue

SELF = object_of("object", {"n": INT, "s": STRING, "l": list_of(INT), "m": map_of(STRING, STRING), "b": BOOL})
ENVIRONMENT = Environment({"self": SELF, "any": DYN}, [BINDINGS])


def test_an_extended_environment_leaves_the_other_as_it_was() -> None:
    wider = ENVIRONMENT.extend(variables={"more": INT})

    assert wider.compile("more + self.n > 0").evaluate({"more": 1, "self": {"n": 1}}) is True
    with pytest.raises(CompileError):
        ENVIRONMENT.compile("more > 0")


def test_a_program_keeps_nothing_of_an_evaluation() -> None:
    program = ENVIRONMENT.compile("self.l.all(x, cel.bind(y, x + self.n, y > 0))")

    assert program.evaluate({"self": {"n": 1, "l": [1]}}) is True
    assert program.evaluate({"self": {"n": -5, "l": [1]}}) is False
    with pytest.raises(EvaluationError, match="no such attribute"):
        program.evaluate({})


def test_a_library_brings_functions_types_and_constants() -> None:
    class Colour(OpaqueValue):
        cel_type = opaque("test.Colour")

    colour = Colour()
    library = Library(
        "colours",
        functions=(
            function("colour.of", overload("colour_of_string", (STRING,), Colour.cel_type, lambda _: colour)),
            function("isWarm", member("colour_is_warm", (Colour.cel_type,), BOOL, lambda _: True)),
            function("size", member("colour_size", (Colour.cel_type,), INT, lambda _: 7)),
        ),
        types=(Colour.cel_type,),
        constants={"colour.RED": (Colour.cel_type, colour)},
    )
    environment = Environment({"d": DYN}, [library])

    assert environment.compile("colour.of('red').isWarm()").evaluate({}) is True
    assert environment.compile("colour.RED == colour.of('x')").evaluate({}) is True
    assert environment.compile("type(colour.RED) == test.Colour").evaluate({}) is True
    assert environment.compile("d.size()", expected=()).evaluate({"d": colour}) == 7
    assert environment.compile("d.size()", expected=()).evaluate({"d": "four"}) == 4
    with pytest.raises(EvaluationError, match=r"^no such overload: isWarm\(int\)$"):
        environment.compile("d.isWarm()").evaluate({"d": 1})


def test_one_budget_serves_many_evaluations() -> None:
    program = ENVIRONMENT.compile("self.n > 0")
    budget = Budget(remaining=7)

    program.evaluate({"self": {"n": 1}}, budget)
    program.evaluate({"self": {"n": 1}}, budget)

    assert budget.remaining == 1


_SAMPLES = """self any .n .s .l .m .b 1 0 'a' 2u 1.5 null true + - * / % == < >= in && || ! ? : ( ) [ ] { } , x
.all( .map(x, size( has( int( string( .matches( [0] dyn( type( .?s timestamp( duration( b'a' cel.bind(x, .exists_one(x,
.transformMap(k,v, optional.of( .orValue( \\ ' $ ñ"""
WORDS = st.sampled_from([*_SAMPLES.split(), "\n"])
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=5)
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner), max_leaves=5
)


@settings(max_examples=500, deadline=None)
@given(st.lists(WORDS, max_size=12).map(" ".join) | st.text(max_size=20), JSON)
def test_nothing_but_its_errors_comes_out_of_any_text(text: str, value: Any) -> None:
    try:
        program = ENVIRONMENT.compile(text, expected=())
        estimate = program.estimate_cost()
        assert estimate.least <= estimate.most
        program.evaluate({"self": value, "any": value}, Budget())
    except (CompileError, EvaluationError):
        pass


EXPRESSIONS = [
    "self.n + 1 > 0", "self.s.size() < 3", "self.l.all(x, x > 0)", "self.l.map(x, x * 2).exists(y, y > 4)",
    "self.m.all(k, v, k == v)", "has(self.m.a) ? self.m.a == 'b' : self.b", "self.s in self.m", "self.l[0] == self.n",
    "self.?s.orValue('') == self.s", "self.s < 'a' || !self.b", "self.m.transformMap(k, v, v + k) == self.m",
    "any.a.b == 1 || any[0] < any[1]", "any.all(x, x > 0 && x < 'a')", "string(any) + 'a' == string(int(any))",
    "any + any == any - any", "any in any", "size(any) > 0", "any.map(x, x).exists_one(y, y == any)", "self == any",
    "type(any) == int && any % 2 == 0", "any ? any : any", "-any == any * 2", "self.s.matches(self.s)", "!any",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(EXPRESSIONS), JSON, JSON)
def test_values_of_any_shape_end_in_a_value_or_an_error(text: str, value: Any, other: Any) -> None:
    budget = Budget()
    try:
        result = ENVIRONMENT.compile(text, expected=()).evaluate({"self": value, "any": other}, budget)
    except EvaluationError as error:
        assert error.message  # noqa: PT017
    else:
        assert isinstance(result, bool | int | float | str | bytes | list | dict | None)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([text for text in EXPRESSIONS if "any" not in text and "?" not in text]),
    st.fixed_dictionaries(
        {
            "n": st.integers(-(2**62), 2**62),
            "s": st.sampled_from(["", "a", "abc"]),
            "l": st.lists(st.integers(-9, 9), min_size=1, max_size=5),
            "m": st.dictionaries(st.sampled_from("abc"), st.sampled_from("abc"), max_size=3),
            "b": st.booleans(),
        }
    ),
)
def test_what_it_costs_is_within_the_estimate(text: str, value: dict[str, Any]) -> None:
    program = ENVIRONMENT.compile(text)
    budget = Budget()
    before = budget.remaining

    program.evaluate({"self": value}, budget)

    estimate = program.estimate_cost()
    assert before - budget.remaining <= estimate.most
