"""Stages' queries find in objects what jq does, and refuse what they do not know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.simulation import stage_queries
from keelback.simulation.stage_queries import QueryError

POD = {
    "metadata": {
        "name": "web",
        "annotations": {"x.example/delay": "5s"},
        "ownerReferences": [{"kind": "Job"}, {"kind": "Other"}],
    },
    "spec": {"containers": [{"name": "a", "ports": [1, 2]}, {"name": "b"}]},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other"}]},
}


def found(query, tree=POD):
    return stage_queries.parse(query).values(tree)


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (".", [POD]),
        (".metadata.name", ["web"]),
        (".metadata.nothing", [None]),
        (".metadata.nothing.more", [None]),
        ('.metadata.annotations["x.example/delay"]', ["5s"]),
        ('.metadata.annotations."x.example/delay"', ["5s"]),
        (".metadata.ownerReferences.[].kind", ["Job", "Other"]),
        (".metadata.ownerReferences[].kind", ["Job", "Other"]),
        (".spec.containers[0].name, .spec.containers[-1].name", ["a", "b"]),
        (".spec.containers[7]", [None]),
        ('.status.conditions.[] | select( .type == "Ready" ) | .status', ["True"]),
        ('.status.conditions.[] | select( .type == "Absent" ) | .status', []),
        (".status.nothing // .status.phase", ["Running"]),
        (".status.phase // 1", ["Running"]),
        ('.metadata.name == "web" and (.spec.containers | length) > 1', [True]),
        ("false or null", [False]),
        (".spec.containers | map(.name) | any(. == $$)".replace("$$", '"b"'), [True]),
        ('.metadata | has("name"), has("other")', [True, False]),
        (".status.phase | not", [False]),
        ("first(.spec.containers[]) | .name", ["a"]),
        ('"12" | tonumber', [12]),
        (".spec.containers[0].ports | tostring", ["[1,2]"]),
        ('.status.phase | startswith("Run")', [True]),
    ],
)
def test_what_a_query_finds(query, values):
    assert found(query) == values


def test_a_query_that_fails_finds_nothing():
    assert found(".metadata.name.first") == []
    assert found(".status.nothing.[]") == []
    assert found(".metadata.name[]?, 1") == [1]


@pytest.mark.parametrize(
    "query", ["", ".a |", ".a[", "select(.a)) ", ".a + 1", "now", ".a as $x | $x", "select", "reduce", "'a'", "not(.a)"]
)
def test_what_is_not_known_is_refused(query):
    with pytest.raises(QueryError):
        stage_queries.parse(query)


@given(st.dictionaries(st.text(alphabet="abc", min_size=1), st.integers() | st.text() | st.none()))
def test_what_an_object_has_is_found(tree):
    assert found(".[]", tree) == list(tree.values())
    for key, value in tree.items():
        assert found(f'.["{key}"], .{key}', tree) == [value, value]
        assert found(f'has("{key}")', tree) == [True]


@given(st.text(alphabet='.[]()|,"=ab1 /?<not', max_size=20))
def test_a_text_is_read_or_refused(text):
    try:
        query = stage_queries.parse(text)
    except QueryError:
        return
    query.values(POD)
