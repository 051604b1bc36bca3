"""Kubeconfig documents as plain trees: how a client finds the cluster and says who it is.

Merging one into the user's own file is `keelback.client.kubeconfig`'s business.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TypeAlias

from keelback.bootstrap.pki import KeyPair

Tree: TypeAlias = dict[str, "str | Tree | list[Tree]"]


@dataclass(frozen=True, slots=True)
class ClusterAddress:
    """Where a cluster is and whom to trust there."""

    name: str
    server: str
    ca_pem: bytes


def with_certificate(cluster: ClusterAddress, user: str, pair: KeyPair, *, namespace: str = "") -> Tree:
    """A kubeconfig whose user is a client certificate, carried in the document itself."""
    credentials: Tree = {
        "client-certificate-data": _base64(pair.certificate_pem),
        "client-key-data": _base64(pair.key_pem),
    }
    return _document(cluster, user, credentials, namespace)


def with_certificate_files(cluster: ClusterAddress, user: str, pair: KeyPair, *, namespace: str = "") -> Tree:
    """A kubeconfig that points at the certificate's files, so that a rotated certificate is found."""
    credentials: Tree = {"client-certificate": str(pair.certificate_path), "client-key": str(pair.key_path)}
    return _document(cluster, user, credentials, namespace)


def with_token(cluster: ClusterAddress, user: str, token: str, *, namespace: str = "") -> Tree:
    """A kubeconfig whose user is a bearer token."""
    return _document(cluster, user, {"token": token}, namespace)


def cluster_info(cluster: ClusterAddress) -> Tree:
    """The kubeconfig in ConfigMap kube-public/cluster-info: a cluster and no user."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "", "cluster": _cluster(cluster)}],
        "contexts": [],
        "current-context": "",
        "preferences": {},
        "users": [],
    }


def _document(cluster: ClusterAddress, user: str, credentials: Tree, namespace: str) -> Tree:
    context_name = cluster.name if user == cluster.name else f"{user}@{cluster.name}"
    context: Tree = {"cluster": cluster.name, "user": user}
    if namespace:
        context["namespace"] = namespace
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster.name, "cluster": _cluster(cluster)}],
        "contexts": [{"name": context_name, "context": context}],
        "current-context": context_name,
        "preferences": {},
        "users": [{"name": user, "user": credentials}],
    }


def _cluster(cluster: ClusterAddress) -> Tree:
    return {"certificate-authority-data": _base64(cluster.ca_pem), "server": cluster.server}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
