"""kubectl, unmodified, of minors whose ways differ: SPDY with the fourth and the fifth protocol, WebSocket, tunnels."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from keelback.testing import clients
from keelback.testing.commands import PROGRAMS, Cluster

SAMPLE = "localhost/keelback-sample:latest"
MINORS = [27, *(pytest.param(minor, marks=pytest.mark.slow_clients) for minor in (21, 29, 30, 32, 37))]
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: main, image: IMAGE, imagePullPolicy: IfNotPresent, ports: [{containerPort: 8080}]}]
"""
SHELL = """
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: main, image: IMAGE, stdin: true, command: [sh, -c, "echo started; while read x; do echo got $x; done"]}
"""

# The protocol each minor agrees on with the server: of exec, and of port-forward.
TUNNEL = "SPDY/3.1+portforward.k8s.io"
PROTOCOLS = {
    21: ("v4.channel.k8s.io", "SPDY/3.1"),
    27: ("v4.channel.k8s.io", "SPDY/3.1"),
    29: ("v4.channel.k8s.io", "SPDY/3.1"),
    30: ("v5.channel.k8s.io", "SPDY/3.1"),
    32: ("v5.channel.k8s.io", TUNNEL),
    37: ("v5.channel.k8s.io", TUNNEL),
}

pytestmark = pytest.mark.timeout(300)
NewNamespace = Callable[[Cluster, str], str]


def of_minor(cluster: Cluster, minor: int, new_namespace: NewNamespace) -> Cluster:
    """The cluster by the kubectl of a minor version, in a namespace of its own."""
    return cluster.by(clients.layer(minor).kubectl, new_namespace(cluster, f"kubectl-{minor}"))


@pytest.mark.parametrize("minor", MINORS)
def test_objects(simulated: Cluster, new_namespace: NewNamespace, minor: int) -> None:
    work = of_minor(simulated, minor, new_namespace)
    creates_what_it_has_words_for(work, minor)
    applies_on_either_side(work)
    rolls_forward_and_back(work)
    shows_and_explains(work)
    assert "orphan" not in work.kubectl("delete", "deployment", "web", "--cascade=orphan")
    assert work.kubectl("get", "replicasets", "-l", "app=web", "-o", "name").count("replicaset") == 3
    work.kubectl("delete", "replicasets,pods", "-l", "app=web", "--timeout=30s")


def creates_what_it_has_words_for(work: Cluster, minor: int) -> None:
    work.kubectl("create", "configmap", "made", "--from-literal=a=b")
    work.kubectl("create", "secret", "generic", "made", "--from-literal=a=b")
    work.kubectl("create", "deployment", "made", "--image=example", "--replicas=0")
    work.kubectl("create", "job", "made", "--image=example", "--", "true")
    work.kubectl("create", "role", "made", "--verb=get", "--resource=pods")
    work.kubectl("create", "rolebinding", "made", "--role=made", "--serviceaccount=x:y")
    work.kubectl("create", "serviceaccount", "made")
    if minor >= 24:
        assert work.kubectl("create", "token", "made").count(".") == 2
    assert work.kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    as_other = ("--as", f"system:serviceaccount:{work.namespace}:made")
    assert work.kubectl("auth", "can-i", "list", "secrets", *as_other, may_fail=True).strip().startswith("no")
    assert work.kubectl("auth", "can-i", "get", "pods", *as_other, may_fail=True).strip() == "no"
    assert "already exists" in work.kubectl("create", "configmap", "made", may_fail=True)


def applies_on_either_side(work: Cluster) -> None:
    text = DEPLOYMENT.replace("IMAGE", "example")
    assert "created" in work.kubectl("apply", "-f", "-", text=text)
    assert "unchanged" in work.kubectl("apply", "-f", "-", text=text)
    assert "configured" in work.kubectl("apply", "-f", "-", text=text.replace("example", "example:2"))
    assert "serverside-applied" in work.kubectl("apply", "--server-side", "-f", "-", text=text)
    fields = json.loads(work.kubectl("get", "deploy/web", "-o", "json", *with_fields(work)))["metadata"][
        "managedFields"
    ]
    assert "Apply" in {one["operation"] for one in fields if one["manager"] == "kubectl"}
    wrong = text.replace("replicas: 1", "replicas: one")
    assert "nvalid" in work.kubectl("apply", "-f", "-", text=wrong, may_fail=True)
    unknown = text.replace("replicas: 1", "replica: 1")
    assert "unknown field" in work.kubectl("apply", "-f", "-", text=unknown, may_fail=True)
    work.kubectl("label", "deploy/web", "tier=front")
    work.kubectl("annotate", "deploy/web", "note=here")
    assert "front" in work.kubectl("get", "deploy", "-L", "tier", "-l", "tier=front")


def with_fields(work: Cluster) -> list[str]:
    return ["--show-managed-fields"] if "--show-managed-fields" in work.kubectl("get", "--help") else []


def rolls_forward_and_back(work: Cluster) -> None:
    work.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    work.kubectl("scale", "deploy/web", "--replicas=2")
    work.kubectl("set", "image", "deploy/web", "main=example:3")
    work.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    work.kubectl("rollout", "undo", "deploy/web")
    work.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    image = work.kubectl("get", "deploy/web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert image == "example"
    work.kubectl("wait", "deploy/web", "--for=condition=Available", "--timeout=60s")
    work.kubectl("autoscale", "deploy/web", "--max=3")
    work.kubectl("expose", "deploy/web", "--port=80")


def shows_and_explains(work: Cluster) -> None:
    assert "FIELD" in work.kubectl("explain", "deployment.spec.strategy")
    assert "rollingUpdate" in work.kubectl("explain", "deployment.spec", "--recursive")
    assert "CONTAINERS" in work.kubectl("get", "deploy", "-o", "wide")
    assert "kind: Deployment" in work.kubectl("get", "deploy/web", "-o", "yaml")
    assert work.kubectl("get", "deploy/web", "-o", "jsonpath={.spec.replicas}") == "2"
    assert "Replicas:" in work.kubectl("describe", "deploy/web")
    assert "deployment.apps/web" in work.kubectl("get", "all")
    assert "deployments" in work.kubectl("api-resources", "--api-group=apps")
    assert "v1.36" in work.kubectl("version", may_fail=True)
    work.kubectl("run", "lone", "--image=example", "--restart=Never")
    work.kubectl("delete", "pod", "lone", "--now")


@pytest.mark.containers
@pytest.mark.parametrize("minor", MINORS)
def test_streams(containers: Cluster, new_namespace: NewNamespace, minor: int, tmp_path: Path) -> None:
    work = of_minor(containers, minor, new_namespace)
    work.kubectl("apply", "-f", "-", text=(DEPLOYMENT + "---" + SHELL).replace("IMAGE", SAMPLE))
    work.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    work.kubectl("wait", "pod/shell", "--for=condition=Ready", "--timeout=60s")
    runs_commands(work, PROTOCOLS[minor][0])
    copies_both_ways(work, tmp_path)
    types_into_a_running_container(work)
    forwards_a_port(work, PROTOCOLS[minor][1])
    debugs(work, minor)


def runs_commands(work: Cluster, protocol: str) -> None:
    told = work.kubectl("exec", "shell", "-v=8", "--", "true", may_fail=True)
    assert re.search(rf"Protocol(-Version)?: {protocol}\s", told), told
    assert work.kubectl("exec", "-i", "shell", "--", "cat", text="hello\n") == "hello\n"
    assert "exit code 7" in work.kubectl("exec", "shell", "--", "sh", "-c", "exit 7", may_fail=True)
    large = work.kubectl("exec", "deploy/web", "--", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")
    assert len(large) == 3_000_000
    sent = "y" * 1_000_000
    assert work.kubectl("exec", "-i", "shell", "--", "wc", "-c", text=sent).strip() == "1000000"
    with work.at_terminal("exec", "-it", "shell", "--", "sh") as shell:
        shell.read_until("# ")
        shell.type("exit 5\n")
        assert shell.wait() == 5


def copies_both_ways(work: Cluster, folder: Path) -> None:
    (folder / "sent").write_bytes(b"content" * 100_000)
    work.kubectl("cp", str(folder / "sent"), "shell:/tmp/copy")
    work.kubectl("cp", "shell:/tmp/copy", str(folder / "got"))
    assert (folder / "got").read_bytes() == b"content" * 100_000


def types_into_a_running_container(work: Cluster) -> None:
    with work.at_terminal("logs", "-f", "shell") as following:
        following.read_until("started")
        with work.at_terminal("attach", "-i", "shell") as attached:
            attached.type("input\n")
            attached.read_until("got input")
        following.read_until("got input")


def forwards_a_port(work: Cluster, protocol: str) -> None:
    with work.at_terminal("port-forward", "deploy/web", ":8080", "-v=8") as telling:
        told = telling.read_until("-> 8080")
    assert re.search(rf"(Upgrade|Protocol): {re.escape(protocol)}\s", told), told
    with work.at_terminal("port-forward", "deploy/web", ":8080") as forwarding:
        found = re.search(r"127\.0\.0\.1:(\d+) -> 8080", forwarding.read_until("-> 8080"))
        assert found is not None
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.read().startswith(b"web-")) == (200, True)
            connection.close()


def debugs(work: Cluster, minor: int) -> None:
    if minor < 23:
        return  # these know ephemeral containers only by an alpha API that no server has any more
    work.kubectl("debug", "shell", f"--image={SAMPLE}", "-c", "looker", "--", "echo", "looked")
    ended = "jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0"
    work.by(PROGRAMS / "kubectl", work.namespace).kubectl("wait", "pod/shell", f"--for={ended}", "--timeout=30s")
    assert work.kubectl("logs", "shell", "-c", "looker") == "looked\n"
