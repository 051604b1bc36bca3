"""What is said of numbers that do not fit the integers of the API, which are of 32 bits unless they are of 64."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from keelback.api.apps_v1 import Deployment
from keelback.api.core_v1 import Pod
from keelback.apimachinery import codecs

LARGE = 1 << 40


def pod(**spec: Any) -> Any:
    return {"spec": {"containers": [{"name": "c"}], **spec}}


@pytest.mark.parametrize(
    ("cls", "tree", "told"),
    [
        (
            Deployment,
            {"spec": {"replicas": 3_000_000_000}},
            "number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            Deployment,
            {"spec": {"strategy": {"rollingUpdate": {"maxSurge": LARGE}}}},
            f"number {LARGE} into Go struct field RollingUpdateDeployment.spec.strategy.rollingUpdate.maxSurge of type "
            "int32",
        ),
        (
            Pod,
            pod(containers=[{"name": "c", "ports": [{"containerPort": LARGE}]}]),
            f"number {LARGE} into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32",
        ),
        (
            Pod,
            pod(activeDeadlineSeconds="x"),
            "string into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
        (
            Pod,
            pod(securityContext={"supplementalGroups": [1, "x"]}),
            "string into Go struct field PodSecurityContext.spec.securityContext.supplementalGroups of type int64",
        ),
        (
            Pod,
            pod(activeDeadlineSeconds=1 << 63),
            f"number {1 << 63} into Go struct field PodSpec.spec.activeDeadlineSeconds of type int64",
        ),
        (
            Deployment,
            {"spec": {"replicas": 10**30}},
            f"number {10**30} into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (Deployment, {"spec": {"replicas": -(1 << 31)}}, ""),
        (Pod, pod(activeDeadlineSeconds=LARGE, securityContext={"runAsUser": LARGE}), ""),
        (Pod, {"metadata": {"labels": {"a": "12345678901"}, "generation": LARGE}}, ""),
    ],
)
def test_a_number_fits_its_field_or_is_refused(cls: Any, tree: Any, told: str) -> None:
    ways: tuple[Callable[[], object], ...] = (
        lambda: codecs.decode_body(cls, json.dumps(tree).encode()),
        # A null is what makes the lenient way out of the quick one.
        lambda: codecs.decode_body(cls, json.dumps({**tree, "status": None}).encode()),
        lambda: codecs.convert(cls, tree),
    )
    for decode in ways:
        if not told:
            decode()
            continue
        with pytest.raises(codecs.DecodeError) as refused:
            decode()
        assert str(refused.value) == f"json: cannot unmarshal {told}"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","ports":[{}]}]}}', []),
        (b'{"metadata":{"labels":{"a":"1","a":"2"}}}', ['duplicate field "metadata.labels.a"']),
        (b'{"metadata":{"labels":{"x":{"a":"1","a":"2"}}}}', ['duplicate field "metadata.labels.x.a"']),
        (b'{"spec":{"containers":[{"name":"c","nam":"d"}]}}', ['unknown field "spec.containers[0].nam"']),
        (b'{"spec":{"containers":[{"args":[{"a":1,"a":2}]}]}}', []),
        (b'{"spec":{"nodeName":{"a":{"b":1}}}}', []),
        (b'{"kind":"Pod","spek":{}}', ['unknown field "spek"']),
    ],
)
def test_what_is_unknown_or_repeated_is_named_and_where_it_stands(body: bytes, told: list[str]) -> None:
    assert codecs.strict_errors(codecs.loads(body), Pod) == told


@pytest.mark.parametrize("tree", [{"nodeSelector": {"a": None}}, {"containers": [None, {"name": "c"}]}])
def test_a_null_is_the_zero_of_its_place(tree: dict[str, Any]) -> None:
    made = codecs.convert(Pod, {"spec": {**tree, "nodeName": None}}).spec
    assert made.node_name == ""
    assert made.node_selector == ({"a": ""} if "nodeSelector" in tree else {})
    assert [one.name for one in made.containers] == (["", "c"] if "containers" in tree else [])
