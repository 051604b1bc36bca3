"""What the conformance suite demands that containers find: variables, commands, hosts, users and rights."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from keelback.bootstrap import images, sample
from keelback.bootstrap.images import File, ImageConfig
from keelback.testing.commands import Cluster

pytestmark = pytest.mark.containers

MANIFEST = Path(__file__).with_name("pod_contents.yaml")


def entry_image() -> bytes:
    """An image with an entry point and a command, which may both be replaced."""
    with tempfile.TemporaryDirectory() as scratch:
        busybox = sample.static_busybox(Path(scratch)).read_bytes()
    files = {"/bin/busybox": File.program(busybox), "/bin/echo": File.link("busybox")}
    return images.from_files(
        "localhost/entry:latest", files, ImageConfig(entrypoint=("/bin/echo", "entry"), command=("default",))
    )


@pytest.fixture(scope="module")
def pods(shared_containers: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """All of the manifest's pods, in a namespace of their own."""
    archive = tmp_path_factory.mktemp("images") / "entry.tar"
    archive.write_bytes(entry_image())
    shared_containers.keelback("load", str(archive))
    shared_containers.kubectl("create", "namespace", "contents")
    cluster = replace(shared_containers, namespace="contents")
    cluster.kubectl("apply", "-f", str(MANIFEST))
    # What has not ended as it should is told by the test that looks at it.
    for phase, names in (("Succeeded", ("variables", "commands", "hosts", "hosts-of-node")), ("Failed", ("rights",))):
        wanted = f"--for=jsonpath={{.status.phase}}={phase}"
        cluster.kubectl("wait", *(f"pod/{name}" for name in names), wanted, "--timeout=60s", may_fail=True)
    yield cluster
    shared_containers.kubectl("delete", "namespace", "contents", "--wait=false")


def said(cluster: Cluster, pod: str, container: str) -> list[str]:
    """What a container printed."""
    return cluster.kubectl("logs", pod, "-c", container).splitlines()


def test_variables_come_from_config_maps_and_secrets_under_any_prefix(pods: Cluster) -> None:
    lines = said(pods, "variables", "limited")
    settings, keys = ("mode=fast", "DATA_1=1"), ("user=somebody", "data-1=pw")
    for prefix in ("", "p-", "1.", "!#$%&'()*+,-./:;<>?@[]^_`{|}~ "):
        assert {f"{prefix}{one}" for one in settings} <= set(lines)
    for prefix in ("", "s-", "2.", "~}|{`_^[]@?><;:/.-,+*)('&%$#! "):
        assert {f"{prefix}{one}" for one in keys} <= set(lines)
    assert {"FROM_CONFIG=fast", "FROM_SECRET=pw", "COMPOSED=variables;;fast"} <= set(lines)


def test_variables_tell_of_the_pod_and_its_node(pods: Cluster) -> None:
    lines = said(pods, "variables", "limited")
    found = json.loads(pods.kubectl("get", "pod", "variables", "-o", "json"))
    node = json.loads(pods.kubectl("get", "node", found["spec"]["nodeName"], "-o", "json"))
    (address,) = (one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
    assert found["status"]["hostIP"] == address
    assert {
        "NAME=variables",
        "NAMESPACE=contents",
        f"UID={found['metadata']['uid']}",
        f"POD_IP={found['status']['podIP']}",
        f"HOST_IP={address}",
        f"HOST_IPS={address}",
        "CPU_LIMIT=2",
        "CPU_REQUEST=250",
        f"MEMORY_LIMIT={64 << 20}",
        f"MEMORY_REQUEST={32 << 20}",
    } <= set(lines)
    allocatable = node["status"]["allocatable"]
    kibibytes = int(allocatable["memory"].removesuffix("Ki"))
    unlimited = said(pods, "variables", "unlimited")
    assert {f"CPU_LIMIT={allocatable['cpu']}", f"MEMORY_LIMIT={kibibytes << 10}"} <= set(unlimited)


def test_variables_tell_where_services_are(pods: Cluster) -> None:
    ip = pods.kubectl("get", "service", "fooservice", "-o", "jsonpath={.spec.clusterIP}")
    assert {
        f"FOOSERVICE_SERVICE_HOST={ip}",
        "FOOSERVICE_SERVICE_PORT=8765",
        f"FOOSERVICE_PORT=tcp://{ip}:8765",
        f"FOOSERVICE_PORT_8765_TCP=tcp://{ip}:8765",
        "FOOSERVICE_PORT_8765_TCP_PROTO=tcp",
        "FOOSERVICE_PORT_8765_TCP_PORT=8765",
        f"FOOSERVICE_PORT_8765_TCP_ADDR={ip}",
    } <= set(said(pods, "variables", "unlimited"))


@pytest.mark.parametrize(
    ("container", "line"),
    [
        ("blank", "entry default"),
        ("arguments", "entry given"),
        ("command", "mine"),
        ("both", "mine given"),
        ("expanded-command", "command first-second"),
        ("expanded-arguments", "entry first first-second $(A) $(NONE)"),
    ],
)
def test_commands_and_arguments_replace_the_images(pods: Cluster, container: str, line: str) -> None:
    assert said(pods, "commands", container) == [line]


def test_the_kubelet_manages_the_hosts_file_unless_there_is_another(pods: Cluster) -> None:
    managed = said(pods, "hosts", "managed")
    assert managed[0] == "# Kubernetes-managed hosts file."
    assert "123.45.67.89\tfoo\tbar" in managed
    for lines in (said(pods, "hosts", "own"), said(pods, "hosts-of-node", "main")):
        assert lines
        assert "# Kubernetes-managed hosts file." not in lines


def test_users_groups_and_sysctls_are_as_asked(pods: Cluster) -> None:
    of_pod, forced = said(pods, "rights", "of-pod")
    assert of_pod.startswith("uid=1001 gid=2002")
    assert forced == "1"
    (of_container,) = said(pods, "rights", "of-container")
    assert of_container.startswith("uid=65534(nobody) gid=2003")


def test_rights_are_those_that_are_given(pods: Cluster) -> None:
    unprivileged = said(pods, "rights", "unprivileged")
    assert "Operation not permitted" in unprivileged[0]
    assert unprivileged[1] == "refused"
    assert said(pods, "rights", "privileged") == ["done"]
    assert said(pods, "rights", "writes") == ["written"]
    # It comes from the other of the container's two streams: which line is first is nobody's promise.
    assert any("Read-only file system" in line for line in said(pods, "rights", "reads"))


def test_who_may_not_rise_stays_who_he_is(pods: Cluster) -> None:
    # With root's rights it goes on to ask for a password.
    assert "su: incorrect password" in said(pods, "rights", "rises")
    assert said(pods, "rights", "stays") == ["1000", "su: must be suid to work properly"]
