"""What Go's scanner says of broken JSON; the words were taken from Go's own tests and scanner."""

from __future__ import annotations

import json
import random

import pytest

from keelback.apimachinery import json_syntax, json_trees


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "unexpected end of JSON input"),
        (" \n", "unexpected end of JSON input"),
        ('{"a": ', "unexpected end of JSON input"),
        ('{"a', "unexpected end of JSON input"),
        ("tru", "unexpected end of JSON input"),
        ("-", "unexpected end of JSON input"),
        ("not json", "invalid character 'o' in literal null (expecting 'u')"),
        ("trux", "invalid character 'x' in literal true (expecting 'e')"),
        ("falsE", "invalid character 'E' in literal false (expecting 'e')"),
        ("kind: Pod", "invalid character 'k' looking for beginning of value"),
        ("'a'", "invalid character '\\'' looking for beginning of value"),
        ("{a: 1}", "invalid character 'a' looking for beginning of object key string"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a": 1 "b": 2}', "invalid character '\"' after object key:value pair"),
        ('{"a": 1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a": [1 2]}', "invalid character '2' after array element"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ('{"a": 1} {"b": 2}', "invalid character '{' after top-level value"),
        ('"\t"', "invalid character '\\t' in string literal"),
        ('"\\x"', "invalid character 'x' in string escape code"),
        ('"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
        ("-a", "invalid character 'a' in numeric literal"),
        ("1.x", "invalid character 'x' after decimal point in numeric literal"),
        ("1e+x", "invalid character 'x' in exponent of numeric literal"),
        ("01", "invalid character '1' after top-level value"),
        ("é", "invalid character 'Ã' looking for beginning of value"),
        ("NaN", "invalid character 'N' looking for beginning of value"),
    ],
)
def test_the_character_and_what_it_was_in_are_named(text: str, told: str) -> None:
    assert json_syntax.complaint(text.encode()) == told
    with pytest.raises(json_trees.DecodeError, match=r"invalid character|unexpected end") as raised:
        json_trees.loads(text.encode())
    assert str(raised.value) == told


def test_what_pythons_decoder_takes_is_not_complained_of_and_what_it_refuses_is() -> None:
    chance = random.Random(1)
    whole = json.dumps({"a": [1, -2.5e3, True, None, "x\n\u20ac\\"], "b": {"c": {}, "d": []}, "e": False})
    for _ in range(2_000):
        at = chance.randrange(len(whole))
        text = whole[:at] + chance.choice('{}[]",:0atn\\ ') + whole[at + chance.randrange(2) :]
        try:
            json.loads(text)
        except ValueError:
            assert json_syntax.complaint(text.encode()), text
        else:
            assert not json_syntax.complaint(text.encode()), text
