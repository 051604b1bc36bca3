"""Manifests become pods of this node, and the API sees their mirrors."""

from __future__ import annotations

import pytest

from keelback.api import pods
from keelback.api.core_v1 import Node
from keelback.apimachinery.meta import ObjectMeta
from keelback.kubelet.static_pods import mirror_of, read_manifests, static_pod

MANIFEST = b"""
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: c, image: web:1}]
"""


def test_a_manifest_becomes_a_pod_of_this_node():
    pod = static_pod(MANIFEST, "/etc/x.yaml", "node-1")
    assert (pod.metadata.name, pod.metadata.namespace, pod.spec.node_name) == ("web-node-1", "default", "node-1")
    assert pods.is_static(pod)
    assert pod.spec.restart_policy == "Always"
    assert static_pod(MANIFEST, "/etc/x.yaml", "node-1").metadata.uid == pod.metadata.uid
    assert static_pod(MANIFEST + b" ", "/etc/x.yaml", "node-1").metadata.uid != pod.metadata.uid


def test_its_mirror_belongs_to_the_node_and_names_its_manifest():
    pod = static_pod(MANIFEST, "/etc/x.yaml", "node-1")
    mirror = mirror_of(pod, Node(metadata=ObjectMeta(name="node-1", uid="n1")))
    assert pods.is_mirror(mirror)
    assert mirror.metadata.annotations[pods.MIRROR_ANNOTATION] == pod.metadata.uid
    assert mirror.metadata.owner_references[0].uid == "n1"
    assert mirror.metadata.uid == ""


@pytest.mark.parametrize("text", [b"", b"[]", b"kind: Service\nmetadata: {name: x}", b"{", b"kind: Pod\nmetadata: x"])
def test_what_is_no_pod_is_passed_over(tmp_path, text):
    (tmp_path / "bad.yaml").write_bytes(text)
    (tmp_path / ".hidden.yaml").write_bytes(MANIFEST)
    (tmp_path / "good.yaml").write_bytes(MANIFEST)
    assert [pod.metadata.name for pod in read_manifests(tmp_path, "n").values()] == ["web-n"]
    assert read_manifests(tmp_path / "none", "n") == {}
