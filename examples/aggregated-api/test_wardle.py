"""The sample server behind a cluster: what a user of both sees."""

import base64
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = Path(__file__).parent
FLUNDER = {
    "apiVersion": "wardle.example.com/v1alpha1",
    "kind": "Flunder",
    "metadata": {"name": "plain", "namespace": "default"},
}
FISCHER = {
    "apiVersion": "wardle.example.com/v1alpha1",
    "kind": "Fischer",
    "metadata": {"name": "strict"},
    "disallowedFlunders": ["rude"],
}


def certificate(folder):
    """A certificate for the Service's name, signed by itself; and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wardle")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    names = x509.SubjectAlternativeName([x509.DNSName("api.wardle.svc")])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    (folder / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "tls.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


@contextmanager
def wardle(cluster, folder):
    """The server as a process of its own, and its port."""
    certificate(folder)
    command = [sys.executable, HERE / "wardle.py", "--kubeconfig", cluster.kubeconfig(), "--bind-address=127.0.0.1"]
    command += ["--secure-port=0", f"--tls-cert-file={folder}/tls.crt", f"--tls-private-key-file={folder}/tls.key"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield int(process.stdout.readline().split()[-1])
        finally:
            process.terminate()


def register(cluster, folder, port):
    """What `apiservice.yaml` says, for a server on this machine: its Service is a name, which needs no pods."""
    api_services = list(yaml.safe_load_all((HERE / "apiservice.yaml").read_text()))
    for one in api_services:
        one["spec"]["caBundle"] = base64.b64encode((folder / "tls.crt").read_bytes()).decode()
        one["spec"]["service"]["port"] = port
    service = {"type": "ExternalName", "externalName": "localhost"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "wardle"}})
    place = {"name": "api", "namespace": "wardle"}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": place, "spec": service})
    for one in api_services:
        cluster.apply(one)
    for one in api_services:
        cluster.wait(f"apiservice/{one['metadata']['name']}", "Available")


def create(cluster, obj):
    """Make an object of the group."""
    metadata, plural = obj["metadata"], f"{obj['kind'].lower()}s"
    place = f"namespaces/{metadata['namespace']}/{plural}" if "namespace" in metadata else plural
    return cluster.request("POST", f"/apis/{obj['apiVersion']}/{place}", body=obj)


@pytest.mark.keelback(real_time=True, nodes=0)
def test_its_objects_are_as_the_clusters_own(cluster, tmp_path):
    """Made, listed, changed and deleted through the cluster, also with their namespace; what it refuses is refused."""
    with wardle(cluster, tmp_path) as port:
        register(cluster, tmp_path, port)
        assert create(cluster, FLUNDER)["metadata"]["uid"]
        assert [one["metadata"]["name"] for one in cluster.list("flunders")] == ["plain"]
        create(cluster, FISCHER)
        with pytest.raises(Exception, match="this name may not be used"):
            create(cluster, {**FLUNDER, "metadata": {"name": "rude", "namespace": "default"}})
        cluster.patch("flunder/plain", {"spec": {"reference": "strict"}})
        assert cluster.get("flunder/plain")["spec"] == {"reference": "strict"}
        cluster.delete("flunder/plain")
        assert cluster.list("flunders") == []

        # A namespace takes along what is in it, and nothing else.
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pond"}})
        create(cluster, {**FLUNDER, "metadata": {"name": "gone", "namespace": "pond"}})
        create(cluster, FLUNDER)
        cluster.delete("namespace/pond")
        cluster.wait("namespace/pond", "deleted")
        listed = cluster.request("GET", "/apis/wardle.example.com/v1beta1/flunders")
        assert [one["metadata"]["name"] for one in listed["items"]] == ["plain"]
