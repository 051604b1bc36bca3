"""Clients beside the libraries that everybody uses: what is built on them, and libraries of an older kind."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from keelback.testing import clients
from keelback.testing.commands import Cluster

PROGRAMS = Path(__file__).with_name("programs")
NewNamespace = Callable[[Cluster, str], str]

pytestmark = [pytest.mark.slow_clients, pytest.mark.timeout(700)]


def run_python(cluster: Cluster, python: Path, program: str, *arguments: str) -> None:
    # Some look for programs of their own package, which are beside the interpreter.
    path = f"{python.parent}:{os.environ['PATH']}"
    argv = [str(python), "-W", "ignore", str(PROGRAMS / program), *arguments]
    replace(cluster, variables={"PATH": path}).run(argv)


@pytest.mark.parametrize(
    ("name", "program", "requirements"),
    [
        ("openshift", "openshift_sdk.py", ("openshift", "kubernetes==32.*")),
        ("hikaru", "hikaru_sdk.py", ("hikaru",)),
        ("kubespawner", "kubespawner_hub.py", ("jupyterhub-kubespawner",)),
    ],
)
def test_a_client_makes_objects_and_pods(
    simulated: Cluster, new_namespace: NewNamespace, name: str, program: str, requirements: tuple[str, ...]
) -> None:
    python = clients.python(name, *requirements)
    run_python(simulated, python, program, new_namespace(simulated, name), "example")


@pytest.mark.parametrize(
    ("name", "program", "requirement"),
    [
        ("kubernetes", "leader_election.py", "kubernetes==37.*"),
        ("kubernetes_asyncio", "kubernetes_asyncio_dynamic.py", "kubernetes_asyncio"),
    ],
)
def test_a_library_elects_a_leader(
    simulated: Cluster, new_namespace: NewNamespace, name: str, program: str, requirement: str
) -> None:
    run_python(simulated, clients.python(name, requirement), program, new_namespace(simulated, "leader"))


@pytest.mark.parametrize("kind", ["configmaps", "endpoints"])
def test_patroni_keeps_a_cluster_of_postgresql(simulated: Cluster, new_namespace: NewNamespace, kind: str) -> None:
    python = clients.python("patroni", "patroni[kubernetes]", "psycopg2-binary")
    namespace = new_namespace(simulated, "patroni")
    here = simulated.by(simulated.program, namespace)
    here.kubectl("run", f"pg-{kind}", "--image=example", f"--labels=application=patroni,cluster-name={kind}")
    context = simulated.kubectl("config", "current-context").strip()
    run_python(simulated, python, "patroni_dcs.py", namespace, context, kind)
    assert here.kubectl("get", "configmaps,endpoints", "-l", "application=patroni", "-o", "name") == ""


def test_ruby_watches_by_the_legacy_paths(simulated: Cluster, new_namespace: NewNamespace) -> None:
    ruby = clients.debian("ruby", "ruby-kubeclient")
    simulated.run([str(ruby), "-W0", str(PROGRAMS / "kubeclient.rb"), new_namespace(simulated, "ruby")])


def test_a_client_learns_its_methods_from_the_openapi_document(
    simulated: Cluster, new_namespace: NewNamespace, tmp_path: Path
) -> None:
    modules = clients.node("kubernetes-client", "kubernetes-client@9") / "node_modules"
    (tmp_path / "node_modules").symlink_to(modules)
    program = tmp_path / "client.js"
    program.write_text((PROGRAMS / "kubernetes_client.js").read_text())
    simulated.run(["node", str(program), new_namespace(simulated, "js")])


def test_client_node_lists_all_it_knows(simulated: Cluster, tmp_path: Path) -> None:
    modules = clients.node("client-node", "@kubernetes/client-node@2", "node@24") / "node_modules"
    (tmp_path / "node_modules").symlink_to(modules)
    program = tmp_path / "client.mjs"
    program.write_text((PROGRAMS / "client_node_lists.mjs").read_text())
    simulated.run([str(modules / ".bin/node"), str(program)])


def test_ansible_serves_nodes(simulated: Cluster, new_namespace: NewNamespace) -> None:
    python = clients.python("ansible", "ansible==12.*", "kubernetes==37.*")
    values = f"place={new_namespace(simulated, 'ansible')} ansible_python_interpreter={python}"
    playbook = [str(python.with_name("ansible-playbook")), str(PROGRAMS / "playbook_nodes.yaml")]
    simulated.run([*playbook, "-e", values, "-i", "localhost,"], timeout_seconds=300)


# Peers.


@contextmanager
def peer(cluster: Cluster, namespace: str, log: Path, name: str, priority: int) -> Iterator[None]:
    kopf = clients.python("kopf", "kopf")
    argv = [str(kopf), "-m", "kopf", "run", str(PROGRAMS / "kopf_peers.py"), "--namespace", namespace]
    variables = {"PEER": name, "PRIORITY": str(priority)}
    with (log / name).open("wb") as output:
        running = subprocess.Popen(argv, env={**cluster.environment, **variables}, stdout=output, stderr=output)
        try:
            yield
        finally:
            running.terminate()
            running.wait(60)


def test_of_two_operators_of_kopf_the_higher_acts(
    simulated: Cluster, new_namespace: NewNamespace, tmp_path: Path
) -> None:
    namespace = new_namespace(simulated, "peers")
    here = simulated.by(simulated.program, namespace)
    definition = str(PROGRAMS / "kopf_peering.yaml")
    here.kubectl("apply", "-f", definition)
    # kubectl refuses to wait for one of a list of conditions while there is no list.
    for wanted in ("jsonpath={.status.acceptedNames.kind}=KopfPeering", "condition=Established"):
        here.kubectl("wait", "-f", definition, f"--for={wanted}", "--timeout=30s")
    peering = {"apiVersion": "kopf.dev/v1", "kind": "KopfPeering", "metadata": {"name": "ours"}}
    here.kubectl("create", "-f", "-", text=json.dumps(peering))
    here.kubectl("create", "configmap", "shared")
    here.kubectl("label", "configmap", "shared", "timed=yes")

    def counted(name: str) -> int:
        return int(here.kubectl("get", "configmap", "shared", "-o", f"jsonpath={{.data.{name}}}") or 0)

    def expect_more(name: str, than: int) -> None:
        deadline = time.monotonic() + 60
        while counted(name) <= than:
            assert time.monotonic() < deadline, name

    try:
        with peer(simulated, namespace, tmp_path, "low", 1):
            expect_more("low", 0)
            with peer(simulated, namespace, tmp_path, "high", 9):
                expect_more("high", 2)
                before = counted("low")
                expect_more("high", counted("high") + 5)
                assert counted("low") == before
            expect_more("low", before)
    finally:
        simulated.kubectl("delete", "-f", definition, "--timeout=60s")
