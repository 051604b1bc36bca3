"""Who one is and what one may, certificates, kubeconfigs, and the server's plain paths, by kubectl."""

from __future__ import annotations

import base64
import http.client
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keelback.testing.commands import Cluster


def signing_request(name: str, key: ec.EllipticCurvePrivateKey) -> str:
    """A manifest that asks for a client certificate."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    spec = {
        "request": base64.b64encode(asked.public_bytes(serialization.Encoding.PEM)).decode(),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"],
    }
    kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
    return json.dumps({**kind, "metadata": {"name": name}, "spec": spec})


def test_whoami_and_can_i(work: Cluster) -> None:
    assert "kubernetes-admin" in work.kubectl("auth", "whoami")
    assert (
        json.loads(work.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"] == "kubernetes-admin"
    )
    assert work.kubectl("auth", "can-i", "delete", "nodes").strip() == "yes"
    assert "*.*" in work.kubectl("auth", "can-i", "--list")
    jane = ("--as=jane", "--as-group=nobodies")
    assert work.kubectl("auth", "can-i", "get", "pods", *jane, may_fail=True).strip() == "no"
    shown = work.kubectl("auth", "can-i", "--list", *jane)
    assert "selfsubjectaccessreviews.authorization.k8s.io" in shown
    assert "/healthz" in shown
    assert work.kubectl("auth", "can-i", "get", "/healthz", *jane).strip() == "yes"


def test_impersonation_is_held_to_the_others_rights(work: Cluster) -> None:
    refused = work.kubectl("get", "pods", "--as=jane", may_fail=True)
    assert f'User "jane" cannot list resource "pods" in API group "" in the namespace "{work.namespace}"' in refused
    work.kubectl("create", "rolebinding", "jane", "--clusterrole=view", "--user=jane")
    work.kubectl("get", "pods", "--as=jane")
    account = f"system:serviceaccount:{work.namespace}:default"
    assert account in work.kubectl("auth", "whoami", f"--as={account}")
    assert "Forbidden" in work.kubectl("get", "secrets", "--as=jane", may_fail=True)
    work.kubectl("delete", "rolebinding", "jane")


def test_auth_reconcile_adds_what_is_missing_and_takes_what_is_told(work: Cluster) -> None:
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
    kind["metadata"] = {"name": "reconciled", "namespace": work.namespace}
    rule = {"apiGroups": [""], "resources": ["pods"]}
    work.kubectl("auth", "reconcile", "-f", "-", text=json.dumps({**kind, "rules": [{**rule, "verbs": ["get"]}]}))
    listing = json.dumps({**kind, "rules": [{**rule, "verbs": ["list"]}]})
    shown = work.kubectl("auth", "reconcile", "-f", "-", text=listing)
    assert "role.rbac.authorization.k8s.io/reconciled reconciled" in shown
    assert work.kubectl("get", "role", "reconciled", "-o", "jsonpath={.rules[*].verbs[*]}") == "get list"
    work.kubectl("auth", "reconcile", "--remove-extra-permissions", "-f", "-", text=listing)
    verbs = work.kubectl("get", "role", "reconciled", "-o", "jsonpath={.rules[*].verbs[*]}")
    assert verbs == "list"


def test_certificates_are_approved_and_denied(work: Cluster, tmp_path: Path) -> None:
    name = f"jane-{work.namespace}"
    key = ec.generate_private_key(ec.SECP256R1())
    work.kubectl("create", "-f", "-", text=signing_request(name, key))
    work.kubectl("certificate", "approve", name)
    work.kubectl("wait", f"csr/{name}", "--for=jsonpath={.status.certificate}", "--timeout=30s")
    issued = base64.b64decode(work.kubectl("get", "csr", name, "-o", "jsonpath={.status.certificate}"))
    (tmp_path / "cert").write_bytes(issued)
    private = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key").write_bytes(key.private_bytes(*private))
    server = work.kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    plain = replace(work, variables={"KUBECONFIG": str(tmp_path / "none")})
    presented = (f"--client-certificate={tmp_path / 'cert'}", f"--client-key={tmp_path / 'key'}")
    whoami = plain.kubectl("auth", "whoami", f"--server={server}", "--insecure-skip-tls-verify", *presented)
    assert name in whoami
    work.kubectl("create", "-f", "-", text=signing_request(f"{name}-2", key))
    work.kubectl("certificate", "deny", f"{name}-2")
    assert "Denied" in work.kubectl("get", "csr", f"{name}-2")
    work.kubectl("delete", "csr", name, f"{name}-2")


def test_config_subcommands_make_a_context_that_works(work: Cluster, tmp_path: Path) -> None:
    original = work.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json")
    cluster = json.loads(original)["clusters"][0]["cluster"]
    (tmp_path / "ca").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    own = replace(work, namespace="", variables={"KUBECONFIG": str(tmp_path / "config")})
    own.kubectl(
        "config", "set-cluster", "c", f"--server={cluster['server']}", f"--certificate-authority={tmp_path / 'ca'}"
    )
    token = work.kubectl("create", "token", "default")
    own.kubectl("config", "set-credentials", "u", f"--token={token}")
    own.kubectl("config", "set-context", "x", "--cluster=c", "--user=u", f"--namespace={work.namespace}")
    own.kubectl("config", "use-context", "x")
    assert own.kubectl("config", "current-context").strip() == "x"
    assert f"system:serviceaccount:{work.namespace}:default" in own.kubectl("auth", "whoami")
    assert f'in the namespace "{work.namespace}"' in own.kubectl("get", "pods", may_fail=True)
    own.kubectl("config", "rename-context", "x", "y")
    assert own.kubectl("config", "get-contexts", "-o", "name").split() == ["y"]
    own.kubectl("config", "set", "contexts.y.namespace", "other")
    assert "REDACTED" in own.kubectl("config", "view")
    own.kubectl("config", "unset", "users.u.token")
    own.kubectl("config", "delete-context", "y")
    own.kubectl("config", "delete-user", "u")
    own.kubectl("config", "delete-cluster", "c")
    assert own.kubectl("config", "get-clusters").split() == ["NAME"]


def test_get_raw_and_cluster_info(work: Cluster, tmp_path: Path) -> None:
    assert work.kubectl("get", "--raw", "/readyz") == "ok"
    assert "[+]ping ok" in work.kubectl("get", "--raw", "/livez?verbose")
    assert json.loads(work.kubectl("get", "--raw", "/version"))["major"] == "1"
    assert "apiserver_request_total" in work.kubectl("get", "--raw", "/metrics")
    table = json.loads(work.kubectl("get", "--raw", "/apis/apps/v1/deployments?limit=1"))
    assert table["kind"] == "DeploymentList"
    assert "Kubernetes control plane" in work.kubectl("cluster-info")
    work.kubectl("cluster-info", "dump", "--namespaces=kube-system,default", f"--output-directory={tmp_path}")
    assert json.loads((tmp_path / "nodes.json").read_text())["kind"] == "NodeList"
    assert json.loads((tmp_path / "kube-system/services.json").read_text())["kind"] == "ServiceList"


def test_proxy_lends_its_credentials(work: Cluster) -> None:
    with work.at_terminal("proxy", "--port=0", "--www-prefix=/none/") as proxying:
        found = re.search(r"127\.0\.0\.1:(\d+)", proxying.read_until("\n"))
        assert found is not None
        connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=10)
        connection.request("GET", "/api/v1/namespaces/default/services/kubernetes")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["metadata"]["name"]) == (200, "kubernetes")
        connection.close()


def test_plugins_are_found_and_run(work: Cluster, tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-hello"
    plugin.write_text(f"#!{sys.executable}\nprint('hello from a plugin')\n")
    plugin.chmod(0o755)
    own = replace(work, namespace="", variables={"PATH": str(tmp_path)})
    assert str(plugin) in own.kubectl("plugin", "list")
    assert own.kubectl("hello") == "hello from a plugin\n"
