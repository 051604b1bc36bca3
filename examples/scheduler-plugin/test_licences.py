"""Where pods with a licence go, and what is said of the one that is too many."""

from pathlib import Path

import pytest
from licences import Licences

CONFIGURATION = (Path(__file__).parent / "scheduler.yaml").read_text()


def pod(name):
    """One that needs a licence."""
    containers = [{"name": "solver", "image": "registry.example/solver:1"}]
    metadata = {"name": name, "labels": {"licence": "solver"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


@pytest.mark.keelback(nodes=2, scheduler_configuration=CONFIGURATION, scheduler_plugins={"Licences": Licences})
def test_two_licences_a_node(cluster):
    """The fifth pod waits until one of the others is gone."""
    for number in range(5):
        cluster.apply(pod(f"solver-{number}"))
    nodes = [one["spec"].get("nodeName") for one in cluster.list("pods")]
    assert sorted(nodes[:4]) == ["node-0", "node-0", "node-1", "node-1"]
    [why] = [event["message"] for event in cluster.events("solver-4") if event["reason"] == "FailedScheduling"]
    assert why.startswith("0/2 nodes are available: 2 node(s) had no licence left.")
    cluster.delete("pod/solver-0")
    cluster.wait("pod/solver-4", "Ready")
