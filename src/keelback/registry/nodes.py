"""Nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from keelback.api import nodes
from keelback.api.core_v1 import Node
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import replace
from keelback.registry import node_specs
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
    checks_metadata_as_new = True
    storage_path = "minions"
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

    def default(self, new: Node, old: Node | None = None) -> Node:
        spec, status = node_specs.with_same_subnets(new.spec), new.status
        if status.capacity and not status.allocatable:
            status = replace(status, allocatable=status.capacity)
        if spec is new.spec and status is new.status:
            return new
        return replace(new, spec=spec, status=status)

    def validate(self, new: Node) -> Iterator[FieldError]:
        yield from node_specs.validate(new)

    def validate_update(self, new: Node, old: Node) -> Iterator[FieldError]:
        yield from node_specs.validate(new)
        yield from node_specs.validate_update(new, old)

    def validate_status_update(self, new: Node, old: Node) -> Iterator[FieldError]:
        yield from node_specs.validate_update(new, old)

    def warnings(self, new: Node, old: Node | None) -> Iterable[str]:
        if new.spec.config_source is not None:
            yield "spec.configSource: the feature is removed"
        if new.spec.external_id:
            yield "spec.externalID: this field is deprecated, and is unused by Kubernetes"
