"""Pods and nodes as controllers see them, in few words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from keelback.api.core_v1 import PodIP, Taint, Toleration
from keelback.controllers.observed import (
    ContainerView,
    HeldMeta,
    NodeConditionView,
    NodeSpecView,
    NodeStatusView,
    NodeView,
    PodConditionView,
    PodSpecView,
    PodStatusView,
    PodView,
)

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def pod(
    name: str,
    *,
    node: str = "",
    phase: str = "Running",
    ready: bool = True,
    ready_for: float = 3600,
    age: float = 7200,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    deleting: bool = False,
    ip: str = "",
    finalizers: tuple[str, ...] = (),
    tolerations: tuple[Toleration, ...] = (),
    containers: tuple[ContainerView, ...] = (),
) -> PodView:
    """A pod that became ready, or ceased to be, `ready_for` seconds before `NOW`, when it was `age` seconds old."""
    since = NOW - timedelta(seconds=ready_for)
    condition = PodConditionView(type="Ready", status="True" if ready else "False", last_transition_time=since)
    return PodView(
        metadata=HeldMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            creation_timestamp=NOW - timedelta(seconds=age),
            deletion_timestamp=NOW if deleting else None,
            labels=labels or {},
            annotations=annotations or {},
            finalizers=finalizers,
        ),
        spec=PodSpecView(node_name=node, tolerations=tolerations, containers=containers),
        status=PodStatusView(phase=phase, conditions=(condition,), pod_ip=ip, pod_ips=(PodIP(ip=ip),) if ip else ()),
    )


def node(name: str, *taints: Taint, ready: str = "True", labels: dict[str, str] | None = None) -> NodeView:
    """A node whose condition Ready has this status."""
    return NodeView(
        metadata=HeldMeta(name=name, labels=labels or {}),
        spec=NodeSpecView(taints=taints),
        status=NodeStatusView(conditions=(NodeConditionView(type="Ready", status=ready),)),
    )
