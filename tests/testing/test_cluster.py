"""A whole cluster in the test's process: what a newcomer does first, and what only virtual time makes possible."""

from __future__ import annotations

import base64
import gc
import http.client
import json
import os
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from keelback.apimachinery.errors import NotFound
from keelback.testing.cluster import Cluster, NotReached

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "registry.example/web:1"}]
"""
WIDGETS = """
apiVersion: example.com/v1
kind: Widget
metadata: {name: first}
spec: {size: 3}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties: {spec: {type: object, properties: {size: {type: integer}}}}
"""


def job(name: str, **spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "work", "image": "registry.example/work:1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": pod}, **spec},
    }


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    with Cluster() as made:
        yield made


def test_a_deployment_becomes_available(cluster: Cluster) -> None:
    cluster.apply(WEB)
    cluster.wait("deployment/web", "Available")
    pods = cluster.list("pods", label_selector="app=web")
    assert [pod["status"]["phase"] for pod in pods] == ["Running"] * 3
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 3
    assert "ScalingReplicaSet" in [event["reason"] for event in cluster.events("deployment/web")]


def test_a_folder_is_applied_with_definitions_before_what_they_define(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "widgets.yaml").write_text(WIDGETS)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "web.yaml").write_text(WEB)
    cluster.apply(tmp_path)
    assert cluster.get("wd/first")["spec"] == {"size": 3}
    assert cluster.get("deployments.apps/web")["spec"]["replicas"] == 3


def test_objects_are_patched_scaled_and_deleted(cluster: Cluster) -> None:
    cluster.apply(WEB)
    cluster.patch("deploy/web", {"spec": {"replicas": 1}}, subresource="scale")
    cluster.wait("deploy/web", "status.readyReplicas=1")
    cluster.delete("deploy/web", propagation_policy="Foreground")
    cluster.wait("deploy/web", "deleted")
    assert cluster.list("pods") == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_cron_jobs_nights_pass_while_one_waits() -> None:
    cron_job = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "nightly"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": job("")["spec"]}, "successfulJobsHistoryLimit": 100},
    }
    with Cluster(nodes=1, heartbeat_seconds=3600) as cluster:
        cluster.apply(cron_job)
        cluster.advance(days=3)
        finished = cluster.list("jobs")
        assert len(finished) == 3
        assert {one["status"]["succeeded"] for one in finished} == {1}
        assert {one["status"]["startTime"][11:] for one in finished} == {"03:00:00Z"}


def test_a_job_goes_when_its_time_to_live_is_over(cluster: Cluster) -> None:
    cluster.apply(job("brief", ttlSecondsAfterFinished=3600))
    cluster.wait("job/brief", "Complete")
    cluster.advance(minutes=59)
    assert cluster.get("job/brief")
    cluster.advance(minutes=2)
    with pytest.raises(NotFound):
        cluster.get("job/brief")


def test_pods_of_a_node_that_is_cut_off_are_evicted_after_five_minutes(cluster: Cluster) -> None:
    cluster.apply(WEB)
    cluster.wait("deployment/web", "Available")
    pod = cluster.list("pods")[0]
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    cluster.disconnect(node)
    cut_off_at = cluster.now
    cluster.wait(f"node/{node}", "Ready=Unknown")
    assert timedelta(seconds=40) <= cluster.now - cut_off_at <= timedelta(seconds=60)
    unknown_at = cluster.now
    cluster.wait(f"pod/{name}", lambda tree: "deletionTimestamp" in tree["metadata"], timeout=600)
    assert timedelta(minutes=5) <= cluster.now - unknown_at <= timedelta(minutes=5, seconds=10)
    cluster.wait("deployment/web", "status.readyReplicas=3")
    cluster.connect(node)
    cluster.wait(f"node/{node}", "Ready")
    cluster.wait(f"pod/{name}", "deleted")


def test_what_does_not_come_is_told_with_its_reasons(cluster: Cluster) -> None:
    pod: dict[str, Any] = yaml.safe_load(WEB)["spec"]["template"]
    pod["spec"]["nodeSelector"] = {"disk": "fast"}
    cluster.apply({"apiVersion": "v1", "kind": "Pod", **pod, "metadata": {"name": "picky"}})
    with pytest.raises(NotReached) as told:
        cluster.wait("pod/picky", "Ready", timeout=30)
    text = str(told.value)
    assert "pod/picky: no Ready after 30 seconds" in text
    assert "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector" in text
    assert "create /api/v1/namespaces/default/pods" not in text  # it was applied: a patch
    assert "patch /api/v1/namespaces/default/pods/picky by keelback-test" in text


def test_a_snapshot_brings_everything_back_its_time_too(cluster: Cluster) -> None:
    cluster.apply(WEB)
    cluster.wait("deployment/web", "Available")
    before, then = cluster.snapshot(), cluster.now
    uid = cluster.get("deployment/web")["metadata"]["uid"]
    cluster.delete("deployment/web")
    cluster.advance(hours=1)
    assert cluster.list("pods") == []
    for _ in range(2):
        cluster.restore(before)
        assert cluster.now == then
        assert cluster.get("deployment/web")["metadata"]["uid"] == uid
        cluster.patch("deployment/web", {"spec": {"replicas": 5}})
        cluster.wait("deployment/web", "status.readyReplicas=5")


def test_the_same_seed_gives_the_same_history_in_another_process_elsewhere(tmp_path: Path) -> None:
    program = (
        "from keelback.testing.cluster import Cluster\n"
        "with Cluster(seed={seed}) as cluster:\n"
        "    cluster.apply({web!r})\n"
        "    cluster.wait('deployment/web', 'Available')\n"
        "    cluster.disconnect('node-1')\n"
        "    cluster.advance(minutes=10)\n"
        "    print(cluster.history())\n"
    )

    def history(seed: int, hash_seed: str, **elsewhere: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", program.format(seed=seed, web=WEB)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, **elsewhere},
            cwd=tmp_path if elsewhere else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout

    elsewhere = {"TZ": "Asia/Kathmandu", "LC_ALL": "POSIX", "PYTHONUTF8": "0", "HOSTNAME": "elsewhere"}
    first, again, other = history(1, "1"), history(1, "2", **elsewhere), history(2, "1")
    assert first.splitlines() == again.splitlines()
    assert first != other


def test_clients_of_any_kind_reach_it_by_its_kubeconfig(shared: Cluster) -> None:
    config = yaml.safe_load(shared.kubeconfig().read_text())
    authority = config["clusters"][0]["cluster"]["certificate-authority-data"]
    server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
    context = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    request = urllib.request.Request(f"{server}/api/v1/nodes", headers={"authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, context=context, timeout=10) as response:
        assert len(json.load(response)["items"]) == 3


class Operator(threading.Thread):
    """A controller outside, which lives in real time: it answers each ConfigMap `question` with one `answer`."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self.ready = threading.Event()
        authority = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        self._server = config["clusters"][0]["cluster"]["server"].removeprefix("https://")
        self._context = ssl.create_default_context(cadata=authority)
        self._connection = self._connect()
        self._headers = {"authorization": f"Bearer {config['users'][0]['user']['token']}"}

    def _connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._server, context=self._context, timeout=30)

    def run(self) -> None:
        maps = "/api/v1/namespaces/default/configmaps"
        watch = f"{maps}?watch=1&fieldSelector=metadata.name%3Dquestion"
        self._connection.request("GET", watch, headers=self._headers)
        events = self._connection.getresponse()
        self.ready.set()
        events.readline()
        answering = self._connect()
        body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "answer"}})
        answering.request("POST", maps, body, {**self._headers, "content-type": "application/json"})
        answering.getresponse().read()
        answering.close()
        self._connection.close()


def test_who_is_connected_gets_to_act_before_time_goes_on(cluster: Cluster) -> None:
    operator = Operator(yaml.safe_load(cluster.kubeconfig().read_text()))
    operator.start()
    assert operator.ready.wait(10)
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "question"}})
    cluster.wait("configmap/answer", "exists")
    operator.join(10)
    assert not operator.is_alive()


def test_an_api_server_alone_leaves_objects_as_they_are(api_cluster: Cluster) -> None:
    api_cluster.apply(WEB)
    api_cluster.advance(hours=1)
    assert api_cluster.list("replicasets") == []
    assert api_cluster.list("nodes") == []


@pytest.mark.parametrize("version", ["1.28", "1.32", "1.37"])
def test_a_cluster_works_in_any_version(version: str) -> None:
    with Cluster(kubernetes_version=version, nodes=1) as cluster:
        cluster.apply(WEB)
        cluster.wait("deployment/web", "Available")
        assert {one["status"]["nodeInfo"]["kubeletVersion"] for one in cluster.list("nodes")} == {f"v{version}.0"}
        # Nobody looks for what this version does not have.
        assert [one for one in cluster.requests if one.verb == "list" and one.status == 404] == []


def test_a_newer_version_goes_on_with_what_an_older_one_stored() -> None:
    with Cluster(kubernetes_version="1.28", nodes=1) as old:
        old.apply(WEB)
        old.wait("deployment/web", "Available")
        stored = old.snapshot()
    new = Cluster(kubernetes_version="1.36", nodes=1).start(stored)
    try:
        new.advance(minutes=2)
        assert new.get("deployment/web")["status"]["availableReplicas"] == 3
        new.patch("deployment/web", {"spec": {"replicas": 4}})
        new.wait("deployment/web", lambda web: web["status"].get("availableReplicas") == 4)
        assert [one["status"]["nodeInfo"]["kubeletVersion"] for one in new.list("nodes")] == ["v1.36.0"]
        services = {one["metadata"]["name"] for one in new.list("apiservices")}
        assert "v1.flowcontrol.apiserver.k8s.io" in services
        assert "v1beta3.flowcontrol.apiserver.k8s.io" not in services
        assert len(new.list("servicecidrs")) == 1
    finally:
        new.stop()


def test_a_version_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.27: there is 1\.28, .*1\.37"):
        Cluster(kubernetes_version="1.27")


def test_a_start_lets_the_garbage_collector_leave_alone_what_has_been_imported() -> None:
    with Cluster(controllers=False):
        assert gc.get_freeze_count() > 10_000


def test_what_a_deployment_comes_to_is_written_once_for_each_state() -> None:
    with Cluster() as cluster:
        recording = cluster.record()
        cluster.apply(WEB)
        cluster.wait("deployment/web", "Available")
        cluster.advance(seconds=5)
        written = [
            one.after for one in recording.writes if one.resource in ("replicasets", "deployments") and one.after
        ]
        sets, rollouts = ([one for one in written if one["kind"] == kind] for kind in ("ReplicaSet", "Deployment"))
        assert [one["status"]["replicas"] for one in sets] == [0, 3, 3], "made, its pods made, all of them ready"
        assert [one["status"].get("readyReplicas", 0) for one in rollouts] == [0, 0, 0, 3]
        assert "deployment.kubernetes.io/revision" not in rollouts[0]["metadata"].get("annotations", {})
        assert {one["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for one in rollouts[1:]} == {"1"}
        assert {one["metadata"]["generation"] for one in rollouts} == {1}
