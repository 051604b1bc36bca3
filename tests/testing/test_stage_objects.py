"""Stages that are objects of the API: whoever writes them there puts them in force."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from keelback.apimachinery.errors import NotFound
from keelback.testing.cluster import Cluster

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: stages.kwok.x-k8s.io}
spec:
  group: kwok.x-k8s.io
  scope: Cluster
  names: {kind: Stage, listKind: StageList, plural: stages, singular: stage}
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
"""
POD_STAGE = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: pod-fails}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - cel: {expression: "!has(self.status.message)"}
  delay: {durationMilliseconds: 10000}
  next: {statusTemplate: "{phase: Failed, message: by a stage}"}
"""
NODE_STAGE = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: node-sick}
spec:
  resourceRef: {apiGroup: v1, kind: Node}
  selector: {matchExpressions: [{key: .status.phase, operator: In, values: [Running]}]}
  next:
    statusTemplate: |
      phase: Sick
      conditions: [{type: Ready, status: "False", reason: Sick, message: by a stage}]
"""


def _pod(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }


@pytest.fixture
def defined(cluster: Cluster) -> Cluster:
    cluster.apply(DEFINITION)
    cluster.wait("customresourcedefinition/stages.kwok.x-k8s.io", "Established")
    cluster.advance(seconds=5)
    return cluster


def test_pods_go_through_stages_that_are_objects_and_no_more_when_they_are_gone(defined: Cluster) -> None:
    defined.apply(POD_STAGE)
    assert defined.get("stage.kwok.x-k8s.io/pod-fails")["spec"]["delay"] == {"durationMilliseconds": 10000}
    defined.apply(_pod("one"))
    defined.advance(seconds=9)
    assert defined.get("pod/one")["status"]["phase"] == "Pending"
    defined.wait("pod/one", "status.message=by a stage", timeout=2)
    defined.patch("stage.kwok.x-k8s.io/pod-fails", {"spec": {"delay": {"durationMilliseconds": 100}}})
    defined.apply(_pod("two"))
    defined.wait("pod/two", "status.phase=Failed", timeout=1)
    defined.apply(_pod("three"))
    defined.delete("stage.kwok.x-k8s.io/pod-fails")
    defined.wait("pod/three", "Ready", timeout=2)


def test_nodes_report_again_when_their_stages_are_gone(defined: Cluster) -> None:
    defined.apply(NODE_STAGE)
    defined.wait("node/node-0", "Ready=False", timeout=5)
    defined.delete("customresourcedefinition/stages.kwok.x-k8s.io")
    defined.wait("node/node-0", "Ready", timeout=310)
    with pytest.raises(NotFound):
        defined.get("customresourcedefinition/stages.kwok.x-k8s.io")


def test_a_stage_that_cannot_be_carried_out_is_told_of(defined: Cluster) -> None:
    stage = yaml.safe_load(POD_STAGE)
    stage["spec"]["weight"] = -1
    defined.apply(stage)
    defined.apply(_pod("one"))
    defined.wait("pod/one", "Ready", timeout=2)
    told = [event for event in defined.events() if event["reason"] == "InvalidStage"]
    assert [event["involvedObject"]["name"] for event in told] == ["pod-fails"]
    assert told[0]["message"] == "Stage pod-fails: spec.weight: -1 is less than 0"
