"""What the conformance suite demands of kubectl, as far as simulated nodes show it, and of published schemas."""

from __future__ import annotations

import http.client
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keelback.testing import commands
from keelback.testing.cluster import Cluster

RC = """
apiVersion: v1
kind: ReplicationController
metadata: {name: primary, labels: {app: store}}
spec:
  replicas: 1
  selector: {app: store}
  template:
    metadata: {labels: {app: store}}
    spec: {containers: [{name: main, image: "example:1", ports: [{name: server, containerPort: 6379}]}]}
"""


@pytest.fixture(scope="module")
def kubectl() -> Iterator[commands.Cluster]:
    # In real time: kubectl waits in its own.
    with Cluster(nodes=2, real_time=True) as running:
        yield commands.Cluster("conformance", running.kubeconfig().parent)


@pytest.fixture(scope="module")
def primary(kubectl: commands.Cluster) -> commands.Cluster:
    """A ReplicationController whose pod is ready."""
    kubectl.kubectl("create", "-f", "-", text=RC)
    kubectl.kubectl("wait", "rc/primary", "--for=jsonpath={.status.readyReplicas}=1", "--timeout=30s")
    return kubectl


def read(kubectl: commands.Cluster, *what: str) -> Any:
    return json.loads(kubectl.kubectl("get", *what, "-o", "json"))


def test_versions(kubectl: commands.Cluster) -> None:
    assert "v1" in kubectl.kubectl("api-versions").splitlines()
    shown = json.loads(kubectl.kubectl("version", "-o", "json"))
    for side in ("clientVersion", "serverVersion"):
        assert "gitCommit" in shown[side]
        for key in ("major", "minor", "gitVersion", "buildDate", "platform"):
            assert shown[side][key]
    assert re.search(r"Kubernetes control plane.*is running at", kubectl.kubectl("cluster-info"))


def test_a_replication_controller_is_exposed_twice(primary: commands.Cluster) -> None:
    primary.kubectl("expose", "rc", "primary", "--name=first", "--port=1234", "--target-port=6379")
    primary.kubectl("expose", "service", "first", "--name=second", "--port=2345", "--target-port=6379")
    for name, port in (("first", 1234), ("second", 2345)):
        (found,) = read(primary, "service", name)["spec"]["ports"]
        assert (found["port"], found["targetPort"]) == (port, 6379)
        primary.kubectl("wait", f"endpoints/{name}", "--for=jsonpath={.subsets[0].ports[0].port}=6379", "--timeout=30s")
    primary.kubectl("delete", "service", "first", "second")


def test_descriptions_say_what_there_is(primary: commands.Cluster) -> None:
    (pod,) = read(primary, "pods", "-l", "app=store")["items"]
    name, node = pod["metadata"]["name"], pod["spec"]["nodeName"]
    primary.kubectl("expose", "rc", "primary", "--name=described", "--port=6379", "--target-port=server")

    def described(*what: str, **wanted: str) -> None:
        shown = primary.kubectl("describe", *what)
        for key, value in wanted.items():
            label = key.replace("_", " ")
            assert re.search(rf"^\s*{label}:\s+{value}", shown, re.MULTILINE), (label, value, shown)

    address = pod["status"]["podIP"].replace(".", r"\.")
    described(
        "pod", name, Name=name, Namespace="default", Node=f"{node}/", Labels="app=store", Status="Running", IP=address,
        Controlled_By="ReplicationController/primary", Image="example:1", State="Running", QoS_Class="BestEffort",
    )  # fmt: skip
    described(
        "rc", "primary", Name="primary", Namespace="default", Selector="app=store", Labels="app=store",
        Replicas="1 current / 1 desired", Pods_Status="1 Running / 0 Waiting / 0 Succeeded / 0 Failed",
        Image="example:1", Port="6379/TCP",
    )  # fmt: skip
    described(
        "service", "described", Name="described", Namespace="default", Labels="app=store", Selector="app=store",
        Type="ClusterIP", IP=r"\d+\.", Port=r"<unset>\s+6379/TCP", Endpoints=f"{address}:6379", Session_Affinity="None",
    )  # fmt: skip
    described("node", node, Name=node, Labels="", Annotations="", CreationTimestamp="", Conditions="", Addresses="")
    described("node", node, Capacity="", Kubelet_Version="v1", PodCIDR=r"\d")
    described("namespace", "default", Name="default", Labels="", Annotations="", Status="Active")
    primary.kubectl("delete", "service", "described")


def test_a_label_is_put_on_a_pod_and_taken_away(primary: commands.Cluster) -> None:
    (pod,) = read(primary, "pods", "-l", "app=store")["items"]
    name = pod["metadata"]["name"]
    primary.kubectl("label", "pod", name, "testing-label=testing-label-value")
    shown = primary.kubectl("get", "pods", "-L", "testing-label", "-l", "testing-label=testing-label-value")
    assert name in shown
    assert "testing-label-value" in shown
    primary.kubectl("label", "pod", name, "testing-label-")
    assert "testing-label-value" not in primary.kubectl("get", "pod", name, "-L", "testing-label")


def test_annotations_are_patched_into_the_pods_of_a_controller(primary: commands.Cluster) -> None:
    found = read(primary, "pods", "-l", "app=store")["items"]
    assert found
    for pod in found:
        name = pod["metadata"]["name"]
        primary.kubectl("patch", "pod", name, "-p", '{"metadata": {"annotations": {"x": "y"}}}')
        assert read(primary, "pod", name)["metadata"]["annotations"]["x"] == "y"


def test_a_pod_is_run_tried_and_replaced(kubectl: commands.Cluster) -> None:
    kubectl.kubectl("run", "one", "--image=example:1", "--restart=Never", "--labels=run=one")
    made = read(kubectl, "pod", "one")
    assert (made["spec"]["restartPolicy"], made["spec"]["containers"][0]["image"]) == ("Never", "example:1")
    assert len(made["spec"]["containers"]) == 1
    kubectl.kubectl("wait", "pod/one", "--for=condition=Ready", "--timeout=30s")
    change = '{"spec": {"containers": [{"name": "one", "image": "example:2"}]}}'
    dry = kubectl.kubectl("patch", "pod", "one", "-p", change, "--dry-run=server", "-o", "json")
    assert json.loads(dry)["spec"]["containers"][0]["image"] == "example:2"
    live = read(kubectl, "pod", "one")
    assert live["spec"]["containers"][0]["image"] == "example:1"
    live["spec"]["containers"][0]["image"] = "example:2"
    kubectl.kubectl("replace", "-f", "-", text=json.dumps(live))
    replaced = read(kubectl, "pod", "one")
    assert replaced["spec"]["containers"][0]["image"] == "example:2"
    assert replaced["metadata"]["uid"] == made["metadata"]["uid"]


def test_diff_finds_another_image(kubectl: commands.Cluster) -> None:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "example:1"}]}}
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": "d"}}, "template": template}
    tree = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "compared"}, "spec": spec}
    kubectl.kubectl("create", "-f", "-", text=json.dumps(tree))
    template["spec"]["containers"][0]["image"] = "busybox:9"  # type: ignore[index]
    shown = kubectl.kubectl("diff", "-f", "-", text=json.dumps(tree), may_fail=True)
    assert re.search(r"^-\s+- image: example:1$", shown, re.MULTILINE)
    assert re.search(r"^\+\s+- image: busybox:9$", shown, re.MULTILINE)


def test_a_replication_controller_is_scaled_down_and_up(kubectl: commands.Cluster) -> None:
    demo = RC.replace("primary", "demo").replace("app: store", "app: demo").replace("replicas: 1", "replicas: 2")
    kubectl.kubectl("create", "-f", "-", text=demo)

    def has(count: int) -> None:
        kubectl.kubectl("wait", "rc/demo", f"--for=jsonpath={{.status.readyReplicas}}={count}", "--timeout=30s")
        pods = read(kubectl, "pods", "-l", "app=demo")["items"]
        assert len([one for one in pods if "deletionTimestamp" not in one["metadata"]]) == count

    has(2)
    for count in (1, 2):
        kubectl.kubectl("scale", "rc", "demo", f"--replicas={count}", "--timeout=5m")
        has(count)
    kubectl.kubectl("delete", "rc", "demo", "--timeout=30s")
    kubectl.kubectl("wait", "pods", "-l", "app=demo", "--for=delete", "--timeout=30s")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the socket at a path."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=10)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(str(self._path))


@pytest.mark.parametrize("way", ["port 0", "socket"])
def test_a_proxy_serves_the_api(kubectl: commands.Cluster, tmp_path: Path, way: str) -> None:
    path = tmp_path / "socket"
    arguments = ["--port=0"] if way == "port 0" else [f"--unix-socket={path}"]
    with kubectl.at_terminal("proxy", *arguments) as proxying:
        said = proxying.read_until("\n")
        found = re.search(r"127\.0\.0\.1:(\d+)", said)
        connection = UnixConnection(path) if found is None else http.client.HTTPConnection("127.0.0.1", int(found[1]))
        assert (found is None) == (way == "socket")
        connection.request("GET", "/api/")
        assert json.loads(connection.getresponse().read())["versions"] == ["v1"]
        connection.close()


KEEPS = {"x-kubernetes-preserve-unknown-fields": True}
BARS = {
    "description": "A list of bars",
    "type": "array",
    "items": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "description": "Name of Bar."},
            "age": {"type": "string", "description": "Age of Bar."},
        },
    },
}
SPEC = {"type": "object", "description": "Specification of Foo", "properties": {"bars": BARS}}
EMBEDDED = {"type": "object", "description": "Specification of Waldo", **KEEPS}


def define(kubectl: commands.Cluster, plural: str, schema: dict[str, Any]) -> str:
    """A kind of that schema, once kubectl can explain it; the beginning of its objects."""
    kind = plural.rstrip("s").capitalize()
    versions = [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
    spec = {"group": "example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind}}
    tree = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    named = tree | {"metadata": {"name": f"{plural}.example.com"}, "spec": spec | {"versions": versions}}
    kubectl.kubectl("create", "-f", "-", text=json.dumps(named))
    kubectl.kubectl("wait", f"crd/{plural}.example.com", "--for=condition=Established", "--timeout=30s")
    return f"apiVersion: example.com/v1\nkind: {kind}\nmetadata: {{name: one}}\n"


def test_kubectl_refuses_and_explains_by_the_published_schema(kubectl: commands.Cluster) -> None:
    schema = {"type": "object", "description": "Foo CRD for Testing", "properties": {"spec": SPEC}}
    foo = define(kubectl, "foos", schema)
    valid = f"{foo}spec: {{bars: [{{name: test}}]}}\n"
    assert "created" in kubectl.kubectl("create", "-f", "-", text=valid)
    assert "configured" in kubectl.kubectl("apply", "-f", "-", text=valid.replace("test", "other"))
    kubectl.kubectl("delete", "foo", "one")
    unknown = f"{foo}spec: {{foo: true}}\n"
    required = f"{foo}spec: {{bars: [{{age: '10'}}]}}\n"
    for verb in ("create", "apply"):
        assert 'unknown field "spec.foo"' in kubectl.kubectl(verb, "-f", "-", text=unknown, may_fail=True)
        refused = kubectl.kubectl(verb, "-f", "-", text=required, may_fail=True)
        assert re.search(r"spec\.bars\[0\]\.name.*[Rr]equired", refused)
    shown = kubectl.kubectl("explain", "foos")
    assert re.search(r"DESCRIPTION:\s+Foo CRD for Testing", shown)
    assert re.search(r"spec\s+<Object>\s+Specification of Foo", shown)
    assert re.search(r"bars\s+<\[\]Object>\s+A list of bars", kubectl.kubectl("explain", "foos.spec"))
    shown = kubectl.kubectl("explain", "foos.spec.bars")
    assert re.search(r"age\s+<string>\s+Age of Bar", shown)
    assert re.search(r"name\s+<string> -required-\s+Name of Bar", shown)
    assert 'field "bars2" does not exist' in kubectl.kubectl("explain", "foos.spec.bars2", may_fail=True)


@pytest.mark.parametrize(
    ("plural", "schema", "explained"),
    [
        ("empties", {"type": "object", **KEEPS}, r"KIND:\s+Emptie\n[\s\S]*DESCRIPTION:"),
        ("roots", {"type": "object", "properties": {"known": {"type": "string"}}, **KEEPS}, r"KIND:\s+Root\n"),
        ("waldos", {"type": "object", "properties": {"spec": EMBEDDED}}, r"spec\s+<Object>\s+Specification of Waldo"),
    ],
)
def test_kubectl_accepts_what_the_schema_leaves_open(
    kubectl: commands.Cluster, plural: str, schema: dict[str, Any], explained: str
) -> None:
    text = define(kubectl, plural, schema) + "spec: {any: [{thing: 1}]}\n"
    assert "created" in kubectl.kubectl("create", "-f", "-", text=text)
    assert "configured" in kubectl.kubectl("apply", "-f", "-", text=text.replace("1}]", "2}], more: yes"))
    found = read(kubectl, f"{plural}.example.com", "one")["spec"]
    assert found == {"any": [{"thing": 2}], "more": True}
    assert re.search(explained, kubectl.kubectl("explain", plural))
