"""A cluster whose time goes a hundred times as fast, and whose pods go through Stages, by the real command."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keelback.testing.commands import Cluster

STAGES = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: pod-begin}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchExpressions: [{key: .status.podIP, operator: DoesNotExist}]}
  delay: {durationMilliseconds: 30000}
  next:
    statusTemplate: |
      phase: Succeeded
      podIP: {{ PodIPWith .spec.nodeName false .metadata.uid | Quote }}
      startTime: {{ Now | Quote }}
"""
MINUTELY = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "minutely"},
    "spec": {
        "schedule": "* * * * *",
        "jobTemplate": {
            "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
        },
    },
}


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(f"fast-{os.getpid()}", tmp_path)
    try:
        yield made
    finally:
        made.keelback("down")


def test_minutes_pass_in_seconds_for_all_that_keeps_time(fast: Cluster, tmp_path: Path) -> None:
    (tmp_path / "stages.yaml").write_text(STAGES)
    began = datetime.now(UTC)
    fast.keelback("up", "--simulated", "--nodes", "3", "--speed", "100x", "--stages", str(tmp_path / "stages.yaml"))
    fast.kubectl("apply", "-f", "-", text=json.dumps(MINUTELY))
    succeeded = "--for=jsonpath={.status.lastSuccessfulTime}"
    fast.kubectl("wait", "cronjob/minutely", succeeded, "--timeout=60s")
    job = json.loads(fast.kubectl("get", "jobs", "-o", "json"))["items"][0]
    started, completed = (datetime.fromisoformat(job["status"][key]) for key in ("startTime", "completionTime"))
    assert timedelta(seconds=29) <= completed - started
    assert "Ready" in fast.kubectl("get", "node", "node-2")
    fast.keelback("down", "--keep-data")
    fast.keelback("up")
    lease = fast.kubectl("get", "lease", "-n", "kube-node-lease", "node-0", "-o", "jsonpath={.spec.renewTime}")
    shown, passed = datetime.fromisoformat(lease) - began, datetime.now(UTC) - began
    assert 10 < shown / passed <= 100, "the same clock goes on"
