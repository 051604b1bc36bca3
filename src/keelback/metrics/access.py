"""The rights that the metrics API needs, and those to read it: metrics-server's own roles, no more."""

from __future__ import annotations

import contextlib
from typing import Final

from keelback.api.core_v1 import ServiceAccount
from keelback.api.rbac_v1 import ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.client import Client

ACCOUNT: Final = "metrics-server"
NAMESPACE: Final = "kube-system"
_LABELS: Final = {"k8s-app": "metrics-server"}
_READ: Final = ("get", "list", "watch")
_ROLE: Final = "system:metrics-server"

OBJECTS: Final[tuple[Object, ...]] = (
    ServiceAccount(metadata=ObjectMeta(name=ACCOUNT, namespace=NAMESPACE, labels=_LABELS)),
    ClusterRole(
        metadata=ObjectMeta(
            name="system:aggregated-metrics-reader",
            labels={
                **_LABELS,
                **{f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("admin", "edit", "view")},
            },
        ),
        rules=(PolicyRule(api_groups=("metrics.k8s.io",), resources=("pods", "nodes"), verbs=_READ),),
    ),
    ClusterRole(
        metadata=ObjectMeta(name=_ROLE, labels=_LABELS),
        rules=(
            PolicyRule(api_groups=("",), resources=("nodes/metrics",), verbs=("get",)),
            PolicyRule(api_groups=("",), resources=("pods", "nodes"), verbs=_READ),
        ),
    ),
    ClusterRoleBinding(
        metadata=ObjectMeta(name=_ROLE, labels=_LABELS),
        role_ref=RoleRef(kind="ClusterRole", name=_ROLE),
        subjects=(Subject(kind="ServiceAccount", name=ACCOUNT, namespace=NAMESPACE),),
    ),
)


async def ensure(client: Client) -> None:
    """Make what is missing, as an administrator. What is there is left as it is: it may have been restricted."""
    for one in OBJECTS:
        with contextlib.suppress(errors.AlreadyExists):
            await client.create(one)
