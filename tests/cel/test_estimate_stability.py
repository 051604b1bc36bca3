"""Estimates of typical rules over schemas: the figures of Kubernetes' own test of cost stability.

A rule that is estimated higher after an upgrade makes a definition invalid that was valid before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from keelback.cel.estimates import Estimate
from keelback.cel.libraries.kubernetes import kubernetes
from keelback.cel.schemas import declared

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
BINARY: Schema = {"type": "string", "format": "byte"}
SPAN: Schema = {"type": "string", "format": "duration"}
DAY: Schema = {"type": "string", "format": "date"}
MOMENT: Schema = {"type": "string", "format": "date-time"}


def listed(items: Schema, **kind: Any) -> Schema:
    """An array, with its `x-kubernetes-list-…`."""
    return {"type": "array", "items": items, **{f"x-kubernetes-list-{name}": value for name, value in kind.items()}}


def mapped(values: Schema) -> Schema:
    """A map of any size."""
    return {"type": "object", "additionalProperties": values}


def with_fields(**fields: Schema) -> Schema:
    """An object."""
    return {"type": "object", "properties": fields}


def values(*schemas: Schema) -> Schema:
    """An object with the fields val1, val2 and so on."""
    return with_fields(**{f"val{number}": schema for number, schema in enumerate(schemas, 1)})


def all_equal(literal: str) -> str:
    """A rule that compares two fields in every way."""
    return f"self.val1 == self.val2 && self.val1 == {literal} && self.val2 == {literal}"


KEYED = listed(with_fields(k=TEXT, v=TEXT, v2=TEXT), type="map", **{"map-keys": ["k"]})
KEYED_PAIRS = listed(with_fields(k=TEXT, v=TEXT), type="map", **{"map-keys": ["k"]})
ROOK = "'Rook takes 👑'"

FIGURES: list[tuple[Schema, Mapping[str, int]]] = [
    (
        values(WHOLE, WHOLE),
        {all_equal(str(2**63 - 1)): 8, "self.val1 == self.val2": 4, "type(self.val1) == int": 4},
    ),
    (values(NUMBER, NUMBER), {"type(self.val1) == double": 4, "self.val1 == 1.0": 2}),
    (
        values(WHOLE, NUMBER),
        {"double(self.val1) < self.val2": 6, "self.val1 < int(self.val2)": 6, "double(5) < 10.0": 2},
    ),
    (
        values(TEXT, TEXT),
        {
            all_equal(ROOK): 314585,
            "self.val1.startsWith('Rook')": 3,
            "!self.val1.startsWith('knight')": 4,
            "self.val1.matches('^[^0-9]*$')": 943721,
            "!self.val1.matches('^[0-9]*$')": 629149,
            "type(self.val1) == string": 4,
            "size(self.val1) == 12": 4,
            "self.val1.charAt(3) == 'k'": 4,
            "self.val1.indexOf('o') == 1": 314576,
            "self.val1.replace(' ', 'x') == 'Rookxtakesx👑'": 629150,
            "self.val1.split(' ') == ['Rook', 'takes', '👑']": 629159,
            "self.val1.substring(5) == 'takes 👑'": 314576,
            "self.val1.substring(4, 10).trim() == 'takes'": 629149,
            "self.val1.upperAscii() == 'ROOK TAKES 👑'": 314577,
            "self.val1.lowerAscii() == self.val1.lowerAscii()": 943723,
        },
    ),
    (values(TEXT, TEXT), {all_equal("'l1\\nl2'"): 314583, "self.val1 == '''l1\nl2'''": 3}),
    (
        values(BINARY, BINARY),
        {
            "self.val1 == self.val2": 314577,
            "self.val1 == b'AB'": 3,
            "type(self.val1) == bytes": 4,
            "size(self.val1) == 2": 4,
        },
    ),
    (values(FLAG, FLAG), {all_equal("true"): 8, "self.val1 != self.val2": 4, "type(self.val1) == bool": 4}),
    (
        values(SPAN, SPAN),
        {
            all_equal("duration('1h2m3s4ms')"): 16,
            "self.val1 == duration('1h2m') + duration('3s4ms')": 6,
            "self.val1.getHours() == 1": 4,
            "type(self.val1) == google.protobuf.Duration": 4,
        },
    ),
    (
        values(DAY, DAY),
        {all_equal("timestamp('1997-07-16T00:00:00.000Z')"): 14, "self.val1.getDate() == 16": 4},
    ),
    (
        values(MOMENT, MOMENT),
        {all_equal("timestamp('2011-08-18T19:03:37.010+01:00')"): 16, "self.val1.getDate('01:00') == 18": 4},
    ),
    (values(TEXT), {"self.val1 in ['Pending', 'Available']": 14}),
    (
        values(WHOLE, NUMBER, TEXT, BINARY, SPAN, MOMENT, DAY),
        {
            "int(self.val2) == self.val1": 5,
            "double(self.val1) == self.val2": 5,
            "bytes(self.val3) == self.val4": 629150,
            "string(self.val1) == self.val3": 314578,
            "string(self.val4) == self.val3": 629150,
            "duration(self.val3) == self.val5": 6,
            "timestamp(self.val3) == self.val6": 6,
            "string(self.val7) == self.val3": 314578,
        },
    ),
    (
        values(listed(WHOLE), listed(WHOLE)),
        {
            all_equal("[1, 2, 3]"): 157317,
            "1 in self.val1": 1572865,
            "self.val2[0] in self.val1": 1572868,
            "!(0 in self.val1)": 1572866,
            "self.val1 + self.val2 == [1, 2, 3, 1, 2, 3]": 16,
            "self.val1 + [4, 5] == [1, 2, 3, 4, 5]": 24,
            "has(self.val1) && has(self.val2)": 2,
            "!has(self.val1)": 2,
            "self.val1.all(k, size(self.val1) > 0)": 11010044,
            "self.val1.exists_one(k, self.val1 == [2])": 23592949,
            "!self.val1.exists_one(k, size(self.val1) > 0)": 9437183,
            "size(self.val1.filter(k, size(self.val1) > 1)) == 1": 26738686,
            "self.val1.all(e, e > 0)": 7864318,
            "self.val1.exists(e, e > 2)": 9437181,
            "self.val1.exists_one(e, e > 4)": 6291456,
            "!self.val1.exists_one(e, e == 2)": 4718594,
            "size(self.val1.filter(e, e%2 == 0)) == 3": 25165823,
            "self.val1.map(e, e * 20).filter(e, e > 50).exists(e, e == 60)": 53477367,
            "self.val1.map(e, e * 20).filter(e, e > 50).exists_one(e, e == 60)": 50331642,
        },
    ),
    (
        values(listed(TEXT, type="set"), listed(TEXT, type="set")),
        {
            "self.val1 == ['c', 'b', 'a']": 13,
            "self.val1 == self.val2": 104862,
            "'a' in self.val1": 1048577,
            "self.val2[0] in self.val1": 1048580,
            "self.val1 + self.val2 == ['a', 'b', 'c']": 16,
            "self.val1.all(k, size(self.val1) > 0)": 7340028,
            "self.val1.exists_one(k, self.val1 == ['a'])": 15728629,
            "size(self.val1.filter(k, size(self.val1) > 1)) == 1": 17825790,
        },
    ),
    (
        with_fields(objs=listed(KEYED_PAIRS)),
        {
            "self.objs[0] == self.objs[1]": 104864,
            "self.objs[0] + self.objs[2] == self.objs[2]": 104868,
            "self.objs[0] == [self.objs[0][0], self.objs[0][1]]": 22,
            "self.objs[2] + [self.objs[0][0], self.objs[0][1]] == self.objs[0]": 104883,
            "size(self.objs[0] + [self.objs[3][0]]) == 3": 20,
            "self.objs[0].all(k, size(self.objs[0]) > 0)": 8388604,
            "self.objs[0].exists_one(k, size(self.objs[0]) > 0)": 7340030,
            "size(self.objs[0].filter(k, size(self.objs[0]) > 1)) == 1": 18874366,
        },
    ),
    (
        values(mapped(TEXT), mapped(TEXT)),
        {
            "self.val1 == self.val2": 39326,
            "'k1' in self.val1": 3,
            "self.val1 == {'k1': 'a', 'k2': 'b'}": 33,
            "self.val1.all(k, size(self.val1) > 0)": 2752508,
            "self.val1.exists_one(k, size(self.val1) > 0)": 2359294,
            "size(self.val1.filter(k, size(self.val1) > 1)) == 1": 6684670,
        },
    ),
    (with_fields(objs=listed(with_fields(f1=TEXT, f2=TEXT))), {"self.objs[0] == self.objs[1]": 6}),
    (
        with_fields(a=with_fields(b=WHOLE), a1=with_fields(b1=with_fields(c1=WHOLE), d2=with_fields(e2=WHOLE))),
        {
            "has(self.a.b)": 2,
            "has(self.a1.b1.c1)": 3,
            "!(has(self.a1.d2) && has(self.a1.d2.e2))": 6,
            "has(self.a) && has(self.a1)": 2,
        },
    ),
    (
        with_fields(val=mapped(WHOLE)),
        {
            "'b' in self.val": 3,
            "!has(self.val.a)": 3,
            "self.val.all(k, self.val[k] > 0)": 3595115,
            "self.val.exists_one(k, self.val[k] == 2)": 2696338,
            "!self.val.exists_one(k, self.val[k] > 0)": 3145728,
            "size(self.val.filter(k, self.val[k] > 1)) == 1": 8089017,
        },
    ),
    (
        with_fields(listMap=KEYED),
        {
            "has(self.listMap[0].v)": 3,
            "self.listMap.all(m, m.k.startsWith('a'))": 6291453,
            "self.listMap.all(m, !has(m.v2) || m.v2 == 'z')": 8388603,
            "self.listMap.exists(m, m.k.endsWith('1'))": 7340028,
            "self.listMap.exists_one(m, m.k == 'a3')": 5242879,
            "size(self.listMap.filter(m, m.k == 'a1')) == 1": 16777215,
            "self.listMap.exists(m, m.k == 'a1' && m.v == 'b1')": 10485753,
            "self.listMap.map(m, m.v).exists(v, v == 'b1')": 19922939,
            "self.listMap.exists(m, has(m.v2) && m.v2 == 'z')": 8388603,
            "self.listMap.exists_one(m, has(m.v2) && m.v2 == 'z')": 6291454,
            "self.listMap.map(m, has(m.v2) && m.v2 == 'z', m.v2).size() == 1": 18874365,
            "self.listMap.filter(m, has(m.v2) && m.v2 == 'z').map(m, m.v2).size() == 1": 32505851,
        },
    ),
]


@pytest.mark.parametrize(
    ("schema", "rule", "most"),
    [pytest.param(schema, rule, most, id=rule) for schema, rules in FIGURES for rule, most in rules.items()],
)
def test_a_rule_is_estimated_as_it_is_in_kubernetes(schema: Schema, rule: str, most: int) -> None:
    found = declared(schema, "selfType")
    assert found is not None

    def size(path: tuple[str, ...]) -> Estimate | None:
        return found.size(path[1:])

    program = kubernetes().extend(variables={"self": found.type}).compile(rule)

    assert program.estimate_cost(size).most == most
