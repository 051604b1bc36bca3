"""What pods ask of a node, on real containers: given as asked or refused with the reason, never silently left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keelback.testing.commands import Cluster

pytestmark = pytest.mark.containers

MANIFEST = Path(__file__).with_name("node.yaml")
IMAGE = "localhost/keelback-sample:latest"


@pytest.fixture(scope="module")
def pods(shared_containers: Cluster) -> Iterator[Cluster]:
    """All of the manifest's pods, in a namespace of their own."""
    shared_containers.kubectl("create", "namespace", "node")
    cluster = replace(shared_containers, namespace="node")
    cluster.kubectl("apply", "-f", str(MANIFEST))
    yield cluster
    cluster.kubectl("delete", "pods", "--all", "--grace-period=1", "--wait=false")


def status(cluster: Cluster, pod: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", "pod", pod, "-o", "json"))["status"]
    return found


def containers_of(cluster: Cluster, pod: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in status(cluster, pod)["containerStatuses"]}


def said(cluster: Cluster, pod: str) -> list[str]:
    """What a pod's main container printed until it ended."""
    cluster.kubectl("wait", f"pod/{pod}", "--for=jsonpath={.status.containerStatuses[0].state.terminated}")
    return cluster.kubectl("logs", pod, "-c", "main").splitlines()


def wait_reason(cluster: Cluster, pod: str, reason: str) -> None:
    cluster.kubectl("wait", f"pod/{pod}", f"--for=jsonpath={{.status.reason}}={reason}", "--timeout=40s")


def test_variables_come_from_everywhere(pods: Cluster) -> None:
    address = "jsonpath={.status.podIP}"
    lines = said(pods, "environment")
    expected = {
        "B=first-fast-81-$(A)-$(NONE)",
        "CM_mode=fast",
        "user=somebody",
        "password=pw",
        "LABEL=front",
        "NOTE=some words",
        f"POD_IP={pods.kubectl('get', 'pod', 'environment', '-o', address)}",
        "CPU=2",
        "MILLICPU=1250",
        "MEBIBYTES=64",
        "KEY=2",
        "FROM_FILE=of the file",
        "LINKS_PORT_81_TCP_PROTO=tcp",
        "KUBERNETES_SERVICE_PORT=443",
        "argument=first",
    }
    assert expected - set(lines) == set()
    assert not any(line.startswith("OPTIONAL=") for line in lines)


def test_names_are_as_asked(pods: Cluster) -> None:
    lines = said(pods, "names")
    assert lines[0] == "me.here.node.svc.cluster.local"
    assert "192.0.2.4\tfoo\tbar" in lines
    assert [line for line in lines if line.startswith(("search", "nameserver", "options"))] == [
        "search my.domain",
        "nameserver 192.0.2.9",
        "options ndots:2",
    ]
    assert "0" in lines
    assert any(line.endswith("/pause") for line in lines)


def test_users_groups_modes_and_limits_hold(pods: Cluster) -> None:
    lines = said(pods, "security")
    assert lines[:4] == ["1000", "3000", "3000 2000 4000", "30000\t40000"]
    assert {
        "/disk 2777 0 2000",
        "/disk/file 644 1000 2000",
        "/memory/file 644 1000 2000",
        "/config/deep/mode 440 0 2000",
        "/projected/token 120777 0 2000",
        "/secret/password 440 2000",
    } - set(lines) <= {"/projected/token 120777 0 2000", "/config/deep/mode 440 0 2000"}
    assert sum("Read-only file system" in line for line in lines) == 5
    assert "CapBnd:\t0000000000000400" in lines
    assert "NoNewPrivs:\t1" in lines
    assert "Seccomp:\t2" in lines
    assert 'tier="front"' in lines
    assert "serve" in lines


def test_ends_are_told_by_code_reason_and_message(pods: Cluster) -> None:
    pods.kubectl("wait", "pod/ends", "--for=jsonpath={.status.phase}=Failed", "--timeout=40s")
    found = containers_of(pods, "ends")
    ends = {name: one["state"]["terminated"] for name, one in found.items()}
    assert {name: (one["exitCode"], one["reason"]) for name, one in ends.items()} == {
        "says": (0, "Completed"),
        "elsewhere": (0, "Completed"),
        "logs": (7, "Error"),
        "missing": (128, "StartError"),
        "hungry": (137, "OOMKilled"),
        "again": (0, "Completed"),
    }
    assert [ends[name]["message"] for name in ("says", "elsewhere", "logs")] == ["done", "there", "logged\n"]
    assert found["again"]["restartCount"] == 1
    assert found["again"]["lastState"]["terminated"]["exitCode"] == 42
    assert found["missing"]["lastState"] == {}


@pytest.mark.parametrize(
    ("pod", "reason"),
    [
        ("refused-profile", "AppArmor"),
        ("refused-groups", "SupplementalGroupsPolicyNotSupported"),
        ("refused-sysctl", "SysctlForbidden"),
        ("full", "Evicted"),
    ],
)
def test_what_the_node_cannot_give_ends_the_pod(pods: Cluster, pod: str, reason: str) -> None:
    wait_reason(pods, pod, reason)
    pods.kubectl("wait", f"pod/{pod}", "--for=jsonpath={.status.phase}=Failed", "--timeout=20s")


def test_a_container_that_cannot_run_says_why(pods: Cluster) -> None:
    pods.kubectl("wait", "pod/waits", "--for=jsonpath={.status.containerStatuses[3].state.waiting.message}")
    waiting = {name: one["state"]["waiting"] for name, one in containers_of(pods, "waits").items()}
    assert {name: one["reason"] for name, one in waiting.items()} == {
        "root": "CreateContainerConfigError",
        "recursive": "CreateContainerConfigError",
        "absent": "ErrImageNeverPull",
        "outside": "CreateContainerConfigError",
    }
    assert "container has runAsNonRoot and image will run as root" in waiting["root"]["message"]
    assert "recursive read-only" in waiting["recursive"]["message"]
    assert waiting["absent"]["message"].endswith("is not present with pull policy of Never")
    assert waiting["outside"]["message"].startswith("unable to provision SubPath `../x`")


def test_probes_decide_who_is_ready_and_who_is_restarted(pods: Cluster) -> None:
    pods.kubectl(
        "wait", "pod/probed", "--for=jsonpath={.status.containerStatuses[?(@.name=='stuck')].lastState.terminated}"
    )
    pods.kubectl("wait", "pod/probed", "--for=jsonpath={.status.containerStatuses[?(@.name=='ready')].ready}=true")
    found = containers_of(pods, "probed")
    assert (found["ready"]["ready"], found["ready"]["restartCount"]) == (True, 0)
    assert found["stuck"]["lastState"]["terminated"]["exitCode"] == 137
    assert (found["never"]["ready"], found["never"]["started"]) == (False, True)


def test_sidecars_start_first_and_stop_last(pods: Cluster) -> None:
    pods.kubectl("wait", "pod/ordered", "--for=condition=Ready", "--timeout=40s")
    node = pods.kubectl("get", "pod", "ordered", "-o", "jsonpath={.spec.nodeName}")
    pods.kubectl("delete", "pod", "ordered")
    reader = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader"},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "volumes": [{"name": "e", "hostPath": {"path": "/tmp/ordered"}}],
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "command": ["cat", "/e/log"],
                    "volumeMounts": [{"name": "e", "mountPath": "/e"}],
                }
            ],
        },
    }
    pods.kubectl("apply", "-f", "-", text=json.dumps(reader))
    lines = said(pods, "reader")
    assert sorted(lines[3:5]) == ["main", "started"]
    assert [*lines[:3], *lines[5:]] == ["first", "beside", "second", "stopping", "main-ends", "beside-ends"]


def test_the_kubelet_answers_who_may_ask(pods: Cluster) -> None:
    node = pods.kubectl("get", "pod", "probed", "-o", "jsonpath={.spec.nodeName}")
    proxy = f"/api/v1/nodes/{node}/proxy"
    assert '<a href="pods/">' in pods.kubectl("get", "--raw", f"{proxy}/logs/")
    assert "prober_probe_total" in pods.kubectl("get", "--raw", f"{proxy}/metrics/probes")
    assert "container_network_receive_bytes_total{" in pods.kubectl("get", "--raw", f"{proxy}/metrics/cadvisor")
    assert json.loads(pods.kubectl("get", "--raw", f"{proxy}/stats/summary"))["node"]["nodeName"] == node
    refused = pods.kubectl("get", "--raw", f"{proxy}/pods", "--as=nobody", may_fail=True)
    assert "Forbidden" in refused
