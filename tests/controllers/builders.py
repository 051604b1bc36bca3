"""Pods and other objects in few words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from keelback.api.core_v1 import PodCondition, PodIP, Toleration
from keelback.controllers.observed import ContainerView, HeldMeta, PodSpecView, PodStatusView, PodView

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
    since = NOW - timedelta(seconds=ready_for)
    condition = PodCondition(type="Ready", status="True" if ready else "False", last_transition_time=since)
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
