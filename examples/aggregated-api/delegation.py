"""Who asks, and whether they may: both are the cluster's to say, as every aggregated API server has it.

Whom the headers of a request name is believed of those alone who show a certificate that the cluster's ConfigMap
speaks of. What they may do is asked of the cluster by a SubjectAccessReview.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from keelback.api.authorization_v1 import (
    NonResourceAttributes,
    ResourceAttributes,
    SubjectAccessReview,
    SubjectAccessReviewSpec,
)
from keelback.api.core_v1 import ConfigMap
from keelback.client import Client, kubeconfig

_SYSTEM_MASTERS = "system:masters"


@dataclass(frozen=True)
class User:
    """Who asks."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class RequestHeaderRules:
    """Whose headers to believe, and which: the ConfigMap kube-system/extension-apiserver-authentication."""

    client_ca: str
    allowed_names: Sequence[str]
    username_headers: Sequence[str]
    uid_headers: Sequence[str]
    group_headers: Sequence[str]
    extra_prefixes: Sequence[str]

    @classmethod
    async def read(cls, client: Client) -> RequestHeaderRules:
        """The rules of the cluster. Raises NotFound."""
        data = (await client.get(ConfigMap, "extension-apiserver-authentication", "kube-system")).data

        def listed(key: str) -> list[str]:
            return list(json.loads(data.get(f"requestheader-{key}", "[]")))

        return cls(
            data["requestheader-client-ca-file"],
            listed("allowed-names"),
            listed("username-headers"),
            listed("uid-headers"),
            listed("group-headers"),
            listed("extra-headers-prefix"),
        )

    def tls_context(self, certificate: Path, key: Path) -> ssl.SSLContext:
        """A server's context that asks clients for a certificate of the cluster's proxy."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(cadata=self.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def user(self, certificate: Mapping[str, Any] | None, headers: Any) -> User | None:
        """Who asks, by a peer's certificate (already verified) and a multidict of headers; None for nobody known."""
        if not certificate:
            return None
        names = [value for part in certificate["subject"] for key, value in part if key == "commonName"]
        if self.allowed_names and not set(names) & set(self.allowed_names):
            return None
        name = _first(headers, self.username_headers)
        if not name:
            return None
        groups = [value for header in self.group_headers for value in headers.getall(header, ())]
        extra: dict[str, tuple[str, ...]] = {}
        for header, value in headers.items():
            for prefix in self.extra_prefixes:
                if header.lower().startswith(prefix.lower()):
                    key = unquote(header[len(prefix) :].lower())
                    extra[key] = (*extra.get(key, ()), value)
        return User(name, _first(headers, self.uid_headers), (*groups, "system:authenticated"), extra)


def _first(headers: Any, names: Sequence[str]) -> str:
    return next((headers[one] for one in names if headers.get(one)), "")


class Authorizer:
    """Asks the cluster what its users may do."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def refusal(
        self, user: User, resource: ResourceAttributes | None, path: NonResourceAttributes | None = None
    ) -> str | None:
        """Why a user may not; None where they may."""
        if _SYSTEM_MASTERS in user.groups:
            return None
        review = SubjectAccessReview(
            spec=SubjectAccessReviewSpec(
                user=user.name,
                uid=user.uid,
                groups=tuple(dict.fromkeys(user.groups)),
                extra=user.extra,
                resource_attributes=resource,
                non_resource_attributes=path,
            )
        )
        status = (await self._client.create(review)).status
        return None if status.allowed else status.reason or "no rule allows it"


def cluster_client(path: str) -> Client:
    """A client of the cluster by a kubeconfig, or by what every pod has."""
    if path:
        return Client(kubeconfig.transport(kubeconfig.load(Path(path))))
    mounted = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    tree = {
        "current-context": "pod",
        "contexts": [{"name": "pod", "context": {"cluster": "pod", "user": "pod"}}],
        "clusters": [
            {
                "name": "pod",
                "cluster": {
                    "server": "https://kubernetes.default.svc",
                    "certificate-authority": str(mounted / "ca.crt"),
                },
            }
        ],
        "users": [{"name": "pod", "user": {"tokenFile": str(mounted / "token")}}],
    }
    return Client(kubeconfig.transport(kubeconfig.access(tree)))
