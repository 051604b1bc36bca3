"""Pods and nodes of a test's cluster go through KWOK's Stages."""

from __future__ import annotations

import pytest

from keelback.simulation.stage_files import StageError
from keelback.testing.cluster import Cluster

HEAD = "---\napiVersion: kwok.x-k8s.io/v1alpha1\nkind: Stage\n"
BEGIN = (
    HEAD
    + """
metadata: {name: pod-begin}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: .metadata.deletionTimestamp, operator: DoesNotExist}
    - {key: .status.podIP, operator: DoesNotExist}
  delay: {durationMilliseconds: 1000, jitterDurationMilliseconds: 5000}
  next:
    event: {type: Normal, reason: Begun, message: "{{ .metadata.name }} begins"}
    statusTemplate: |
      {{ $now := Now }}
      {{ $root := . }}
      conditions:
      {{ range list "Initialized" "Ready" "ContainersReady" }}
      - {type: {{ . }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
      {{ end }}
      containerStatuses:
      {{ range $index, $one := .spec.containers }}
      - image: {{ $one.image | Quote }}
        name: {{ $one.name | Quote }}
        ready: true
        restartCount: 0
        state: {running: {startedAt: {{ $now | Quote }}}}
      {{ end }}
      hostIP: {{ NodeIPWith .spec.nodeName | Quote }}
      podIP: {{ PodIPWith .spec.nodeName ( or .spec.hostNetwork false ) .metadata.uid "" "" | Quote }}
      phase: Running
      startTime: {{ $now | Quote }}
"""
)
END = (
    HEAD
    + """
metadata: {name: pod-end}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{key: .metadata.deletionTimestamp, operator: Exists}]}
  next: {finalizers: {empty: true}, delete: true}
"""
)
FAIL = (
    HEAD
    + """
metadata: {name: pod-fail}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchLabels: {fails: "true"}
    matchExpressions: [{key: .status.phase, operator: In, values: [Running]}]
  delay: {durationMilliseconds: 1000, durationFrom: {expressionFrom: '.metadata.annotations["fails-after"]'}}
  next: {patches: [{root: status, subresource: status, template: "phase: Failed"}]}
"""
)
NODES = (
    HEAD
    + """
metadata: {name: node-initialize}
spec:
  resourceRef: {apiGroup: v1, kind: Node}
  selector:
    matchExpressions:
    - {key: '.status.conditions.[] | select( .type == "Ready" ) | .status', operator: NotIn, values: ["True"]}
  delay: {durationMilliseconds: 20000}
  next:
    statusTemplate: |
      conditions:
      {{ range NodeConditions }}
      - {type: {{ .type }}, status: {{ .status | Quote }}, lastHeartbeatTime: {{ Now }}, lastTransitionTime: {{ Now }}}
      {{ end }}
      addresses:
      {{ YAML .status.addresses 1 }}
      phase: Running
"""
    + HEAD
    + """
metadata: {name: node-heartbeat}
spec:
  resourceRef: {apiGroup: v1, kind: Node}
  selector: {matchExpressions: [{key: .status.phase, operator: In, values: [Running]}]}
  delay: {durationMilliseconds: 60000}
  immediateNextStage: true
  next:
    statusTemplate: |
      conditions: [{type: Ready, status: "True", lastHeartbeatTime: {{ Now }}}]
"""
)
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example/web:1"}]}
"""


def a_pod(name, annotations=None, **labels):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": annotations or {}},
        "spec": {"containers": [{"name": "main", "image": "i"}]},
    }


def test_a_deployment_goes_through_stages(cluster):
    assert [one["kind"] for one in cluster.apply(BEGIN + END)] == ["Stage", "Stage"]
    began = cluster.now
    cluster.apply(WEB)
    cluster.wait("deployment/web", "Available")
    assert 1.0 <= (cluster.now - began).total_seconds() <= 6.0
    pods = cluster.list("pods")
    assert len({pod["status"]["podIP"] for pod in pods}) == 3
    assert len([event for event in cluster.events() if event["reason"] == "Begun"]) == 3
    cluster.delete("deployment/web")
    cluster.wait(f"pod/{pods[0]['metadata']['name']}", "deleted")


def test_a_wait_that_has_begun_goes_on_when_something_else_changes(cluster):
    cluster.apply(BEGIN + END + FAIL)
    cluster.apply(a_pod("odd", {"fails-after": "60s"}, fails="true"))
    cluster.wait("pod/odd", "Ready")
    cluster.advance(40)
    cluster.patch("pod/odd", {"metadata": {"labels": {"other": "x"}}})
    cluster.advance(19)
    assert cluster.get("pod/odd")["status"]["phase"] == "Running"
    cluster.advance(2)
    assert cluster.get("pod/odd")["status"]["phase"] == "Failed"


def test_nodes_go_through_stages_from_their_beginning():
    with Cluster(nodes=2, stages=NODES) as cluster:
        node = cluster.get("node/node-0")
        assert node["status"]["phase"] == "Running"
        beats = set()
        for _ in range(4):
            cluster.advance(minutes=1)
            conditions = cluster.get("node/node-0")["status"]["conditions"]
            beats.add(next(one for one in conditions if one["type"] == "Ready")["lastHeartbeatTime"])
        assert len(beats) == 4
        # They are as ready as the stages say, and their leases are kept.
        cluster.wait("node/node-1", "Ready")


def test_nodes_that_are_there_are_handed_over(cluster):
    cluster.apply(NODES)
    cluster.wait("node/node-1", lambda node: node["status"].get("phase") == "Running")
    cluster.advance(minutes=10)
    cluster.wait("node/node-1", "Ready")


def test_a_stage_that_cannot_be_rendered_is_told_of(cluster):
    broken = FAIL.replace("phase: Failed", "{{ index .spec.containers 7 }}")
    cluster.apply(BEGIN + END + broken)
    cluster.apply(a_pod("odd", fails="true"))
    cluster.wait("pod/odd", "Ready")
    cluster.advance(minutes=5)
    told = [event for event in cluster.events("pod/odd") if event["reason"] == "InvalidStage"]
    assert len(told) == 1
    assert "pod-fail" in told[0]["message"]


def test_stages_stay_in_force_in_a_cluster_that_is_restored(cluster):
    cluster.apply(BEGIN + END)
    cluster.restore(cluster.snapshot())
    cluster.apply(a_pod("one"))
    cluster.wait("pod/one", "Ready")
    assert [event for event in cluster.events("pod/one") if event["reason"] == "Begun"]


def test_stages_may_come_after_what_they_change(cluster):
    cluster.apply(a_pod("odd", fails="true"))
    cluster.wait("pod/odd", "Ready")
    cluster.apply(END + FAIL)
    cluster.wait("pod/odd", "status.phase=Failed")


def test_a_stage_that_is_not_supported_is_refused_and_nothing_changes(cluster):
    with pytest.raises(StageError, match="Deployment has no stages here"):
        cluster.apply(BEGIN + END.replace("kind: Pod", "kind: Deployment"))
    cluster.apply(a_pod("one"))
    cluster.wait("pod/one", "Ready", timeout=1)
