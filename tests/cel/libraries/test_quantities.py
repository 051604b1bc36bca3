"""Resource quantities in expressions: compared, added, turned into numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keelback.cel.estimates import Estimate
from keelback.cel.values import Value

Evaluate = Callable[..., Value]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("isQuantity('20')", True),
        ("isQuantity('20M')", True),
        ("isQuantity('1.3Gi')", True),
        ("isQuantity('1,3G')", False),
        ("isQuantity('200K')", False),
        ("isQuantity('10Mm')", False),
        ("quantity('200M') == quantity('0.2G')", True),
        ("quantity('200M') == quantity('0.3G')", False),
        ("quantity('50M').isLessThan(quantity('50Mi'))", True),
        ("quantity('50M').isGreaterThan(quantity('100M'))", False),
        ("quantity('200M').compareTo(quantity('0.2G'))", 0),
        ("quantity('50M').compareTo(quantity('50Mi'))", -1),
        ("quantity('50Mi').compareTo(quantity('50M'))", 1),
        ("quantity('50k').add(quantity('20')) == quantity('50.02k')", True),
        ("quantity('50k').sub(20) == quantity('49980')", True),
        ("quantity('50k').add(20).sub(quantity('100k')).sub(-50000).asInteger()", 20),
        ("sign(quantity('-1m'))", -1),
        ("sign(quantity('0'))", 0),
        ("quantity('50k').asInteger()", 50000),
        ("quantity('1.5k').asInteger()", 1500),
        ("quantity('1Gi').asInteger()", 1 << 30),
        ("quantity('50').isInteger()", True),
        ("quantity('9999999999999999999999999999999999999G').isInteger()", False),
        # Upstream does not reduce what it read: a thousand thousandths are no whole number to it.
        ("quantity('1000m').isInteger()", False),
        ("quantity('500m').add(quantity('500m')).isInteger()", False),
        # Beyond what it guesses to fit an int64 it holds a decimal.
        ("quantity('1Pi').isInteger()", False),
        ("quantity('50.703k').asApproximateFloat()", 50703.0),
        ("quantity('500m').asApproximateFloat()", 0.5),
        ("quantity('1e300').asApproximateFloat() > 1e299", True),
    ],
)
def test_quantities_are_amounts(evaluate: Evaluate, expression: str, value: Value) -> None:
    assert evaluate(expression) == value


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("quantity('10Mm')", "unable to parse quantity's suffix"),
        (
            "quantity('10Mo')",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("quantity('9999999999999999999999999999999999999G').asInteger()", "cannot convert value to integer"),
        ("quantity('1m').asInteger()", "cannot convert value to integer"),
    ],
)
def test_what_is_no_amount_or_no_number_fails(fail: Callable[[str], str], expression: str, message: str) -> None:
    assert fail(expression) == message


@pytest.mark.parametrize(
    ("expression", "estimate", "cost"),
    [
        ('quantity("12Mi")', (1, 1), 1),
        ('quantity("200M") == quantity("200M")', (3, 3), 3),
        ('quantity("200M") == quantity("0.2G") && quantity("0.2G") == quantity("200M")', (3, 6), 6),
        ('quantity("50M").isLessThan(quantity("50Mi"))', (3, 3), 3),
        ('quantity("50k").add(quantity("20")) == quantity("50.02k")', (5, 5), 5),
        ('quantity("50k").add(20).sub(quantity("100k")).sub(-50000).asInteger() > 0', (7, 7), 7),
        ('quantity("50").isInteger()', (2, 2), 2),
    ],
)
def test_costs_are_those_of_reading(
    costs_of: Callable[..., tuple[Estimate, int]], expression: str, estimate: tuple[int, int], cost: int
) -> None:
    assert costs_of(expression) == (Estimate(*estimate), cost)
