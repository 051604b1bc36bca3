"""JSON that Go takes and Python does not, and JSON that goes too deep."""

from __future__ import annotations

import pytest

from keelback.apimachinery import codecs, go_numbers, json_text


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (rb'{"a": "\ud800"}', {"a": "\ufffd"}),
        (rb'{"a": "\udc00\ud800x"}', {"a": "\ufffd\ufffdx"}),
        (rb'{"a": "\ud83d\ude00"}', {"a": "\U0001f600"}),
        (rb'{"a": "\\ud800"}', {"a": r"\ud800"}),
        (rb'{"\ud800": "\u0000"}', {"\ufffd": "\0"}),
    ],
)
def test_what_is_no_text_is_replaced_as_go_replaces_it(text: bytes, tree: object) -> None:
    assert codecs.loads(text) == tree


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 200 + b"]" * 200,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b'{"a": "' + b"[" * 1000 + b'\\"{{{{"}',
        b"[" + b"[{}]," * 1000 + b"1]",
    ],
)
def test_what_is_not_deep_is_taken(text: bytes) -> None:
    codecs.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 201 + b"]" * 201,
        b'{"a":' * 130 + b"[" * 130 + b"]" * 130 + b"}" * 130,
        b"[" * 100_000,
        b'{"a": [' * 1_000_000,
        b'"x", [' * 201 + b"]" * 201,
    ],
)
def test_what_is_too_deep_is_refused_in_gos_words(text: bytes) -> None:
    with pytest.raises(codecs.DecodeError, match="exceeded max depth"):
        codecs.loads(text)
    with pytest.raises(json_text.TooDeep):
        json_text.as_go_reads(text)


@pytest.mark.parametrize("text", ["abc", "", "-1", "1.0", "1_0", " 1", "\u00b2", "\u0663", "0x1"])
def test_a_number_of_other_signs_is_bad_syntax(text: str) -> None:
    with pytest.raises(ValueError, match=f'strconv.ParseUint: parsing "{text}": invalid syntax'):
        go_numbers.parse_uint(text)


@pytest.mark.parametrize("text", ["9223372036854775808", "-9223372036854775809", "9" * 5000])
def test_a_number_of_more_than_64_bits_is_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match="value out of range"):
        go_numbers.parse_int(text)


def test_numbers_are_read_as_go_reads_them() -> None:
    assert [go_numbers.parse_int(one) for one in ("0", "-0", "+5", "-7", "007", str(2**63 - 1))] == [
        0,
        0,
        5,
        -7,
        7,
        2**63 - 1,
    ]
    assert go_numbers.parse_uint(str(2**64 - 1)) == 2**64 - 1


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    with pytest.raises(codecs.DecodeError, match="cannot unmarshal number"):
        codecs.loads(b"9" * 5000)
