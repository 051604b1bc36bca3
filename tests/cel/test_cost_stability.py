"""Costs of typical rules over custom resources: the figures of Kubernetes' own test of cost stability.

A rule that costs more after an upgrade may end where it did not before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from keelback.cel import times
from keelback.cel.environment import Budget
from keelback.cel.libraries.kubernetes import kubernetes
from keelback.cel.merging_lists import MergingList
from keelback.cel.types import (
    BOOL,
    BYTES,
    DOUBLE,
    DURATION,
    DYN,
    INT,
    STRING,
    TIMESTAMP,
    Type,
    list_of,
    map_of,
    object_of,
)

LARGEST = 2**63 - 1
SMALL = 2**31 - 1
MOMENT = times.parse_timestamp("2011-08-18T19:03:37.010+01:00")
DAY = times.parse_timestamp("2011-08-18T00:00:00Z")
SPAN = times.parse_duration("1h2m3s4ms")
KV = object_of("kv", {"k": STRING, "v": STRING, "v2": STRING})


def values(*typed: tuple[Type, Any]) -> tuple[Type, dict[str, Any]]:
    """An object with the fields val1, val2 and so on."""
    fields = {f"val{number}": type for number, (type, _) in enumerate(typed, 1)}
    return object_of("object", fields), {f"val{number}": value for number, (_, value) in enumerate(typed, 1)}


def all_equal(first: str, second: str, literal: str) -> str:
    """A rule that compares two fields in every way."""
    return f"{first} == {second} && {first} == {literal} && {second} == {literal}"


def keyed(*pairs: tuple[str, str]) -> MergingList:
    """A list that is a map by its field `k`."""
    return MergingList([{"k": key, "v": value} for key, value in pairs], ["k"])


ROOK = "Rook takes 👑"
INTEGERS = values((INT, LARGEST), (INT, LARGEST), (INT, SMALL), (INT, SMALL), (INT, LARGEST), (INT, LARGEST))
TEXTS = values((STRING, ROOK), (STRING, ROOK))
OBJECTS = (
    object_of("object", {"objs": list_of(list_of(KV))}),
    {
        "objs": [
            keyed(("a", "1"), ("b", "2")),
            keyed(("b", "2"), ("a", "1")),
            keyed(("b", "3"), ("a", "1")),
            keyed(("c", "4")),
        ]
    },
)
NESTED = (
    object_of(
        "object",
        {
            "a": object_of("a", {"b": INT, "c": INT}),
            "a1": object_of("a1", {"b1": object_of("b1", {"c1": INT}), "d2": object_of("d2", {"e2": INT})}),
        },
    ),
    {"a": {"b": 1}, "a1": {"b1": {"c1": 4}}},
)
MAP = (object_of("object", {"val": map_of(STRING, INT)}), {"val": {"b": 1, "d": 2}})
LIST_MAP = (
    object_of("object", {"listMap": list_of(KV)}),
    {"listMap": [{"k": "a1", "v": "b1"}, {"k": "a2", "v": "b2"}, {"k": "a3", "v": "b3", "v2": "z"}]},
)

FIGURES: list[tuple[tuple[Type, dict[str, Any]], Mapping[str, int]]] = [
    (
        INTEGERS,
        {
            all_equal("self.val1", "self.val2", str(LARGEST)): 11,
            "self.val1 == self.val6": 5,
            "type(self.val1) == int": 4,
            f"self.val3 + 1 == {SMALL} + 1": 5,
        },
    ),
    (
        values((INT, 5), (DOUBLE, 10.0)),
        {
            "double(self.val1) < self.val2": 6,
            "self.val1 < int(self.val2)": 6,
            "double(5) < 10.0": 1,
            "5 < int(10.0)": 1,
            "double(self.val1) < 10.0": 4,
        },
    ),
    (
        TEXTS,
        {
            all_equal("self.val1", "self.val2", f"'{ROOK}'"): 14,
            "self.val1.startsWith('Rook')": 4,
            "!self.val1.startsWith('knight')": 5,
            "self.val1.matches('^[^0-9]*$')": 8,
            "!self.val1.matches('^[0-9]*$')": 7,
            "type(self.val1) == string": 4,
            "size(self.val1) == 12": 4,
            "self.val1.charAt(3) == 'k'": 4,
            "self.val1.indexOf('o') == 1": 4,
            "self.val1.indexOf('o', 2) == 2": 4,
            "self.val1.replace(' ', 'x') == 'Rookxtakesx👑'": 7,
            "self.val1.replace(' ', 'x', 1) == 'Rookxtakes 👑'": 7,
            "self.val1.split(' ') == ['Rook', 'takes', '👑']": 6,
            "self.val1.substring(5) == 'takes 👑'": 5,
            "self.val1.substring(0, 4) == 'Rook'": 5,
            "self.val1.substring(4, 10).trim() == 'takes'": 6,
            "self.val1.upperAscii() == 'ROOK TAKES 👑'": 6,
        },
    ),
    (
        values((BYTES, b"AB"), (BYTES, b"AB")),
        {
            "self.val1 == self.val2": 5,
            "self.val1 == b'AB'": 3,
            "type(self.val1) == bytes": 4,
            "size(self.val1) == 2": 4,
        },
    ),
    (
        values((BOOL, True), (BOOL, True), (BOOL, False), (BOOL, False)),
        {all_equal("self.val1", "self.val2", "true"): 11, "self.val1 != self.val4": 5, "type(self.val1) == bool": 4},
    ),
    (
        values((DURATION, SPAN), (DURATION, SPAN)),
        {
            all_equal("self.val1", "self.val2", "duration('1h2m3s4ms')"): 11,
            "self.val1 == duration('1h2m') + duration('3s4ms')": 4,
            "self.val1.getHours() == 1": 4,
            "type(self.val1) == google.protobuf.Duration": 4,
        },
    ),
    (
        values((TIMESTAMP, MOMENT), (TIMESTAMP, MOMENT)),
        {
            all_equal("self.val1", "self.val2", "timestamp('2011-08-18T19:03:37.010+01:00')"): 11,
            "self.val1 == timestamp('2011-08-18T00:00:00.000+01:00') + duration('19h3m37s10ms')": 4,
            "self.val1.getDate('01:00') == 18": 4,
            "type(self.val1) == google.protobuf.Timestamp": 4,
        },
    ),
    (
        values((STRING, "Pending")),
        {"self.val1 == 'Pending'": 3, "self.val1 in ['Pending', 'Available']": 2},
    ),
    (
        values(
            (INT, 10),
            (DOUBLE, 10.0),
            (STRING, "10"),
            (BYTES, b"10"),
            (STRING, "3723.004s"),
            (DURATION, SPAN),
            (STRING, "2011-08-18T19:03:37.01+01:00"),
            (TIMESTAMP, MOMENT),
        ),
        {
            "int(self.val2) == self.val1": 6,
            "double(self.val1) == self.val2": 6,
            "bytes(self.val3) == self.val4": 6,
            "string(self.val1) == self.val3": 6,
            "string(self.val4) == self.val3": 6,
            "duration(self.val5) == self.val6": 6,
            "timestamp(self.val7) == self.val8": 6,
            "string(self.val8) == self.val7": 8,
        },
    ),
    (
        values((list_of(INT), [1, 2, 3]), (list_of(INT), [1, 2, 3])),
        {
            all_equal("self.val1", "self.val2", "[1, 2, 3]"): 11,
            "1 in self.val1": 5,
            "self.val2[0] in self.val1": 8,
            "!(0 in self.val1)": 6,
            "self.val1 + self.val2 == [1, 2, 3, 1, 2, 3]": 6,
            "self.val1 + [4, 5] == [1, 2, 3, 4, 5]": 4,
        },
    ),
    (
        values((list_of(STRING), MergingList(["a", "b", "c"])), (list_of(STRING), MergingList(["a", "c", "b"]))),
        {
            "self.val1 == ['c', 'b', 'a']": 3,
            "self.val1 == self.val2": 5,
            "'a' in self.val1": 5,
            "self.val2[0] in self.val1": 8,
            "!('x' in self.val1)": 6,
            "self.val1 + self.val2 == ['a', 'b', 'c']": 6,
            "self.val1 + ['c', 'd'] == ['a', 'b', 'c', 'd']": 4,
        },
    ),
    (
        OBJECTS,
        {
            "self.objs[0] == self.objs[1]": 7,
            "self.objs[0] + self.objs[2] == self.objs[2]": 11,
            "self.objs[2] + self.objs[0] == self.objs[0]": 11,
            "self.objs[0] == [self.objs[0][0], self.objs[0][1]]": 22,
            "self.objs[0] == [self.objs[0][1], self.objs[0][0]]": 22,
            "self.objs[2] + [self.objs[0][0], self.objs[0][1]] == self.objs[0]": 26,
            "size(self.objs[0] + [self.objs[3][0]]) == 3": 20,
        },
    ),
    (
        values((map_of(STRING, STRING), {"k1": "a", "k2": "b"}), (map_of(STRING, STRING), {"k2": "b", "k1": "a"})),
        {
            "self.val1 == self.val2": 5,
            "'k1' in self.val1": 3,
            "!('k3' in self.val1)": 4,
            "self.val1 == {'k1': 'a', 'k2': 'b'}": 3,
        },
    ),
    (
        NESTED,
        {
            "has(self.a.b)": 2,
            "has(self.a1.b1.c1)": 3,
            "!(has(self.a1.d2) && has(self.a1.d2.e2))": 3,
            "!has(self.a1.d2)": 3,
        },
    ),
    (
        MAP,
        {
            "!('a' in self.val)": 4,
            "'b' in self.val": 3,
            "!has(self.val.a)": 3,
            "has(self.val.b)": 2,
            "self.val.all(k, self.val[k] > 0)": 17,
            "self.val.exists_one(k, self.val[k] == 2)": 14,
            "!self.val.exists_one(k, self.val[k] > 0)": 17,
            "size(self.val) == 2": 4,
            "size(self.val.filter(k, self.val[k] > 1)) == 1": 26,
        },
    ),
    (
        LIST_MAP,
        {
            "has(self.listMap[0].v)": 3,
            "self.listMap.all(m, m.k.startsWith('a'))": 21,
            "self.listMap.all(m, !has(m.v2) || m.v2 == 'z')": 21,
            "self.listMap.exists(m, m.k.endsWith('1'))": 13,
            "self.listMap.exists_one(m, m.k == 'a3')": 15,
            "!self.listMap.all(m, m.k.endsWith('1'))": 18,
            "!self.listMap.exists(m, m.v == 'x')": 25,
            "!self.listMap.exists_one(m, m.k.startsWith('a'))": 20,
            "size(self.listMap.filter(m, m.k == 'a1')) == 1": 27,
            "self.listMap.exists(m, m.k == 'a1' && m.v == 'b1')": 16,
            "self.listMap.map(m, m.v).exists(v, v == 'b1')": 55,
            "self.listMap.exists(m, has(m.v2) && m.v2 == 'z')": 21,
            "!self.listMap.all(m, has(m.v2) && m.v2 != 'z')": 10,
            "self.listMap.exists_one(m, has(m.v2) && m.v2 == 'z')": 12,
            "self.listMap.filter(m, has(m.v2) && m.v2 == 'z').size() == 1": 24,
            "self.listMap.map(m, has(m.v2) && m.v2 == 'z', m.v2).size() == 1": 25,
            "self.listMap.filter(m, has(m.v2) && m.v2 == 'z').map(m, m.v2).size() == 1": 39,
            # What fails is paid for too.
            "self.listMap.exists(m, m.v2 == 'z')": 24,
            "!self.listMap.all(m, m.v2 != 'z')": 22,
        },
    ),
    (
        (object_of("object", {"array": list_of(INT)}), {"array": [1, 1, 2, 2, 3, 3, 4, 5]}),
        {
            "2 in self.array": 10,
            "self.array.all(e, e > 0)": 43,
            "self.array.exists(e, e > 2)": 36,
            "self.array.exists_one(e, e > 4)": 22,
            "!self.array.all(e, e < 2)": 21,
            "!self.array.exists(e, e < 0)": 52,
            "!self.array.exists_one(e, e == 2)": 25,
            "size(self.array.filter(e, e%2 == 0)) == 3": 68,
            "self.array.map(e, e * 20).filter(e, e > 50).exists(e, e == 60)": 194,
            "size(self.array) == 8": 4,
        },
    ),
    (
        (object_of("object", {"something": DYN}), {"something": "25%"}),
        {
            "type(self.something) == int ? self.something == 1 : self.something == '25%'": 7,
            "type(self.something) == string && self.something == '25%'": 7,
            "self.something == '25%'": 3,
            "self.something != 1": 3,
            "self.something == 1 || self.something == '25%'": 6,
            "self.something == '25%' || self.something == 1": 3,
            "self.something != ['anything']": 3,
        },
    ),
    (
        (
            object_of("object", {"min": DYN, "current": INT, "available": INT}),
            {"min": "50%", "current": 5, "available": 10},
        ),
        {
            r"type(self.min) == string && self.min.matches(r'(\d+(\.\d+)?%)')": 10,
            "type(self.min) == int ? self.current <= self.min : double(self.current) / double(self.available)"
            " >= double(self.min.replace('%', '')) / 100.0": 17,
        },
    ),
    (
        (
            object_of(
                "object",
                {
                    "mapOfMap": map_of(STRING, map_of(STRING, STRING)),
                    "mapOfListMap": map_of(STRING, list_of(KV)),
                    "listOfMap": list_of(map_of(STRING, STRING)),
                },
            ),
            {
                "mapOfMap": {"x": {"y": "b"}},
                "mapOfListMap": {"o": keyed(("1", "d"))},
                "listOfMap": [{"z": "g"}],
            },
        ),
        {
            "type(self) == type(self)": 5,
            "type(self.mapOfMap['x']) == type(self.mapOfMap['x'])": 9,
            "self.mapOfMap['x']['y'] == 'b'": 5,
            "self.mapOfListMap['o'].exists(e, e.k == '1' && e.v == 'd')": 14,
            "self.listOfMap[0]['z'] == 'g'": 5,
            "self.mapOfMap.map(k, k).map(k, k).size() == 1": 32,
            "self.listOfMap.map(e, e).map(e, e).size() == 1": 32,
            "self.mapOfMap.map(k, self.mapOfMap[k].map(m, m)).size() == 1": 34,
            "self.listOfMap.map(e, e.map(m, m)).size() == 1": 32,
        },
    ),
    (
        (
            object_of(
                "object",
                {
                    "obj": object_of("obj", {"field": STRING, "absentField": STRING}),
                    "m": map_of(STRING, STRING),
                    "l": list_of(STRING),
                },
            ),
            {"obj": {"field": "a"}, "m": {"k": "v"}, "l": ["a"]},
        ),
        {
            "optional.of('a') != optional.of('b')": 3,
            "optional.of('a') != optional.none()": 3,
            "optional.of('a').hasValue()": 2,
            "optional.of('a').or(optional.of('a')).hasValue()": 2,
            "optional.none().or(optional.of('a')).hasValue()": 3,
            "optional.of('a').optMap(v, v == 'value').hasValue()": 8,
            "self.obj.?field == optional.of('a')": 5,
            "self.obj.?absentField == optional.none()": 4,
            "self.obj.?field.orValue('v') == 'a'": 4,
            "self.m[?'k'] == optional.of('v')": 5,
            "self.l[?0] == optional.of('a')": 5,
            "optional.ofNonZeroValue(1).hasValue()": 2,
        },
    ),
    (
        values((STRING, "20"), (STRING, "200M")),
        {
            "isQuantity(self.val1)": 3,
            'isQuantity("200M")': 1,
            'quantity("200M") == quantity("0.2G") && quantity("0.2G") == quantity("200M")': 6,
            "quantity(self.val1).isLessThan(quantity(self.val2))": 7,
            'quantity("200M").compareTo(quantity("0.2G")) == 0': 4,
            'quantity("50k").add(quantity("20")) == quantity("50.02k")': 5,
            'quantity("50k").sub(20) == quantity("49980")': 4,
            "quantity(self.val1).isInteger()": 4,
        },
    ),
]


@pytest.mark.parametrize(
    ("subject", "rule", "cost"),
    [pytest.param(subject, rule, cost, id=rule) for subject, rules in FIGURES for rule, cost in rules.items()],
)
def test_a_rule_costs_what_it_costs_in_kubernetes(subject: tuple[Type, dict[str, Any]], rule: str, cost: int) -> None:
    type, value = subject
    program = kubernetes().extend(variables={"self": type}).compile(rule)
    budget = Budget()
    before = budget.remaining

    assert program.evaluate({"self": value}, budget) is True
    assert before - budget.remaining == cost
