"""What the conformance suite demands of how pods begin, go on and end, on real containers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keelback.client import kubeconfig
from keelback.component import websocket
from keelback.component.http import Request
from keelback.component.websocket import WebSocket
from keelback.testing.commands import Cluster

pytestmark = pytest.mark.containers

MANIFEST = Path(__file__).with_name("pod_lives.yaml")
IMAGE = "localhost/keelback-sample:latest"
Tree = dict[str, Any]


@pytest.fixture(scope="module")
def pods(shared_containers: Cluster) -> Iterator[Cluster]:
    """All of the manifest's pods, in a namespace of their own."""
    shared_containers.kubectl("create", "namespace", "lives")
    cluster = replace(shared_containers, namespace="lives")
    cluster.kubectl("apply", "-f", str(MANIFEST))
    yield cluster
    shared_containers.kubectl("delete", "namespace", "lives", "--wait=false")


def get(cluster: Cluster, pod: str) -> Tree:
    found: Tree = json.loads(cluster.kubectl("get", "pod", pod, "-o", "json"))
    return found


def wait(cluster: Cluster, pod: str, path: str, value: str = "") -> Tree:
    """The pod once a field of its status has the value, or any."""
    wanted = f"--for=jsonpath={{.status.{path}}}" + (f"={value}" if value else "")
    cluster.kubectl("wait", f"pod/{pod}", wanted, "--timeout=80s")
    return get(cluster, pod)


def containers_of(pod: Tree, field: str = "containerStatuses") -> dict[str, Tree]:
    return {one["name"]: one for one in pod["status"][field]}


def restarts(pod: Tree) -> dict[str, int]:
    return {name: one["restartCount"] for name, one in containers_of(pod).items()}


def of(container: str) -> str:
    return f"containerStatuses[?(@.name=='{container}')]"


def hooked(way: str, server: str) -> Tree:
    """A pod that asks the server for a page when it begins and when it ends, by a command or by the kubelet."""

    def hook(moment: str) -> Tree:
        page = f"/{moment}-{way}"
        if way == "http":
            return {"httpGet": {"host": server, "port": 8080, "path": page}}
        return {"exec": {"command": ["wget", "-q", "-O-", f"http://{server}:8080{page}"]}}

    hooks = {"postStart": hook("begins"), "preStop": hook("ends")}
    command = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    container = {"name": "main", "image": IMAGE, "command": command, "lifecycle": hooks}
    spec = {"terminationGracePeriodSeconds": 15, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"hooked-{way}"}, "spec": spec}


def test_hooks_run_after_the_start_and_before_the_end(pods: Cluster) -> None:
    pods.kubectl("wait", "pod/server", "--for=condition=Ready", "--timeout=60s")
    server = get(pods, "server")["status"]["podIP"]
    items = [hooked(way, server) for way in ("exec", "http")]
    pods.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    both = ("pod/hooked-exec", "pod/hooked-http")
    pods.kubectl("wait", *both, "--for=condition=Ready", "--timeout=60s")

    def asked() -> list[str]:
        lines = pods.kubectl("logs", "server").splitlines()
        return sorted(line.rpartition("url:/")[2] for line in lines if "url:/" in line)

    assert asked() == ["begins-exec", "begins-http"]
    pods.kubectl("delete", *both, "--timeout=60s")
    assert asked() == ["begins-exec", "begins-http", "ends-exec", "ends-http"]


def test_the_policy_decides_who_is_restarted(pods: Cluster) -> None:
    wait(pods, "always", f"{of('fails')}.restartCount", "1")
    wait(pods, "always", f"{of('ends')}.restartCount", "1")
    pods.kubectl("wait", "pod/always", "--for=condition=Ready", "--timeout=60s")
    always = get(pods, "always")
    assert always["status"]["phase"] == "Running"
    assert restarts(always) == {"fails": 1, "ends": 1}
    on_failure = wait(pods, "on-failure", "phase", "Succeeded")
    assert restarts(on_failure) == {"fails": 1, "ends": 0}
    assert containers_of(on_failure)["fails"]["lastState"]["terminated"]["exitCode"] == 1
    never = wait(pods, "never", "phase", "Failed")
    assert restarts(never) == {"fails": 0}
    (ready,) = (one["status"] for one in never["status"]["conditions"] if one["type"] == "Ready")
    assert ready == "False"


def test_what_fails_says_so_and_may_be_deleted(pods: Cluster) -> None:
    ended = containers_of(wait(pods, "never", "phase", "Failed"))["fails"]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (1, "Error")
    assert sorted(pods.kubectl("logs", "never").splitlines()) == ["complained", "said"]
    pods.kubectl("delete", "pod", "never", "--timeout=60s")
    assert "NotFound" in pods.kubectl("get", "pod", "never", may_fail=True)


def test_messages_come_from_files_and_of_failures_from_logs(pods: Cluster) -> None:
    found = containers_of(wait(pods, "messages", "phase", "Failed"))
    messages = {name: one["state"]["terminated"].get("message", "") for name, one in found.items()}
    assert messages == {"file": "OK", "nothing": "", "log": "DONE", "elsewhere": "DONE"}


def initialized(pod: Tree) -> tuple[str, str]:
    (found,) = (one for one in pod["status"]["conditions"] if one["type"] == "Initialized")
    return found["status"], found.get("reason", "")


@pytest.mark.parametrize(("pod", "phase"), [("init-always", "Running"), ("init-never", "Succeeded")])
def test_init_containers_end_before_others_start(pods: Cluster, pod: str, phase: str) -> None:
    found = wait(pods, pod, "phase", phase)
    first, second = (one["state"]["terminated"] for one in found["status"]["initContainerStatuses"])
    assert (first["exitCode"], second["exitCode"]) == (0, 0)
    assert initialized(found)[0] == "True"
    (state,) = containers_of(found)["main"]["state"].values()
    assert first["finishedAt"] <= second["startedAt"] <= second["finishedAt"] <= state["startedAt"]
    assert restarts(found) == {"main": 0}


def test_where_an_init_container_fails_nothing_else_starts(pods: Cluster) -> None:
    failed = wait(pods, "init-fails-never", "phase", "Failed")
    tried = wait(pods, "init-fails-always", "initContainerStatuses[0].lastState.terminated")
    assert tried["status"]["initContainerStatuses"][0]["restartCount"] >= 1
    assert tried["status"]["phase"] == "Pending"
    assert initialized(tried) == ("False", "ContainersNotInitialized")
    for pod in (failed, tried):
        assert containers_of(pod)["main"]["state"]["waiting"]["reason"] == "PodInitializing"
        second = containers_of(pod, "initContainerStatuses")["second"]
        assert second["state"]["waiting"]["reason"] == "PodInitializing"
        assert (second["restartCount"], restarts(pod)) == (0, {"main": 0})
    ended = containers_of(failed, "initContainerStatuses")["first"]
    assert (ended["state"]["terminated"]["exitCode"], ended["restartCount"]) == (1, 0)


def test_a_deadline_may_come_later(pods: Cluster) -> None:
    pods.kubectl("wait", "pod/deadline", "--for=condition=Ready", "--timeout=60s")
    pods.kubectl("patch", "pod", "deadline", "-p", '{"spec": {"activeDeadlineSeconds": 1}}')
    ended = wait(pods, "deadline", "phase", "Failed")
    assert ended["status"]["reason"] == "DeadlineExceeded"


def test_liveness_decides_who_is_restarted(pods: Cluster) -> None:
    for name in ("http-dies", "exec-dies"):
        wait(pods, "probed", f"{of(name)}.lastState.terminated")
    found = get(pods, "probed")
    counts = restarts(found)
    assert counts["http-dies"] >= 1
    assert counts["exec-dies"] >= 1
    lives = ("http-lives", "tcp-lives", "exec-lives", "never-ready")
    assert [counts[name] for name in lives] == [0, 0, 0, 0]
    metrics = pods.kubectl("get", "--raw", f"/api/v1/nodes/{found['spec']['nodeName']}/proxy/metrics/probes")
    for name in ("http-lives", "tcp-lives", "exec-lives"):
        (count,) = (
            float(line.rpartition(" ")[2])
            for line in metrics.splitlines()
            if line.startswith("prober_probe_total{")
            and 'namespace="lives"' in line
            and f'container="{name}"' in line
            and 'result="successful"' in line
        )
        assert count >= 1
    never = containers_of(found)["never-ready"]
    assert (never["ready"], never["started"]) == (False, True)
    (ready,) = (one["status"] for one in found["status"]["conditions"] if one["type"] == "Ready")
    assert ready == "False"


def sized(name: str, cpu: str = "", memory: str = "", cpu_limit: str = "", memory_limit: str = "") -> Tree:
    """A container's requests, and its limits, which are the requests unless said."""
    requests = {"cpu": cpu, "memory": memory}
    limits = {"cpu": cpu_limit, "memory": memory_limit}
    given = {"requests": requests, "limits": limits}
    return {"name": name, "resources": {field: {k: v for k, v in one.items() if v} for field, one in given.items()}}


def exactly(name: str, cpu: str, memory: str) -> Tree:
    return sized(name, cpu, memory, cpu, memory)


def resized(cluster: Cluster, pod: str, containers: list[Tree]) -> Tree:
    """The pod once its containers have these resources, none having been restarted."""
    cluster.kubectl("wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=60s")
    patch = json.dumps({"spec": {"containers": containers}})
    cluster.kubectl("patch", "pod", pod, "--subresource=resize", "-p", patch)
    return when_resized(cluster, pod, containers)


def when_resized(cluster: Cluster, pod: str, containers: list[Tree]) -> Tree:
    def others() -> list[tuple[str, str]]:
        """What is not yet as it should be: the path in the status, and the amount."""
        found = containers_of(get(cluster, pod))
        return [
            (f"{of(one['name'])}.resources.{field}.{resource}", amount)
            for one in containers
            for field, amounts in one["resources"].items()
            for resource, amount in amounts.items()
            if found[one["name"]].get("resources", {}).get(field, {}).get(resource) != amount
        ]

    while missing := others():
        wait(cluster, pod, *missing[0])
    generation = get(cluster, pod)["metadata"]["generation"]
    found = wait(cluster, pod, "observedGeneration", str(generation))
    assert set(restarts(found).values()) == {0}
    assert not [one for one in found["status"]["conditions"] if one["type"].startswith("PodResize")]
    return found


def enforced(cluster: Cluster, pod: str, container: str) -> tuple[int, int]:
    """Limits as the kernel knows them: processor time in a tenth of a second, and bytes of memory."""
    script = (
        "cd /sys/fs/cgroup; (cat cpu/cpu.cfs_quota_us || cut -d' ' -f1 cpu.max; "
        "cat memory/memory.limit_in_bytes || cat memory.max) 2>/dev/null"
    )
    quota, memory = cluster.kubectl("exec", pod, "-c", container, "--", "sh", "-c", script).split()
    return int(quota), int(memory) >> 20


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        pytest.param({"c1": ("40m", "64Mi"), "c2": ("50m", "72Mi"), "c3": ("30m", "40Mi")}, (4000, 64), id="more"),
        pytest.param({"c1": ("50m", "72Mi"), "c2": ("20m", "64Mi"), "c3": ("20m", "38Mi")}, (5000, 72), id="less"),
        pytest.param({"c1": ("60m", "72Mi"), "c2": ("10m", "80Mi"), "c3": ("30m", "50Mi")}, (6000, 72), id="mixed"),
    ],
)
def test_guaranteed_pods_are_resized_while_they_run(
    pods: Cluster, amounts: dict[str, tuple[str, str]], expected: tuple[int, int]
) -> None:
    resized(pods, "guaranteed", [exactly(name, cpu, memory) for name, (cpu, memory) in amounts.items()])
    assert enforced(pods, "guaranteed", "c1") == expected


def test_requests_and_limits_of_burstable_pods_change_and_are_added(pods: Cluster) -> None:
    found = resized(
        pods,
        "burstable",
        [
            sized("c1", "30m", "40Mi", "40m", "72Mi"),
            sized("c2", "30m", "40Mi", "40m", "72Mi"),
            sized("c3", "30m"),
            sized("c4", "20m", "24Mi", "30m", "70Mi"),
            sized("c5", "20m", "32Mi", "30m", "64Mi"),
            sized("c6", "20m", "32Mi"),
            # Shares cannot be told apart below two: what is asked is shown all the same.
            sized("least", "1m", "", "1m"),
        ],
    )
    assert found["status"]["qosClass"] == "Burstable"
    assert enforced(pods, "burstable", "c1") == (4000, 72)
    assert enforced(pods, "burstable", "c2") == (4000, 72)
    assert enforced(pods, "burstable", "c4") == (3000, 70)
    assert enforced(pods, "burstable", "c5") == (3000, 64)


def test_a_resize_may_replace_the_pod(pods: Cluster) -> None:
    path = "/api/v1/namespaces/lives/pods/guaranteed/resize"
    tree = json.loads(pods.kubectl("get", "--raw", path))
    wanted = [exactly(name, "33m", "66Mi") for name in ("c1", "c2", "c3")]
    for container, one in zip(tree["spec"]["containers"], wanted, strict=True):
        container["resources"] = one["resources"]
    pods.kubectl("replace", "--raw", path, "-f", "-", text=json.dumps(tree))
    found = when_resized(pods, "guaranteed", wanted)
    assert json.loads(pods.kubectl("get", "--raw", path))["spec"] == found["spec"]
    assert enforced(pods, "guaranteed", "c1") == (3300, 66)


def test_ephemeral_containers_start_in_a_pod_that_runs(pods: Cluster) -> None:
    pods.kubectl("wait", "pod/init-always", "--for=condition=Ready", "--timeout=60s")
    for number, name in enumerate(("first-look", "second-look")):
        command = ("--", "sh", "-c", f"echo {name}")
        pods.kubectl("debug", "init-always", f"--image={IMAGE}", "-c", name, "--image-pull-policy=Never", *command)
        path = f"ephemeralContainerStatuses[{number}].state.terminated.exitCode"
        found = wait(pods, "init-always", path, "0")
        assert len(found["spec"]["ephemeralContainers"]) == number + 1
        assert pods.kubectl("logs", "init-always", "-c", name) == f"{name}\n"


def messages(cluster: Cluster, path: str, query: str, protocol: str) -> list[bytes]:
    """What a WebSocket brings until the server closes it."""

    async def play() -> list[bytes]:
        transport = kubeconfig.transport(kubeconfig.load(cluster.folder / "kubeconfig"))
        request = Request("GET", path, query, websocket.client_headers((protocol,)))
        async with asyncio.timeout(20):
            answer, connection = await transport.upgrade(request)
            assert connection is not None, answer
            socket = WebSocket(connection, is_client=True)
            found = []
            while (message := await socket.read()) is not None:
                found.append(message[1])
            await socket.wait_closed()
            await transport.close()
        return found

    return asyncio.run(play())


def test_logs_come_over_websocket(pods: Cluster) -> None:
    wait(pods, "messages", "phase", "Failed")
    path = "/api/v1/namespaces/lives/pods/messages/log"
    assert b"".join(messages(pods, path, "container=file", "binary.k8s.io")) == b"logged\n"


@pytest.mark.parametrize("protocol", ["channel.k8s.io", "v4.channel.k8s.io", "v5.channel.k8s.io"])
def test_commands_run_over_websocket(pods: Cluster, protocol: str) -> None:
    pods.kubectl("wait", "pod/server", "--for=condition=Ready", "--timeout=60s")
    query = "stdout=1&stderr=1&container=main&command=echo&command=remote+execution+test"
    found = messages(pods, "/api/v1/namespaces/lives/pods/server/exec", query, protocol)
    out = b"".join(one[1:] for one in found if one[:1] == b"\x01")
    assert out == b"remote execution test\n"
    assert not [one for one in found if one[:1] == b"\x02" and len(one) > 1]
