"""Where pods would go if a cluster were otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keelback.cli import main


def node(name: str) -> dict[str, Any]:
    status = {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "status": status}


def pod(name: str, node_name: str = "", *, cpu: str = "1", priority: int = 0, owner: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": "shop"}
    if owner:
        reference = {"apiVersion": "apps/v1", "kind": owner, "name": "x", "uid": "x", "controller": True}
        metadata["ownerReferences"] = [reference]
    container = {"name": "c", "image": "nginx", "resources": {"requests": {"cpu": cpu}}}
    spec = {"containers": [container], "nodeName": node_name, "priority": priority}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    items = [pod("web", "n1"), pod("agent", "n1", cpu="500m", owner="DaemonSet"), node("n1"), node("n2"), config_map]
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    return path


def simulate(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    code = main.main(["simulate", *map(str, arguments)])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_pods_of_a_drained_node_go_elsewhere_and_its_daemons_stay(cluster, capsys) -> None:
    assert simulate(capsys, "--cluster", cluster, "--drain", "n1") == (0, "shop/web -> n2\n")
    assert simulate(capsys, "--cluster", cluster) == (0, "No pod waits for a node.\n")


def test_added_pods_are_placed_and_those_that_do_not_fit_say_why(cluster, tmp_path, capsys) -> None:
    more = tmp_path / "more.json"
    more.write_text(json.dumps({"kind": "List", "items": [pod("a", cpu="2"), pod("b", cpu="2")]}))
    code, said = simulate(capsys, "--cluster", cluster, "--add", more)
    assert code == 1
    assert said.splitlines()[0] == "shop/a -> n2"
    assert said.splitlines()[1].startswith(
        "shop/b -> nowhere: 0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: "
    )
    assert simulate(capsys, "--cluster", cluster, "--add", more, "--cordon", "n2")[1].count("nowhere") == 2
    extra = tmp_path / "node.json"
    extra.write_text(json.dumps(node("n3")))
    assert simulate(capsys, "--cluster", cluster, "--add", more, "--add", extra)[0] == 0


def test_whom_a_pod_pushes_out_is_said(cluster, tmp_path, capsys) -> None:
    more = tmp_path / "more.json"
    more.write_text(json.dumps(pod("urgent", cpu="1500m", priority=10)))
    code, said = simulate(capsys, "--cluster", cluster, "--add", more, "--cordon", "n2")
    assert (code, said) == (0, "shop/urgent -> n1\n  preempts shop/web\n")


def test_pods_of_claim_templates_go_where_devices_are_left(tmp_path, capsys) -> None:
    resource = {"apiVersion": "resource.k8s.io/v1"}
    pool = {"name": "n2", "generation": 1, "resourceSliceCount": 1}
    offered = {"driver": "gpu.example.com", "nodeName": "n2", "pool": pool, "devices": [{"name": "gpu-0"}]}
    request = {"name": "gpu", "exactly": {"deviceClassName": "gpu"}}
    template = {"spec": {"devices": {"requests": [request]}}}
    items = [
        resource | {"kind": "ResourceSlice", "metadata": {"name": "s"}, "spec": offered},
        resource | {"kind": "DeviceClass", "metadata": {"name": "gpu"}, "spec": {}},
        resource
        | {"kind": "ResourceClaimTemplate", "metadata": {"name": "one", "namespace": "shop"}, "spec": template},
    ]
    for name in ("a", "b"):
        wanted = pod(name)
        wanted["spec"]["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": "one"}]
        wanted["spec"]["containers"][0]["resources"]["claims"] = [{"name": "gpu"}]
        items.append(wanted)
    path = tmp_path / "devices.json"
    path.write_text(json.dumps({"kind": "List", "items": [node("n1"), node("n2"), *items]}))
    code, said = simulate(capsys, "--cluster", path)
    assert code == 1
    assert said.splitlines()[0] == "shop/a -> n2"
    assert said.splitlines()[1].startswith("shop/b -> nowhere: 0/2 nodes are available: 2 cannot allocate all claims.")


def test_mistakes_are_said(cluster, tmp_path, capsys) -> None:
    assert simulate(capsys, "--cluster", cluster, "--drain", "n9") == (1, 'keelback: nodes "n9" not found\n')
    assert "No such file" in simulate(capsys, "--cluster", tmp_path / "none")[1]
