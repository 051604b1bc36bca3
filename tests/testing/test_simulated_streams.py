"""Logs, commands and ports of simulated pods, and what they use: for the test, for kubectl, for an autoscaler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from keelback.apimachinery.errors import BadRequest
from keelback.simulation.scripts import Ran

PREFIX = "simulated.keelback.dev/"
KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

with_kubectl = pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl here")


def a_pod(**annotations):
    """A pod `web` with the container `main`."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "web",
            "labels": {"app": "web"},
            "annotations": {PREFIX + name.replace("_", "-"): value for name, value in annotations.items()},
        },
        "spec": {"containers": [{"name": "main", "image": "web:1"}]},
    }


def kubectl(cluster, *arguments, stdin=""):
    """What kubectl prints, and how it ended."""
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig())}
    done = subprocess.run(
        [KUBECTL, *arguments], env=environment, capture_output=True, text=True, timeout=60, input=stdin, check=False
    )
    return done.stdout, done.stderr, done.returncode


def test_a_log_is_what_the_annotation_says(cluster):
    cluster.apply(a_pod(log="starting\nready\n"))
    with pytest.raises(BadRequest, match="is waiting to start: ContainerCreating"):
        cluster.logs("web")
    cluster.wait("pod/web", "Ready")
    assert cluster.logs("web") == "starting\nready\n"
    with pytest.raises(BadRequest, match='previous terminated container "main" in pod "web" not found'):
        cluster.logs("web", previous=True)


def test_each_life_of_a_container_has_a_log_of_its_own(cluster):
    cluster.script_logs(lambda asked: f"life {asked.attempt} of {asked.container}\n")
    cluster.apply(a_pod(run_seconds="5", exit_code="1"))
    cluster.wait("pod/web", lambda pod: "CrashLoopBackOff" in str(pod["status"]))
    assert cluster.logs("web") == "life 1 of main\n"
    cluster.advance(seconds=11)
    assert cluster.logs("web") == "life 2 of main\n"
    assert cluster.logs("web", previous=True) == "life 1 of main\n"


@with_kubectl
def test_kubectl_reads_logs_and_runs_commands(cluster):
    def shout(asked, command, stdin):
        if command == ["upper"]:
            return stdin.decode().upper()
        return Ran(stderr="no\n", exit_code=3) if command == ["fail"] else None

    cluster.script_commands(shout)
    cluster.apply(a_pod(log="one\ntwo\nthree\n", exec="hostname: web\n"))
    cluster.wait("pod/web", "Ready")
    assert kubectl(cluster, "logs", "web", "--tail=2") == ("two\nthree\n", "", 0)
    assert kubectl(cluster, "exec", "web", "--", "hostname") == ("web", "", 0)
    assert kubectl(cluster, "exec", "-i", "web", "--", "upper", stdin="quiet\n")[0] == "QUIET\n"
    _, said, code = kubectl(cluster, "exec", "web", "--", "fail")
    assert said.startswith("no\n")
    assert code == 3
    _, said, code = kubectl(cluster, "exec", "web", "--", "reboot")
    assert "reboot: nothing is said of this command" in said
    assert code == 127


@with_kubectl
def test_kubectl_forwards_a_port(cluster):
    cluster.apply(a_pod(answer="8080: hello\n"))
    cluster.wait("pod/web", "Ready")
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig())}
    command = [KUBECTL, "port-forward", "pod/web", ":8080"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as forwarding:
        try:
            port = forwarding.stdout.readline().split(" ->")[0].rpartition(":")[2]
            # The pod waits a second for what is sent first: time must pass where it does not come at once.
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
                assert answer.read() == b"hello"
        finally:
            forwarding.terminate()


def test_a_node_that_is_cut_off_serves_no_logs(cluster):
    cluster.apply(a_pod(log="here\n"))
    node = cluster.wait("pod/web", "Ready")["spec"]["nodeName"]
    cluster.disconnect(node)
    with pytest.raises(Exception, match="error dialing backend"):
        cluster.logs("web")
    cluster.connect(node)
    assert cluster.logs("web") == "here\n"


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: "web:1", resources: {requests: {cpu: 500m}}}]
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 10
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
"""


@pytest.mark.keelback(metrics=True)
def test_an_autoscaler_follows_the_load(cluster):
    cluster.apply(DEPLOYMENT)
    cluster.wait("deployment/web", "Available")
    cluster.set_usage("app=web", cpu="2", shared=True)
    cluster.wait("deployment/web", "status.readyReplicas=8")
    cluster.advance(minutes=10)
    assert cluster.get("deployment/web")["status"]["replicas"] == 8
    cluster.set_usage("app=web", cpu="500m", shared=True)
    cluster.wait("deployment/web", "status.replicas=2", timeout=900)


def test_usage_that_nobody_would_see_is_refused(cluster):
    with pytest.raises(ValueError, match="metrics=True"):
        cluster.set_usage("app=web", cpu="1")
