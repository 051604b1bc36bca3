"""Pods of one template: their spec is one value, and nothing that is wrong with a body goes unnoticed because of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keelback.apimachinery.codecs import DecodeError
from keelback.registry.pods import PodStrategy

SPEC: dict[str, Any] = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1000m"}}}]}


def body(name: str = "p", spec: Any = SPEC, **more: Any) -> bytes:
    tree = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec, **more}
    return json.dumps(tree, separators=(",", ":")).encode()


def test_pods_of_one_template_share_their_spec() -> None:
    strategy = PodStrategy()
    first, second = strategy.decode_body(body("a")), strategy.decode_body(body("b"))
    assert (first.metadata.name, second.metadata.name) == ("a", "b")
    assert first.spec is second.spec
    assert first.spec.containers[0].resources.requests == {"cpu": "1"}
    assert strategy.default(first).spec is strategy.default(second).spec
    assert strategy.decode_body(body("c", {**SPEC, "nodeName": "n"})).spec.node_name == "n"


def test_what_is_sent_beside_a_known_spec_is_read() -> None:
    strategy = PodStrategy()
    strategy.decode_body(body())
    found = strategy.decode_body(body(status={"phase": "Running"}))
    assert found.status.phase == "Running"
    with pytest.raises(DecodeError):
        strategy.decode_body(body(status={"phase": 3}))
    with pytest.raises(DecodeError):
        strategy.decode_body(body(metadata={"name": "p", "generation": 10**30}))


@pytest.mark.parametrize("spec", [None, {}, {"containers": None}, {"containers": []}])
def test_specs_that_say_nothing_are_what_they_are_the_first_time(spec: Any) -> None:
    strategy = PodStrategy()
    assert strategy.decode_body(body(spec=spec)) == strategy.decode_body(body(spec=spec))


def test_specs_that_cannot_be_read_are_refused_each_time() -> None:
    strategy = PodStrategy()
    for _ in range(2):
        with pytest.raises(DecodeError):
            strategy.decode_body(body(spec={"containers": 3}))


def test_unknown_and_repeated_fields_are_told_each_time() -> None:
    strategy = PodStrategy()
    for _ in range(2):
        assert strategy.strict_errors_of_body(body()) == []
        assert strategy.strict_errors_of_body(body(spec={**SPEC, "no": 1})) == ['unknown field "spec.no"']
        assert strategy.strict_errors_of_body(body(no=SPEC)) == ['unknown field "no"']
        assert strategy.strict_errors_of_body(body(metadata={"name": "p", "no": SPEC})) == [
            'unknown field "metadata.no"'
        ]
        twice = body().replace(b'"spec":', b'"spec":{},"spec":')
        assert strategy.strict_errors_of_body(twice) == ['duplicate field "spec"']
        same = body().replace(
            b'"metadata":', b'"spec":' + json.dumps(SPEC, separators=(",", ":")).encode() + b',"metadata":'
        )
        assert strategy.strict_errors_of_body(same) == ['duplicate field "spec"']
        annotated = body(metadata={"name": "p", "annotations": {"last": body().decode()}, "no": 1})
        assert strategy.strict_errors_of_body(annotated) == ['unknown field "metadata.no"']
