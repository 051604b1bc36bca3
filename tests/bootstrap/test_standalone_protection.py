"""An API server that runs alone, with a real audit webhook over TLS and a real KMS plugin over gRPC."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from keelback.bootstrap.pki import ensure_cluster_pki
from keelback.concurrency.clock import SystemClock
from keelback.testing.encryption import IDENTITY, Config, KMSPlugin

PROGRAMS = Path(sys.executable).parent
KUBECTL = PROGRAMS / "kubectl"
PORT_FLAGS = ("--advertise-address=192.0.2.7",)
TEXT = "nobody-must-find-this"


class Receiver(ThreadingHTTPServer):
    """A webhook server that keeps the events that it gets."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self.arrived = threading.Condition()
        super().__init__(("127.0.0.1", 0), _Receipt)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def wait_for(self, name: str) -> dict[str, Any]:
        """The event of an object's creation."""

        def found() -> dict[str, Any] | None:
            return next((one for one in self.events if one.get("objectRef", {}).get("name") == name), None)

        with self.arrived:
            assert self.arrived.wait_for(found, timeout=20), f"there is no event of {name}"
            event = found()
        assert event is not None
        return event


class _Receipt(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert sent["kind"] == "EventList"
        with self.server.arrived:
            self.server.events += sent["items"]
            self.server.arrived.notify_all()
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is printed."""


@contextmanager
def receiver(folder: Path) -> Iterator[tuple[Receiver, Path]]:
    """A webhook server, and the kubeconfig that leads to it."""
    keys = ensure_cluster_pki(folder / "webhook", SystemClock().now(), addresses=("127.0.0.1",))
    server = Receiver(keys.apiserver.certificate_path, keys.apiserver.key_path)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    cluster = {
        "server": f"https://127.0.0.1:{server.server_address[1]}/events",
        "certificate-authority": str(keys.ca.certificate_path),
    }
    tree = {
        "current-context": "webhook",
        "contexts": [{"name": "webhook", "context": {"cluster": "webhook"}}],
        "clusters": [{"name": "webhook", "cluster": cluster}],
    }
    path = folder / "webhook.conf"
    path.write_text(yaml.dump(tree))
    try:
        yield server, path
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def api_server(folder: Path, *flags: str) -> Iterator[None]:
    argv = [PROGRAMS / "keelback", "apiserver", f"--cert-dir={folder / 'pki'}", *flags, *PORT_FLAGS]
    argv += [f"--storage-file={folder / 'store' / 'state.db'}", f"--secure-port={free_port()}"]
    (folder / "store").mkdir(exist_ok=True)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
    try:
        kubectl(folder, "get", "--raw=/readyz", patience_seconds=60)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def kubectl(folder: Path, *arguments: str, patience_seconds: float = 0.0, given: str | None = None) -> str:
    argv = [KUBECTL, f"--kubeconfig={folder / 'pki' / 'admin.conf'}", *arguments]
    deadline = SystemClock().monotonic() + patience_seconds
    while True:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, input=given)
        if done.returncode == 0:
            return done.stdout
        if SystemClock().monotonic() > deadline:
            raise AssertionError(f"{arguments}: {done.stderr}{(folder / 'log').read_text()[-3000:]}")


@pytest.fixture
def plugin(tmp_path: Path) -> Iterator[KMSPlugin]:
    made = KMSPlugin(tmp_path)
    made.start()
    yield made
    made.stop()


def test_secrets_move_to_a_plugins_key_and_every_step_is_noted(tmp_path: Path, plugin: KMSPlugin) -> None:
    if not KUBECTL.exists():
        pytest.skip("kubectl is not installed")
    config = Config(tmp_path / "encryption.yaml")
    policy = tmp_path / "policy.yaml"
    rule = {"level": "Metadata", "resources": [{"resources": ["secrets"]}], "omitStages": ["RequestReceived"]}
    policy.write_text(yaml.dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule]}))
    with api_server(tmp_path):
        kubectl(tmp_path, "create", "secret", "generic", "before", f"--from-literal=a={TEXT}")
    config.write(plugin.provider, IDENTITY)
    flags = [f"--encryption-provider-config={config.path}", f"--audit-policy-file={policy}"]
    with receiver(tmp_path) as (webhook, kubeconfig):
        flags += [f"--audit-webhook-config-file={kubeconfig}", "--audit-webhook-batch-max-wait=100ms"]
        flags += ["--audit-log-path=audit.log", "--audit-log-mode=batch"]
        with api_server(tmp_path, *flags):
            kubectl(tmp_path, "create", "secret", "generic", "after", f"--from-literal=a={TEXT}")
            event = webhook.wait_for("after")
            assert (event["verb"], event["responseStatus"]["code"]) == ("create", 201)
            assert event["user"]["username"] == "kubernetes-admin"
            assert "requestObject" not in event
            kubectl(tmp_path, "replace", "-f", "-", given=kubectl(tmp_path, "get", "secrets", "-A", "-o", "json"))
            assert kubectl(tmp_path, "get", "--raw=/healthz/kms-providers") == "ok"
            metrics = kubectl(tmp_path, "get", "--raw=/metrics")
            assert 'apiserver_storage_transformation_operations_total{resource="secrets",status="OK"' in metrics
        noted = [json.loads(one) for one in (tmp_path / "audit.log").read_text().splitlines()]
    assert {one["verb"] for one in noted} >= {"create", "list", "update"}
    assert (os.stat(tmp_path / "audit.log").st_mode & 0o777) == 0o600
    with api_server(tmp_path, *flags[:1]):
        names = kubectl(tmp_path, "get", "secrets", "-o", "jsonpath={range .items[*]}{.metadata.name}={.data.a} {end}")
        assert {one.split("=")[0] for one in names.split()} == {"before", "after"}
        # What was overwritten is in the history still, until it is compacted; what is newest is encrypted.
        stored = b"".join(one.read_bytes() for one in (tmp_path / "store").iterdir())
        assert stored.count(b"k8s:enc:kms:v2:plugin:") >= 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--audit-log-path=-", "--audit-policy-file=none"], "loading audit policy file: none: No such file"),
        (["--encryption-provider-config=none"], 'error opening encryption provider configuration file "none"'),
        (["--encryption-provider-config-automatic-reload"], "must be set with --encryption-provider-config"),
        (["--audit-log-path=-", "--audit-log-mode=eager"], "invalid audit log mode eager"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(tmp_path: Path, flags: list[str], said: str) -> None:
    argv = [PROGRAMS / "keelback", "apiserver", "--cert-dir=pki", "--storage-file=state.db", *flags, *PORT_FLAGS]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
