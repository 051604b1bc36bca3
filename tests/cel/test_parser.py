"""The parser: that trees survive being written and read again, and what it says of what is no expression."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.cel import literals, parser
from keelback.cel.environment import Environment
from keelback.cel.errors import CompileError
from keelback.cel.macros import BINDINGS
from keelback.cel.source import Source
from keelback.cel.syntax import (
    Call,
    Comprehension,
    Expression,
    Identifier,
    ListLiteral,
    Literal,
    MapLiteral,
    ObjectLiteral,
    Select,
)
from keelback.cel.values import UInt

_OPERANDS = (
    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
)
SYNTAX = {
    "": [f"1:1: Syntax error: mismatched input '<EOF>' expecting {_OPERANDS}"],
    "1 +": [f"1:4: Syntax error: mismatched input '<EOF>' expecting {_OPERANDS}"],
    "*@a | b": [
        f"1:1: Syntax error: extraneous input '*' expecting {_OPERANDS}",
        "1:2: Syntax error: token recognition error at: '@'",
        "1:5: Syntax error: token recognition error at: '| '",
        "1:7: Syntax error: extraneous input 'b' expecting <EOF>",
    ],
    "a | b": [
        "1:3: Syntax error: token recognition error at: '| '",
        "1:5: Syntax error: extraneous input 'b' expecting <EOF>",
    ],
    "-": [
        "1:2: Syntax error: no viable alternative at input '-'",
        f"1:2: Syntax error: mismatched input '<EOF>' expecting {_OPERANDS}",
    ],
    "request.user = 'test'": [
        "1:14: Syntax error: token recognition error at: '= '",
        "1:16: Syntax error: extraneous input ''test'' expecting <EOF>",
    ],
    "'^[^\\S]'": [
        "1:1: Syntax error: token recognition error at: ''^[^\\S'",
        f"1:7: Syntax error: mismatched input ']' expecting {_OPERANDS}",
        "1:8: Syntax error: token recognition error at: '''",
    ],
    "f(missing])": ["1:10: Syntax error: extraneous input ']' expecting ')'"],
    "(1": ["1:3: Syntax error: missing ')' at '<EOF>'"],
    "Object{": ["1:8: Syntax error: mismatched input '<EOF>' expecting {'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}"],
    "{1:305 2:569}": ["1:8: Syntax error: mismatched input '2' expecting {'}', ','}"],
    "{": [
        "1:2: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '}', '(', '.', ',', '-', '!', '?', 'true', "
        "'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}"
    ],
    "a.in": [
        "1:3: Syntax error: no viable alternative at input '.in'",
        f"1:5: Syntax error: mismatched input '<EOF>' expecting {_OPERANDS}",
    ],
    "0xFFFFFFFFFFFFFFFFF": ["1:1: invalid int literal"],
    "0xFFFFFFFFFFFFFFFFFu": ["1:1: invalid uint literal"],
    "1.99e90000009": ["1:1: invalid double literal"],
    "[1].map(var, var)": ["1:9: reserved identifier: var", "1:14: reserved identifier: var"],
    "1.all(2, 3)": ["1:7: argument must be a simple name"],
    "x.filter(1, true)": ["1:10: argument is not an identifier"],
    "x.map(a.b, 1)": ["1:8: argument is not an identifier"],
    "x.all(i, i, true)": ["1:10: duplicate variable name: i"],
    "has(m)": ["1:5: invalid argument to has() macro"],
    "cel.bind(1, 2, 3)": ["1:10: cel.bind() variable names must be simple identifiers"],
    "'\\ud800'": ["1:1: invalid unicode code point"],
    "9" * 5000: ["1:1: invalid int literal"],
}


@pytest.mark.parametrize(("text", "expected"), SYNTAX.items(), ids=[text[:30] for text in SYNTAX])
def test_what_is_no_expression_is_told_in_cel_gos_words(text: str, expected: list[str]) -> None:
    with pytest.raises(CompileError) as failed:
        Environment(libraries=[BINDINGS]).compile(text)

    assert [str(issue).partition("\n")[0] for issue in failed.value.issues] == [f"ERROR: <input>:{e}" for e in expected]


def test_an_issue_shows_its_line_and_a_caret_below() -> None:
    with pytest.raises(CompileError) as failed:
        Environment().compile("1 +\n\t'añ' + $")

    assert str(failed.value).startswith(
        "ERROR: <input>:2:9: Syntax error: token recognition error at: '$'\n |  'añ' + $\n | ...\uff0e....^\nERROR: "
    )


@pytest.mark.parametrize("nested", ["{0}1{1}", "{0}-1{1}", "{0}!true{1}"])
def test_two_hundred_parentheses_are_read_and_a_thousand_refused(nested: str) -> None:
    Environment().compile(nested.format("(" * 200, ")" * 200), expected=())

    with pytest.raises(CompileError, match="expression recursion limit exceeded: 250"):
        Environment().compile(nested.format("(" * 1000, ")" * 1000))


@pytest.mark.parametrize(
    "text",
    ["+".join(["1"] * 5000), "a" + ".b" * 5000, "[" * 5000, "!" * 5000 + "true", "-" * 4999 + "x"],
)
def test_length_alone_never_breaks_the_compiler(text: str) -> None:
    try:
        Environment().compile(text, expected=())
    except CompileError as error:
        assert error.issues  # noqa: PT017


def test_what_compiles_can_also_be_evaluated() -> None:
    for terms in (200, 250, 300):
        try:
            program = Environment().compile(" + ".join(["1"] * terms), expected=())
        except CompileError as error:
            assert "expression recursion limit exceeded: 250" in str(error)  # noqa: PT017
        else:
            assert program.evaluate({}) == terms
            assert program.estimate_cost().most == terms - 1


def test_an_expression_has_at_most_a_hundred_thousand_characters() -> None:
    with pytest.raises(CompileError) as failed:
        Environment().compile("1" + " " * 100_000)

    assert str(failed.value) == (
        "ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100001, limit 100000"
    )


NAMES = st.sampled_from(["a", "b", "self", "x1", "_y", "size"])
BINARY = ["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "in", "&&", "||"]
_OPERATORS = {f"_{operator}_": operator for operator in BINARY} | {"@in": "in"}
LITERALS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**64 - 1).map(UInt),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
).map(lambda value: ("literal", type(value).__name__, value))
Tree = tuple[Any, ...]


def _nested(tree: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.one_of(
        st.tuples(st.just("select"), tree, NAMES),
        st.tuples(st.just("optional"), tree, NAMES),
        st.tuples(st.just("index"), tree, tree),
        st.tuples(st.just("binary"), st.sampled_from(BINARY), tree, tree),
        st.tuples(st.just("not"), tree),
        st.tuples(st.just("choice"), tree, tree, tree),
        st.tuples(st.just("call"), NAMES, st.lists(tree, max_size=3).map(tuple)),
        st.tuples(st.just("method"), tree, NAMES, st.lists(tree, max_size=3).map(tuple)),
        st.tuples(st.just("list"), st.lists(tree, max_size=3).map(tuple)),
        st.tuples(st.just("map"), st.lists(st.tuples(tree, tree), max_size=3).map(tuple)),
    )


TREES: st.SearchStrategy[Tree] = st.recursive(
    st.one_of(LITERALS, NAMES.map(lambda name: ("name", name))), _nested, max_leaves=12
)


def written(tree: Tree) -> str:
    """An expression that denotes the tree, with parentheses wherever there could be a doubt."""
    match tree:
        case ("literal", _, None):
            return "null"
        case ("literal", _, bool(value)):
            return "true" if value else "false"
        case ("literal", "UInt", value):
            return f"{int(value)}u"
        case ("literal", "float", value):
            text = repr(value)
            return text if "." in text or "e" in text else f"{text}.0"
        case ("literal", _, str(value)):
            return literals.quote(value)
        case ("literal", _, bytes(value)):
            return literals.quote_bytes(value)
        case ("literal", _, value):
            return str(value)
        case ("name", name):
            return str(name)
        case ("select", operand, name):
            return f"({written(operand)}).{name}"
        case ("optional", operand, name):
            return f"({written(operand)}).?{name}"
        case ("index", operand, key):
            return f"({written(operand)})[{written(key)}]"
        case ("binary", operator, left, right):
            return f"({written(left)}) {operator} ({written(right)})"
        case ("not", operand):
            return f"!({written(operand)})"
        case ("choice", condition, first, second):
            return f"({written(condition)}) ? ({written(first)}) : ({written(second)})"
        case ("call", name, arguments):
            return f"{name}({', '.join(map(written, arguments))})"
        case ("method", operand, name, arguments):
            return f"({written(operand)}).{name}({', '.join(map(written, arguments))})"
        case ("list", elements):
            return f"[{', '.join(map(written, elements))}]"
        case ("map", entries):
            return "{" + ", ".join(f"{written(key)}: {written(value)}" for key, value in entries) + "}"
    raise AssertionError(tree)


def read(node: Expression) -> Tree:
    """The tree again."""
    match node:
        case Literal(value=value):
            return ("literal", type(value).__name__, value)
        case Identifier(name=name):
            return ("name", name)
        case Select(operand=operand, field=name):
            return ("select", read(operand), name)
        case ListLiteral(elements=elements):
            return ("list", tuple(map(read, elements)))
        case MapLiteral(entries=entries):
            return ("map", tuple((read(entry.key), read(entry.value)) for entry in entries))  # type: ignore[arg-type]
        case Call(function="_[_]", arguments=(operand, key)):
            return ("index", read(operand), read(key))
        case Call(function="_?._", arguments=(operand, Literal(value=name))):
            return ("optional", read(operand), name)
        case Call(function="!_" | "-_" as function, arguments=(operand,)):
            return ("not" if function == "!_" else "minus", read(operand))
        case Call(function="_?_:_", arguments=arguments):
            return ("choice", *map(read, arguments))
        case Call(function=function, target=None, arguments=(left, right)) if function in _OPERATORS:
            return ("binary", _OPERATORS[function], read(left), read(right))
        case Call(function=function, target=None, arguments=arguments):
            return ("call", function, tuple(map(read, arguments)))
        case Call(function=function, target=target, arguments=arguments):
            assert target is not None
            return ("method", read(target), function, tuple(map(read, arguments)))
        case ObjectLiteral() | Comprehension():
            raise AssertionError(node)


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_a_tree_that_is_written_and_read_is_the_same(tree: Tree) -> None:
    assert read(parser.parse(Source(written(tree)), {})) == tree


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a * b + c", "(a * b) + c"),
        ("a - b - c", "(a - b) - c"),
        ("a < b == c", "(a < b) == c"),
        ("a == b && c || a", "((a == b) && c) || a"),
        ("a || b && c", "a || (b && c)"),
        ("a ? b : c ? a : b", "a ? b : (c ? a : b)"),
        ("!a.b", "!(a.b)"),
        ("-a[0]", "-(a[0])"),
        ("a && b && c && d", "(a && b) && (c && d)"),
        ("a in b + c", "a in (b + c)"),
        ("-1 - -1", "(-1) - (-1)"),
        ("!!!a", "!a"),
    ],
)
def test_operators_bind_as_the_grammar_says(text: str, same: str) -> None:
    assert read(parser.parse(Source(text), {})) == read(parser.parse(Source(same), {}))
