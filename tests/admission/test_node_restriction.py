from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest

from keelback.admission.node_restriction import NodeRestriction
from keelback.admission.plugin import AdmissionChain, AdmissionRequest, Operation
from keelback.api.authentication_v1 import BoundObjectReference, TokenRequest, TokenRequestSpec
from keelback.api.coordination_v1 import Lease
from keelback.api.core_v1 import (
    LocalObjectReference,
    Node,
    NodeSpec,
    Pod,
    PodSpec,
    ServiceAccount,
    Taint,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, Object, ObjectMeta, OwnerReference, replace

T = TypeVar("T", bound=Object)


class Kubelet:
    name = "system:node:n1"
    uid = ""
    groups: tuple[str, ...] = ("system:nodes",)
    extra: dict[str, tuple[str, ...]] = {}


class Pods:
    def __init__(self, *pods: Pod) -> None:
        self.held = {pod.metadata.name: pod for pod in pods}

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        found = self.held.get(name)
        if not isinstance(found, kind):
            raise errors.NotFound.of(kind.__kind__, name)
        return found

    async def list(self, kind: type[T], namespace: str = "") -> Sequence[T]:
        raise NotImplementedError


def _why(
    obj: Object | None, old: Object | None = None, *pods: Pod, kind: Kind | None = None, subresource: str = ""
) -> str:
    """Why it is refused; empty if it is not."""
    some = obj or old
    assert some is not None
    request = AdmissionRequest(
        operation=Operation.CREATE if old is None else Operation.DELETE if obj is None else Operation.UPDATE,
        kind=kind or some.__kind__,
        user=Kubelet(),
        subresource=subresource,
        namespace=some.metadata.namespace,
        name=some.metadata.name,
        obj=obj,
        old_obj=old,
    )
    try:
        asyncio.run(AdmissionChain([NodeRestriction(Pods(*pods))]).validate(request))
    except errors.Forbidden as refused:
        return refused.message.partition(" is forbidden: ")[2]
    return ""


def _pod(node: str = "n1", **spec: Any) -> Pod:
    return Pod(
        metadata=ObjectMeta(name="p", namespace="x", uid="u1"),
        spec=PodSpec(node_name=node, **spec),
    )


def _mirror(**changes: Any) -> Pod:
    metadata = ObjectMeta(
        name="p",
        namespace="x",
        annotations={"kubernetes.io/config.mirror": "h"},
        owner_references=(OwnerReference(api_version="v1", kind="Node", name="n1", uid="u", controller=True),),
    )
    return Pod(metadata=metadata, spec=PodSpec(**{"node_name": "n1", **changes}))


def _node(name: str = "n1", labels: dict[str, str] | None = None, taints: tuple[Taint, ...] = ()) -> Node:
    return Node(metadata=ObjectMeta(name=name, labels=labels or {}), spec=NodeSpec(taints=taints))


def test_a_kubelet_creates_only_mirror_pods_of_its_own() -> None:
    assert _why(_mirror()) == ""
    assert _why(_pod()) == (
        'pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods'
    )
    assert "with spec.nodeName set to itself" in _why(_mirror(node_name="n2"))
    assert "can not create pods that reference a service account" in _why(_mirror(service_account_name="sa"))
    assert "secrets" in _why(_mirror(image_pull_secrets=(LocalObjectReference(name="s"),)))
    orphan = _mirror()
    assert "with an owner reference set to itself" in _why(
        replace(orphan, metadata=replace(orphan.metadata, owner_references=()))
    )


def test_a_kubelet_deletes_and_reports_only_its_own_pods() -> None:
    assert _why(None, _pod()) == ""
    assert _why(None, _pod("n2")) == 'node "n1" can only delete pods with spec.nodeName set to itself'
    assert _why(_pod(), _pod(), subresource="status") == ""
    assert "can only update pod status" in _why(_pod("n2"), _pod("n2"), subresource="status")
    labelled = replace(_pod(), metadata=replace(_pod().metadata, labels={"a": "b"}))
    assert "cannot update labels through pod status" in _why(labelled, _pod(), subresource="status")


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"kubernetes.io/hostname": "n1", "example.com/a": "b", "plain": "c"}, ""),
        ({"node-restriction.kubernetes.io/a": "b"}, "node-restriction.kubernetes.io/a"),
        ({"foo.kubernetes.io/a": "b"}, "foo.kubernetes.io/a"),
        ({"kubelet.kubernetes.io/a": "b"}, ""),
    ],
)
def test_a_kubelet_does_not_choose_labels_that_place_pods(labels: dict[str, str], why: str) -> None:
    text = f'node "n1" is not allowed to set the following labels: {why}' if why else ""
    assert _why(_node(labels=labels)) == text


def test_a_kubelet_keeps_to_its_own_node() -> None:
    assert _why(_node("n2")) == 'node "n1" is not allowed to modify node "n2"'
    taint = Taint(key="k", effect="NoSchedule")
    assert _why(_node(), _node(taints=(taint,))) == 'node "n1" is not allowed to modify taints'


def test_a_kubelet_keeps_to_its_own_lease() -> None:
    def lease(name: str, namespace: str = "kube-node-lease") -> Lease:
        return Lease(metadata=ObjectMeta(name=name, namespace=namespace))

    assert _why(lease("n1")) == ""
    assert _why(lease("n2")) == "can only access node lease with the same name as the requesting node"
    assert "system namespace" in _why(lease("n1", "x"))


@pytest.mark.parametrize(
    ("bound", "why"),
    [
        (None, "node requested token not bound to a pod"),
        (BoundObjectReference(api_version="v1", kind="Pod", name="p"), "without a uid"),
        (BoundObjectReference(api_version="v1", kind="Pod", name="p", uid="no"), "does not match the UID in record"),
        (BoundObjectReference(api_version="v1", kind="Pod", name="p", uid="u1"), ""),
        (
            BoundObjectReference(api_version="v1", kind="Pod", name="q", uid="u1"),
            "node requested token bound to a pod scheduled on a different node",
        ),
    ],
)
def test_tokens_are_for_pods_on_the_node(bound: BoundObjectReference | None, why: str) -> None:
    request = TokenRequest(metadata=ObjectMeta(name="sa", namespace="x"), spec=TokenRequestSpec(bound_object_ref=bound))
    elsewhere = replace(_pod("n2"), metadata=ObjectMeta(name="q", namespace="x", uid="u1"))
    refused = _why(request, None, _pod(), elsewhere, kind=ServiceAccount.__kind__, subresource="token")
    assert (why in refused) if why else refused == ""
