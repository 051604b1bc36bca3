"""What the conformance suite demands of volumes, on real containers: what is in the files, their modes, and what
becomes of them when their source changes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from keelback.testing.commands import Cluster

pytestmark = pytest.mark.containers

IMAGE = "localhost/keelback-sample:latest"
LIST_FILES = (
    "cd /v; find -L . -type f ! -path '*/..*' | sort | while read f; do"
    " echo \"$f $(stat -L -c '%a' $f) $(base64 -w0 $f 2>/dev/null)\"; done"
)
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "again": {},
    "mode": {"defaultMode": 0o400},
    "mapped": {"items": [{"key": "data-2", "path": "path/to/data-2"}]},
    "item-mode": {"items": [{"key": "data-2", "path": "path/to/data-2", "mode": 0o400}]},
    "group-mode": {"defaultMode": 0o440},
}
FILES = {
    "plain/data-1": "644 value-1",
    "plain/data-2": "644 value-2",
    "again/data-1": "644 value-1",
    "again/data-2": "644 value-2",
    "mode/data-1": "400 value-1",
    "mode/data-2": "400 value-2",
    "mapped/path/to/data-2": "644 value-2",
    "item-mode/path/to/data-2": "400 value-2",
    "group-mode/data-1": "440 value-1",
    "group-mode/data-2": "440 value-2",
}
"""Of each form: mode and content."""

RUN_ON = ("absolute", "outside", "later", "changing")
"""The pods that do not end by themselves."""

SUCCEEDED = "--for=jsonpath={.status.phase}=Succeeded"

Tree = dict[str, Any]


def pod(name: str, containers: list[Tree], volumes: list[Tree], **spec: Any) -> Tree:
    """A pod whose containers run a shell script each, all volumes being mounted below /v unless they say otherwise."""
    metadata = {"name": name, "labels": {"tier": "front"}, "annotations": {"note": "some words"}}
    mounts = [{"name": one["name"], "mountPath": f"/v/{one['name']}"} for one in volumes]
    made = [{"image": IMAGE, "volumeMounts": mounts} | one for one in containers]
    spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1} | spec
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": spec | {"containers": made, "volumes": volumes},
    }


def shell(name: str, script: str, **fields: Any) -> Tree:
    return {"name": name, "command": ["sh", "-c", script], **fields}


def source(kind: str, name: str, *, is_projected: bool, **form: Any) -> Tree:
    """A volume's source: a ConfigMap or Secret, alone or as the one source of a projected volume."""
    if not is_projected:
        return {kind: {"name" if kind == "configMap" else "secretName": name, **form}}
    mode = {"defaultMode": form.pop("defaultMode")} if "defaultMode" in form else {}
    return {"projected": {**mode, "sources": [{kind: {"name": name, **form}}]}}


def form_volumes(kind: str, *, is_projected: bool) -> list[Tree]:
    return [
        {"name": name, **source(kind, "settings", is_projected=is_projected, **form)} for name, form in FORMS.items()
    ]


def about(container: str, *names: str) -> list[Tree]:
    """Downward items of a container's resources."""
    return [
        {"path": f"{container}-{name}", "resourceFieldRef": {"containerName": container, "resource": name}}
        for name in names
    ]


FIELDS: list[Tree] = [
    {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
    {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
    {"path": "mode", "mode": 0o400, "fieldRef": {"fieldPath": "metadata.name"}},
]
AMOUNTS = ("limits.cpu", "limits.memory", "requests.cpu", "requests.memory")


def downward(items: list[Tree], *, is_projected: bool, **mode: Any) -> Tree:
    if is_projected:
        return {"projected": {**mode, "sources": [{"downwardAPI": {"items": items}}]}}
    return {"downwardAPI": {"items": items, **mode}}


def downward_pod(name: str, *, is_projected: bool) -> Tree:
    items = [*FIELDS, *about("limited", *AMOUNTS), *about("unlimited", "limits.cpu", "limits.memory")]
    volumes = [
        {"name": "all", **downward(items, is_projected=is_projected)},
        {"name": "closed", **downward(FIELDS[:1], is_projected=is_projected, defaultMode=0o400)},
    ]
    resources = {"limits": {"cpu": "2", "memory": "64Mi"}, "requests": {"cpu": "1", "memory": "32Mi"}}
    return pod(name, [shell("limited", LIST_FILES, resources=resources), shell("unlimited", "true")], volumes)


def combined_pod() -> Tree:
    sources = [
        {"configMap": {"name": "settings", "items": [{"key": "data-1", "path": "config-map"}]}},
        {"secret": {"name": "settings", "items": [{"key": "data-2", "path": "secret"}]}},
        {"downwardAPI": {"items": [FIELDS[0], *about("main", *AMOUNTS)]}},
    ]
    resources = {"limits": {"cpu": "1", "memory": "16Mi"}, "requests": {"cpu": "1", "memory": "8Mi"}}
    volume = {"name": "all", "projected": {"sources": sources}}
    return pod("combined", [shell("main", LIST_FILES, resources=resources)], [volume])


def empty_pod() -> Tree:
    """Files of each mode in directories of each medium, made by root and by another, read by the other container."""
    media = ("", "Memory")
    volumes = [{"name": medium.lower() or "default", "emptyDir": {"medium": medium}} for medium in media]
    script = (
        "cd /v; for d in default memory; do"
        ' echo "$d $(stat -c %a $d) $(stat -f -c %T $d)";'
        " for m in 644 666 777; do f=$d/$(id -u)-$m; echo content > $f; chmod $m $f;"
        ' echo "$f $(stat -c %a $f) $(cat $f)"; done; done;'
        " touch default/$(id -u)-done;"
    )
    waits = "until [ -e default/0-done ] && [ -e default/1001-done ]; do sleep 0.1; done; cat default/*-644"
    return pod(
        "empty",
        [shell("root", script + waits), shell("user", script + waits, securityContext={"runAsUser": 1001})],
        volumes,
    )


def sub_path_pod() -> Tree:
    """Single files of volumes that are written as a whole, one of them where the image has a file already."""
    volumes = [
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "secret", "secret": {"secretName": "settings"}},
        {"name": "projected", **source("configMap", "settings", is_projected=True)},
        {"name": "downward", **downward(FIELDS[:1], is_projected=False)},
        {"name": "work", "emptyDir": {}},
    ]
    files = {"config": "data-1", "secret": "data-1", "projected": "data-2", "downward": "name"}
    mounts = [{"name": name, "subPath": path, "mountPath": f"/f/{name}"} for name, path in files.items()]
    over = {"name": "config", "subPath": "data-2", "mountPath": "/etc/httpd.conf"}
    env = [
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "TIER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['tier']"}}},
    ]
    expanded = {"name": "work", "subPathExpr": "$(TIER)/$(NAME)", "mountPath": "/logs"}
    whole = {"name": "work", "mountPath": "/whole"}
    read = 'for f in /f/*; do echo "$f $(cat $f)"; done; echo "over $(cat /etc/httpd.conf)"; echo hi > /logs/test.log'
    look = "until cat /whole/front/sub-paths/test.log 2>/dev/null; do sleep 0.1; done"
    return pod(
        "sub-paths",
        [
            shell("reader", read, volumeMounts=[*mounts, over, expanded], env=env),
            shell("looker", look, volumeMounts=[whole]),
        ],
        volumes,
    )


def expanding_pod(name: str, value: Tree, expression: str = "$(PLACE)") -> Tree:
    """A pod that mounts a directory of its volume that a variable names."""
    container = {
        "name": "main",
        "command": ["sleep", "1000"],
        "env": [{"name": "PLACE", **value}],
        "volumeMounts": [
            {"name": "work", "mountPath": "/whole"},
            {"name": "work", "mountPath": "/place", "subPathExpr": expression},
        ],
    }
    return pod(name, [container], [{"name": "work", "emptyDir": {}}])


def from_annotation(name: str) -> Tree:
    return {"valueFrom": {"fieldRef": {"fieldPath": f"metadata.annotations['{name}']"}}}


CHANGING = ("configMap", "secret")


def changing_pod() -> Tree:
    """A pod that says what its volumes show, each time that this has changed, until the last change has come."""
    volumes = []
    for kind in CHANGING:
        for is_projected in (False, True):
            prefix = f"{kind}-{'projected' if is_projected else 'alone'}".lower()
            optional = {"optional": True}
            for name, form in (("changes", {}), ("comes", optional), ("goes", optional)):
                shown = source(kind, name, is_projected=is_projected, **form)
                volumes.append({"name": f"{prefix}-{name}", **shown})
    for is_projected in (False, True):
        name = f"about-{'projected' if is_projected else 'alone'}"
        volumes.append({"name": name, **downward(FIELDS[1:3], is_projected=is_projected)})
    script = (
        f"show() {{ {LIST_FILES}; }}; ended() {{ ls *-goes/key; grep -L new *-changes/key;"
        " grep -L ^more=.added about-*/*; for d in *-comes; do [ -e $d/key ] || echo $d; done; } 2>/dev/null;"
        ' show; echo; touch /tmp/said; cd /v; until [ -z "$(ended)" ]; do sleep 0.2; done; show'
    )
    probe = {"exec": {"command": ["cat", "/tmp/said"]}, "periodSeconds": 1}
    return pod("changing", [shell("main", script, readinessProbe=probe)], volumes)


def many_pods() -> list[Tree]:
    """Five pods, each of which mounts the same fifty ConfigMaps."""
    volumes = [{"name": f"many-{number}", "configMap": {"name": f"many-{number}"}} for number in range(50)]
    count = shell("main", "cat /v/*/key | sort | uniq -c")
    return [pod(f"many-{number}", [count], volumes) for number in range(5)]


def config_map(name: str, data: dict[str, str], **fields: Any) -> Tree:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data, **fields}


def secret(name: str, data: dict[str, str], **metadata: str) -> Tree:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **metadata}, "stringData": data}


def manifest() -> list[Tree]:
    settings = {"data-1": "value-1", "data-2": "value-2"}
    user = {"securityContext": {"runAsUser": 1000}}
    group = {"securityContext": {"runAsUser": 1000, "fsGroup": 1001}}
    made = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "volumes-elsewhere"}},
        config_map("settings", settings),
        secret("settings", settings),
        secret("settings", {"data-1": "of another"}, namespace="volumes-elsewhere"),
        config_map("binary", {"text": "value-1"}, binaryData={"bytes": "3hkzzP8A"}),
        *(config_map(f"many-{number}", {"key": "value\n"}) for number in range(50)),
        *(make(name, {"key": "old"}) for make in (config_map, secret) for name in ("changes", "goes")),
    ]
    for kind in ("configMap", "secret"):
        for is_projected in (False, True):
            volumes = form_volumes(kind, is_projected=is_projected)
            name = f"{kind}-{'projected' if is_projected else 'alone'}".lower()
            made.append(pod(name, [shell("root", LIST_FILES), shell("user", LIST_FILES, **user)], volumes))
            made.append(pod(f"{name}-grouped", [shell("root", LIST_FILES)], volumes, **group))
    both = [
        {"name": "bytes", "configMap": {"name": "binary"}},
        {"name": "keys", "secret": {"secretName": "settings"}},
    ]
    return [
        *made,
        pod("both", [shell("main", LIST_FILES)], both),
        downward_pod("downward-alone", is_projected=False),
        downward_pod("downward-projected", is_projected=True),
        combined_pod(),
        empty_pod(),
        sub_path_pod(),
        expanding_pod("absolute", {"value": "/tmp"}),
        expanding_pod("outside", {"value": ".."}),
        expanding_pod("later", from_annotation("place"), "$(PLACE)/below"),
        changing_pod(),
        *many_pods(),
    ]


@pytest.fixture(scope="module")
def volumes(shared_containers: Cluster) -> Iterator[Cluster]:
    """All these pods, in a namespace of their own."""
    shared_containers.kubectl("create", "namespace", "volumes")
    cluster = replace(shared_containers, namespace="volumes")
    items = manifest()
    for one in items:
        if one["kind"] != "Namespace":
            one["metadata"].setdefault("namespace", "volumes")
    # A namespace in the command would refuse what is in another one.
    shared_containers.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    # What has not ended as it should is told by the test that looks at it.
    names = [one["metadata"]["name"] for one in items if one["kind"] == "Pod"]
    ended = (f"pod/{name}" for name in names if name not in RUN_ON)
    cluster.kubectl("wait", *ended, SUCCEEDED, "--timeout=80s", may_fail=True)
    yield cluster
    shared_containers.kubectl("delete", "namespace", "volumes", "volumes-elsewhere", "--wait=false")


def said(cluster: Cluster, name: str, container: str = "") -> str:
    """What a container printed."""
    return cluster.kubectl("logs", name, *(("-c", container) if container else ()))


def listed(text: str) -> dict[str, str]:
    """Mode and content of each file that was listed."""
    found = {}
    for path, mode, *content in (line.split(" ") for line in text.splitlines() if line):
        found[path.removeprefix("./")] = f"{mode} {base64.b64decode(content[0]).decode('latin-1')}"
    return found


@pytest.mark.parametrize("kind", ["configmap-alone", "configmap-projected", "secret-alone", "secret-projected"])
def test_files_of_config_maps_and_secrets_have_the_modes_asked_for(volumes: Cluster, kind: str) -> None:
    assert listed(said(volumes, kind, "root")) == FILES


@pytest.mark.parametrize("kind", ["configmap-alone", "configmap-projected", "secret-alone", "secret-projected"])
def test_others_than_root_read_what_the_modes_let_them(volumes: Cluster, kind: str) -> None:
    # Their group is root's, as long as nobody asks for another.
    readable = {path: text.removesuffix(text[4:]) if text < "401" else text for path, text in FILES.items()}
    assert listed(said(volumes, kind, "user")) == readable
    shared = {path: text.replace("400", "440") for path, text in FILES.items()}
    assert listed(said(volumes, f"{kind}-grouped")) == shared


def test_bytes_and_secrets_lie_beside_one_another_and_not_in_the_place_of_others(volumes: Cluster) -> None:
    assert listed(said(volumes, "both")) == {
        "bytes/text": "644 value-1",
        "bytes/bytes": "644 \xde\x193\xcc\xff\x00",
        "keys/data-1": "644 value-1",
        "keys/data-2": "644 value-2",
    }


@pytest.mark.parametrize("kind", ["downward-alone", "downward-projected"])
def test_files_tell_of_the_pod_and_its_containers(volumes: Cluster, kind: str) -> None:
    found = listed(said(volumes, kind, "limited"))
    node = json.loads(volumes.kubectl("get", "node", "node-0", "-o", "json"))["status"]["allocatable"]
    kibibytes = int(node["memory"].removesuffix("Ki"))
    assert 'note="some words"' in found.pop("all/annotations")
    assert found == {
        "all/name": f"644 {kind}",
        "all/mode": f"400 {kind}",
        "all/labels": '644 tier="front"',
        "all/limited-limits.cpu": "644 2",
        "all/limited-limits.memory": f"644 {64 << 20}",
        "all/limited-requests.cpu": "644 1",
        "all/limited-requests.memory": f"644 {32 << 20}",
        "all/unlimited-limits.cpu": f"644 {node['cpu']}",
        "all/unlimited-limits.memory": f"644 {kibibytes << 10}",
        "closed/name": f"400 {kind}",
    }


def test_sources_of_all_kinds_are_projected_together(volumes: Cluster) -> None:
    assert listed(said(volumes, "combined")) == {
        "all/config-map": "644 value-1",
        "all/secret": "644 value-2",
        "all/name": "644 combined",
        "all/main-limits.cpu": "644 1",
        "all/main-limits.memory": f"644 {16 << 20}",
        "all/main-requests.cpu": "644 1",
        "all/main-requests.memory": f"644 {8 << 20}",
    }


@pytest.mark.parametrize(("container", "user"), [("root", "0"), ("user", "1001")])
def test_an_empty_directory_is_everybodys_on_disk_and_in_memory(volumes: Cluster, container: str, user: str) -> None:
    lines = said(volumes, "empty", container).splitlines()
    for place in ("default", "memory"):
        (about_place,) = (line for line in lines if line.startswith(f"{place} "))
        _, mode, kind = about_place.split()
        assert (mode, kind == "tmpfs") == ("777", place == "memory")
        for file_mode in ("644", "666", "777"):
            assert f"{place}/{user}-{file_mode} {file_mode} content" in lines
    # Each reads what the other has written.
    assert lines[-2:] == ["content", "content"]


def test_one_file_of_a_volume_may_be_mounted_over_another(volumes: Cluster) -> None:
    assert said(volumes, "sub-paths", "reader").splitlines() == [
        "/f/config value-1",
        "/f/downward sub-paths",
        "/f/projected value-2",
        "/f/secret value-1",
        "over value-2",
    ]


def test_variables_name_the_directory_that_is_mounted(volumes: Cluster) -> None:
    assert said(volumes, "sub-paths", "looker") == "hi\n"


@pytest.mark.parametrize("name", ["absolute", "outside"])
def test_a_directory_outside_of_the_volume_is_refused(volumes: Cluster, name: str) -> None:
    waiting = "{.status.containerStatuses[0].state.waiting.reason}"
    volumes.kubectl("wait", f"pod/{name}", f"--for=jsonpath={waiting}=CreateContainerConfigError", "--timeout=60s")


def test_a_directory_that_could_not_be_named_is_mounted_once_it_can(volumes: Cluster) -> None:
    waiting = "{.status.containerStatuses[0].state.waiting.reason}"
    volumes.kubectl("wait", "pod/later", f"--for=jsonpath={waiting}=CreateContainerConfigError", "--timeout=60s")
    volumes.kubectl("annotate", "pod", "later", "place=here")
    volumes.kubectl("wait", "pod/later", "--for=condition=Ready", "--timeout=60s")
    volumes.kubectl("exec", "later", "--", "sh", "-c", "echo kept > /place/file; cat /whole/here/below/file")
    # What is mounted stays so, and the pod goes though the name leads elsewhere now.
    volumes.kubectl("annotate", "pod", "later", "place=there", "--overwrite")
    assert volumes.kubectl("exec", "later", "--", "cat", "/place/file", "/whole/here/below/file") == "kept\nkept\n"
    volumes.kubectl("delete", "pod", "later", "--timeout=60s")


def test_files_follow_their_sources(volumes: Cluster) -> None:
    volumes.kubectl("wait", "pod/changing", "--for=condition=Ready", "--timeout=60s")
    changed = [make(name, {"key": "new"}) for make in (config_map, secret) for name in ("changes", "comes")]
    volumes.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": changed}))
    volumes.kubectl("delete", "configmap,secret", "goes")
    volumes.kubectl("label", "pod", "changing", "more=added")
    volumes.kubectl("annotate", "pod", "changing", "more=added")
    volumes.kubectl("wait", "pod/changing", SUCCEEDED, "--timeout=80s")
    before, after = (listed(one) for one in said(volumes, "changing").split("\n\n"))
    places = [f"{kind}-{form}" for kind in ("configmap", "secret") for form in ("alone", "projected")]
    shown = {path: text for path, text in before.items() if not path.startswith("about")}
    assert shown == {f"{place}-{what}/key": "644 old" for place in places for what in ("changes", "goes")}
    shown = {path: text for path, text in after.items() if not path.startswith("about")}
    assert shown == {f"{place}-{what}/key": "644 new" for place in places for what in ("changes", "comes")}
    for form in ("alone", "projected"):
        assert before[f"about-{form}/labels"] == '644 tier="front"'
        assert after[f"about-{form}/labels"] == '644 more="added"\ntier="front"'
        assert 'more="added"' not in before[f"about-{form}/annotations"]
        assert 'more="added"' in after[f"about-{form}/annotations"]


@pytest.mark.parametrize("number", range(5))
def test_many_volumes_are_set_up_in_many_pods_at_once(volumes: Cluster, number: int) -> None:
    assert said(volumes, f"many-{number}").split() == ["50", "value"]
