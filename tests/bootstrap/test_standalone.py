"""Components as processes of their own: a cluster assembled out of them, and what they say when something is wrong."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from keelback.bootstrap.kubeconfigs import ClusterAddress, with_certificate
from keelback.bootstrap.pki import ensure_cluster_pki, ensure_node_credentials
from keelback.concurrency.clock import SystemClock

PROGRAMS = Path(sys.executable).parent
KUBECTL = PROGRAMS / "kubectl"
needs_kubectl = pytest.mark.skipif(not KUBECTL.exists() and shutil.which("kubectl") is None, reason="no kubectl")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Processes:
    """Components that run; each ends with the test."""

    folder: Path
    port: int = field(default_factory=free_port)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def certificates(self) -> Path:
        return self.folder / "pki"

    def start(self, component: str, *flags: str, name: str = "") -> None:
        with self.log(name or component).open("wb") as log:
            self.running[name or component] = subprocess.Popen(
                [PROGRAMS / "keelback", component, *flags], stdout=log, stderr=log, cwd=self.folder
            )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def start_api_server(self, *flags: str) -> None:
        own = [f"--cert-dir={self.certificates}", f"--storage-file={self.folder / 'state.db'}"]
        self.start("kube-apiserver", *own, f"--secure-port={self.port}", "--advertise-address=192.0.2.7", *flags)
        self.kubectl("get", "--raw=/readyz", patience_seconds=60)

    def stop(self, name: str) -> tuple[int, str]:
        """Ask one to end; its exit status, and what it wrote."""
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(10), self.log(name).read_text()

    def kubectl(self, *arguments: str, patience_seconds: float = 0.0) -> str:
        """What kubectl prints. Where the server may not be there yet: asked again."""
        argv = [KUBECTL, f"--kubeconfig={self.certificates / 'admin.conf'}", *arguments]
        deadline = SystemClock().monotonic() + patience_seconds
        while True:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
            if done.returncode == 0:
                return done.stdout
            if SystemClock().monotonic() > deadline:
                raise AssertionError(f"{arguments}: {done.stdout}{done.stderr}{self._logs()}")

    def _logs(self) -> str:
        return "".join(f"\n--- {name}\n{self.log(name).read_text()[-2000:]}" for name in self.running)


@contextlib.contextmanager
def ended(made: Processes) -> Iterator[Processes]:
    try:
        yield made
    finally:
        for process in made.running.values():
            process.kill()
            process.wait(10)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with ended(Processes(tmp_path)) as made:
        yield made


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """An API server and nothing else."""
    with ended(Processes(tmp_path_factory.mktemp("api-server"))) as made:
        made.start_api_server()
        yield made


def node_kubeconfig(processes: Processes, name: str) -> Path:
    """What a kubelet is given: its own certificate."""
    now = SystemClock().now()
    keys = ensure_cluster_pki(processes.certificates, now)
    held = ensure_node_credentials(keys, name, now, addresses=("127.0.0.1",))
    cluster = ClusterAddress("kubernetes", f"https://127.0.0.1:{processes.port}", keys.ca.certificate_pem)
    path = processes.folder / f"{name}.conf"
    path.write_text(yaml.safe_dump(with_certificate(cluster, f"system:node:{name}", held.client)))
    return path


def finished(*arguments: str, timeout_seconds: float = 40.0) -> tuple[int, str]:
    done = subprocess.run(
        [PROGRAMS / "keelback", *arguments], capture_output=True, text=True, timeout=timeout_seconds, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@needs_kubectl
def test_a_cluster_of_components_that_were_started_one_by_one(processes: Processes) -> None:
    processes.start_api_server("--service-cluster-ip-range=172.30.0.0/24")
    pki = processes.certificates
    processes.start(
        "kube-controller-manager",
        f"--kubeconfig={pki / 'controller-manager.conf'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        "--use-service-account-credentials",
        f"--secure-port={free_port()}",
    )
    asked = free_port()
    processes.start("kube-scheduler", f"--kubeconfig={pki / 'scheduler.conf'}", f"--secure-port={asked}")
    for index, name in enumerate(("one", "two")):
        processes.start(
            "kubelet",
            "--simulated",
            f"--hostname-override={name}",
            f"--pod-cidr=10.244.{index}.0/24",
            f"--kubeconfig={node_kubeconfig(processes, name)}",
            name=f"kubelet-{name}",
        )
    for name in ("one", "two"):
        processes.kubectl("wait", "--for=create", f"node/{name}", "--timeout=30s")
    processes.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=30s")
    processes.kubectl("create", "deployment", "web", "--image=web", "--replicas=3")
    processes.kubectl("expose", "deployment", "web", "--port=80")
    processes.kubectl("rollout", "status", "deployment/web", "--timeout=40s")
    processes.kubectl("wait", "--for=jsonpath={.endpoints[2]}", "endpointslice", "-l", "app=web", "--timeout=30s")
    service = json.loads(processes.kubectl("get", "service", "web", "-o", "json"))
    assert service["spec"]["clusterIP"].startswith("172.30.0.")
    nodes = processes.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}").split()
    assert set(nodes) == {"one", "two"}
    leases = processes.kubectl("-n", "kube-system", "get", "leases", "-o", "name").split()
    assert {"lease.coordination.k8s.io/kube-scheduler", "lease.coordination.k8s.io/kube-controller-manager"} <= {
        *leases
    }
    health = processes.kubectl(
        "get", f"--server=https://127.0.0.1:{asked}", "--insecure-skip-tls-verify", "--raw=/healthz?verbose"
    )
    assert "[+]leaderElection ok" in health
    for name in list(reversed(processes.running)):
        status, said = processes.stop(name)
        assert status == 0, said
        assert "Traceback" not in said


@needs_kubectl
@pytest.mark.parametrize("component", ["controller-manager", "scheduler", "kubelet", "dns"])
def test_an_api_server_that_does_not_know_who_asks_is_named(api_server: Processes, component: str) -> None:
    tree = yaml.safe_load((api_server.certificates / "admin.conf").read_text())
    tree["users"][0]["user"] = {"token": "nobody's"}
    unknown = api_server.folder / "unknown.conf"
    unknown.write_text(yaml.safe_dump(tree))
    extra = {"kubelet": ["--simulated", "--pod-cidr=10.244.0.0/24"]}.get(component, [])
    status, said = finished(component, f"--kubeconfig={unknown}", *extra)
    assert (status, f"127.0.0.1:{api_server.port} does not know whom {unknown} names" in said) == (1, True), said


@needs_kubectl
def test_an_api_server_of_another_cluster_is_not_trusted(api_server: Processes, tmp_path: Path) -> None:
    other = ensure_cluster_pki(tmp_path / "other", SystemClock().now())
    cluster = ClusterAddress("other", f"https://127.0.0.1:{api_server.port}", other.ca.certificate_pem)
    path = tmp_path / "other.conf"
    path.write_text(yaml.safe_dump(with_certificate(cluster, "admin", other.admin)))
    status, said = finished("scheduler", f"--kubeconfig={path}")
    assert status == 1
    assert "is not the one that" in said


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of a server that is away."""
    folder = tmp_path_factory.mktemp("nowhere")
    keys = ensure_cluster_pki(folder, SystemClock().now())
    cluster = ClusterAddress("nowhere", f"https://127.0.0.1:{free_port()}", keys.ca.certificate_pem)
    path = folder / "nowhere.conf"
    path.write_text(yaml.safe_dump(with_certificate(cluster, "admin", keys.admin)))
    return path


def test_a_server_that_is_away_is_waited_for_in_bounds(nowhere: Path) -> None:
    status, said = finished("scheduler", f"--kubeconfig={nowhere}")
    assert status == 1
    assert "is not ready after 10 s" in said


def test_a_node_starts_without_its_api_server(processes: Processes, nowhere: Path) -> None:
    port = free_port()
    processes.start("dns", f"--kubeconfig={nowhere}", "--address=127.0.0.1", f"--port={port}", "--interface=")
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        for _ in range(100_000):
            with contextlib.suppress(ConnectionRefusedError):
                probe.connect(("127.0.0.1", port))
                break
            os.sched_yield()
            assert processes.running["dns"].poll() is None, processes.log("dns").read_text()
    status, said = processes.stop("dns")
    assert status == 0
    assert "does not answer yet" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no current context"),
        ("{", "is not YAML"),
        ("current-context: a", "has no context 'a'"),
        (
            "{current-context: a, contexts: [{name: a, context: {cluster: c}}], clusters: [{name: c, cluster: {}}]}",
            "no https:// address",
        ),
        (
            "{current-context: a, contexts: [{name: a, context: {cluster: c}}], clusters: [{name: c, cluster: "
            "{server: 'https://127.0.0.1:1', certificate-authority: /not-there}}]}",
            "/not-there",
        ),
        (
            "{current-context: a, contexts: [{name: a, context: {cluster: c}}], clusters: [{name: c, cluster: "
            "{server: 'https://127.0.0.1:1', certificate-authority-data: bm9uZQ==}}]}",
            "a certificate or key cannot be used",
        ),
    ],
)
def test_a_wrong_kubeconfig_is_said_in_a_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "wrong.conf"
    path.write_text(text)
    status, told = finished("kube-scheduler", f"--kubeconfig={path}")
    assert status == 1
    assert said in told


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["kube-apiserver"], 2, "--cert-dir is needed"),
        (["kube-apiserver", "--cert-dir=x"], 2, "--storage-file is needed"),
        (["kube-apiserver", "--cert-dir=x", "--storage-file=y", "--service-cluster-ip-range=1.2.3.4"], 1, "too small"),
        (["kube-apiserver", "--cert-dir=x", "--storage-file=y", "--bind-address=here"], 1, "--bind-address: "),
        (["kube-apiserver", "--cert-dir=x", "--storage-file=y", "--etcd-servers=z"], 2, "two stores: give one"),
        (["kube-apiserver", "--cert-dir=x", "--etcd-servers=z", "--etcd-certfile=c"], 2, "belong together"),
        (["kube-apiserver", "--etcd-servers=z", "--etcd-servers-overrides=events#y"], 2, "must be of format"),
        (["kube-apiserver", "--storage-file=z", "--etcd-servers-overrides=/events#y"], 2, "goes with --etcd-servers"),
        (["kube-apiserver", "--cert-dir=x", "--etcd-servers=z", "--etcd-prefix=r"], 2, "begins with a slash"),
        (["kube-proxy"], 2, "--kubeconfig is needed"),
        (["kubelet"], 2, "--tls-cert-file is needed"),
        (["kubelet", "--simulated"], 1, "--simulated needs --pod-cidr"),
        (["controller-manager", "--controllers=*,none-such"], 2, '"none-such" is not in the list of known controllers'),
        (["controller-manager", "--node-monitor-period=often"], 2, 'invalid argument "often"'),
        (["scheduler", "--kubeconfig=/not-there"], 1, "/not-there does not exist"),
    ],
)
def test_flags_that_cannot_work_are_named(arguments: list[str], status: int, said: str) -> None:
    got, told = finished(*arguments)
    assert got == status
    assert said in told
