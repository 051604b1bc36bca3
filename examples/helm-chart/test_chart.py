"""A chart's objects in a cluster that runs them: they fit together, become ready, and survive a node's maintenance."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from keelback.apimachinery.errors import TooManyRequests

HERE = Path(__file__).parent


def test_what_is_kept_is_what_the_chart_renders():
    """Only where Helm is installed."""
    helm = shutil.which("helm")
    if helm is None:
        pytest.skip("helm is not installed")
    printed = subprocess.run([helm, "template", "shop", HERE / "chart"], capture_output=True, text=True, check=True)
    kept = yaml.safe_load_all((HERE / "rendered.yaml").read_text())
    assert list(filter(None, yaml.safe_load_all(printed.stdout))) == list(filter(None, kept))


def test_the_chart_becomes_ready(cluster):
    """Every object is accepted, and what the pods refer to is there."""
    applied = cluster.apply(HERE / "rendered.yaml")
    cluster.wait("deployment/shop", "Available")
    names = {(one["kind"], one["metadata"]["name"]) for one in applied}
    container = cluster.list("pods")[0]["spec"]["containers"][0]
    for source in container["envFrom"]:
        assert ("ConfigMap", source["configMapRef"]["name"]) in names


def test_a_node_may_be_drained(cluster):
    """The budget lets one pod go at a time, and so it lets somebody drain a node at all."""
    cluster.apply(HERE / "rendered.yaml")
    cluster.wait("deployment/shop", "status.readyReplicas=3")
    cluster.wait("poddisruptionbudget/shop", "status.disruptionsAllowed=1")
    first, second, _ = (pod["metadata"]["name"] for pod in cluster.list("pods"))
    evict(cluster, first)
    with pytest.raises(TooManyRequests, match="disruption budget"):
        evict(cluster, second)
    cluster.wait("poddisruptionbudget/shop", "status.disruptionsAllowed=1")
    evict(cluster, second)


def evict(cluster, name):
    """Ask for a pod to go, as `kubectl drain` does."""
    path = f"/api/v1/namespaces/default/pods/{name}/eviction"
    cluster.request("POST", path, body={"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})
