"""How large Kubernetes would keep an object: sizes of upstream's own encodings (its API test data)."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keelback.apimachinery import protobuf_size

SAMPLES: list[dict[str, Any]] = msgspec.json.decode(
    Path(__file__).with_name("protobuf_sizes.json").read_bytes(), type=list[dict[str, Any]]
)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample["object"]["kind"])
def test_the_size_is_that_of_upstreams_encoding(sample: dict[str, Any]) -> None:
    size = protobuf_size.stored_size(msgspec.json.encode(sample["object"]))
    assert 0.98 * sample["size"] < size <= sample["size"]


def test_bytes_count_as_bytes_and_text_as_utf8() -> None:
    secret = {"kind": "Secret", "apiVersion": "v1", "data": {"a": base64.b64encode(bytes(30_001)).decode()}}
    config_map = {"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "é" * 15_000}}
    assert 30_001 < protobuf_size.stored_size(msgspec.json.encode(secret)) < 30_100
    assert 30_000 < protobuf_size.stored_size(msgspec.json.encode(config_map)) < 30_100


def test_custom_objects_are_kept_as_json() -> None:
    body = b'{"kind":"Book","apiVersion":"example.com/v1","metadata":{"name":"a"},"spec":{"pages":3}}'
    assert protobuf_size.stored_size(body) == len(body)
