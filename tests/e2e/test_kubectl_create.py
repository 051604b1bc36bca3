"""What `kubectl create`, `run` and `expose` make, read back: their bodies are protobuf for most kinds."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelback.testing.commands import Cluster


def read(cluster: Cluster, what: str) -> Any:
    return json.loads(cluster.kubectl("get", what, "-o", "json"))


def made(cluster: Cluster, *arguments: str) -> Any:
    """The object that a create made."""
    return json.loads(cluster.kubectl("create", *arguments, "-o", "json"))


def test_create_deployment(work: Cluster) -> None:
    work.kubectl("create", "deployment", "web", "--image=example", "--replicas=2", "--port=80", "--", "serve", "-v")
    found = read(work, "deployment/web")
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert (found["spec"]["replicas"], container["command"], container["ports"][0]["containerPort"]) == (
        2,
        ["serve", "-v"],
        80,
    )
    work.kubectl("rollout", "status", "deployment/web", "--timeout=30s")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("clusterip", "internal", "--tcp=80:8080"), {"type": "ClusterIP"}),
        (("clusterip", "headless", "--clusterip=None"), {"clusterIP": "None"}),
        (("nodeport", "outside", "--tcp=80", "--node-port=31876"), {"type": "NodePort"}),
        (("loadbalancer", "balanced", "--tcp=443:8443"), {"type": "LoadBalancer"}),
        (("externalname", "elsewhere", "--external-name=example.org"), {"externalName": "example.org"}),
    ],
)
def test_create_service(work: Cluster, arguments: tuple[str, ...], expected: dict[str, str]) -> None:
    spec = made(work, "service", *arguments)["spec"]
    assert {key: spec[key] for key in expected} == expected
    if "--node-port=31876" in arguments:
        assert spec["ports"][0]["nodePort"] == 31876
    work.kubectl("delete", "service", arguments[1])


def test_create_config_map_from_literals_files_and_folders(work: Cluster, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("text")
    (tmp_path / "binary").write_bytes(b"\xff\x00")
    (tmp_path / "variables").write_text("A=1\nB=2\n")
    work.kubectl("create", "configmap", "literal", "--from-literal=a=b", f"--from-file=c={tmp_path / 'plain'}")
    assert read(work, "configmap/literal")["data"] == {"a": "b", "c": "text"}
    work.kubectl("create", "configmap", "folder", f"--from-file={tmp_path}")
    found = read(work, "configmap/folder")
    assert found["data"]["plain"] == "text"
    assert base64.b64decode(found["binaryData"]["binary"]) == b"\xff\x00"
    work.kubectl("create", "configmap", "variables", f"--from-env-file={tmp_path / 'variables'}")
    assert read(work, "configmap/variables")["data"] == {"A": "1", "B": "2"}
    assert "already exists" in work.kubectl("create", "configmap", "literal", may_fail=True)


def test_create_secrets_of_each_kind(work: Cluster, tmp_path: Path) -> None:
    work.kubectl("create", "secret", "generic", "plain", "--from-literal=password=swordfish", "--type=example.org/any")
    found = read(work, "secret/plain")
    assert (found["type"], base64.b64decode(found["data"]["password"])) == ("example.org/any", b"swordfish")
    login = ("--docker-server=r.example.org", "--docker-username=u", "--docker-password=p")
    registry = made(work, "secret", "docker-registry", "pull", *login)
    assert registry["type"] == "kubernetes.io/dockerconfigjson"
    assert "r.example.org" in json.loads(base64.b64decode(registry["data"][".dockerconfigjson"]))["auths"]
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "example.org")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    (tmp_path / "cert").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    tls = made(work, "secret", "tls", "tls", f"--cert={tmp_path / 'cert'}", f"--key={tmp_path / 'key'}")
    assert (tls["type"], sorted(tls["data"])) == ("kubernetes.io/tls", ["tls.crt", "tls.key"])


def test_create_jobs_and_cron_jobs(work: Cluster) -> None:
    work.kubectl("create", "job", "once", "--image=example", "--", "sum", "1")
    work.kubectl("wait", "job/once", "--for=condition=Complete", "--timeout=30s")
    work.kubectl("create", "cronjob", "nightly", "--image=example", "--schedule=0 3 1 1 *", "--restart=OnFailure")
    assert read(work, "cronjob/nightly")["spec"]["schedule"] == "0 3 1 1 *"
    work.kubectl("create", "job", "by-hand", "--from=cronjob/nightly")
    owner = read(work, "job/by-hand")["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("CronJob", "nightly")
    work.kubectl("wait", "job/by-hand", "--for=condition=Complete", "--timeout=30s")
    work.kubectl("delete", "cronjob/nightly", "job/once", "--cascade=foreground", "--timeout=30s")


def test_create_roles_and_bindings(work: Cluster) -> None:
    name = work.namespace
    role = made(work, "role", "reader", "--verb=get,list", "--resource=pods,deployments.apps/scale")
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get", "list"]},
    ]
    work.kubectl("create", "rolebinding", "readers", "--role=reader", "--user=jane", f"--serviceaccount={name}:default")
    assert [one["kind"] for one in read(work, "rolebinding/readers")["subjects"]] == ["User", "ServiceAccount"]
    work.kubectl("create", "clusterrole", name, "--verb=get", "--non-resource-url=/metrics")
    work.kubectl("create", "clusterrole", f"{name}-sum", "--aggregation-rule=example.org/sum=true")
    work.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", "--group=nobodies")
    assert read(work, f"clusterrolebinding/{name}")["roleRef"]["name"] == name
    work.kubectl("delete", f"clusterrolebinding/{name}", f"clusterrole/{name}", f"clusterrole/{name}-sum")


def test_create_quota_budget_priority_and_ingress(work: Cluster) -> None:
    quota = made(work, "quota", "small", "--hard=pods=90", "--scopes=NotTerminating")
    assert (quota["spec"]["hard"]["pods"], quota["spec"]["scopes"]) == ("90", ["NotTerminating"])
    budget = made(work, "poddisruptionbudget", "web", "--selector=app=web", "--min-available=50%")
    assert budget["spec"]["minAvailable"] == "50%"
    high = made(
        work, "priorityclass", work.namespace, "--value=1000", "--preemption-policy=Never", "--description=high"
    )
    assert (high["value"], high["preemptionPolicy"]) == (1000, "Never")
    rule = "--rule=example.org/path*=web:80,tls=pair"
    ingress = made(work, "ingress", "front", "--class=none", rule, "--default-backend=web:80", "--annotation=a=b")
    assert ingress["spec"]["tls"] == [{"hosts": ["example.org"], "secretName": "pair"}]
    assert ingress["spec"]["rules"][0]["http"]["paths"][0]["pathType"] == "Prefix"
    work.kubectl("delete", "quota/small", "pdb/web", "ingress/front", f"priorityclass/{work.namespace}")


def test_create_tokens_that_say_who_one_is(work: Cluster) -> None:
    work.kubectl("create", "serviceaccount", "robot")
    token = work.kubectl("create", "token", "robot", "--duration=10m", "--audience=https://kubernetes.default.svc")
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["sub"] == f"system:serviceaccount:{work.namespace}:robot"
    assert claims["exp"] - claims["iat"] == 600
    bound = work.kubectl(
        "create", "token", "robot", "--bound-object-kind=Secret", "--bound-object-name=no", may_fail=True
    )
    assert "not found" in bound


def test_create_namespaces_dry_and_in_earnest(work: Cluster) -> None:
    name = f"{work.namespace}-other"
    dry = work.kubectl("create", "namespace", name, "--dry-run=server", "-o", "name")
    assert dry == f"namespace/{name}\n"
    assert "kind: Namespace" in work.kubectl("create", "namespace", name, "--dry-run=client", "-o", "yaml")
    assert work.kubectl("get", "namespace", name, "--ignore-not-found") == ""
    work.kubectl("create", "namespace", name)
    work.kubectl("wait", f"namespace/{name}", "--for=jsonpath={.status.phase}=Active", "--timeout=30s")
    work.kubectl("wait", "-n", name, "serviceaccount/default", "--for=create", "--timeout=30s")
    work.kubectl("delete", "namespace", name, "--timeout=30s")


def test_create_reads_many_documents_and_refuses_what_is_wrong(work: Cluster, tmp_path: Path) -> None:
    document = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: many-{0}}}\n{1}: {{}}\n"
    (tmp_path / "all.yaml").write_text(document.format(1, "data") + "---\n" + document.format(2, "data"))
    assert work.kubectl("create", "-f", str(tmp_path / "all.yaml"), "--save-config").count("created") == 2
    (tmp_path / "wrong.yaml").write_text(document.format(3, "dada"))
    assert 'unknown field "dada"' in work.kubectl("create", "-f", str(tmp_path / "wrong.yaml"), may_fail=True)
    warned = work.kubectl("create", "-f", str(tmp_path / "wrong.yaml"), "--validate=warn", may_fail=True)
    assert 'Warning: unknown field "dada"' in warned
    raw = work.kubectl(
        "create",
        "--raw",
        f"/api/v1/namespaces/{work.namespace}/configmaps",
        "-f",
        "-",
        text=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "raw-"}}),
    )
    assert json.loads(raw)["metadata"]["name"].startswith("raw-")


def test_run_and_expose(work: Cluster) -> None:
    work.kubectl("run", "one", "--image=example", "--port=80", "--expose", "--labels=app=one,tier=web", "--env=A=b")
    assert read(work, "service/one")["spec"]["selector"] == {"app": "one", "tier": "web"}
    work.kubectl("wait", "pod/one", "--for=condition=Ready", "--timeout=30s")
    work.kubectl("expose", "pod", "one", "--name=again", "--port=81", "--target-port=80", "--type=NodePort")
    work.kubectl("expose", "service", "one", "--name=copied", "--port=82", "--session-affinity=ClientIP")
    work.kubectl("expose", "deployment", "web", "--cluster-ip=None")
    assert read(work, "service/copied")["spec"]["sessionAffinity"] == "ClientIP"
    assert read(work, "service/web")["spec"]["ports"][0]["port"] == 80
    work.kubectl("delete", "pod/one", "service/one", "service/again", "service/copied", "service/web", "deploy/web")
