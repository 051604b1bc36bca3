"""Kubelet, proxy and DNS as processes of their own on a real node, with an API server that is one too."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from keelback.bootstrap import images, sample
from keelback.bootstrap.kubeconfigs import ClusterAddress, with_certificate
from keelback.bootstrap.node_namespace import NodeEnvironment, NodeSpec, destroy_remains
from keelback.bootstrap.pki import ensure_cluster_pki, ensure_node_credentials
from keelback.concurrency.clock import SystemClock
from keelback.network import namespaces
from keelback.network.fabric import Fabric
from keelback.network.namespaces import Namespaces

pytestmark = [
    pytest.mark.containers,
    pytest.mark.skipif(os.geteuid() != 0 or shutil.which("containerd") is None, reason="needs root and containerd"),
]
PROGRAMS = Path(sys.executable).parent
CLOCK = SystemClock()
DNS = "10.96.0.10"


class Machines:
    """A node, and a network namespace beside it for the control plane."""

    def __init__(self, folder: Path) -> None:
        self.name = f"kbalone-{os.getpid()}"
        self.folder = folder
        self.run = Path("/run/keelback") / self.name
        self.fabric = Fabric(self.run / "fabric")
        self.pki = folder / "pki"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.spec = NodeSpec(
            name="alone",
            index=0,
            pod_cidrs=("10.244.0.0/24",),
            run_directory=self.run / "alone",
            data_directory=folder / "alone",
            cgroup_parent=f"/{self.name}/alone",
        )

    @property
    def server(self) -> str:
        return str(self.fabric.plan.gateway)

    def start(self, where: Namespaces, component: str, *flags: str) -> None:
        with ExitStack() as stack:
            log = stack.enter_context((self.folder / f"{component}.log").open("wb"))
            argv = [str(PROGRAMS / "keelback"), component, *flags]
            self.processes[component] = namespaces.spawn(where, argv, environment=os.environ, output=log)

    def kubectl(self, *arguments: str, patience_seconds: float = 0.0) -> str:
        argv = [str(PROGRAMS / "kubectl"), f"--kubeconfig={self.pki / 'admin.conf'}", *arguments]
        deadline = CLOCK.monotonic() + patience_seconds
        while True:
            try:
                return namespaces.run(Namespaces.network(self.fabric.path), argv, timeout_seconds=60)
            except subprocess.CalledProcessError as error:
                if CLOCK.monotonic() > deadline:
                    raise AssertionError(f"{arguments}: {error.stdout}{error.stderr}{self.logs()}") from error

    def logs(self) -> str:
        return "".join(f"\n--- {path.name}\n{path.read_text()[-3000:]}" for path in self.folder.glob("*.log"))


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    made.fabric.create()
    yield made
    for process in made.processes.values():
        process.kill()
        process.wait(10)
    asyncio.run(destroy_remains(made.spec.run_directory, made.fabric))
    made.fabric.destroy()
    shutil.rmtree(made.run, ignore_errors=True)


async def _node(machines: Machines) -> NodeEnvironment:
    node = await NodeEnvironment.create(machines.spec, machines.fabric, CLOCK)
    await node.containerd.wait_ready()
    for image in (images.pause_image(), sample.build()):
        await images.load(node.socket, image, CLOCK)
    return node


def test_a_pod_answers_by_a_services_name_where_every_component_is_alone(machines: Machines) -> None:
    plane = Namespaces.network(machines.fabric.path)
    pki, server = machines.pki, machines.server
    own = [f"--cert-dir={pki}", f"--storage-file={machines.folder / 'state.db'}", f"--bind-address={server}"]
    machines.start(plane, "kube-apiserver", *own)
    node = asyncio.run(_node(machines))
    machines.kubectl("get", "--raw=/readyz", patience_seconds=60)
    keys = ensure_cluster_pki(pki, CLOCK.now(), addresses=(server, "10.96.0.1"))
    held = ensure_node_credentials(keys, "alone", CLOCK.now(), addresses=(str(node.address),))
    cluster = ClusterAddress("kubernetes", f"https://{server}:6443", keys.ca.certificate_pem)
    kubelet = machines.folder / "kubelet.conf"
    kubelet.write_text(yaml.safe_dump(with_certificate(cluster, "system:node:alone", held.client)))
    machines.start(plane, "kube-scheduler", f"--kubeconfig={pki / 'scheduler.conf'}")
    machines.start(
        plane,
        "kube-controller-manager",
        f"--kubeconfig={pki / 'controller-manager.conf'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        "--use-service-account-credentials",
    )
    machines.start(
        node.inside,
        "kubelet",
        f"--kubeconfig={kubelet}",
        "--hostname-override=alone",
        f"--node-ip={node.address}",
        "--pod-cidr=10.244.0.0/24",
        f"--container-runtime-endpoint=unix://{node.socket}",
        f"--cgroup-root={machines.spec.cgroup_parent}",
        f"--cluster-dns={DNS}",
        f"--tls-cert-file={held.serving.certificate_path}",
        f"--tls-private-key-file={held.serving.key_path}",
        f"--client-ca-file={pki / 'ca.crt'}",
    )
    proxy = [f"--kubeconfig={pki / 'proxy.conf'}", "--hostname-override=alone", f"--node-ip={node.address}"]
    machines.start(node.inside, "kube-proxy", *proxy)
    machines.start(node.inside, "dns", f"--kubeconfig={pki / 'proxy.conf'}", f"--address={DNS}")

    machines.kubectl("wait", "--for=create", "node/alone", "--timeout=30s")
    machines.kubectl("wait", "--for=condition=Ready", "node/alone", "--timeout=30s")
    machines.kubectl("create", "deployment", "web", f"--image={sample.IMAGE}", "--replicas=2")
    machines.kubectl("expose", "deployment", "web", "--port=80", f"--target-port={sample.PORT}")
    machines.kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=40s")
    answer = machines.kubectl("exec", "deployment/web", "--", "wget", "-qO-", "http://web")
    assert answer.startswith("web-")

    for component, process in machines.processes.items():
        process.terminate()
        assert process.wait(15) == 0, f"{component}{machines.logs()}"
    assert "Traceback" not in machines.logs()
