from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keelback.apimachinery import quantity
from keelback.apimachinery.quantity import Format, Quantity, QuantityError

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "e3", "E2", "e-4", "e0"]
texts = st.builds(
    lambda sign, whole, fraction, suffix: f"{sign}{whole}{fraction}{suffix}",
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 10**7),
    st.one_of(st.just(""), st.just("."), st.integers(0, 10**7).map(lambda digits: f".{digits}")),
    st.sampled_from(SUFFIXES),
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("0.0Mi", "0"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.1Gi", "107374182400m"),
        ("0.5Ki", "512"),
        ("1000m", "1"),
        ("1100m", "1100m"),
        ("1.1", "1100m"),
        ("1000Ki", "1000Ki"),
        ("1000k", "1M"),
        ("1500k", "1500k"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e2", "1200"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("-2048Ki", "-2Mi"),
        ("1000E", "1000E"),
        ("100Ei", "9223372036854775807"),
        (".5", "500m"),
        ("+1", "1"),
        ("5.", "5"),
    ],
)
def test_canonical_form_is_the_one_kubernetes_answers(text: str, canonical: str) -> None:
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize("text", ["", "abc", "1x", "1 ", " 1", "1.2.3", "1Gib", "1e3x"])
def test_a_text_of_the_wrong_form_names_the_pattern(text: str) -> None:
    with pytest.raises(QuantityError, match="quantities must match the regular expression"):
        quantity.parse(text)


@pytest.mark.parametrize("text", ["--1", "1kk", "1iK", "1e", "1K", "1e+"])
def test_an_unknown_suffix_is_said_to_be_one(text: str) -> None:
    with pytest.raises(QuantityError, match="unable to parse quantity's suffix"):
        quantity.parse(text)


def test_a_hostile_exponent_costs_nothing() -> None:
    with pytest.raises(QuantityError):
        quantity.parse("1e999999999")
    assert quantity.parse("1e-99999999").nanos == 1


def test_value_and_milli_value_round_away_from_zero() -> None:
    assert quantity.value("1100m") == 2
    assert quantity.milli_value("1u") == 1
    assert quantity.milli_value("250m") == 250
    assert quantity.value("-1100m") == -2


def test_the_form_of_a_sum_is_the_first_ones_unless_that_is_zero() -> None:
    assert str(quantity.parse("1Gi") + quantity.parse("1G")) == "2073741824"
    assert str(quantity.ZERO + quantity.parse("1Gi")) == "1Gi"
    assert str(quantity.parse("1Gi") - quantity.parse("512Mi")) == "512Mi"


def test_rounding_up_to_milli() -> None:
    assert str(quantity.parse("1001u").rounded_up(-3)) == "2m"


@given(texts)
def test_canonical_form_is_a_fixed_point_of_the_same_amount(text: str) -> None:
    canonical = quantity.canonical(text)
    assert quantity.canonical(canonical) == canonical
    assert quantity.compare(text, canonical) == 0


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.sampled_from(["m", "", "k", "Ki", "Mi"]))
def test_order_is_the_order_of_the_numbers(left: int, right: int, suffix: str) -> None:
    assert quantity.compare(f"{left}{suffix}", f"{right}{suffix}") == (left > right) - (left < right)


@given(texts, texts)
def test_addition_is_exact_and_survives_its_text(left: str, right: str) -> None:
    first, second = quantity.parse(left), quantity.parse(right)
    total = first + second
    assert total.nanos == first.nanos + second.nanos
    assert total - second == first
    # A text with a binary suffix is capped when it is read, as upstream caps it.
    if total.format is not Format.BINARY_SI or abs(total.value) < 2**63:
        assert quantity.parse(str(total)) == total


@given(st.integers(), st.sampled_from(list(Format)))
def test_every_amount_survives_its_text(nanos: int, form: Format) -> None:
    if form is Format.BINARY_SI and abs(nanos) > (2**63 - 1) * 10**9:
        return
    assert quantity.parse(str(Quantity(nanos, form))).nanos == nanos
