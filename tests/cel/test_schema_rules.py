"""Rules of custom resources see their data as upstream's do (apiserver/schema/cel, TestValidationExpressions)."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.cel import field_names
from keelback.cel.errors import CompileError, EvaluationError
from keelback.cel.libraries.kubernetes import kubernetes
from keelback.cel.schema_values import conversion
from keelback.cel.schemas import declared

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
BYTE: Schema = {"type": "string", "format": "byte"}
DATE: Schema = {"type": "string", "format": "date"}
DATE_TIME: Schema = {"type": "string", "format": "date-time"}
DURATION: Schema = {"type": "string", "format": "duration"}
INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True}
UNKNOWN: Schema = {"x-kubernetes-preserve-unknown-fields": True}


def obj(more: Schema | None = None, /, **properties: Schema) -> Schema:
    return {"type": "object", "properties": {**properties, **(more or {})}}


def nullable(schema: Schema) -> Schema:
    return {**schema, "nullable": True}


def array(items: Schema, kind: str = "atomic", keys: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {"type": "array", "items": items, "x-kubernetes-list-type": kind}
    return {**schema, "x-kubernetes-list-map-keys": list(keys)} if keys else schema


def mapping(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


KEYED = array(obj(k=STRING, v=STRING, v2=STRING), "map", ("k",))
METADATA = {"name": "foo", "generateName": "pickItForMe", "namespace": "xyz"}
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": METADATA, "spec": {"field1": "a"}}
RESERVED = tuple(sorted(field_names.RESERVED))

# (schema, value, rules that hold)
HOLDING: tuple[tuple[Schema, Any, tuple[str, ...]], ...] = (
    (
        obj(a=NUMBER, b=INTEGER, c=NUMBER),
        {"a": 10.0, "b": 10, "c": 1},
        (
            "type(self.a) == double",
            "double(self.b) == self.a",
            "self.b < 11",
            "type(self.c) == double",
            "self.c == 1.0",
        ),
    ),
    (
        obj(a=STRING),
        {"a": "Rook takes 👑"},
        ("size(self.a) == 12", "self.a.endsWith('👑')", "self.a.split(' ') == ['Rook', 'takes', '👑']"),
    ),
    (
        obj(a=BYTE),
        {"a": "QUI="},
        ("self.a == b'AB'", "self.a == bytes('AB')", "type(self.a) == bytes", "size(self.a) == 2"),
    ),
    (
        obj(a=DURATION),
        {"a": "1h2m3s4ms"},
        (
            "self.a == duration('1h2m') + duration('3s4ms')",
            "self.a.getMinutes() == 62",
            "self.a.getMilliseconds() == 3723004",
            "type(self.a) == google.protobuf.Duration",
            "string(self.a) == '3723.004s'",
        ),
    ),
    (
        obj(a=DATE),
        {"a": "1997-07-16"},
        (
            "self.a == timestamp('1997-07-16T00:00:00.000Z')",
            "self.a.getDate() == 16",
            "self.a.getMonth() == 06",
            "type(self.a) == google.protobuf.Timestamp",
        ),
    ),
    (
        obj(a=DATE_TIME, b=STRING),
        {"a": "2011-08-18T19:03:37.010000000+01:00", "b": "2011-08-18T19:03:37.01+01:00"},
        (
            "self.a == timestamp('2011-08-18T00:00:00.000+01:00') + duration('19h3m37s10ms')",
            "self.a.getHours('01:00') == 19",
            "self.a.getHours('UTC') == 18",
            "self.a.getHours() == 18",
            "timestamp(self.b) == self.a",
            # A moment keeps the offset it was written with, and shows it.
            "string(self.a) == self.b",
            "string(self.a + duration('1s')) == '2011-08-18T19:03:38.01+01:00'",
        ),
    ),
    (
        obj(a=array(INTEGER), b=array(INTEGER)),
        {"a": [1, 2, 3], "b": [1, 2, 3]},
        ("1 in self.a", "self.a + self.b == [1, 2, 3, 1, 2, 3]", "self.a + [4, 5] == [1, 2, 3, 4, 5]"),
    ),
    (
        obj(a=array(STRING, "set"), b=array(STRING, "set")),
        {"a": ["a", "b", "c"], "b": ["a", "c", "b"]},
        (
            "self.a == ['c', 'b', 'a']",
            "self.a == self.b",
            "'a' in self.a",
            "!('x' in self.a)",
            "self.a + self.b == ['a', 'b', 'c']",
            "self.a + ['c', 'd'] == ['a', 'b', 'c', 'd']",
        ),
    ),
    (
        obj(objs=array(KEYED)),
        {
            "objs": [
                [{"k": "a", "v": "1"}, {"k": "b", "v": "2"}],
                [{"k": "b", "v": "2"}, {"k": "a", "v": "1"}],
                [{"k": "b", "v": "3"}, {"k": "a", "v": "1"}],
                [{"k": "c", "v": "4"}],
            ]
        },
        (
            "self.objs[0] == self.objs[1]",
            "self.objs[0] + self.objs[2] == self.objs[2]",
            "self.objs[2] + self.objs[0] == self.objs[0]",
            "self.objs[0] == [self.objs[0][1], self.objs[0][0]]",
            "self.objs[2] + [self.objs[0][0], self.objs[0][1]] == self.objs[0]",
            "size(self.objs[0] + [self.objs[3][0]]) == 3",
        ),
    ),
    (
        obj(a=obj(b=INTEGER, c=INTEGER, d=nullable(INTEGER)), a1=obj(b1=obj(c1=INTEGER), d2=obj(e2=INTEGER))),
        {"a": {"b": 1, "d": None}, "a1": {"b1": {"c1": 4}}},
        (
            "has(self.a.b)",
            "!has(self.a.c)",
            "!has(self.a.d)",
            "has(self.a1.b1.c1)",
            "!(has(self.a1.d2) && has(self.a1.d2.e2))",
        ),
    ),
    (
        obj(val=mapping(INTEGER)),
        {"val": {"b": 1, "d": 2}},
        (
            "!('a' in self.val)",
            "has(self.val.b)",
            "self.val.all(k, self.val[k] > 0)",
            "self.val.exists_one(k, self.val[k] == 2)",
            "self.val.map(k, self.val[k]).exists(v, v == 1)",
            "size(self.val.filter(k, self.val[k] > 1)) == 1",
        ),
    ),
    (
        obj(lm=KEYED),
        {"lm": [{"k": "a1", "v": "b1"}, {"k": "a2", "v": "b2"}, {"k": "a3", "v": "b3", "v2": "z"}]},
        (
            "self.lm.all(m, !has(m.v2) || m.v2 == 'z')",
            "self.lm.exists_one(m, m.k == 'a3')",
            "self.lm.map(m, has(m.v2) && m.v2 == 'z', m.v2).size() == 1",
            "self.lm.exists(m, m.v2 == 'z')",
            "!self.lm.all(m, m.v2 != 'z')",
        ),
    ),
    (
        obj(embedded={"type": "object", "x-kubernetes-embedded-resource": True}),
        {"embedded": POD},
        ("self.embedded.kind == 'Pod'", "self.embedded.metadata.generateName == 'pickItForMe'"),
    ),
    (
        obj(something=INT_OR_STRING),
        {"something": "25%"},
        (
            "self.something == '25%'",
            "self.something != 1",
            "self.something == 1 || self.something == '25%'",
            "type(self.something) == int ? self.something == 1 : self.something == '25%'",
            "self.something != ['anything']",
        ),
    ),
    (
        obj(min=INT_OR_STRING, current=INTEGER, available=INTEGER),
        {"min": "50%", "current": 5, "available": 10},
        (
            r"type(self.min) == string && self.min.matches(r'(\d+(\.\d+)?%)')",
            "type(self.min) == int ? self.current <= self.min : "
            "double(self.current) / double(self.available) >= double(self.min.replace('%', '')) / 100.0",
        ),
    ),
    (
        obj(l=array({"type": "object", **UNKNOWN}), f=array(obj(u=UNKNOWN))),
        {"l": [{"a": "1"}, {"a": "2"}, {"a": "2"}, {}, {}], "f": [{"u": "a"}, {"u": 1}, {"u": 1}]},
        (
            "self.l.size() == 5",
            "self.l[0] != self.l[1]",
            "self.l[1] == self.l[2]",
            "self.l[3] == self.l[4]",
            "self.f[0] != self.f[1]",
            "self.f[1] == self.f[2]",
        ),
    ),
    (
        obj(m=mapping(nullable(STRING)), l=array(nullable(STRING)), s=array(nullable(STRING), "set")),
        {"m": {"a": None, "b": "x"}, "l": [None, "x"], "s": [None, "x"]},
        (
            "'a' in self.m",
            "type(self.m['a']) == null_type",
            "type(self.l[0]) == null_type",
            "type(self.s[0]) == null_type",
        ),
    ),
    (
        obj(dict.fromkeys(RESERVED, INTEGER)),
        {name: number for number, name in enumerate(RESERVED)},
        tuple(f"self.__{name}__ == {number}" for number, name in enumerate(RESERVED)),
    ),
    (
        obj(
            {"dot.dot": INTEGER, "dash-dash": INTEGER, "slash/slash": INTEGER, "a__b": INTEGER},
            int=INTEGER,
            type=INTEGER,
            self=INTEGER,
            size=STRING,
            all=INTEGER,
        ),
        {
            "dot.dot": 1,
            "dash-dash": 2,
            "slash/slash": 3,
            "a__b": 4,
            "int": 5,
            "type": 6,
            "self": 7,
            "size": "8",
            "all": 9,
        },
        (
            "self.dot__dot__dot == 1",
            "self.dash__dash__dash == 2",
            "self.slash__slash__slash == 3",
            "self.a__underscores__b == 4",
            "self.int == 5 && self.type == 6 && self.self == 7 && self.size == '8' && self.all == 9",
        ),
    ),
    (
        obj(m=mapping(INTEGER)),
        {"m": {"@": 1, "9": 2, "./-": 4, "👑": 5}},
        ("self.m['@'] == 1", "self.m['9'] == 2", "self.m['./-'] == 4", "self.m['👑'] == 5"),
    ),
    (
        obj(o=array(array(obj({"k!": STRING, "k.": STRING}), "map", ("k!", "k.")))),
        {
            "o": [
                [{"k!": "a", "k.": "1"}, {"k!": "b", "k.": "2"}],
                [{"k!": "b", "k.": "2"}, {"k!": "a", "k.": "1"}],
                [{"k!": "b", "k.": "2"}, {"k!": "c", "k.": "1"}],
                [{"k!": "b", "k.": "2"}, {"k!": "a", "k.": "3"}],
            ]
        },
        (
            "self.o[0] == self.o[1]",
            "self.o[0][0].k__dot__ == '1'",
            "self.o[0] != self.o[2]",
            "self.o[0] != self.o[3]",
        ),
    ),
    (
        obj(i=array(INTEGER), d=array(NUMBER), t=array(DURATION), e=array(DURATION)),
        {"i": [1, 2, 2, 3], "d": [1, 2, 2, 3], "t": ["1s", "1m", "1m", "1h"], "e": []},
        (
            "self.i.sum() == 8",
            "self.d.sum() == 8.0",
            "self.d.indexOf(2.0) == 1",
            "self.t.sum() == duration('1h2m1s')",
            "self.t.lastIndexOf(duration('1m')) == 2",
            "self.e.sum() == duration('0')",
            "[{'a': 1}, {'b': 2}].lastIndexOf({'b': 2}) == 1",
            "dyn([]).sum() == 0",
            "dyn([1.0, 2.0]).sum() == 3.0",
        ),
    ),
)

# (schema, value, rule, what is wrong with it)
FAILING: tuple[tuple[Schema, Any, str, str], ...] = (
    (obj(a=INTEGER), {"a": 2**63 - 1}, "self.a + 1 == 0", "integer overflow"),
    (obj(a=STRING), {"a": "x"}, "self.a == null", "no matching overload for '_==_' applied to '(string, null)"),
    (obj(a=obj(b=INTEGER)), {"a": {}}, "has(self.a.z)", "undefined field 'z'"),
    (obj(a=obj(b=INTEGER)), {"a": {}}, "self.a['b'] == 1", "no matching overload for '_[_]'"),
    (obj(a=obj(b=obj(c=INTEGER))), {"a": {}}, "has(self.a.b.c)", "no such key: b"),
    (obj(a=mapping(INTEGER)), {"a": {}}, "self.a['c'] == 1", "no such key: c"),
    (obj(a=array(INTEGER)), {"a": []}, "self.a[100] == 0", "index out of bounds: 100"),
    (obj(a=KEYED), {"a": [{"k": "a"}, {"k": "b", "v2": "z"}]}, "self.a.all(m, m.v2 == 'z')", "no such key: v2"),
    (obj(a=KEYED), {"a": [{"k": "a"}, {"k": "b", "v2": "z"}]}, "self.a.exists_one(m, m.v2 == 'z')", "no such key: v2"),
    (obj(a=nullable(INT_OR_STRING)), {"a": None}, "type(self.a) == int", "no such key: a"),
    (obj(a=UNKNOWN), {"a": 1}, "has(self.a)", "undefined field 'a'"),
    (obj(a=mapping(UNKNOWN)), {"a": {}}, "has(self.a)", "undefined field 'a'"),
    (obj(a=obj(f1=STRING)), {"a": {"f1": "a"}}, "self.a == {'f1': 'a'}", "found no matching overload for '_==_'"),
    (obj(true=INTEGER), {"true": 1}, "self.true == 1", "Syntax error"),
    (obj(a=INTEGER), {"a": 1}, "self.__illegal__ == 301", "undefined field '__illegal__'"),
    (
        obj(a=STRING),
        {"a": "x"},
        "self.a.find(')') == ''",
        "program instantiation failed: error parsing regexp: unexpected ): `)`",
    ),
    (
        obj(a=STRING),
        {"a": "x"},
        "[[1], [2]].min() == [1]",
        "found no matching overload for 'min' applied to 'list(list(int)).()",
    ),
)


def holds(schema: Schema, value: Any, rule: str, *, is_resource: bool = False) -> object:
    found = declared(schema, "selfType", is_resource=is_resource)
    assert found is not None
    environment = kubernetes().extend(variables={"self": found.type})
    return environment.compile(rule).evaluate({"self": conversion(schema, is_resource=is_resource)(value)})


@pytest.mark.parametrize(
    ("schema", "value", "rule"), [(schema, value, rule) for schema, value, rules in HOLDING for rule in rules]
)
def test_rules_hold_for_the_data_they_describe(schema: Schema, value: Any, rule: str) -> None:
    assert holds(schema, value, rule) is True


@pytest.mark.parametrize(("schema", "value", "rule", "problem"), FAILING)
def test_rules_fail_in_the_words_of_upstream(schema: Schema, value: Any, rule: str, problem: str) -> None:
    with pytest.raises((CompileError, EvaluationError)) as failure:
        holds(schema, value, rule)
    assert problem in str(failure.value)


def test_every_resource_tells_its_name_and_no_more_of_its_metadata_than_its_schema() -> None:
    schema = obj(spec=obj(field1=STRING))
    assert holds(schema, POD, "self.kind == 'Pod' && self.metadata.name == 'foo'", is_resource=True) is True
    assert holds(schema, POD, "self.spec.field1 == 'a'", is_resource=True) is True
    with pytest.raises(CompileError, match="undefined field 'namespace'"):
        holds(schema, POD, "has(self.metadata.namespace)", is_resource=True)
