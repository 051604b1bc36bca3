"""How kubectl changes what there is: apply, edit, patch, set, scale, rollouts, deletion, kustomize."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from keelback.testing.commands import Cluster


def read(cluster: Cluster, what: str) -> Any:
    return json.loads(cluster.kubectl("get", what, "-o", "json"))


def config_map(name: str, labels: dict[str, str] | None = None, **data: str) -> str:
    metadata = {"name": name, **({"labels": labels} if labels else {})}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}) + "\n"


@pytest.fixture
def web(work: Cluster) -> Iterator[Cluster]:
    """A Deployment of two, available."""
    work.kubectl("create", "deployment", "web", "--image=example:1", "--replicas=2")
    work.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    yield work
    work.kubectl("delete", "deployment", "web", "--ignore-not-found")


def container(cluster: Cluster) -> Any:
    return read(cluster, "deployment/web")["spec"]["template"]["spec"]["containers"][0]


def test_apply_creates_changes_and_takes_away(work: Cluster) -> None:
    assert "created" in work.kubectl("apply", "-f", "-", text=config_map("applied", a="1", b="2"))
    assert "unchanged" in work.kubectl("apply", "-f", "-", text=config_map("applied", a="1", b="2"))
    work.kubectl("patch", "configmap", "applied", "--type=merge", "-p", '{"data":{"c":"3"}}')
    assert "configured" in work.kubectl("apply", "-f", "-", text=config_map("applied", a="9"))
    assert read(work, "configmap/applied")["data"] == {"a": "9", "c": "3"}
    assert '"a":"9"' in work.kubectl("apply", "view-last-applied", "configmap/applied", "-o", "json").replace(" ", "")
    work.kubectl("apply", "set-last-applied", "-f", "-", text=config_map("applied", c="3"))
    dry = work.kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", text=config_map("applied", d="4"))
    assert json.loads(dry)["data"] == {"a": "9", "d": "4"}


def test_apply_on_the_server_knows_who_owns_what(work: Cluster) -> None:
    server = ("apply", "--server-side", "-f", "-")
    assert "serverside-applied" in work.kubectl(*server, text=config_map("owned", a="1"))
    refused = work.kubectl(*server, "--field-manager=other", text=config_map("owned", a="2"), may_fail=True)
    assert 'conflict with "kubectl": .data.a' in refused
    work.kubectl(*server, "--field-manager=other", "--force-conflicts", text=config_map("owned", a="2"))
    managers = read(work, "configmap/owned")["metadata"].get("managedFields")
    assert managers is None  # get hides them unless asked
    shown = json.loads(work.kubectl("get", "configmap", "owned", "-o", "json", "--show-managed-fields"))
    assert {one["manager"] for one in shown["metadata"]["managedFields"]} == {"other"}
    work.kubectl("apply", "-f", "-", text=config_map("moved", a="1", b="2"))
    work.kubectl(*server, text=config_map("moved", a="1"))
    assert read(work, "configmap/moved")["data"] == {"a": "1"}


def test_apply_prunes_what_is_no_longer_said(work: Cluster) -> None:
    labels = {"pruned": "yes"}
    both = config_map("stays", labels) + "---\n" + config_map("goes", labels)
    prune = ("apply", "--prune", "-l", "pruned=yes", "--prune-allowlist=core/v1/ConfigMap", "-f", "-")
    work.kubectl(*prune, text=both)
    assert "configmap/goes pruned" in work.kubectl(*prune, text=config_map("stays", labels))
    assert work.kubectl("get", "configmaps", "-l", "pruned=yes", "-o", "name") == "configmap/stays\n"


def test_apply_prunes_by_an_apply_set(work: Cluster) -> None:
    own = replace(work, variables={"KUBECTL_APPLYSET": "true"})
    members = ("apply", "--prune", "--applyset=configmap/members", "-f", "-")
    own.kubectl(*members, text=config_map("first") + "---\n" + config_map("second"))
    assert "second pruned" in own.kubectl(*members, text=config_map("first"))
    assert "applyset.kubernetes.io/id" in read(work, "configmap/members")["metadata"]["labels"]


def test_diff_shows_what_would_change(work: Cluster) -> None:
    work.kubectl("apply", "-f", "-", text=config_map("compared", a="1"))
    assert work.kubectl("diff", "-f", "-", text=config_map("compared", a="1")) == ""
    shown = work.kubectl("diff", "-f", "-", text=config_map("compared", a="2"), may_fail=True)
    assert '-  a: "1"' in shown
    assert '+  a: "2"' in shown
    on_server = work.kubectl("diff", "--server-side", "-f", "-", text=config_map("new", a="2"), may_fail=True)
    assert "+kind: ConfigMap" in on_server


def test_edit_takes_what_the_editor_leaves(work: Cluster, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\npath = pathlib.Path(sys.argv[1])\n"
        "path.write_text(path.read_text().replace('before', 'after'))\n"
    )
    editor.chmod(0o755)
    own = replace(work, variables={"EDITOR": str(editor)})
    work.kubectl("create", "configmap", "edited", "--from-literal=a=before")
    assert "configmap/edited edited" in own.kubectl("edit", "configmap", "edited")
    assert read(work, "configmap/edited")["data"] == {"a": "after"}
    assert "no changes made" in own.kubectl("edit", "configmap", "edited", may_fail=True)


def test_patch_of_each_type_and_of_subresources(web: Cluster) -> None:
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "example", "args": ["-v"]}]}}}}
    web.kubectl("patch", "deployment", "web", "-p", json.dumps(strategic))
    assert container(web)["args"] == ["-v"]
    web.kubectl("patch", "deployment", "web", "--type=merge", "-p", '{"metadata":{"labels":{"tier":"front"}}}')
    test = {"op": "test", "path": "/metadata/labels/tier", "value": "front"}
    remove = {"op": "remove", "path": "/metadata/labels/tier"}
    wrong = json.dumps([{**test, "value": "back"}, remove])
    assert "patched" not in web.kubectl("patch", "deployment", "web", "--type=json", "-p", wrong, may_fail=True)
    assert read(web, "deployment/web")["metadata"]["labels"]["tier"] == "front"
    web.kubectl("patch", "deployment", "web", "--type=json", "-p", json.dumps([test, remove]))
    assert "tier" not in read(web, "deployment/web")["metadata"]["labels"]
    web.kubectl("patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":1}}')
    assert read(web, "deployment/web")["spec"]["replicas"] == 1
    assert "kind: Scale" in web.kubectl("get", "deployment", "web", "--subresource=scale", "-o", "yaml")
    web.kubectl("create", "quota", "reported", "--hard=pods=90")
    web.kubectl(
        "patch", "quota", "reported", "--subresource=status", "--type=merge", "-p", '{"status":{"hard":{"x/y":"1"}}}'
    )
    web.kubectl("delete", "quota", "reported")


def test_labels_and_annotations(web: Cluster) -> None:
    web.kubectl("label", "deployment", "web", "tier=front")
    assert "already has a value" in web.kubectl("label", "deployment", "web", "tier=back", may_fail=True)
    web.kubectl("label", "deployment", "web", "tier=back", "--overwrite", "--resource-version=" + version(web))
    assert "tier=back" in web.kubectl("label", "deployment", "web", "--list")
    web.kubectl("label", "pods", "-l", "app=web", "seen=yes")
    assert len(web.kubectl("get", "pods", "-l", "seen in (yes), app!=other", "-o", "name").split()) == 2
    web.kubectl("label", "deployment", "web", "tier-")
    web.kubectl("annotate", "deployment", "web", "note=one two", "other=x")
    web.kubectl("annotate", "deployment", "web", "other-")
    annotations = read(web, "deployment/web")["metadata"]["annotations"]
    assert (annotations["note"], "other" in annotations) == ("one two", False)


def version(cluster: Cluster) -> str:
    return str(read(cluster, "deployment/web")["metadata"]["resourceVersion"])


def test_set_changes_one_thing(web: Cluster) -> None:
    web.kubectl("set", "image", "deployment/web", "example=example:2")
    web.kubectl("create", "configmap", "variables", "--from-literal=FROM=map")
    web.kubectl("set", "env", "deployment/web", "A=1", "B=2")
    web.kubectl("set", "env", "deployment/web", "--from=configmap/variables", "B-")
    web.kubectl("set", "resources", "deployment/web", "--limits=cpu=200m,memory=64Mi", "--requests=cpu=100m")
    web.kubectl("create", "serviceaccount", "robot")
    web.kubectl("set", "serviceaccount", "deployment", "web", "robot")
    found = container(web)
    assert (found["image"], [one["name"] for one in found["env"]]) == ("example:2", ["A", "FROM"])
    assert found["resources"] == {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}
    assert "FROM" in web.kubectl("set", "env", "deployment/web", "--list", "--resolve")
    assert read(web, "deployment/web")["spec"]["template"]["spec"]["serviceAccountName"] == "robot"
    web.kubectl("expose", "deployment", "web", "--port=80")
    web.kubectl("set", "selector", "service", "web", "app=other")
    assert read(web, "service/web")["spec"]["selector"] == {"app": "other"}
    web.kubectl("create", "rolebinding", "viewers", "--clusterrole=view", "--user=jane")
    web.kubectl("set", "subject", "rolebinding", "viewers", "--user=joe", "--group=friends")
    assert [one["name"] for one in read(web, "rolebinding/viewers")["subjects"]] == ["jane", "joe", "friends"]
    web.kubectl("delete", "service/web", "rolebinding/viewers", "configmap/variables")


def test_scale_and_autoscale(web: Cluster) -> None:
    web.kubectl("scale", "deployment/web", "--replicas=4", "--current-replicas=2", "--timeout=30s")
    assert "Expected replicas" in web.kubectl(
        "scale", "deploy/web", "--replicas=1", "--current-replicas=9", may_fail=True
    )
    web.kubectl("wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=4", "--timeout=30s")
    web.kubectl("create", "-f", "-", text=json.dumps(replication_controller()))
    web.kubectl("scale", "rc/old", "--replicas=2")
    web.kubectl("wait", "rc/old", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=30s")
    web.kubectl("delete", "rc/old")
    web.kubectl("autoscale", "deployment", "web", "--min=2", "--max=5", "--cpu=80%")
    spec = read(web, "hpa/web")["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)
    assert spec["metrics"][0]["resource"]["target"]["averageUtilization"] == 80
    web.kubectl("delete", "hpa", "web")


def replication_controller() -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "old"}}, "spec": {"containers": [{"name": "c", "image": "example"}]}}
    spec = {"replicas": 1, "selector": {"app": "old"}, "template": template}
    return {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "old"}, "spec": spec}


def test_rollouts_of_a_deployment(web: Cluster) -> None:
    web.kubectl("rollout", "pause", "deployment/web")
    web.kubectl("set", "image", "deployment/web", "example=example:2")
    web.kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=second image")
    assert "can't restart paused deployment" in web.kubectl("rollout", "restart", "deployment/web", may_fail=True)
    web.kubectl("rollout", "resume", "deployment/web")
    assert "successfully rolled out" in web.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert "second image" in web.kubectl("rollout", "history", "deployment/web")
    assert "example:1" in web.kubectl("rollout", "history", "deployment/web", "--revision=1")
    web.kubectl("rollout", "undo", "deployment/web")
    web.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert container(web)["image"] == "example:1"
    web.kubectl("rollout", "undo", "deployment/web", "--to-revision=2")
    web.kubectl("rollout", "restart", "deployment/web")
    web.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    template = read(web, "deployment/web")["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    assert container(web)["image"] == "example:2"


@pytest.mark.parametrize("kind", ["DaemonSet", "StatefulSet"])
def test_rollouts_of_daemon_and_stateful_sets(work: Cluster, kind: str) -> None:
    name = f"{kind.lower()}/rolled"
    template = {"metadata": {"labels": {"app": kind}}, "spec": {"containers": [{"name": "c", "image": "example:1"}]}}
    spec = {"selector": {"matchLabels": {"app": kind}}, "template": template}
    if kind == "StatefulSet":
        spec["serviceName"] = "rolled"
    made = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "rolled"}, "spec": spec}
    work.kubectl("create", "-f", "-", text=json.dumps(made))
    work.kubectl("rollout", "status", name, "--timeout=30s")
    work.kubectl("set", "image", name, "c=example:2")
    work.kubectl("rollout", "status", name, "--timeout=30s")
    assert "example:1" in work.kubectl("rollout", "history", name, "--revision=1")
    work.kubectl("rollout", "undo", name)
    work.kubectl("rollout", "status", name, "--timeout=30s")
    assert read(work, name)["spec"]["template"]["spec"]["containers"][0]["image"] == "example:1"
    work.kubectl("rollout", "restart", name)
    work.kubectl("delete", name, "--timeout=30s")


def test_replace_of_a_version_and_by_force(work: Cluster) -> None:
    work.kubectl("create", "-f", "-", text=config_map("replaced", a="1"))
    found = read(work, "configmap/replaced")
    work.kubectl("replace", "-f", "-", text=config_map("replaced", b="2"))
    assert read(work, "configmap/replaced")["data"] == {"b": "2"}
    assert "Conflict" in work.kubectl("replace", "-f", "-", text=json.dumps(found), may_fail=True)
    work.kubectl("replace", "--force", "-f", "-", text=config_map("replaced", c="3"))
    assert read(work, "configmap/replaced")["metadata"]["uid"] != found["metadata"]["uid"]


@pytest.mark.parametrize("cascade", ["background", "foreground", "orphan"])
def test_delete_with_each_cascade(web: Cluster, cascade: str) -> None:
    web.kubectl("delete", "deployment", "web", f"--cascade={cascade}", "--timeout=30s")
    left = ("replicasets", "-l", "app=web")
    if cascade == "orphan":
        assert "ownerReferences" not in json.loads(web.kubectl("get", *left, "-o", "json"))["items"][0]["metadata"]
        web.kubectl("delete", *left, "--timeout=30s")
    elif cascade == "foreground":
        assert web.kubectl("get", *left, "-o", "name") == ""
    web.kubectl("wait", "pods", "-l", "app=web", "--for=delete", "--timeout=30s")


def test_delete_by_selector_all_and_dry(work: Cluster) -> None:
    for name in ("a", "b", "c"):
        work.kubectl(
            "create",
            "-f",
            "-",
            text=json.dumps(
                {
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": name, "labels": {"name": name}},
                }
            ),
        )
    assert "(server dry run)" in work.kubectl("delete", "leases", "--all", "--dry-run=server")
    work.kubectl("delete", "leases", "-l", "name in (a)")
    work.kubectl("delete", "lease", "b", "--wait=false", "--now")
    assert "NotFound" in work.kubectl("delete", "lease", "b", may_fail=True)
    work.kubectl("delete", "leases", "--field-selector=metadata.name=absent")
    assert work.kubectl("get", "leases", "-o", "name") == "lease.coordination.k8s.io/c\n"
    work.kubectl("delete", "leases", "--all")
    assert work.kubectl("get", "leases", "-o", "name") == ""
    work.kubectl("run", "forced", "--image=example")
    work.kubectl("delete", "pod", "forced", "--force", "--grace-period=0", "--timeout=10s")


def test_kustomize_builds_and_applies(work: Cluster, tmp_path: Path) -> None:
    base, overlay = tmp_path / "base", tmp_path / "overlay"
    base.mkdir()
    overlay.mkdir()
    deployment = work.kubectl("create", "deployment", "built", "--image=example", "--dry-run=client", "-o", "yaml")
    (base / "deployment.yaml").write_text(deployment)
    (base / "kustomization.yaml").write_text("resources: [deployment.yaml]\n")
    (overlay / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "resources": ["../base"],
                "namePrefix": "my-",
                "namespace": work.namespace,
                "labels": [{"pairs": {"built": "yes"}}],
                "images": [{"name": "example", "newTag": "7"}],
                "configMapGenerator": [{"name": "settings", "literals": ["a=b"]}],
                "secretGenerator": [{"name": "keys", "literals": ["k=v"]}],
                "patches": [
                    {"target": {"kind": "Deployment"}, "patch": "- {op: replace, path: /spec/replicas, value: 2}"}
                ],
            }
        )
    )
    assert "newTag" not in work.kubectl("kustomize", str(overlay))
    assert work.kubectl("apply", "-k", str(overlay)).count("created") == 3
    work.kubectl("rollout", "status", "deployment/my-built", "--timeout=30s")
    spec = read(work, "deployment/my-built")["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (2, "example:7")
    assert work.kubectl("get", "configmaps", "-l", "built=yes", "-o", "name").startswith("configmap/my-settings-")
    assert work.kubectl("diff", "-k", str(overlay)) == ""
    work.kubectl("delete", "-k", str(overlay), "--timeout=30s")
