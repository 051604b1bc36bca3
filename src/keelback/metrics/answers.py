"""What the metrics API answers with: objects, lists, tables, discovery and schemas. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from keelback.apimachinery.quantity import Format, Quantity, parse
from keelback.metrics.observed import LabelledMeta
from keelback.metrics.usage import Usage

Tree: TypeAlias = dict[str, Any]

GROUP: Final = "metrics.k8s.io"
VERSION: Final = "v1beta1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KINDS: Final = {"nodes": "NodeMetrics", "pods": "PodMetrics"}
_RESOURCES: Final = ("cpu", "memory")
_SCHEMA: Final = "io.k8s.metrics.pkg.apis.metrics.v1beta1."
_WINDOW: Final = re.compile(r"(?:(\d+)m)?([\d.]+)s")
_META: Final = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1."
_QUANTITIES: Final = {
    "type": "object",
    "additionalProperties": {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"},
}


def window_text(seconds: float) -> str:
    """A span as Go writes it, to the millisecond: 15s, 1m2.5s."""
    minutes, rest = divmod(round(seconds, 3), 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
    return f"{int(minutes)}m{text}" if minutes else text


def node_metrics(meta: LabelledMeta, usage: Usage, now: datetime) -> Tree:
    """A NodeMetrics."""
    return {**_head("nodes", meta, usage, now), "usage": _amounts(usage)}


def pod_metrics(meta: LabelledMeta, containers: Mapping[str, Usage], now: datetime) -> Tree:
    """A PodMetrics. Its time is that of its oldest container's figures, as upstream's."""
    earliest = min(containers.values(), key=lambda one: one.at)
    listed = [{"name": name, "usage": _amounts(usage)} for name, usage in containers.items()]
    return {**_head("pods", meta, earliest, now), "containers": listed}


def _head(resource: str, meta: LabelledMeta, usage: Usage, now: datetime) -> Tree:
    metadata: Tree = {"name": meta.name}
    if meta.namespace:
        metadata["namespace"] = meta.namespace
    metadata["creationTimestamp"] = _time(now)
    if meta.labels:
        metadata["labels"] = dict(meta.labels)
    return {
        "kind": KINDS[resource],
        "apiVersion": API_VERSION,
        "metadata": metadata,
        "timestamp": _time(datetime.fromtimestamp(usage.at, UTC)),
        "window": window_text(usage.window_seconds),
    }


def _amounts(usage: Usage) -> Tree:
    return {
        "cpu": str(Quantity(usage.cpu_nanocores)),
        # Whole Ki, as upstream scales it.
        "memory": str(Quantity((usage.memory_bytes >> 10 << 10) * 10**9, Format.BINARY_SI)),
    }


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def list_of(resource: str, items: Sequence[Tree]) -> Tree:
    """A NodeMetricsList or PodMetricsList."""
    plain = [{key: value for key, value in one.items() if key not in ("kind", "apiVersion")} for one in items]
    return {"kind": f"{KINDS[resource]}List", "apiVersion": API_VERSION, "metadata": {}, "items": plain}


def table(items: Sequence[Tree], include_object: str) -> Tree:
    """What `kubectl get podmetrics` prints: a pod's figures are the sums of its containers'."""
    columns = [
        {"name": "Name", "type": "string", "format": "name", "description": "Name of the resource", "priority": 0},
        *(
            {"name": one, "type": "string", "format": "quantity", "description": "", "priority": 0}
            for one in _RESOURCES
        ),
        {"name": "Window", "type": "string", "format": "duration", "description": "", "priority": 0},
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": columns,
        "rows": [_row(one, include_object) for one in items],
    }


def _row(item: Tree, include_object: str) -> Tree:
    parts = [one["usage"] for one in item["containers"]] if "containers" in item else [item["usage"]]
    sums = [str(sum((parse(part[one]) for part in parts), Quantity(0))) for one in _RESOURCES]
    row: Tree = {"cells": [item["metadata"]["name"], *sums, item["window"]]}
    if include_object == "Object":
        row["object"] = item
    elif include_object != "None":
        partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
        row["object"] = partial
    return row


def as_message(tree: Tree) -> Tree:
    """An object or list as the fields of its protobuf message: spans are nanoseconds there."""
    if "items" in tree:
        return {**tree, "items": [as_message(one) for one in tree["items"]]}
    minutes, seconds = _WINDOW.fullmatch(tree["window"]).groups()  # type: ignore[union-attr]  # written by window_text
    return {**tree, "window": {"duration": round((int(minutes or 0) * 60 + float(seconds)) * 1e9)}}


def resource_list() -> Tree:
    """Discovery of the version."""
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": API_VERSION,
        "resources": [
            {
                "name": resource,
                "singularName": "",
                "namespaced": resource == "pods",
                "kind": kind,
                "verbs": ["get", "list"],
            }
            for resource, kind in KINDS.items()
        ],
    }


def openapi() -> Tree:
    """The OpenAPI v3 document's schemas."""
    timed = {
        "timestamp": {
            "description": "The end of the window that the usage was collected in.",
            "allOf": [{"$ref": f"{_META}Time"}],
        },
        "window": {
            "description": "The length of the window, which ended at the timestamp: 15s.",
            "type": "string",
        },
    }
    usage = {"description": "The usage of each resource.", **_QUANTITIES}
    containers = {
        "description": "The usage of each container.",
        "type": "array",
        "items": {"$ref": f"#/components/schemas/{_SCHEMA}ContainerMetrics"},
        "x-kubernetes-list-type": "atomic",
    }
    schemas: Tree = {
        f"{_SCHEMA}ContainerMetrics": {
            "description": "ContainerMetrics sets resource usage metrics of a container.",
            "type": "object",
            "required": ["name", "usage"],
            "properties": {"name": {"type": "string"}, "usage": usage},
        }
    }
    for kind, own in (("NodeMetrics", {"usage": usage}), ("PodMetrics", {"containers": containers})):
        schemas |= _kind_schemas(kind, {**timed, **own})
    return {"openapi": "3.0.0", "info": {"title": "metrics", "version": VERSION}, "components": {"schemas": schemas}}


def _kind_schemas(kind: str, properties: Tree) -> Tree:
    what = "a node" if kind == "NodeMetrics" else "a pod"
    texts = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}}
    return {
        f"{_SCHEMA}{kind}": {
            "description": f"{kind} sets resource usage metrics of {what}.",
            "type": "object",
            "required": list(properties),
            "properties": {**texts, "metadata": {"allOf": [{"$ref": f"{_META}ObjectMeta"}]}, **properties},
            "x-kubernetes-group-version-kind": [{"group": GROUP, "kind": kind, "version": VERSION}],
        },
        f"{_SCHEMA}{kind}List": {
            "description": f"{kind}List is a list of {kind}.",
            "type": "object",
            "required": ["items"],
            "properties": {
                **texts,
                "metadata": {"allOf": [{"$ref": f"{_META}ListMeta"}]},
                "items": {"type": "array", "items": {"$ref": f"#/components/schemas/{_SCHEMA}{kind}"}},
            },
            "x-kubernetes-group-version-kind": [{"group": GROUP, "kind": f"{kind}List", "version": VERSION}],
        },
    }
