"""kubectl top and the autoscaler, by the real kubectl: on containers that burn a processor, and on simulated ones."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator

import pytest

from keelback.bootstrap import machine
from keelback.testing.commands import Cluster

IMAGE = "localhost/keelback-sample:latest"
# A fifth of a processor: it shares the machine with whoever else is at work.
BURNER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: burner}
spec:
  selector: {matchLabels: {app: burner}}
  template:
    metadata: {labels: {app: burner}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: burn
          image: IMAGE
          command: [sh, -c, "while :; do :; done"]
          resources: {requests: {cpu: 50m}, limits: {cpu: 200m}}
        - {name: rest, image: IMAGE, command: [sleep, "3600"], resources: {requests: {cpu: 10m}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: burner}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: burner}
  maxReplicas: 2
  metrics:
    - type: ContainerResource
      containerResource: {name: cpu, container: burn, target: {type: Utilization, averageUtilization: 50}}
""".replace("IMAGE", IMAGE)
SOON = (
    "--kube-controller-manager-arg=horizontal-pod-autoscaler-sync-period=2s",
    "--kube-controller-manager-arg=horizontal-pod-autoscaler-downscale-stabilization=5s",
    "--metrics-server-arg=metric-resolution=10s",
)


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.5)


def replicas(cluster: Cluster, name: str) -> str:
    return cluster.kubectl("get", "deployment", name, "-o", "jsonpath={.spec.replicas}")


@pytest.fixture(scope="module")
def burning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of one real node that measures often."""
    folder = tmp_path_factory.mktemp("burning")
    findings = machine.examine(machine.observe(folder))
    if not machine.can_run_containers(findings):
        pytest.skip(f"no real containers here: {machine.why_simulated(findings)}")
    cluster = Cluster(f"test-burning-{os.getpid()}", folder)
    try:
        cluster.keelback("up", "--nodes", "1", *SOON)
        yield cluster
    finally:
        cluster.keelback("down")


@pytest.mark.containers
def test_a_container_that_burns_a_processor_is_seen_and_scaled(burning: Cluster) -> None:
    burning.kubectl("apply", "-f", "-", text=BURNER)
    until(lambda: replicas(burning, "burner") == "2")
    target = burning.kubectl("get", "hpa", "burner", "--no-headers")
    assert "Deployment/burner" in target
    assert "cpu: " in target
    assert "SuccessfulRescale" in burning.kubectl("describe", "hpa", "burner")
    until(lambda: burning.kubectl("top", "pods", "--no-headers", may_fail=True).count("burner-") == 2)
    lines = burning.kubectl("top", "pods", "--containers", "--sort-by=cpu", "--no-headers", "-l", "app=burner")
    used = [(words[1], int(words[2].removesuffix("m"))) for words in map(str.split, lines.splitlines())]
    assert sorted(name for name, _ in used) == ["burn", "burn", "rest", "rest"]
    assert all((name == "burn") == (millicores > 20) for name, millicores in used)
    node = burning.kubectl("top", "nodes", "--no-headers").split()
    assert node[0] == "node-0"
    assert int(node[1].removesuffix("m")) > 20
    assert node[3].endswith("Mi")


def test_simulated_containers_use_what_they_are_said_to(simulated: Cluster) -> None:
    simulated.kubectl("create", "namespace", "usage")
    there = simulated.by(simulated.program, "usage")
    there.kubectl("create", "deployment", "web", "--image=example", "--replicas=2")
    there.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    pods = there.kubectl("get", "pods", "-o", "name").split()
    there.kubectl("annotate", pods[0], "simulated.keelback.dev/cpu-usage=250m")
    there.kubectl("annotate", pods[1], "simulated.keelback.dev/memory-usage=64Mi")

    def figures() -> list[list[str]]:
        lines = there.kubectl("top", "pods", "--no-headers", "--sort-by=cpu", may_fail=True)
        return [line.split()[1:] for line in lines.splitlines()]

    until(lambda: figures() == [["250m", "1Mi"], ["1m", "64Mi"]])
    assert there.kubectl("top", "nodes", "--no-headers").count("node-") == 3
    assert there.kubectl("top", "pods", "-l", "app=other", "--no-headers").strip() == ""
    raw = json.loads(there.kubectl("get", "podmetrics", "-o", "json"))
    assert {one["kind"] for one in raw["items"]} == {"PodMetrics"}
    simulated.kubectl("delete", "namespace", "usage", "--wait=false")
