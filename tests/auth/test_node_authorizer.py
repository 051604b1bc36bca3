from __future__ import annotations

import pytest

from keelback.api.core_v1 import (
    Container,
    EnvFromSource,
    LocalObjectReference,
    ObjectReference,
    PersistentVolume,
    PersistentVolumeClaimVolumeSource,
    PersistentVolumeSpec,
    Pod,
    PodSpec,
    SecretEnvSource,
    SecretVolumeSource,
    Volume,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.auth.attributes import Attributes
from keelback.auth.node_authorizer import NodeAuthorizer
from keelback.auth.node_graph import NodeGraph
from keelback.auth.users import UserInfo

N1 = UserInfo("system:node:n1", groups=("system:nodes", "system:authenticated"))


def _pod(name: str = "p", node: str = "n1", annotations: dict[str, str] | None = None) -> Pod:
    return Pod(
        metadata=ObjectMeta(name=name, namespace="x", annotations=annotations or {}),
        spec=PodSpec(
            node_name=node,
            service_account_name="sa",
            image_pull_secrets=(LocalObjectReference(name="pull"),),
            containers=(Container(name="c", env_from=(EnvFromSource(secret_ref=SecretEnvSource(name="env")),)),),
            volumes=(
                Volume(name="s", secret=SecretVolumeSource(secret_name="vol")),
                Volume(name="d", persistent_volume_claim=PersistentVolumeClaimVolumeSource(claim_name="claim")),
            ),
        ),
    )


def _authorizer() -> tuple[NodeGraph, NodeAuthorizer]:
    graph = NodeGraph()
    return graph, NodeAuthorizer(graph)


def _get(resource: str, name: str, **more: str) -> Attributes:
    return Attributes(N1, "get", resource=resource, namespace="x", name=name, **more)


@pytest.mark.parametrize(
    ("resource", "name"),
    [("secrets", "pull"), ("secrets", "env"), ("secrets", "vol"), ("persistentvolumeclaims", "claim"), ("pods", "p")],
)
def test_a_node_reads_what_its_pods_refer_to_while_they_are_there(resource: str, name: str) -> None:
    graph, authorizer = _authorizer()
    question = _get(resource, name)
    verdict = authorizer.decide(question)
    assert (verdict.is_allowed, verdict.reason) == (
        False,
        "no relationship found between node 'n1' and this object",
    )
    graph.put_pod(_pod())
    assert authorizer.decide(question).is_allowed
    graph.put_pod(_pod(node="n2"))
    assert not authorizer.decide(question).is_allowed
    graph.put_pod(_pod())
    graph.remove_pod("x", "p")
    assert not authorizer.decide(question).is_allowed


def test_a_volume_belongs_to_the_node_through_its_claim() -> None:
    graph, authorizer = _authorizer()
    graph.put_pod(_pod())
    volume = PersistentVolume(
        metadata=ObjectMeta(name="pv"),
        spec=PersistentVolumeSpec(claim_ref=ObjectReference(namespace="x", name="claim")),
    )
    question = Attributes(N1, "get", resource="persistentvolumes", name="pv")
    assert not authorizer.decide(question).is_allowed
    graph.put_persistent_volume(volume)
    assert authorizer.decide(question).is_allowed


def test_a_mirror_pod_gives_no_access() -> None:
    graph, authorizer = _authorizer()
    graph.put_pod(_pod(annotations={"kubernetes.io/config.mirror": "h"}))
    assert not authorizer.decide(_get("secrets", "vol")).is_allowed


def test_tokens_are_for_accounts_of_pods_on_the_node() -> None:
    graph, authorizer = _authorizer()
    question = Attributes(N1, "create", resource="serviceaccounts", subresource="token", namespace="x", name="sa")
    assert not authorizer.decide(question).is_allowed
    graph.put_pod(_pod())
    assert authorizer.decide(question).is_allowed


def _update_lease(namespace: str, name: str) -> Attributes:
    return Attributes(N1, "update", group="coordination.k8s.io", resource="leases", namespace=namespace, name=name)


@pytest.mark.parametrize(
    ("attributes", "is_allowed"),
    [
        (Attributes(N1, "list", resource="pods", field_selector="spec.nodeName=n1"), True),
        (Attributes(N1, "list", resource="pods", field_selector="spec.nodeName=n2"), False),
        (Attributes(N1, "list", resource="pods"), False),
        (Attributes(N1, "get", resource="nodes", name="n1"), True),
        (Attributes(N1, "get", resource="nodes", name="n2"), False),
        (Attributes(N1, "create", resource="nodes"), True),
        (Attributes(N1, "patch", resource="nodes", subresource="status", name="n1"), True),
        (Attributes(N1, "list", resource="services"), True),
        (Attributes(N1, "list", resource="secrets", namespace="x"), False),
        (Attributes(N1, "delete", resource="services", namespace="x", name="s"), False),
        (
            Attributes(
                N1, "update", group="coordination.k8s.io", resource="leases", namespace="kube-node-lease", name="n1"
            ),
            True,
        ),
        (
            Attributes(
                N1, "update", group="coordination.k8s.io", resource="leases", namespace="kube-node-lease", name="n2"
            ),
            False,
        ),
        (
            _update_lease("default", "n1"),
            False,
        ),
        (Attributes(UserInfo("joe"), "list", resource="services"), False),
        (Attributes(UserInfo("joe", groups=("system:nodes",)), "list", resource="services"), False),
    ],
)
def test_beyond_that_a_node_has_its_role(attributes: Attributes, is_allowed: bool) -> None:
    _, authorizer = _authorizer()
    assert authorizer.decide(attributes).is_allowed is is_allowed
