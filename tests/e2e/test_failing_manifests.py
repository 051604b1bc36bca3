"""Manifests that cannot run, on real containers: what `kubectl describe` tells of why."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keelback.testing.commands import Cluster

pytestmark = pytest.mark.containers

IMAGE = "localhost/keelback-sample:latest"
_WAITING = "{.status.containerStatuses[0].state.waiting.reason}"
_LAST = "{.status.containerStatuses[0].lastState.terminated.reason}"


def _pod(name: str, **container: Any) -> str:
    spec = {"containers": [{"name": "main", "image": IMAGE, **container}]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


@pytest.mark.parametrize(
    ("container", "path", "reason", "told"),
    [
        (
            {"image": "localhost/not-there:1"},
            _WAITING,
            "ImagePullBackOff",
            ('Failed to pull image "localhost/not-there:1"', "Error: ErrImagePull", "Back-off pulling image"),
        ),
        (
            {"image": "bad image"},
            _WAITING,
            "InvalidImageName",
            ('couldn\'t parse image name "bad image": invalid reference format', "Error: InvalidImageName"),
        ),
        (
            {"command": ["/nope"]},
            _LAST,
            "StartError",
            ("Error: failed to create containerd task", "/nope", "Exit Code:    128"),
        ),
        (
            {
                "command": ["sh", "-c", "head -c 100000000 /dev/zero | tail"],
                "resources": {"limits": {"memory": "20Mi"}},
            },
            _LAST,
            "OOMKilled",
            ("OOMKilled", "Exit Code:    137"),
        ),
        (
            {"envFrom": [{"configMapRef": {"name": "gone"}}]},
            _WAITING,
            "CreateContainerConfigError",
            ('Error: configmap "gone" not found',),
        ),
    ],
    ids=["missing-image", "bad-image-name", "bad-command", "out-of-memory", "missing-config-map"],
)
def test_a_pod_that_cannot_run_shows_why(
    shared_containers: Cluster, container: dict[str, Any], path: str, reason: str, told: tuple[str, ...]
) -> None:
    shared_containers.kubectl("apply", "-f", "-", text=_pod("failing", **container))
    try:
        shared_containers.kubectl("wait", "pod/failing", f"--for=jsonpath={path}={reason}", "--timeout=60s")
        described = shared_containers.kubectl("describe", "pod", "failing")
        assert [one for one in told if one not in described] == [], described
    finally:
        shared_containers.kubectl("delete", "pod", "failing", "--grace-period=1")


def test_a_pod_that_fits_nowhere_shows_why(shared_containers: Cluster) -> None:
    requests = {"resources": {"requests": {"cpu": "1000"}}}
    shared_containers.kubectl("apply", "-f", "-", text=_pod("large", **requests))
    try:
        reason = '{.status.conditions[?(@.type=="PodScheduled")].reason}'
        shared_containers.kubectl("wait", "pod/large", f"--for=jsonpath={reason}=Unschedulable", "--timeout=30s")
        described = shared_containers.kubectl("describe", "pod", "large")
        assert "FailedScheduling" in described
        assert "0/2 nodes are available: 2 Insufficient cpu." in described
    finally:
        shared_containers.kubectl("delete", "pod", "large")
