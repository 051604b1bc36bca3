"""The strategy of every built-in resource. A list is the registration: a kind with a strategy of its own replaces its
plain one here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from keelback.api.builtin import STORED
from keelback.apimachinery import names
from keelback.apimachinery.meta import Object
from keelback.registry.strategy import Strategy

SPECIAL: tuple[type[Strategy[Any]], ...] = ()

_WITH_STATUS_ONLY = frozenset(
    {
        "APIService",
        "CronJob",
        "CustomResourceDefinition",
        "DaemonSet",
        "FlowSchema",
        "HorizontalPodAutoscaler",
        "Ingress",
        "Job",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "PriorityLevelConfiguration",
        "ResourceClaim",
        "ResourceQuota",
        "ServiceCIDR",
        "ValidatingAdmissionPolicy",
        "VolumeAttachment",
    }
)
_SUBRESOURCES: dict[str, tuple[str, ...]] = {
    "Deployment": ("scale", "status"),
    "ReplicaSet": ("scale", "status"),
    "StatefulSet": ("scale", "status"),
    "ReplicationController": ("scale", "status"),
    "Pod": (
        "attach",
        "binding",
        "ephemeralcontainers",
        "eviction",
        "exec",
        "log",
        "portforward",
        "proxy",
        "resize",
        "status",
    ),
    "Node": ("proxy", "status"),
    "Service": ("proxy", "status"),
    "Namespace": ("finalize", "status"),
    "ServiceAccount": ("token",),
    "CertificateSigningRequest": ("approval", "status"),
}


def strategies() -> Iterator[Strategy[Any]]:
    """One strategy per stored kind."""
    special = {one.kind.__kind__: one for one in SPECIAL}
    for kind in STORED:
        found = special.get(kind.__kind__)
        yield found() if found is not None else _plain(kind)


def _plain(kind: type[Object]) -> Strategy[Any]:
    """The strategy of a kind about which nothing is special but its subresources."""
    name = kind.__kind__.kind
    subresources = _SUBRESOURCES.get(name, ("status",) if name in _WITH_STATUS_ONLY else ())
    attributes: dict[str, Any] = {"kind": kind, "subresources": subresources}
    if kind.__kind__.group == "rbac.authorization.k8s.io":
        attributes["validate_name"] = lambda self, name, *, is_prefix: names.path_segment(name, is_prefix=is_prefix)
    made: type[Strategy[Any]] = type(f"{name}Strategy", (Strategy,), attributes)
    return made()
