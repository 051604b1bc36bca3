"""What the conformance suite demands of admission policies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keelback.apimachinery import errors
from keelback.testing.cluster import Cluster

RULES = [{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(controllers=False) as running:
        yield running


def policy(cluster: Cluster, kind: str, name: str, **spec: Any) -> None:
    """A policy for Deployments of namespaces of its name, which counts when this returns."""
    namespaces = {"matchLabels": {"policed-by": name}}
    cluster.apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": namespaces["matchLabels"]}}
    )
    group = {"apiVersion": "admissionregistration.k8s.io/v1"}
    matched = {"matchConstraints": {"resourceRules": RULES}}
    cluster.apply(group | {"kind": kind, "metadata": {"name": name}, "spec": matched | spec})
    bound: dict[str, Any] = {"policyName": name, "matchResources": {"namespaceSelector": namespaces}}
    if kind.startswith("Validating"):
        bound["validationActions"] = ["Deny"]
    cluster.apply(group | {"kind": f"{kind}Binding", "metadata": {"name": name}, "spec": bound})
    cluster.advance(2)


def deploy(cluster: Cluster, namespace: str, name: str = "d", replicas: int = 2) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    tree = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}
    return cluster.request("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", body=tree)


def test_a_deployment_is_refused_where_an_expression_does_not_hold(cluster: Cluster) -> None:
    rules = [{"expression": "object.spec.replicas > 1", "message": "more than one"}]
    policy(cluster, "ValidatingAdmissionPolicy", "validates", validations=rules)
    with pytest.raises(errors.Invalid, match="more than one"):
        deploy(cluster, "validates", replicas=1)
    assert deploy(cluster, "validates", replicas=2)["spec"]["replicas"] == 2
    assert deploy(cluster, "default", replicas=1)["spec"]["replicas"] == 1


def test_expressions_use_variables(cluster: Cluster) -> None:
    variables = [
        {"name": "replicas", "expression": "object.spec.replicas"},
        {"name": "is_odd", "expression": "variables.replicas % 2 == 1"},
    ]
    rules = [
        {"expression": "variables.replicas > 1"},
        {"expression": "variables.is_odd", "messageExpression": "'even: ' + string(variables.replicas)"},
    ]
    policy(cluster, "ValidatingAdmissionPolicy", "variables", variables=variables, validations=rules)
    with pytest.raises(errors.Invalid, match=r"failed expression: variables\.replicas > 1"):
        deploy(cluster, "variables", replicas=1)
    with pytest.raises(errors.Invalid, match="even: 4"):
        deploy(cluster, "variables", replicas=4)
    assert deploy(cluster, "variables", replicas=3)["spec"]["replicas"] == 3


def mutation(expression: str) -> dict[str, Any]:
    applied = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
    return {"mutations": [applied], "reinvocationPolicy": "Never", "failurePolicy": "Fail"}


def test_a_deployment_gets_what_a_policy_says(cluster: Cluster) -> None:
    policy(cluster, "MutatingAdmissionPolicy", "mutates", **mutation("Object{spec: Object.spec{replicas: 5}}"))
    assert deploy(cluster, "mutates", replicas=1)["spec"]["replicas"] == 5
    assert deploy(cluster, "default", "free")["spec"]["replicas"] == 2


def test_a_deployment_gets_annotations_of_a_policy(cluster: Cluster) -> None:
    expression = "Object{metadata: Object.metadata{annotations: {'my-annotation': 'replicas-' + string(%s)}}}"
    policy(cluster, "MutatingAdmissionPolicy", "annotates", **mutation(expression % "object.spec.replicas"))
    assert deploy(cluster, "annotates")["metadata"]["annotations"] == {"my-annotation": "replicas-2"}
