"""Client libraries in Python and JavaScript, each by a program of its own that uses all that the library can do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from keelback.testing import clients
from keelback.testing.commands import Cluster

PROGRAMS = Path(__file__).with_name("programs")
SAMPLE = "localhost/keelback-sample:latest"
NewNamespace = Callable[[Cluster, str], str]


def run_library(cluster: Cluster, name: str, requirement: str, namespace: str, image: str) -> None:
    python = clients.python(name, requirement)
    cluster.run([str(python), "-W", "ignore", str(PROGRAMS / f"{name}_sdk.py"), namespace, image])


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "requirement"), [("kubernetes", "kubernetes==37.*"), ("kr8s", "kr8s"), ("lightkube", "lightkube")]
)
def test_a_python_library_works_without_containers(
    simulated: Cluster, new_namespace: NewNamespace, name: str, requirement: str
) -> None:
    run_library(simulated, name, requirement, new_namespace(simulated, name), "example")


@pytest.mark.timeout(300)
@pytest.mark.slow_clients
@pytest.mark.containers
@pytest.mark.parametrize(
    ("name", "requirement"),
    [
        ("kubernetes", "kubernetes==37.*"),
        ("kubernetes_asyncio", "kubernetes_asyncio"),
        ("kr8s", "kr8s"),
        ("lightkube", "lightkube"),
        ("pykube", "pykube-ng"),
    ],
)
def test_a_python_library_works_with_containers_and_their_streams(
    containers: Cluster, new_namespace: NewNamespace, name: str, requirement: str
) -> None:
    run_library(containers, name, requirement, new_namespace(containers, name.replace("_", "-")), SAMPLE)


@pytest.mark.timeout(400)
@pytest.mark.slow_clients
@pytest.mark.containers
def test_client_node_works_with_containers_and_their_streams(
    containers: Cluster, new_namespace: NewNamespace, tmp_path: Path
) -> None:
    # The library's second major version wants Node 24, which the package `node` carries.
    modules = clients.node("client-node", "@kubernetes/client-node@2", "node@24") / "node_modules"
    (tmp_path / "node_modules").symlink_to(modules)
    program = tmp_path / "client.mjs"
    program.write_text((PROGRAMS / "client_node.mjs").read_text())
    containers.run([str(modules / ".bin/node"), str(program), new_namespace(containers, "js"), SAMPLE])


# kopf.


@contextmanager
def operator(cluster: Cluster, namespace: str, log: Path, variables: Mapping[str, str]) -> Iterator[None]:
    kopf = clients.python("kopf", "kopf")
    argv = [str(kopf), "-m", "kopf", "run", str(PROGRAMS / "kopf_operator.py"), "--namespace", namespace]
    with log.open("wb") as output:
        running = subprocess.Popen(argv, env={**cluster.environment, **variables}, stdout=output, stderr=output)
        try:
            yield
        finally:
            running.terminate()
            running.wait(30)


@pytest.mark.timeout(300)
@pytest.mark.slow_clients
def test_a_kopf_operator_handles_mutates_and_judges_its_objects(
    simulated: Cluster, new_namespace: NewNamespace, tmp_path: Path
) -> None:
    keys = simulated.data / "pki"
    serving = {
        "WEBHOOK_CA": str(keys / "ca.crt"),
        "WEBHOOK_CERTIFICATE": str(keys / "apiserver.crt"),
        "WEBHOOK_KEY": str(keys / "apiserver.key"),
    }
    namespace = new_namespace(simulated, "kopf")
    here = simulated.by(simulated.program, namespace)

    def widget(size: int) -> str:
        meta = {"name": "one", "namespace": namespace}
        value: dict[str, Any] = {"apiVersion": "kopf.example.org/v1", "kind": "Widget", "metadata": meta}
        return json.dumps({**value, "spec": {"size": size}})

    simulated.kubectl("apply", "-f", str(PROGRAMS / "kopf_definition.yaml"))
    try:
        with operator(simulated, namespace, tmp_path / "log", serving):
            _until_configured(here)
            here.kubectl("create", "-f", "-", text=widget(3))
            here.kubectl("wait", "widget/one", "--for=jsonpath={.status.created.color}=blue", "--timeout=30s")
            refused = here.kubectl("patch", "widget/one", "--type=merge", "-p", '{"spec":{"size":11}}', may_fail=True)
            assert "Warning: widgets are looked at closely" in refused
            assert "denied the request: a widget of more than 10 does not fit" in refused
            here.kubectl("patch", "widget/one", "--type=merge", "-p", '{"spec":{"size":7}}')
            here.kubectl("wait", "widget/one", "--for=jsonpath={.status.seen}=7", "--timeout=30s")
            here.kubectl("wait", "widget/one", "--for=jsonpath={.status.ticks}", "--timeout=30s")
            here.kubectl("delete", "widget/one", "--timeout=30s")
            here.kubectl("wait", "--for=create", "event", "--all", "--timeout=30s")
            assert "farewell one" in here.kubectl("get", "events", "-o", "jsonpath={.items[*].message}")
    finally:
        simulated.kubectl("delete", "crd", "widgets.kopf.example.org")
        for kind in ("mutating", "validating"):
            configuration = f"{kind}webhookconfiguration/auto.kopf.example.org"
            simulated.kubectl("delete", configuration, "--ignore-not-found")


def _until_configured(cluster: Cluster) -> None:
    for kind in ("mutating", "validating"):
        for wanted in ("create", "jsonpath={.webhooks[0].clientConfig.url}"):
            configuration = f"{kind}webhookconfiguration/auto.kopf.example.org"
            cluster.kubectl("wait", configuration, f"--for={wanted}", "--timeout=60s")
