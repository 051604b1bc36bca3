"""Tables: what `kubectl get` prints, computed by the server from a strategy's columns (meta.k8s.io/v1 Table)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any

import msgspec

from keelback.apimachinery.errors import BadRequest
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.meta import Kind
from keelback.registry.strategy import Column, Strategy

_NAME_DESCRIPTION = (
    "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a "
    "client to request the generation of an appropriate name automatically. Name is primarily intended for creation "
    "idempotence and configuration definition. Cannot be updated. More info: "
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
)


def definitions(columns: Sequence[Column], kind: Kind, *, leads_with_name: bool = True) -> list[dict[str, Any]]:
    """The column definitions of a Table: Name first, but for kinds that place it themselves."""
    described = _described().get(f"{kind.group}/{kind.plural}" if kind.group else kind.plural, {})
    name = {"name": "Name", "type": "string", "format": "name", "description": _NAME_DESCRIPTION, "priority": 0}
    return [
        *((name,) if leads_with_name else ()),
        *(
            {
                "name": one.name,
                "type": one.type,
                "format": one.format,
                "description": one.description,
                "priority": one.priority,
                **described.get(one.name, {}),
            }
            for one in columns
        ),
    ]


@functools.cache
def _described() -> Mapping[str, Mapping[str, Mapping[str, str]]]:
    """By resource and column: its description, and the type and format where upstream declares others than its cells
    have. The texts are those of the API's documentation."""
    found: dict[str, dict[str, list[str]]] = msgspec.json.decode(
        files("keelback.apiserver").joinpath("table_columns.json").read_bytes()
    )
    names = ("description", "type", "format")
    return {
        resource: {column: dict(zip(names, given, strict=False)) for column, given in columns.items()}
        for resource, columns in found.items()
    }


def check_include_object(wanted: str) -> None:
    """Raises BadRequest for what is no answer to how much of its object a row shows."""
    if wanted not in ("", "None", "Metadata", "Object"):
        raise BadRequest(
            f"Unable to convert to Table as requested: includeObject: Invalid value: {go_quoted(wanted)}: must be "
            "'Metadata', 'Object', 'None', or empty"
        )


def table(
    strategy: Strategy[Any],
    wires: Iterable[bytes],
    now: datetime,
    *,
    version: str = "v1",
    include_object: str = "Metadata",
    list_meta: dict[str, Any] | None = None,
    with_definitions: bool = True,
) -> bytes:
    """A Table of encoded objects. `include_object` is None, Metadata or Object, as in the query."""
    if strategy.sorts_rows:
        wires = sorted(wires, key=lambda wire: strategy.row_order(strategy.decode(wire)))
    rows = [_row(strategy, wire, now, include_object, version) for wire in wires]
    tree: dict[str, Any] = {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": list_meta or {},
        "columnDefinitions": definitions(
            strategy.columns, strategy.kind.__kind__, leads_with_name=strategy.leads_with_name
        )
        if with_definitions
        else [],
        "rows": rows,
    }
    return msgspec.json.encode(tree)


def _row(strategy: Strategy[Any], wire: bytes, now: datetime, include_object: str, version: str) -> dict[str, Any]:
    obj = strategy.decode(wire)
    cells = [column.value(obj, now) for column in strategy.columns]
    if strategy.leads_with_name:
        cells.insert(0, obj.metadata.name)
    row: dict[str, Any] = {"cells": cells}
    if include_object == "Metadata":
        row["object"] = msgspec.Raw(partial_metadata(wire, version))
    elif include_object == "Object":
        row["object"] = msgspec.Raw(wire)
    return row


class _MetadataOnly(msgspec.Struct):
    metadata: msgspec.Raw


_METADATA = msgspec.json.Decoder(_MetadataOnly)


def partial_metadata(wire: bytes, version: str = "v1") -> bytes:
    """An encoded object as PartialObjectMetadata: its metadata's bytes as they are."""
    return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%b","metadata":%b}' % (
        version.encode(),
        bytes(_METADATA.decode(wire).metadata),
    )


def partial_metadata_list(wires: Iterable[bytes], list_meta: bytes, version: str = "v1") -> list[bytes]:
    """A PartialObjectMetadataList of encoded objects, in pieces."""
    head = b'{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/%b","metadata":%b,"items":[' % (
        version.encode(),
        list_meta,
    )
    return [head, b",".join(partial_metadata(wire, version) for wire in wires), b"]}"]
