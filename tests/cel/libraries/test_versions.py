"""Semantic versions in expressions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.estimates import Estimate
from keelback.cel.values import Value

Evaluate = Callable[..., Value]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("isSemver('1.0.0')", True),
        ("isSemver('hello')", False),
        ("isSemver('v1.0')", False),
        ("isSemver('v1.0', true)", True),
        ("isSemver('01.01.01', true)", True),
        ("semver('1.2.3').major()", 1),
        ("semver('1.2.3').minor()", 2),
        ("semver('v1.2', true).patch()", 0),
        ("semver('1.2.3').compareTo(semver('1.2.3'))", 0),
        ("semver('1.2.3').compareTo(semver('2.0.0'))", -1),
        ("semver('1.2.3').isGreaterThan(semver('1.2.3-rc.1'))", True),
        ("semver('1.0.0').isLessThan(semver('1.1.0'))", True),
        ("semver('1.2.3+a') == semver('1.2.3+b')", True),
    ],
)
def test_versions_are_ordered(evaluate: Evaluate, expression: str, value: Value) -> None:
    assert evaluate(expression) == value


def test_what_is_no_version_fails(fail: Callable[[str], str]) -> None:
    assert fail("semver('Three')") == "No Major.Minor.Patch elements found"
    assert fail("semver('1.0-a', true)") == "short version cannot contain PreRelease/Build meta data"


@pytest.mark.parametrize(
    ("expression", "cost"),
    [
        ('semver("1.0.0")', 1),
        ('semver("1234.56789012345.67890123456789")', 4),
        ('isSemver("1234.56789012345.67890123456789")', 4),
        ('semver("1.2.3").major()', 2),
        ('semver("1.0.0").isLessThan(semver("1.1.0"))', 3),
    ],
)
def test_costs_are_those_of_reading(costs_of: Callable[..., tuple[Estimate, int]], expression: str, cost: int) -> None:
    assert costs_of(expression) == (Estimate(cost, cost), cost)
