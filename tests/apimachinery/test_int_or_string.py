from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery import int_or_string
from keelback.apimachinery.int_or_string import IntOrStringError


def test_percentages_scale_and_numbers_stay() -> None:
    assert int_or_string.scaled_value("25%", 10, round_up=True) == 3
    assert int_or_string.scaled_value("25%", 10, round_up=False) == 2
    assert int_or_string.scaled_value(7, 10, round_up=True) == 7


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "nil value for IntOrString"),
        ("7", "invalid value for IntOrString: invalid type: string is not a percentage"),
        ("x%", 'invalid value for IntOrString: invalid value "x%": strconv.Atoi: parsing "x": invalid syntax'),
    ],
)
def test_errors(value: str | None, message: str) -> None:
    with pytest.raises(IntOrStringError) as caught:
        int_or_string.scaled_value(value, 1, round_up=True)
    assert str(caught.value) == message


@given(st.integers(0, 200), st.integers(0, 1000))
def test_rounding_up_is_at_most_one_more(percents: int, total: int) -> None:
    low = int_or_string.scaled_value(f"{percents}%", total, round_up=False)
    high = int_or_string.scaled_value(f"{percents}%", total, round_up=True)
    assert high - low in (0, 1)
    assert low * 100 <= percents * total <= high * 100
