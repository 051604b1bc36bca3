"""The programs of `keelback envtest path`, started as controller-runtime's envtest starts its own.

The sequence and the flags are those of sigs.k8s.io/controller-runtime/pkg/internal/testing/controlplane.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from keelback.bootstrap import pki

START_SECONDS = 20.0
"""As envtest's own default."""


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}
    if not (Path(sys.executable).parent / "keelback").exists():
        pytest.skip("keelback is not installed beside this interpreter")
    command = [str(Path(sys.executable).parent / "keelback"), "envtest", "path"]
    return Path(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def has_flag(program: Path, flag: str) -> bool:
    """As envtest's CheckFlag: help must succeed, and name the flag at the beginning of a line."""
    help_text = subprocess.run([program, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout
    return re.search(rf"(?m)^\s*--{flag}\b", help_text) is not None


@contextlib.contextmanager
def running(program: Path, arguments: list[str], health: str, **variables: str) -> Iterator[None]:
    """Started, polled every 100 ms until the answer is 200, at the end told to stop by SIGTERM."""
    unverified = ssl._create_unverified_context()
    with subprocess.Popen([program, *arguments], env={**os.environ, **variables}, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(health, context=unverified, timeout=5) as got:
                    if got.status == 200:
                        break
                assert process.poll() is None, process.stderr and process.stderr.read().decode()
                assert time.monotonic() < deadline, "it did not become healthy in time"
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            assert process.wait(20) == 0


class Client:
    """What holds the certificate that envtest provisions."""

    def __init__(self, url: str, folder: Path, keys: pki.ClusterPKI) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=str(keys.ca.certificate_path))
        admin = pki.issue_client(keys, "envtest-admin", "admin", ("system:masters",), datetime.now(UTC))
        self._context.load_cert_chain(admin.certificate_path, admin.key_path)

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, context=self._context, timeout=10) as response:
            return json.load(response)


@contextlib.contextmanager
def envtest(assets: Path, folder: Path, **variables: str) -> Iterator[Client]:
    etcd_port, port = free_port(), free_port()
    etcd_url, url = f"http://127.0.0.1:{etcd_port}", f"https://127.0.0.1:{port}"
    # envtest writes these four before it starts the server.
    keys = pki.ensure_cluster_pki(folder, datetime.now(UTC))
    (folder / "sa-signer.key").write_bytes(keys.service_account.key_pem)
    (folder / "sa-signer.crt").write_bytes(keys.service_account.public_key_pem)
    (folder / "client-cert-auth-ca.crt").write_bytes(keys.ca.certificate_pem)
    etcd = [
        f"--advertise-client-urls={etcd_url}",
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={etcd_url}",
        f"--listen-peer-urls=http://127.0.0.1:{free_port()}",
    ]
    if has_flag(assets / "etcd", "unsafe-no-fsync"):
        etcd.append("--unsafe-no-fsync=true")
    apiserver = [
        "--allow-privileged=true",
        "--authorization-mode=RBAC",
        "--bind-address=127.0.0.1",
        f"--cert-dir={folder}",
        f"--client-ca-file={folder}/client-cert-auth-ca.crt",
        "--disable-admission-plugins=ServiceAccount",
        f"--etcd-servers={etcd_url}",
        f"--secure-port={port}",
        f"--service-account-issuer={url}/",
        f"--service-account-key-file={folder}/sa-signer.crt",
        f"--service-account-signing-key-file={folder}/sa-signer.key",
        "--service-cluster-ip-range=10.0.0.0/24",
    ]
    assert not has_flag(assets / "kube-apiserver", "insecure-port")
    with (
        running(assets / "etcd", etcd, f"{etcd_url}/health", **variables),
        running(assets / "kube-apiserver", apiserver, f"{url}/healthz", **variables),
    ):
        with urllib.request.urlopen(f"{url}/readyz", context=ssl._create_unverified_context()) as ready:
            assert ready.status == 200
        yield Client(url, folder, keys)


def deployment() -> dict[str, Any]:
    labels = {"app": "web"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": "registry.example/web"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod},
    }


def test_a_suite_gets_an_api_server_as_it_is_used_to(assets: Path, tmp_path: Path) -> None:
    with envtest(assets, tmp_path) as client:
        client("POST", "/apis/apps/v1/namespaces/default/deployments", deployment())
        held = client("GET", "/apis/apps/v1/namespaces/default/deployments/web")
        assert held["spec"]["replicas"] == 2
        assert "observedGeneration" not in held["status"]
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web"},
            "spec": {"ports": [{"port": 80}]},
        }
        made = client("POST", "/api/v1/namespaces/default/services", service)
        assert made["spec"]["clusterIP"].startswith("10.0.0.")


def test_with_controllers_on_deployments_become_available(assets: Path, tmp_path: Path) -> None:
    variables = {"KEELBACK_ENVTEST_CONTROLLERS": "1", "KEELBACK_ENVTEST_NODES": "2"}
    with envtest(assets, tmp_path, **variables, KEELBACK_ENVTEST_KUBERNETES_VERSION="1.31") as client:
        client("POST", "/apis/apps/v1/namespaces/default/deployments", deployment())
        deadline = time.monotonic() + START_SECONDS
        while True:
            status = client("GET", "/apis/apps/v1/namespaces/default/deployments/web").get("status", {})
            if status.get("availableReplicas") == 2:
                break
            assert time.monotonic() < deadline, status
            time.sleep(0.1)
        nodes = client("GET", "/api/v1/nodes")["items"]
        assert [one["status"]["nodeInfo"]["kubeletVersion"] for one in nodes] == ["v1.31.0", "v1.31.0"]
        assert client("GET", "/version")["minor"] == "31"


def test_a_flag_that_there_is_not_is_refused(assets: Path) -> None:
    done = subprocess.run(
        [assets / "kube-apiserver", "--no-such-flag=1"], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "no-such-flag" in done.stderr
