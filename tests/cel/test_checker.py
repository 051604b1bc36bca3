"""What the checker says: cel-go's words, where cel-go says them."""

from __future__ import annotations

import pytest

from keelback.cel.environment import Environment
from keelback.cel.errors import CompileError, ResultTypeError
from keelback.cel.types import BOOL, BYTES, DYN, INT, STRING, list_of, map_of, object_of

TEST = object_of("Test", {"n": INT, "nested": object_of("Nested", {"bb": INT}), "list": list_of(INT)})
ENVIRONMENT = Environment(
    variables={"self": TEST, "m": map_of(STRING, TEST), "s": STRING, "i": INT, "d": DYN, "l": list_of(STRING)}
)
MISTAKES = {
    "1 + x": ["1:5: undeclared reference to 'x' (in container '')"],
    "foo(1)": ["1:4: undeclared reference to 'foo' (in container '')"],
    "s.foo()": ["1:6: undeclared reference to 'foo' (in container '')"],
    "a.b.c": ["1:1: undeclared reference to 'a' (in container '')"],
    "self.x > 0": ["1:5: undefined field 'x'"],
    "self.nested.undefined == self.undefined && has(self.n)": [
        "1:12: undefined field 'undefined'",
        "1:30: undefined field 'undefined'",
    ],
    "has(self.zz)": ["1:4: undefined field 'zz'"],
    "1 + 'a'": ["1:3: found no matching overload for '_+_' applied to '(int, string)'"],
    "m[2].n == 23": ["1:2: found no matching overload for '_[_]' applied to '(map(string, Test), int)'"],
    "self.n != null": ["1:8: found no matching overload for '_!=_' applied to '(int, null)'"],
    "1 == 1.0": ["1:3: found no matching overload for '_==_' applied to '(int, double)'"],
    "s.startsWith(1)": ["1:13: found no matching overload for 'startsWith' applied to 'string.(int)'"],
    "size(1)": ["1:5: found no matching overload for 'size' applied to '(int)'"],
    "i ? 1 : 2": ["1:3: found no matching overload for '_?_:_' applied to '(int, int, int)'"],
    "true ? 1 : 'a'": ["1:6: found no matching overload for '_?_:_' applied to '(bool, int, string)'"],
    "!i": ["1:1: found no matching overload for '!_' applied to '(int)'"],
    "-s": ["1:1: found no matching overload for '-_' applied to '(string)'"],
    "i && true": ["1:1: expected type 'bool' but found 'int'"],
    "true || s": ["1:9: expected type 'bool' but found 'string'"],
    "self.list.all(e, e)": ["1:18: expected type 'bool' but found 'int'"],
    "self.all(e, 0)": [
        "1:1: expression of type 'Test' cannot be range of a comprehension (must be list, map, or dynamic)",
        "1:13: expected type 'bool' but found 'int'",
    ],
    "self.list.exists(y, y > 10) && y < 5": ["1:32: undeclared reference to 'y' (in container '')"],
    "i.field": ["1:2: type 'int' does not support field selection"],
    "[1, 'a']": ["1:5: expected type 'int' but found 'string'"],
    "{'a': 1, 'b': 'c'}": ["1:15: expected type 'int' but found 'string'"],
    "{'a': 1, 2: 3}": ["1:10: expected type 'string' but found 'int'"],
    "[?1]": ["1:3: expected type 'optional_type(int)' but found 'int'"],
    "optional.of(i) == 1": ["1:16: found no matching overload for '_==_' applied to '(optional_type(int), int)'"],
    "i in s": ["1:3: found no matching overload for '@in' applied to '(int, string)'"],
    "i in l": ["1:3: found no matching overload for '@in' applied to '(int, list(string))'"],
    "l + [1]": ["1:3: found no matching overload for '_+_' applied to '(list(string), list(int))'"],
    "Unknown{a: 1}": ["1:8: undeclared reference to 'Unknown' (in container '')"],
    "int{a: 1}": ["1:4: 'int' is not a message type"],
    "s{a: 1}": ["1:2: 'string' is not a type"],
    "duration('1 hour')": ["1:10: invalid duration argument"],
    "timestamp('today')": ["1:11: invalid timestamp argument"],
    "s.matches('a(')": ["1:11: invalid matches argument"],
    "l.all(e, e.matches('['))": ["1:20: invalid matches argument"],
    "x > 1 && y > 1": [
        "1:1: undeclared reference to 'x' (in container '')",
        "1:10: undeclared reference to 'y' (in container '')",
    ],
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.items(), ids=MISTAKES)
def test_a_mistake_is_told_in_cel_gos_words(text: str, expected: list[str]) -> None:
    with pytest.raises(CompileError) as failed:
        ENVIRONMENT.compile(text, expected=())

    assert [str(issue).partition("\n")[0] for issue in failed.value.issues] == [f"ERROR: <input>:{e}" for e in expected]


def test_a_whole_message_is_three_lines() -> None:
    with pytest.raises(CompileError) as failed:
        ENVIRONMENT.compile("self.x > 0")

    assert str(failed.value) == "ERROR: <input>:1:5: undefined field 'x'\n | self.x > 0\n | ....^"


def test_the_container_is_named() -> None:
    with pytest.raises(CompileError, match=r"undeclared reference to 'x' \(in container 'a\.b'\)"):
        Environment(container="a.b").compile("x")


def test_at_most_a_hundred_issues_are_shown() -> None:
    with pytest.raises(CompileError) as failed:
        ENVIRONMENT.compile(" + ".join(f"x{number}" for number in range(120)))

    assert len(failed.value.issues) == 101
    assert str(failed.value.issues[-1]) == "20 more errors were truncated"


def test_a_result_of_another_type_is_refused() -> None:
    with pytest.raises(ResultTypeError, match=r"^must evaluate to bool$"):
        ENVIRONMENT.compile("i + 1")
    with pytest.raises(ResultTypeError, match=r"^must evaluate to bool$"):
        ENVIRONMENT.compile("d")
    with pytest.raises(ResultTypeError, match=r"^must evaluate to one of \[string bytes\]$"):
        ENVIRONMENT.compile("true", expected=(STRING, BYTES))
    assert ENVIRONMENT.compile("s", expected=(STRING, BYTES)).type == STRING
    assert ENVIRONMENT.compile("i > 1").type == BOOL


def test_an_open_object_has_any_field_and_a_dyn_any_at_all() -> None:
    environment = Environment({"o": object_of("Open", {"a": INT}, is_open=True)})

    assert environment.compile("o.a + 1 == o.b.c[0]").evaluate({"o": {"a": 1, "b": {"c": [2]}}}) is True


def test_an_object_may_be_null() -> None:
    assert ENVIRONMENT.compile("self.nested == null").evaluate({"self": {"nested": None}}) is True


def test_fields_of_an_object_literal_are_checked() -> None:
    from keelback.cel.declarations import Library

    environment = Environment(libraries=[Library("objects", types=(TEST,))])

    assert environment.compile("Test{n: 1, list: [2]}", expected=()).evaluate({}) == {"n": 1, "list": [2]}
    with pytest.raises(CompileError, match="expected type of field 'n' is 'int' but provided type is 'string'"):
        environment.compile("Test{n: 'a'}")
    with pytest.raises(CompileError, match="undefined field 'zz'"):
        environment.compile("Test{zz: 'a'}")
