"""The cluster that needs neither root nor containerd, by the real command and the real kubectl."""

from __future__ import annotations

import base64
import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelback.testing.commands import Cluster


def test_a_deployment_becomes_ready_scales_and_goes(simulated: Cluster) -> None:
    simulated.kubectl("create", "deployment", "web", "--image=example", "--replicas=3")
    simulated.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    pods = json.loads(simulated.kubectl("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 3
    simulated.kubectl("scale", "deployment", "web", "--replicas=1")
    simulated.kubectl("wait", "deployment/web", "--for=jsonpath={.status.replicas}=1", "--timeout=30s")
    simulated.kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=30s")
    assert simulated.kubectl("get", "replicasets,pods", "-l", "app=web", "-o", "name") == ""


def test_a_job_completes_and_a_namespace_goes_with_all_it_holds(simulated: Cluster) -> None:
    simulated.kubectl("create", "namespace", "work")
    simulated.kubectl("create", "job", "sum", "--image=example", "-n", "work")
    simulated.kubectl("wait", "job/sum", "-n", "work", "--for=condition=Complete", "--timeout=30s")
    simulated.kubectl("delete", "namespace", "work", "--timeout=30s")
    assert "NotFound" in simulated.kubectl("get", "namespace", "work", may_fail=True)


def test_up_again_keeps_a_running_cluster(simulated: Cluster) -> None:
    simulated.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    simulated.keelback("up")
    assert simulated.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "b"
    assert simulated.name in simulated.keelback("status")


def test_kubectl_explains_and_says_who_one_is(simulated: Cluster) -> None:
    assert "FIELDS" in simulated.kubectl("explain", "deployment.spec.strategy")
    assert "kubernetes-admin" in simulated.kubectl("auth", "whoami")
    assert simulated.kubectl("auth", "can-i", "create", "pods").strip() == "yes"


def test_what_cannot_be_scheduled_says_why(simulated: Cluster) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "huge"},
        "spec": {"containers": [{"name": "c", "image": "example", "resources": {"requests": {"cpu": "999"}}}]},
    }
    simulated.kubectl("apply", "-f", "-", text=json.dumps(pod))
    simulated.kubectl("wait", "pod/huge", "--for=condition=PodScheduled=False", "--timeout=30s")
    reason = "{.status.conditions[?(@.type=='PodScheduled')].message}"
    message = simulated.kubectl("get", "pod", "huge", "-o", f"jsonpath={reason}")
    assert message.startswith("0/3 nodes are available: 3 Insufficient cpu.")
    simulated.kubectl("delete", "pod", "huge")


def test_an_approved_certificate_request_ends_with_a_certificate(simulated: Cluster) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    asked = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    request = base64.b64encode(asked.public_bytes(serialization.Encoding.PEM)).decode()
    signing_request = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "jane"},
        "spec": {"request": request, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]},
    }
    simulated.kubectl("create", "-f", "-", text=json.dumps(signing_request))
    simulated.kubectl("certificate", "approve", "jane")
    simulated.kubectl("wait", "csr/jane", "--for=jsonpath={.status.certificate}", "--timeout=30s")
    found = simulated.kubectl("get", "csr", "jane", "-o", "jsonpath={.spec.username} {.status.certificate}").split()
    assert found[0] == "kubernetes-admin"
    issued = x509.load_pem_x509_certificate(base64.b64decode(found[1]))
    assert issued.subject == name
