"""What kubectl does with running containers and nodes: run, logs, exec, attach, port-forward, cp, debug, drain."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from keelback.testing.commands import Cluster
from keelback.testing.terminals import COLUMNS, ROWS

pytestmark = pytest.mark.containers

IMAGE = "localhost/keelback-sample:latest"
LOCAL = f"--image={IMAGE}"
TALKERS = """
apiVersion: v1
kind: Pod
metadata: {name: talkers, labels: {app: talkers}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - {name: one, image: IMAGE, command: [sh, -c, "echo one says; echo one again; sleep 3600"]}
    - {name: two, image: IMAGE, command: [sh, -c, "echo two says; sleep 3600"]}
    - name: fails
      image: IMAGE
      command: [sh, -c, "echo attempt; test -e /kept/mark || { touch /kept/mark; exit 3; }; sleep 3600"]
      volumeMounts: [{name: kept, mountPath: /kept}]
  volumes: [{name: kept, emptyDir: {}}]
""".replace("IMAGE", IMAGE)


@pytest.fixture(scope="module")
def web(real: Cluster) -> Iterator[Cluster]:
    """A Deployment of two, its Service, and a pod whose containers talk."""
    real.kubectl("create", "deployment", "web", LOCAL, "--replicas=2", "--port=8080")
    real.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    real.kubectl("apply", "-f", "-", text=TALKERS)
    real.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    real.kubectl("wait", "pod/talkers", "--for=condition=Ready", "--timeout=60s")
    yield real
    real.kubectl("delete", "deployment,pod", "--all", "--force", "--grace-period=0")


def first(cluster: Cluster) -> str:
    """The name of one of the Deployment's pods."""
    return cluster.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")


def test_run_attaches_and_removes(web: Cluster) -> None:
    said = web.kubectl(
        "run", "once", LOCAL, "--rm", "-i", "--restart=Never", "--quiet", "--", "tr", "a-z", "A-Z", text="hello\n"
    )
    assert said.startswith("HELLO")
    failed = web.kubectl(
        "run", "twice", LOCAL, "--attach", "--rm", "--restart=Never", "--", "sh", "-c", "exit 4", may_fail=True
    )
    assert "terminated (Error)" in failed
    assert web.kubectl("get", "pod", "once", "twice", "--ignore-not-found") == ""
    with web.at_terminal("run", "seen", LOCAL, "--rm", "-it", "--restart=Never", "--", "sh") as shell:
        shell.read_until("# ")
        shell.type("echo $((6 * 7)); exit\n")
        shell.read_until("42")
        assert shell.wait() == 0
        assert 'pod "seen" deleted' in shell.shown


def test_logs_of_some_all_and_earlier_containers(web: Cluster) -> None:
    assert web.kubectl("logs", "talkers", "-c", "one") == "one says\none again\n"
    assert web.kubectl("logs", "talkers") == "one says\none again\n"
    assert web.kubectl("logs", "talkers", "-c", "one", "--tail=1") == "one again\n"
    assert web.kubectl("logs", "talkers", "-c", "one", "--since=1h").startswith("one says")
    assert web.kubectl("logs", "talkers", "-c", "one", "--since-time=2999-01-01T00:00:00Z") == ""
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z one says", web.kubectl("logs", "talkers", "-c", "one", "--timestamps"))
    assert web.kubectl("logs", "talkers", "-c", "one", "--limit-bytes=3") == "one"
    every = web.kubectl("logs", "talkers", "--all-containers", "--prefix")
    assert {"[pod/talkers/one] one says", "[pod/talkers/two] two says"} <= set(every.splitlines())
    assert "two says" in web.kubectl("logs", "-l", "app=talkers", "-c", "two")
    assert web.kubectl("logs", "talkers", "-c", "fails", "--previous") == "attempt\n"
    assert "previous terminated container" in web.kubectl("logs", "talkers", "-c", "one", "-p", may_fail=True)
    assert "container nobody is not valid" in web.kubectl("logs", "talkers", "-c", "nobody", may_fail=True)
    web.kubectl("logs", "deployment/web", "--all-pods")
    with web.at_terminal("logs", "-f", "talkers", "-c", "one") as following:
        following.read_until("one again")
        web.kubectl("exec", "talkers", "-c", "one", "--", "sh", "-c", "echo later >/proc/1/fd/1")
        following.read_until("later")


def test_exec_with_pipes_and_exit_codes(web: Cluster) -> None:
    assert web.kubectl("exec", "-i", "talkers", "-c", "two", "--", "cat", text="hello") == "hello"
    assert "exit code 7" in web.kubectl("exec", "deploy/web", "--", "sh", "-c", "echo bad >&2; exit 7", may_fail=True)
    large = web.kubectl("exec", "svc/web", "--", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x")
    assert len(large) == 3_000_000
    assert "not found" in web.kubectl("exec", "talkers", "--", "no-such-program", may_fail=True)


def test_exec_at_a_terminal_has_its_size_and_its_interrupt(web: Cluster) -> None:
    with web.at_terminal("exec", "-it", "talkers", "-c", "two", "--", "sh") as shell:
        shell.read_until("# ")
        shell.type("stty size\n")
        shell.read_until(f"{ROWS} {COLUMNS}")
        shell.type("""sh -c 'echo be""gun; exec sleep 300'\n""")  # one process: it can be interrupted at any moment
        shown = len(shell.read_until("begun"))
        shell.type("\x03")
        shell.read_until("# ", after=shown)
        shell.type("echo interrupted $?\n")
        shell.read_until("interrupted 130")
        shell.type("exit 5\n")
        assert shell.wait() == 5


def test_attach_types_into_a_running_container(web: Cluster) -> None:
    overrides = {
        "spec": {"containers": [{"name": "shell", "image": IMAGE, "command": ["sh"], "stdin": True, "tty": True}]}
    }
    web.kubectl("run", "shell", LOCAL, f"--overrides={json.dumps(overrides)}")
    web.kubectl("wait", "pod/shell", "--for=condition=Ready", "--timeout=30s")
    with web.at_terminal("attach", "-it", "shell") as shell:
        shell.type("echo attached $((6 * 7))\n")
        shell.read_until("attached 42")
    assert "attached 42" in web.kubectl("logs", "shell")


@pytest.mark.parametrize("target", ["pod", "service/web", "deployment/web"])
def test_port_forward(web: Cluster, target: str) -> None:
    target, port = (f"pod/{first(web)}", 8080) if target == "pod" else (target, 80 if "service" in target else 8080)
    with web.at_terminal("port-forward", target, f":{port}") as forwarding:
        found = re.search(r"127\.0\.0\.1:(\d+) -> 8080", forwarding.read_until("-> 8080"))
        assert found is not None
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, answer.read().startswith(b"web-")) == (200, True)
            connection.close()


def test_cp_copies_folders_both_ways(web: Cluster, tmp_path: Path) -> None:
    (tmp_path / "sent/deep").mkdir(parents=True)
    (tmp_path / "sent/deep/file").write_text("content")
    (tmp_path / "sent/large").write_bytes(b"x" * 2_000_000)
    web.kubectl("cp", str(tmp_path / "sent"), "talkers:/tmp/copy", "-c", "two")
    assert web.kubectl("exec", "talkers", "-c", "two", "--", "cat", "/tmp/copy/deep/file") == "content"
    web.kubectl("cp", f"{web.namespace}/talkers:/tmp/copy", str(tmp_path / "got"), "-c", "two", "--retries=2")
    assert (tmp_path / "got/deep/file").read_text() == "content"
    assert (tmp_path / "got/large").read_bytes() == b"x" * 2_000_000


def test_debug_adds_an_ephemeral_container(web: Cluster) -> None:
    said = web.kubectl(
        "debug",
        "talkers",
        LOCAL,
        "-c",
        "looker",
        "-i",
        "--target=one",
        "--profile=general",
        "--quiet",
        "--",
        "ps",
        text="",
    )
    web.kubectl(
        "wait",
        "pod/talkers",
        "--for=jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}=0",
        "--timeout=30s",
    )
    said += web.kubectl("logs", "talkers", "-c", "looker")
    assert "sleep 3600" in said
    assert "Ephemeral Containers:\n  looker:" in web.kubectl("describe", "pod", "talkers")


def test_debug_copies_a_pod_and_enters_a_node(web: Cluster) -> None:
    web.kubectl("debug", "talkers", "--copy-to=copied", "--share-processes", LOCAL, "--", "sleep", "9")
    spec = json.loads(web.kubectl("get", "pod", "copied", "-o", "json"))["spec"]
    assert (spec["shareProcessNamespace"], len(spec["containers"])) == (True, 4)
    web.kubectl("delete", "pod", "copied", "--now")
    entered = web.kubectl("debug", "node/node-0", LOCAL, "--", "ls", "/host")
    found = re.search(r"node-debugger-\S+", entered)
    assert found is not None
    web.kubectl("wait", f"pod/{found[0]}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=30s")
    assert "etc" in web.kubectl("logs", found[0]).split()
    web.kubectl("delete", "pod", found[0])


def test_events_of_one_object_and_as_they_come(web: Cluster) -> None:
    shown = web.kubectl("events", "--for=pod/talkers", "--types=Normal")
    assert "Scheduled" in shown
    assert "Started" in shown
    assert "web" not in {line.split()[-1] for line in shown.splitlines()}
    with web.at_terminal("events", "-w", "--for=configmap/none") as watching:
        web.kubectl(
            "create",
            "-f",
            "-",
            text=json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"generateName": "by-hand-"},
                    "type": "Warning",
                    "involvedObject": {
                        "apiVersion": "v1",
                        "kind": "ConfigMap",
                        "name": "none",
                        "namespace": web.namespace,
                    },
                    "reason": "Tested",
                    "message": "as it came",
                    "lastTimestamp": "2026-01-02T03:04:05Z",
                }
            ),
        )
        watching.read_until("as it came")
    assert "as it came" in web.kubectl("events", "--types=Warning", "-o", "yaml")


def test_wait_for_conditions_values_creation_and_deletion(web: Cluster) -> None:
    web.kubectl("wait", "pods", "-l", "app=web", "--for=condition=Ready", "--timeout=30s")
    web.kubectl("wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=30s")
    assert "timed out" in web.kubectl("wait", "pod/talkers", "--for=condition=Absent", "--timeout=1s", may_fail=True)
    with web.at_terminal("wait", "configmap/later", "--for=create", "--timeout=30s") as waiting:
        web.kubectl("create", "configmap", "later")
        assert waiting.wait() == 0
        assert "condition met" in waiting.shown
    with web.at_terminal("wait", "configmap/later", "--for=delete", "--timeout=30s") as waiting:
        web.kubectl("delete", "configmap", "later")
        assert waiting.wait() == 0


def test_a_node_is_cordoned_tainted_drained_and_used_again(web: Cluster) -> None:
    web.kubectl("cordon", "node-0")
    assert "SchedulingDisabled" in web.kubectl("get", "node", "node-0")
    web.kubectl(
        "drain",
        "node-0",
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        "--force",
        "--pod-selector=app=web",
        "--timeout=60s",
    )
    web.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert (
        web.kubectl(
            "get", "pods", "-l", "app=web", "--field-selector=spec.nodeName=node-0,status.phase=Running", "-o", "name"
        )
        == ""
    )
    web.kubectl("uncordon", "node-0")
    web.kubectl("taint", "node", "node-0", "dedicated=some:NoSchedule")
    assert "dedicated=some:NoSchedule" in web.kubectl("describe", "node", "node-0")
    assert "already has" in web.kubectl("taint", "node", "node-0", "dedicated=other:NoSchedule", may_fail=True)
    web.kubectl("taint", "node", "node-0", "dedicated=other:NoSchedule", "--overwrite")
    web.kubectl("taint", "node", "node-0", "dedicated:NoSchedule-")
    assert web.kubectl("get", "node", "node-0", "-o", "jsonpath={.spec.taints}") == ""


def test_a_pod_is_deleted_at_once_when_forced(web: Cluster) -> None:
    web.kubectl("run", "stubborn", LOCAL, "--restart=Never", "--", "sh", "-c", "trap '' TERM; sleep 3600")
    web.kubectl("wait", "pod/stubborn", "--for=condition=Ready", "--timeout=30s")
    web.kubectl("delete", "pod", "stubborn", "--force", "--grace-period=0", "--timeout=10s")
    assert "NotFound" in web.kubectl("get", "pod", "stubborn", may_fail=True)
