"""Columns of custom resources, from the JSON paths of their definition (additionalPrinterColumns)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from keelback.api.apiextensions_v1 import CustomResourceColumnDefinition
from keelback.apimachinery import unstructured
from keelback.registry import custom_resource_paths as paths
from keelback.registry import strategy
from keelback.registry.strategy import Column, human_duration

AGE = replace(strategy.AGE, type="date")


def columns(defined: Iterable[CustomResourceColumnDefinition]) -> tuple[Column, ...]:
    """The columns after Name; the age when none are defined."""
    return tuple(map(_column, defined)) or (AGE,)


def _column(defined: CustomResourceColumnDefinition) -> Column:
    path = defined.json_path
    return Column(
        defined.name,
        _reader(path, defined.type),
        type=defined.type,
        priority=defined.priority,
        format=defined.format,
        description=defined.description or f"Custom resource definition column (in JSONPath format): {path}",
    )


def _reader(path: str, kind: str) -> Callable[[Any, datetime], Any]:
    reads_metadata = path.lstrip("{$").startswith(".metadata")

    def read(obj: Any, now: datetime) -> Any:
        tree = {"metadata": unstructured.metadata_tree(obj)} if reads_metadata else obj.content
        return cell(paths.first(tree, path), kind, now)

    return read


def cell(value: Any, kind: str, now: datetime) -> Any:
    """A value as a cell of a column of that type; None where it does not fit."""
    if value is paths.MISSING or value is None:
        return None
    match kind:
        case "string":
            if isinstance(value, str):
                return value
            return msgspec.json.encode(value).decode()
        case "integer":
            return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "number":
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case "date":
            return _since(value, now)
    return None


_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d([.,]\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def _since(value: Any, now: datetime) -> str | None:
    if not isinstance(value, str):
        return None
    if value in ("", "null"):
        return "<unknown>"
    try:
        if _TIME.fullmatch(value) is None:
            return "<invalid>"
        moment = datetime.fromisoformat(value.replace(",", ".").upper())
    except ValueError:
        return "<invalid>"
    return human_duration((now - moment).total_seconds())
