from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery import labels
from keelback.apimachinery.labels import LabelSelectorError, Requirement, Selector
from keelback.apimachinery.meta import LabelSelector, LabelSelectorRequirement

keys = st.sampled_from(["app", "tier", "example.com/zone", "in", "notin"])
values = st.sampled_from(["web", "db", "a.b-c_d", "5", ""])
maps = st.dictionaries(keys, values)


@st.composite
def requirements(draw: st.DrawFn) -> Requirement:
    operator = draw(st.sampled_from(["in", "notin", "=", "==", "!=", "exists", "!", "gt", "lt"]))
    some = draw(st.sets(values, min_size=1).filter(lambda chosen: chosen != {""}))
    wanted: tuple[str, ...] = tuple(sorted(some))
    if operator in ("exists", "!"):
        wanted = ()
    elif operator in ("gt", "lt"):
        wanted = (str(draw(st.integers(0, 9))),)
    elif operator not in ("in", "notin"):
        wanted = wanted[:1]
    return Requirement(draw(keys), operator, wanted)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        ("a=b", "a=b"),
        ("a==b", "a==b"),
        ("b , a", "a,b"),
        ("a in (c, b,b)", "a in (b,c)"),
        ("a notin (b)", "a notin (b)"),
        ("!a", "!a"),
        ("a>1,b<2", "a>1,b<2"),
        ("a=", "a="),
        ("a in (,b)", "a in (,b)"),
        ("in in (in)", "in in (in)"),
        ("a=b,", ""),
    ],
)
def test_the_query_syntax(text: str, canonical: str) -> None:
    if text.endswith(","):
        with pytest.raises(LabelSelectorError, match="found '', expected: identifier after ','"):
            labels.parse(text)
    else:
        assert str(labels.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x===y", "unable to parse requirement: found '=', expected: identifier"),
        ("x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt"),
        ("x in y", "unable to parse requirement: found 'y' expected: '('"),
        (
            "x in ()",
            "unable to parse requirement: values: Invalid value: []: "
            "for 'in', 'notin' operators, values set can't be empty",
        ),
        ("x in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
        (
            "x>y",
            'unable to parse requirement: values[0]: Invalid value: "y": '
            "for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (",x", "found ',', expected: !, identifier, or 'end of string'"),
        ("x=y z", "found 'z', expected: ',' or 'end of string'"),
        ("!=x", "found '!=', expected: !, identifier, or 'end of string'"),
    ],
)
def test_errors_are_those_of_the_upstream_parser(text: str, message: str) -> None:
    with pytest.raises(LabelSelectorError) as caught:
        labels.parse(text)
    assert str(caught.value) == message


def test_a_bad_key_and_a_bad_value_say_what_is_wrong() -> None:
    with pytest.raises(
        LabelSelectorError, match=r'^unable to parse requirement: <nil>: Invalid value: "a/b/c": a qual'
    ):
        labels.parse("a/b/c=d")
    with pytest.raises(
        LabelSelectorError, match=r"^unable to parse requirement: values\[0\]\[a\]: Invalid value: \"-\": a"
    ):
        labels.parse("a=-")


def test_matching() -> None:
    web = {"app": "web", "generation": "5"}
    for text in ("app=web", "app in (web,db)", "app", "!tier", "tier!=x", "tier notin (x)", "generation>4", ""):
        assert labels.parse(text).matches(web), text
    for text in ("app=db", "tier", "!app", "app!=web", "generation<5", "app>1", "tier>1"):
        assert not labels.parse(text).matches(web), text


def test_an_absent_label_selector_selects_nothing_and_an_empty_one_everything() -> None:
    assert not labels.from_label_selector(None).matches({})
    assert labels.from_label_selector(LabelSelector()).is_everything


def test_a_label_selector_object() -> None:
    selector = labels.from_label_selector(
        LabelSelector(
            match_labels={"app": "web"},
            match_expressions=(
                LabelSelectorRequirement(key="tier", operator="In", values=("front", "back")),
                LabelSelectorRequirement(key="old", operator="DoesNotExist"),
            ),
        )
    )
    assert str(selector) == "app=web,!old,tier in (back,front)"
    assert selector.exact("app") == "web"
    assert selector.exact("tier") is None


@dataclass(frozen=True)
class Plain:
    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()
    match_labels: dict[str, str] = field(default_factory=dict)
    match_expressions: tuple[Plain, ...] = ()


def test_an_unknown_operator_is_named() -> None:
    with pytest.raises(LabelSelectorError, match=r'^"Near" is not a valid label selector operator$'):
        labels.from_label_selector(Plain(match_expressions=(Plain(key="a", operator="Near"),)))


@given(st.lists(requirements()), maps)
def test_a_selector_survives_its_text(terms: list[Requirement], some: dict[str, str]) -> None:
    selector = Selector(tuple(sorted(terms, key=lambda term: term.key)))
    again = labels.parse(str(selector))
    assert again == selector
    assert again.matches(some) == selector.matches(some)


@given(maps)
def test_a_set_selects_itself(some: dict[str, str]) -> None:
    assert labels.from_set(some).matches(some)


def test_a_selector_is_printed_as_go_prints_it() -> None:
    assert labels.go_printed(None) == "nil"
    selector = LabelSelector(
        match_labels={"a": "b"},
        match_expressions=(LabelSelectorRequirement(key="c", operator="In", values=("d", "e")),),
    )
    assert labels.go_printed(selector) == (
        "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{"
        "LabelSelectorRequirement{Key:c,Operator:In,Values:[d e],},},}"
    )
