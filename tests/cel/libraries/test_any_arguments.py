"""Whatever a function of the libraries is called with, it answers, or fails as expressions do."""

from __future__ import annotations

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.cel.declarations import Overload
from keelback.cel.environment import Budget
from keelback.cel.errors import CompileError, EvaluationError
from keelback.cel.libraries import authorization, json_patches, kubernetes
from keelback.cel.types import Kind, Type

_ENVIRONMENT = kubernetes.kubernetes().extend(
    variables={"authorizer": authorization.AUTHORIZER}, libraries=(json_patches.LIBRARY,)
)
_ACTIVATION: Final = {
    "authorizer": authorization.AuthorizerValue(lambda check: authorization.Verdict(check.verb == "get"))
}
_LIMIT: Final = 10**9
_OVERLOADS: Final = [
    (function.name, overload)
    for library in (*kubernetes.LIBRARIES, json_patches.LIBRARY)
    for function in library.functions
    for overload in function.overloads
    if function.name[0].isalpha()
]

_STRINGS: Final = (
    *(
        '""',
        '"a"',
        '"é😀b"',
        '"\\u0000"',
        '"a,b"',
        '"%s %d"',
        '"%.3f"',
        '"%"',
        '"[["',
        '"(a|b)+"',
        '"1"',
        '"dns1123Label"',
    ),
    *(
        '"10.0.0.0/8"',
        '"::1"',
        '"fe80::1%eth0"',
        '"https://u:p@[::1]:80/a%20b?x=1&x=2#f"',
        '"1.2.3"',
        '"v1.2.3-rc.1+b"',
    ),
    *('"10Gi"', '"1e400"', '"-5m"', '"999999999999999999999Ei"', '"key in (a,b)"'),
)
_LITERALS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.BOOL: ("true", "false"),
    Kind.INT: ("0", "1", "-1", "9223372036854775807", "-9223372036854775808"),
    Kind.UINT: ("0u", "18446744073709551615u"),
    Kind.DOUBLE: ("-0.0", "1.5", 'double("NaN")', 'double("Infinity")', "-1e308", "1e-320"),
    Kind.STRING: _STRINGS,
    Kind.BYTES: ('b""', 'b"\\xff\\x00"'),
    Kind.NULL: ("null",),
    Kind.TIMESTAMP: ('timestamp("0001-01-01T00:00:00Z")', 'timestamp("9999-12-31T23:59:59Z")'),
    Kind.DURATION: ('duration("-315576000000s")', 'duration("0.000000001s")'),
    Kind.TYPE: ("int", "string"),
}
_OPAQUE: Final = {
    "net.IP": ('ip("1.2.3.4")', 'ip("fe80::1")'),
    "net.CIDR": ('cidr("10.1.1.1/8")', 'cidr("fd00::/8")'),
    "kubernetes.Quantity": ('quantity("1.5Gi")', 'quantity("-9223372036854775808")', 'quantity("1n")'),
    "kubernetes.Semver": ('semver("1.2.3")', 'semver("v1.0", true)'),
    "kubernetes.URL": ('url("https://a.b/c?d=e")', 'url("/x")'),
    "kubernetes.NamedFormat": ("format.dns1123Label()", 'format.named("date").value()'),
    "kubernetes.authorization.Authorizer": ("authorizer",),
    "kubernetes.authorization.PathCheck": ('authorizer.path("/x")',),
    "kubernetes.authorization.GroupCheck": ('authorizer.group("g")',),
    "kubernetes.authorization.ResourceCheck": ('authorizer.group("g").resource("r")',),
    "kubernetes.authorization.Decision": ('authorizer.path("/x").check("get")',),
}
_ANY_ELEMENTS: Final = (Kind.INT, Kind.STRING, Kind.DOUBLE, Kind.BOOL, Kind.TIMESTAMP, Kind.DURATION)


def arguments(type_: Type) -> st.SearchStrategy[str]:
    """Expressions of a type."""
    match type_.kind:
        case Kind.LIST if type_.parameters[0].kind in (Kind.DYN, Kind.PARAMETER):
            return st.sampled_from(_ANY_ELEMENTS).flatmap(lambda kind: lists(st.sampled_from(_LITERALS[kind])))
        case Kind.LIST:
            return lists(arguments(type_.parameters[0]))
        case Kind.DYN | Kind.PARAMETER:
            dynamic = [
                *(text for texts in (*_LITERALS.values(), *_OPAQUE.values()) for text in texts),
                "[dyn(1)]",
                '{"a": 1}',
            ]
            return st.sampled_from(dynamic).map(lambda text: f"dyn({text})")
        case kind if kind in _LITERALS:
            return st.sampled_from(_LITERALS[kind])
        case _:
            return st.sampled_from(_OPAQUE[type_.name])


def lists(elements: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(elements, max_size=3).map(lambda texts: f"[{', '.join(texts)}]")


def calls(name: str, overload: Overload) -> st.SearchStrategy[str]:
    def written(texts: tuple[str, ...]) -> str:
        return f"{texts[0]}.{name}({', '.join(texts[1:])})" if overload.is_member else f"{name}({', '.join(texts)})"

    def maybe_dynamic(text: str) -> st.SearchStrategy[str]:
        return st.sampled_from([text, text, f"dyn({text})"])

    return st.tuples(*(arguments(type_).flatmap(maybe_dynamic) for type_ in overload.arguments)).map(written)


@given(st.sampled_from(_OVERLOADS).flatmap(lambda found: calls(*found)))
@settings(max_examples=500)
def test_a_call_answers_or_fails_as_an_expression_does(text: str) -> None:
    try:
        program = _ENVIRONMENT.compile(text, expected=())
    except CompileError:
        return
    assert program.estimate_cost().least >= 0
    budget = Budget(_LIMIT)
    try:
        program.evaluate(_ACTIVATION, budget)
    except EvaluationError:
        return
    assert budget.remaining <= _LIMIT
