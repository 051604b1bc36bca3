"""The sample API server in a pod behind a Service, used by kubectl: what conformance's Aggregator test does."""

from __future__ import annotations

import base64
import json
import site
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from keelback.testing.commands import Cluster

pytestmark = [pytest.mark.containers, pytest.mark.slow_clients, pytest.mark.timeout(300)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "aggregated-api"
SOURCE = Path(__file__).parents[2] / "src"
GROUP = "wardle.example.com"
API_SERVICES = [f"apiservice/{version}.{GROUP}" for version in ("v1beta1", "v1alpha1")]
FLUNDER = {
    "apiVersion": f"{GROUP}/v1alpha1",
    "kind": "Flunder",
    "metadata": {"name": "one", "labels": {"sample-label": "true"}},
    "spec": {"reference": "first"},
}


def deployment() -> str:
    """The example's manifests; its container has this machine's Python instead of one in an image."""
    objects = list(yaml.safe_load_all((EXAMPLE / "wardle.yaml").read_text()))
    pod: dict[str, Any] = objects[-1]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    python = Path(sys.executable).resolve()
    container["image"] = "localhost/keelback-sample:latest"
    container["command"] = [str(python), "/example/wardle.py"]
    container["env"] = [
        {"name": "PYTHONPATH", "value": "/source:/packages"},
        {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"},
    ]
    mounts = {EXAMPLE: "/example", SOURCE: "/source", Path(site.getsitepackages()[0]): "/packages"}
    mounts |= {Path(sys.base_prefix): sys.base_prefix, **{Path(one): one for one in ("/usr", "/lib", "/lib64")}}
    for number, (path, mounted) in enumerate(mounts.items()):
        pod["volumes"].append({"name": f"host-{number}", "hostPath": {"path": str(path)}})
        container["volumeMounts"].append({"name": f"host-{number}", "mountPath": mounted, "readOnly": True})
    return yaml.safe_dump_all(objects)


@pytest.fixture(scope="module")
def wardle(containers: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster with the sample server in it, registered and available."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    said = ("-subj", "/CN=wardle", "-addext", "subjectAltName=DNS:api.wardle.svc")
    subprocess.run(["openssl", *made, *said, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    containers.kubectl("apply", "-f", "-", text=deployment())
    containers.kubectl("create", "secret", "tls", "tls", "-n", "wardle", f"--cert={certificate}", f"--key={key}")
    services = list(yaml.safe_load_all((EXAMPLE / "apiservice.yaml").read_text()))
    for one in services:
        one["spec"]["caBundle"] = base64.b64encode(certificate.read_bytes()).decode()
    containers.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(services))
    containers.kubectl("wait", "--for=condition=Available", *API_SERVICES, "--timeout=60s")
    yield containers
    containers.kubectl("delete", *API_SERVICES)
    containers.kubectl("delete", "namespace", "wardle", "--wait=false")


def test_objects_are_used_as_any_others(wardle: Cluster, kubectl_program: Path) -> None:
    cluster = wardle.by(kubectl_program)
    assert "flunders" in cluster.kubectl("api-resources", f"--api-group={GROUP}", "-o", "name")
    assert "reference" in cluster.kubectl("explain", "flunder.spec")
    cluster.kubectl("create", "-f", "-", text=json.dumps(FLUNDER))
    assert "one" in cluster.kubectl("get", "flunders", "-l", "sample-label=true")
    cluster.kubectl("patch", "flunder", "one", "--type=merge", "-p", '{"spec":{"reference":"second"}}')
    assert cluster.kubectl("get", "flunder", "one", "-o", "jsonpath={.spec.reference}") == "second"
    cluster.kubectl("label", "flunder", "one", "a=b")
    # Watches come through: the event that ends the wait is one.
    cluster.kubectl("wait", "flunder/one", "--for=jsonpath={.metadata.labels.a}=b", "--timeout=20s")
    refused = cluster.kubectl("get", "flunders", "--as=jane", may_fail=True)
    assert 'User "jane" cannot list resource "flunders" in API group "wardle.example.com"' in refused
    cluster.kubectl("delete", "flunders", "--all")
    assert cluster.kubectl("get", "flunders", "-o", "name") == ""


def test_an_api_service_is_read_and_written(wardle: Cluster, kubectl_program: Path) -> None:
    cluster = wardle.by(kubectl_program)
    (preferred, other) = API_SERVICES
    status = json.loads(cluster.kubectl("get", other, "--subresource=status", "-o", "json"))["status"]
    assert [one["reason"] for one in status["conditions"]] == ["Passed"]
    cluster.kubectl("patch", other, "--type=merge", "-p", '{"spec":{"versionPriority":400}}')
    group = json.loads(cluster.kubectl("get", "--raw", f"/apis/{GROUP}"))
    assert group["preferredVersion"]["version"] == "v1alpha1"
    cluster.kubectl("patch", other, "--type=merge", "-p", '{"spec":{"versionPriority":100}}')
    cluster.kubectl("label", preferred, other, "e2e=wardle")
    assert len(cluster.kubectl("get", "apiservices", "-l", "e2e=wardle", "-o", "name").split()) == 2
    cluster.kubectl("label", preferred, other, "e2e-")


def test_the_cluster_goes_on_while_the_server_is_away(wardle: Cluster, kubectl_program: Path) -> None:
    cluster = wardle.by(kubectl_program)
    cluster.kubectl("scale", "deployment/api", "-n", "wardle", "--replicas=0")
    cluster.kubectl("wait", "--for=condition=Available=false", *API_SERVICES, "--timeout=60s")
    assert "MissingEndpoints" in cluster.kubectl("get", *API_SERVICES)
    assert "(ServiceUnavailable)" in cluster.kubectl("get", "--raw", f"/apis/{GROUP}/v1beta1/flunders", may_fail=True)
    assert "deployments.apps" in cluster.kubectl("api-resources", "-o", "name", may_fail=True)
    cluster.kubectl("create", "namespace", "doomed")
    cluster.kubectl("delete", "namespace", "doomed", "--wait=false")
    failure = "--for=condition=NamespaceDeletionDiscoveryFailure"
    cluster.kubectl("wait", failure, "namespace/doomed", "--timeout=30s")
    cluster.kubectl("scale", "deployment/api", "-n", "wardle", "--replicas=1")
    cluster.kubectl("wait", "--for=condition=Available", *API_SERVICES, "--timeout=60s")
    cluster.kubectl("wait", "--for=delete", "namespace/doomed", "--timeout=60s")
