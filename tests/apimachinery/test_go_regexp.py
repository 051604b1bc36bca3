"""Users' regular expressions mean what they mean in Go, and cannot be made to take long."""

from __future__ import annotations

import pytest

from keelback.apimachinery import go_regexp


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("^a+$", "aaa", True),
        ("a$", "a\n", False),
        (r"a\z", "a", True),
        (r"a\z", "a\n", False),
        ("(?m)a$", "a\nb", True),
        ("(?P<name>a)", "a", True),
        ("(?<name>a)", "a", True),
        ("^[[:alpha:]]+$", "abc", True),
        ("^[[:alpha:]]+$", "ab1", False),
        (r"^\pL+$", "äé", True),
        (r"^\d+$", "\u0663", False),  # an Arabic digit: Perl classes are ASCII
        (r"^\Qa.b\E$", "a.b", True),
        ("b", "abc", True),
        ("(?U)^a+?$", "aa", True),
    ],
)
def test_a_pattern_means_what_it_means_in_go(pattern: str, text: str, matches: bool) -> None:
    assert (go_regexp.compiled(pattern).search(text) is not None) is matches


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
        ("x(?!a)", "invalid or unsupported Perl syntax: `(?!`"),
        ("(?<!a)b", "invalid named capture: `(?<!a)b`"),
        (r"(a)\1", r"invalid escape sequence: `\1`"),
        (r"\C", r"invalid escape sequence: `\C`"),
        ("[a", "missing closing ]: `[a`"),
        ("(a", "missing closing ): `(a`"),
        ("a)", "unexpected ): `a)`"),
        ("+", "missing argument to repetition operator: `+`"),
        ("a**", "invalid nested repetition operator: `**`"),
        ("a{1001}", "invalid repeat count: `{1001}`"),
        ("[b-a]", "invalid character class range: `b-a`"),
        ("(?P<n!>a)", "invalid named capture: `(?P<n!>`"),
        ("a\\", "trailing backslash at end of expression: ``"),
    ],
)
def test_a_pattern_that_go_refuses_is_refused_in_its_words(pattern: str, problem: str) -> None:
    with pytest.raises(go_regexp.RegexpError) as refused:
        go_regexp.compiled(pattern)
    assert str(refused.value) == f"error parsing regexp: {problem}"


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "^(a?){50}a{50}$", "(.*)*b$"])
def test_no_pattern_takes_exponential_time(pattern: str) -> None:
    # A backtracking engine would not come back from these before the test's timeout.
    assert go_regexp.compiled(pattern).search("a" * 10_000 + "!") is None
