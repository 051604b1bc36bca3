"""Nodes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from keelback.api import nodes
from keelback.api.core_v1 import Node
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, required
from keelback.registry.cells import NONE, UNKNOWN, wide
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE_LABEL = "kubernetes.io/role"


class _Spec(msgspec.Struct, frozen=True):
    unschedulable: bool = False


class NodeFields(msgspec.Struct, frozen=True):
    """What nodes can be selected by."""

    spec: _Spec = _Spec()


def _status(node: Node) -> str:
    ready = nodes.condition(node, "Ready")
    word = "Unknown" if ready is None else "Ready" if ready.status == "True" else "NotReady"
    return f"{word},SchedulingDisabled" if node.spec.unschedulable else word


def _roles(node: Node) -> str:
    roles = {key.removeprefix(_ROLE_PREFIX) for key in node.metadata.labels if key.startswith(_ROLE_PREFIX)}
    roles.add(node.metadata.labels.get(_ROLE_LABEL, ""))
    return ",".join(sorted(role for role in roles if role)) or NONE


def _info(attribute: str) -> Any:
    def value(node: Node, _now: datetime) -> str:
        return getattr(node.status.node_info, attribute) or UNKNOWN

    return value


class NodeStrategy(Strategy[Node]):
    kind = Node
    subresources = ("proxy", "status")
    counts_generations = False
    columns = (
        text("Status", _status),
        text("Roles", _roles),
        AGE,
        text("Version", lambda one: one.status.node_info.kubelet_version),
        wide("Internal-IP", lambda one, _now: nodes.address(one) or NONE),
        wide("External-IP", lambda one, _now: nodes.address(one, "ExternalIP") or NONE),
        wide("OS-Image", _info("os_image")),
        wide("Kernel-Version", _info("kernel_version")),
        wide("Container-Runtime", _info("container_runtime_version")),
    )
    field_type: ClassVar[type[msgspec.Struct]] = NodeFields
    field_names = ("spec.unschedulable",)

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {"spec.unschedulable": "true" if narrow.spec.unschedulable else "false"}

    def without_status(self, new: Node) -> Node:
        # A kubelet registers with its status in the same request.
        return new

    def validate(self, new: Node) -> Iterator[FieldError]:
        seen: set[tuple[str, str]] = set()
        for index, taint in enumerate(new.spec.taints):
            path = f"spec.taints[{index}]"
            if not taint.key:
                yield required(f"{path}.key")
            if not taint.effect:
                yield required(f"{path}.effect")
            if (taint.key, taint.effect) in seen:
                yield duplicate(path, taint)
            seen.add((taint.key, taint.effect))

    def validate_update(self, new: Node, old: Node) -> Iterator[FieldError]:
        if old.spec.pod_cidrs and new.spec.pod_cidrs != old.spec.pod_cidrs:
            yield forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
        if old.spec.provider_id and new.spec.provider_id != old.spec.provider_id:
            yield forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')
        yield from self.validate(new)
