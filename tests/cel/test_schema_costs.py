"""What rules of schemas cost at most: upstream's table (apiserver/schema/cel, TestCostEstimation), by our estimator."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.cel.estimates import Estimate
from keelback.cel.libraries.kubernetes import kubernetes
from keelback.cel.schemas import declared

Schema = dict[str, Any]


def primitive(kind: str, most: int | None = None) -> Schema:
    if kind == "int-or-string":
        return {"x-kubernetes-int-or-string": True}
    if kind in ("duration", "date", "date-time", "byte"):
        return {"type": "string", "format": kind}
    return {"type": kind, **({"maxLength": most} if most is not None and kind == "string" else {})}


def array(items: Schema, most: int | None) -> Schema:
    return {"type": "array", "items": items, **({} if most is None else {"maxItems": most})}


def mapping(values: Schema, most: int | None) -> Schema:
    return {
        "type": "object",
        "additionalProperties": values,
        **({} if most is None else {"maxProperties": most}),
    }


REQUIRED_OBJECT: Schema = {
    "type": "object",
    "required": ["required"],
    "properties": {"required": {"type": "string"}, "optional": {"type": "string"}},
}


def schema_of(shape: str, most: int | None) -> Schema:
    kind, _, inner = shape.partition(" of ")
    match kind:
        case "array":
            return array(schema_of(inner, None), most)
        case "map":
            return mapping(schema_of(inner, None), most)
        case "object":
            return REQUIRED_OBJECT
        case "texts":
            return array(primitive("string", most), most)
        case _:
            return primitive(kind, most)


def most_cost(schema: Schema, rule: str) -> int:
    found = declared(schema, "selfType")
    assert found is not None
    environment = kubernetes().extend(variables={"self": found.type, "oldSelf": found.type})
    program = environment.compile(rule)

    def size(path: tuple[str, ...]) -> Estimate | None:
        return found.size(path[1:])

    return program.estimate_cost(size).most


@pytest.mark.parametrize(
    ("shape", "rule", "unbounded", "most", "bounded"),
    [
        ("array of number", "self.all(x, true)", 4718591, 10, 32),
        ("array of string", "self.all(x, true)", 3145727, 20, 62),
        ("array of boolean", "self.all(x, true)", 1887437, 5, 17),
        ("array of array of number", "self.all(x, true)", 3145727, 100, 302),
        ("array of object", "self.all(x, true)", 555128, 50, 152),
        ("map of number", "self.all(x, true)", 1348169, 10, 32),
        ("map of string", "self.all(x, true)", 1179647, 3, 11),
        ("map of boolean", "self.all(x, true)", 943718, 100, 302),
        ("string", "self.contains('test')", 314574, 10, 5),
        ("string", "self.startsWith('test')", 2, 15, 2),
        ("string", 'size(self + "hello") > size("hello")', 314578, 4, 7),
        ("array of number", "self[1] == 0.0", 2, 5000, 2),
        ("array of string", "self[1] == self[1]", 314577, 8, 314577),
        ("array of number", "self.all(x, self.all(y, self.all(z, true)))", None, 10, 3552),
        ("string", 'self.matches("x")', 314574, 50, 22),
        ("string", '"".matches("(((((((((())))))))))[0-9]")', 7, 10, 7),
        ("string", 'self.matches("")', 1, 100, 1),
        ("array of number", "self[3] == 0.0", 2, 0, 2),
        ("map of number", 'self["x"] == 0.0', 2, 0, 2),
        ("string", 'self == "x"', 2, 0, 1),
        ("array of number", "self.all(x, x == 0.0)", 6291454, 3 * 1024 * 2048, 25165826),
        ("array of int-or-string", "self.all(x, true)", 4718591, 10, 32),
        ("array of int-or-string", "self[0] == 5", 3, 10, 3),
        ("array of boolean", "self[0] == false", 2, 25, 2),
        ("array of array of number", "self[0][0] == -1.0", 3, 51, 3),
        ("array of map of number", "self.all(x, x.y == 25.2)", 6291452, 12, 74),
        ("array of map of number", "self[0].x > 2.0", 4, 3000, 4),
        ("array of duration", "self.all(x, true)", 2359295, 5, 17),
        ("array of duration", "self[0].getHours() == 2", 4, 525, 4),
        ("array of date", "self.all(x, true)", 725936, 15, 47),
        ("array of date-time", "self.all(x, true)", 428963, 25, 77),
        ("array of date-time", "self[2].getMinutes() == 45", 4, 99, 4),
        ("map of int-or-string", "self.all(x, true)", 1348169, 15, 47),
        ("map of object", "self.all(x, true)", 428963, 20, 62),
        ("map of map of number", "self.all(x, true)", 1179647, 10, 32),
        ("map of array of number", "self.all(x, true)", 1179647, 25, 77),
        ("map of duration", "self.all(x, true)", 1048577, 5, 17),
        ("map of date", "self.all(x, true)", 524288, 10, 32),
        ("map of date-time", "self.all(x, true)", 349526, 25, 77),
        ("string", "self.find('[0-9]+') == ''", 629147, 10, 11),
        ("texts", "self.join(' ') == 'aa bb'", 329853068905, 10, 43),
        ("texts", "self.isSorted() == true", 329854432052, 10, 52),
        ("string", "self.lowerAscii() == 'lower!'", 314575, 10, 6),
        ("map of integer", "oldSelf.size() == self.size()", 5, 10, 5),
        ("map of date-time", 'self["a"] == self["b"]', 8, 7, 8),
        ("map of duration", 'self["c"] == self["d"]', 8, 42, 8),
    ],
)
def test_a_rule_costs_what_its_schema_allows(
    shape: str, rule: str, unbounded: int | None, most: int, bounded: int
) -> None:
    if unbounded is not None:
        assert most_cost(schema_of(shape, None), rule) == unbounded
    assert most_cost(schema_of(shape, most), rule) == bounded


@pytest.mark.parametrize(("most", "cost"), [(None, 629154), (4, 12)])
def test_a_replacement_costs_what_its_result_may_be(most: int | None, cost: int) -> None:
    properties = {
        "str": primitive("string", most),
        "before": primitive("string", 2),
        "after": primitive("string", 4),
    }
    rule = "self.str.replace(self.before, self.after) == 'does not matter'"
    assert most_cost({"type": "object", "properties": properties}, rule) == cost


@pytest.mark.parametrize(("most", "cost"), [(None, 629160), (10, 22)])
def test_a_split_costs_reading_and_building(most: int | None, cost: int) -> None:
    properties = {"str": primitive("string", most), "separator": primitive("string", most)}
    assert most_cost({"type": "object", "properties": properties}, "self.str.split(self.separator) == []") == cost
