"""JSON is YAML: read the short way or the long, it says the same."""

from __future__ import annotations

from typing import Any

import pytest

from keelback.apimachinery import yaml

COMPACT = [
    b'{"a":1}',
    b'{"a":1}\n',
    b'{"a":{"b":[1,-2,3.5,true,null,"y","no","2001-01-01","1e3","~",""]}}',
    b'{"a":"*b","c":"&d","e":"x: y # z"}',
    b'{"a":"line\\nbreak \\"quoted\\" back\\\\slash"}',
    b"{}",
]


@pytest.mark.parametrize("text", COMPACT)
def test_compact_json_reads_as_the_same_text_with_blanks(text: bytes) -> None:
    spaced = text.replace(b'":', b'" : ').replace(b"}", b" }")
    assert yaml.load(text) == yaml.load(spaced)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"a":1,"a":2}', ({"a": 2}, ['line 1: key "a" already set in map'])),
        (b'{"a":{"b":1,"b":1}}', ({"a": {"b": 1}}, ['line 1: key "b" already set in map'])),
        (b"{a: y}", ({"a": True}, [])),
        ('{"a":"\u00e9"}'.encode(), ({"a": "\u00e9"}, [])),
    ],
)
def test_what_is_not_plain_is_read_the_long_way(text: bytes, expected: Any) -> None:
    assert yaml.load(text) == expected


@pytest.mark.parametrize("text", [b'{"a":"\x7f"}', b'{"a":' * 300 + b"1" + b"}" * 300, b'{"a":1', b'{"a":\t@}'])
def test_what_yaml_refuses_is_refused_of_json_too(text: bytes) -> None:
    with pytest.raises(yaml.YAMLError):
        yaml.load(text)
