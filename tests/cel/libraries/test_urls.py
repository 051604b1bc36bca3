"""URLs in expressions: what is one, and its parts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.values import Value

Evaluate = Callable[..., Value]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("isURL('https://user:pass@example.com:80/path?query=val#fragment')", True),
        ("isURL('/absolute-path')", True),
        ("isURL('https://a:b:c/')", False),
        ("isURL('../relative-path')", False),
        ("url('/path').getScheme()", ""),
        ("url('https://example.com/').getScheme()", "https"),
        ("url('https://[::1]:80/').getHost()", "[::1]:80"),
        ("url('https://[::1]:80/').getHostname()", "::1"),
        ("url('https://example.com:80/').getPort()", "80"),
        ("url('https://example.com/path with spaces/').getEscapedPath()", "/path%20with%20spaces/"),
        ("url('https://example.com/path?k1=a&k2=b&k2=c').getQuery()", {"k1": ["a"], "k2": ["b", "c"]}),
        ("url('https://example.com/path?').getQuery()", {}),
        ("url('https://example.com/a') == url('https://example.com/a')", True),
        ("url('https://example.com/a') == url('https://example.com/b')", False),
    ],
)
def test_urls_fall_into_their_parts(evaluate: Evaluate, expression: str, value: Value) -> None:
    assert evaluate(expression) == value


def test_what_is_no_url_fails(fail: Callable[[str], str]) -> None:
    assert fail("url('../relative-path')") == (
        'URL parse error during conversion from string: parse "../relative-path": invalid URI for request'
    )
