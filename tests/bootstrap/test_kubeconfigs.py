from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

from keelback.bootstrap import kubeconfigs
from keelback.bootstrap.pki import ensure_cluster_pki

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_kubeconfig_carries_the_whole_credential(tmp_path: Path) -> None:
    pki = ensure_cluster_pki(tmp_path, NOW)
    cluster = kubeconfigs.ClusterAddress("keelback", "https://127.0.0.1:6443", pki.ca.certificate_pem)
    assert kubeconfigs.with_certificate(cluster, "kubernetes-admin", pki.admin) == {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "keelback",
                "cluster": {
                    "server": "https://127.0.0.1:6443",
                    "certificate-authority-data": base64.b64encode(pki.ca.certificate_pem).decode(),
                },
            }
        ],
        "contexts": [
            {
                "name": "kubernetes-admin@keelback",
                "context": {"cluster": "keelback", "user": "kubernetes-admin"},
            }
        ],
        "current-context": "kubernetes-admin@keelback",
        "preferences": {},
        "users": [
            {
                "name": "kubernetes-admin",
                "user": {
                    "client-certificate-data": base64.b64encode(pki.admin.certificate_pem).decode(),
                    "client-key-data": base64.b64encode(pki.admin.key_pem).decode(),
                },
            }
        ],
    }


def test_a_user_may_be_a_token_or_files(tmp_path: Path) -> None:
    pki = ensure_cluster_pki(tmp_path, NOW)
    cluster = kubeconfigs.ClusterAddress("c", "https://h", b"ca")
    assert kubeconfigs.with_token(cluster, "u", "t", namespace="n")["users"] == [{"name": "u", "user": {"token": "t"}}]
    files = kubeconfigs.with_certificate_files(cluster, "c", pki.admin)
    assert files["current-context"] == "c"
    assert files["users"] == [
        {
            "name": "c",
            "user": {
                "client-certificate": str(pki.admin.certificate_path),
                "client-key": str(pki.admin.key_path),
            },
        }
    ]
    assert kubeconfigs.cluster_info(cluster)["users"] == []
