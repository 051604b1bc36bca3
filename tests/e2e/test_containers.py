"""The first cluster on real containers: what a user would see, by the real command and the real kubectl."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelback.network import namespaces
from keelback.testing.commands import Cluster

pytestmark = pytest.mark.containers

CONTAINER = {
    "name": "sample",
    "image": "localhost/keelback-sample:latest",
    "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1},
}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [CONTAINER]}},
    },
}


def container_ids(cluster: Cluster, label: str) -> list[str]:
    path = "jsonpath={.items[*].status.containerStatuses[0].containerID}"
    return sorted(cluster.kubectl("get", "pods", "-l", label, "-o", path).split())


@pytest.fixture(scope="module")
def web(containers: Cluster) -> Cluster:
    """Three replicas behind a Service, Ready once they answer: one without a probe is before its server listens."""
    containers.kubectl("create", "-f", "-", text=json.dumps(DEPLOYMENT))
    containers.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    containers.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    return containers


def test_the_demo_ends_with_the_services_answer(containers: Cluster) -> None:
    assert "The Service answered: hello-" in containers.keelback("demo")
    containers.kubectl("delete", "deployment,service", "hello")


def test_pods_find_the_service_by_name_and_by_address(web: Cluster) -> None:
    address = web.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    names = web.kubectl("get", "pods", "-l", "app=web", "-o", "name").split()
    for pod in names:
        for target in ("web", "web.default.svc.cluster.local", address):
            answer = web.kubectl("exec", pod, "--", "timeout", "5", "wget", "-q", "-O-", f"http://{target}/")
            assert f"pod/{answer.strip()}" in names


def test_exec_passes_input_and_exit_codes_on_and_cp_copies(web: Cluster, tmp_path: Path) -> None:
    pod = web.kubectl("get", "pods", "-l", "app=web", "-o", "name").split()[0]
    assert web.kubectl("exec", "-i", pod, "--", "cat", text="hello") == "hello"
    assert "exit code 7" in web.kubectl("exec", pod, "--", "sh", "-c", "exit 7", may_fail=True)
    (tmp_path / "sent").write_text("content")
    name = pod.removeprefix("pod/")
    web.kubectl("cp", str(tmp_path / "sent"), f"{name}:/tmp/copy")
    web.kubectl("cp", f"{name}:/tmp/copy", str(tmp_path / "got"))
    assert (tmp_path / "got").read_text() == "content"


def test_a_killed_container_is_started_again(web: Cluster) -> None:
    pod = web.kubectl("get", "pods", "-l", "app=web", "-o", "name").split()[0]
    web.kubectl("exec", pod, "--", "kill", "1", may_fail=True)
    web.kubectl("wait", pod, "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "--timeout=30s")
    web.kubectl("wait", pod, "--for=condition=Ready", "--timeout=30s")


def test_a_drained_node_gives_its_pods_away(web: Cluster) -> None:
    web.kubectl("drain", "node-0", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
    web.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    pods = json.loads(web.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    running = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    assert {pod["spec"]["nodeName"] for pod in running} == {"node-1"}
    web.kubectl("uncordon", "node-0")


@pytest.fixture(params=["idle", "busy"])
def machine_load(request: pytest.FixtureRequest) -> Iterator[None]:
    """A machine with nothing else to do, and one whose every core is taken."""
    count = (os.cpu_count() or 1) if request.param == "busy" else 0
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    yield
    for program in programs:
        program.kill()
        program.wait()


@pytest.mark.usefixtures("machine_load")
def test_a_rolling_update_under_constant_requests_loses_none(web: Cluster) -> None:
    address = web.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
    network = namespaces.Namespaces.network(Path("/proc", str(web.record("node-0", "node.json")), "ns", "net"))
    ended = threading.Event()
    answered: list[int] = []
    failures: list[str] = []

    def ask() -> None:
        while not ended.is_set():
            try:
                connection = http.client.HTTPConnection(address, 80, timeout=10)
                connection.sock = namespaces.within(network, lambda: _connected(address))
                connection.request("GET", "/")
                answered.append(connection.getresponse().status)
                connection.close()
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for one in askers:
        one.start()
    try:
        web.kubectl("rollout", "restart", "deployment/web")
        web.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        web.kubectl(
            "wait", "deployment/web", "--for=jsonpath={.status.terminatingReplicas}=0", "--timeout=30s", may_fail=True
        )
    finally:
        ended.set()
        for one in askers:
            one.join()
    assert failures == []
    assert set(answered) == {200}
    assert len(answered) > 100


def _connected(address: str) -> socket.socket:
    return socket.create_connection((address, 80), timeout=10)


def test_after_kill_9_of_everything_writes_are_there_and_containers_run_on(web: Cluster) -> None:
    before = container_ids(web, "app=web")
    for number in range(3):
        web.kubectl("create", "configmap", f"written-{number}", "--from-literal=a=b")
        agents = [web.record(node, "agent.json") for node in ("node-0", "node-1")]
        for pid in (web.record("control-plane.json"), *agents):
            os.kill(pid, signal.SIGKILL)
        web.keelback("up")
        found = web.kubectl("get", "configmaps", "-o", "name").split()
        assert {f"configmap/written-{one}" for one in range(number + 1)} <= set(found)
    web.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert container_ids(web, "app=web") == before


def test_a_pod_that_cannot_run_shows_why(web: Cluster) -> None:
    web.kubectl("run", "never", "--image=localhost/not-there:1", "--image-pull-policy=Never")
    reason = "{.status.containerStatuses[0].state.waiting.reason}"
    web.kubectl("wait", "pod/never", f"--for=jsonpath={reason}=ErrImageNeverPull", "--timeout=30s")
    assert "ErrImageNeverPull" in web.kubectl("describe", "pod", "never")
    web.kubectl("delete", "pod", "never")
