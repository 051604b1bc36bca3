"""Comparing objects by their parts finds what comparing their whole trees does."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from keelback.api.apps_v1 import Deployment
from keelback.api.core_v1 import ConfigMap, Pod
from keelback.apimachinery import codecs
from keelback.apimachinery.comparison import compare, without_system_fields
from keelback.apimachinery.meta import Object, with_metadata
from keelback.apimachinery.object_comparison import compare_objects
from keelback.apimachinery.schema import schema_of

CONTAINER = {"name": "c", "image": "i", "ports": [{"containerPort": 80}], "resources": {"requests": {"cpu": "1"}}}
PODS: list[dict[str, Any]] = [
    {"metadata": {"name": "p"}},
    {"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"containers": [CONTAINER]}},
    {"metadata": {"name": "p", "labels": {"a": "c"}}, "spec": {"containers": [CONTAINER], "nodeName": "n"}},
    {"metadata": {"name": "p", "annotations": {"x": ""}}, "spec": {"containers": [{**CONTAINER, "image": "j"}]}},
    {
        "metadata": {"name": "p"},
        "spec": {"containers": [CONTAINER, {**CONTAINER, "name": "d"}], "nodeSelector": {"a": "b"}, "priority": 0},
        "status": {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]},
    },
    {
        "metadata": {"name": "p", "finalizers": ["f"]},
        "spec": {"containers": [CONTAINER], "tolerations": [{"key": "k"}], "securityContext": {}, "hostNetwork": True},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]},
    },
]
DEPLOYMENTS: list[dict[str, Any]] = [
    {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": PODS[1]}},
    {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "replicas": 3, "template": PODS[3]}},
    {"metadata": {"name": "d"}, "spec": {"paused": True, "template": PODS[5]}, "status": {"replicas": 2}},
]
CONFIG_MAPS: list[dict[str, Any]] = [
    {"metadata": {"name": "m"}},
    {"metadata": {"name": "m"}, "data": {"a": "1"}},
    {"metadata": {"name": "m", "labels": {"l": ""}}, "data": {"a": "2", "b": ""}},
]


def objects(kind: type[Object], trees: list[dict[str, Any]]) -> list[Object]:
    return [codecs.decode_body(kind, msgspec.json.encode(tree)) for tree in trees]


def whole(obj: Object | None) -> dict[str, Any]:
    return {} if obj is None else without_system_fields(codecs.to_tree(with_metadata(obj, managed_fields=())))


@pytest.mark.parametrize(("kind", "trees"), [(Pod, PODS), (Deployment, DEPLOYMENTS), (ConfigMap, CONFIG_MAPS)])
def test_the_parts_tell_what_the_whole_tells(kind: type[Object], trees: list[dict[str, Any]]) -> None:
    schema = schema_of(kind)
    made = objects(kind, trees)
    # Twice: what is known of a spec is used the second time.
    for _ in range(2):
        for live, new in itertools.product([None, *made], made):
            assert compare_objects(live, new, schema) == compare(whole(live), whole(new), schema), (live, new)
            if live is not None:
                assert compare_objects(live, live, schema) == ({}, {})


def test_equal_parts_that_are_not_the_same_value_count_as_equal() -> None:
    schema = schema_of(Pod)
    for first, second in zip(objects(Pod, PODS), objects(Pod, PODS), strict=True):
        assert not compare_objects(first, second, schema)
