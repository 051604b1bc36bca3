"""A resource as a Kubernetes version has it: with that version's fields, subresources, columns and warnings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from keelback.apimachinery.kubernetes_versions import KubernetesVersion
from keelback.apimachinery.meta import Object
from keelback.apimachinery.schema import Schema
from keelback.apimachinery.shapes import Shape, strict_errors_in
from keelback.registry.strategy import Column, Strategy
from keelback.registry.version_fields import VersionFields, without

_SINCE: Final = re.compile(r"\b(?:deprecated|unavailable|non-functional) (?:in|since) v1\.(\d+)\+?")

_SUBRESOURCES_SINCE: Final[Mapping[tuple[str, str], int]] = {("pods", "resize"): 33}
"""Subresources that no field tells of, and the minor version that has them without a feature gate's being asked for."""

_COLUMNS_SINCE: Final[Mapping[tuple[str, str], int]] = {
    ("cronjobs", "Timezone"): 30,
    ("jobs", "Status"): 30,
    ("persistentvolumeclaims", "VolumeAttributesClass"): 29,
    ("persistentvolumes", "VolumeAttributesClass"): 29,
}
"""Printed columns that came later than the kind."""


def of_version(strategy: Strategy[Any], version: KubernetesVersion, fields: VersionFields) -> Strategy[Any]:
    """The strategy for a server of that version. One whose kind is not published stays as it is."""
    shape = fields.shape_of(strategy.kind)
    if shape is None:
        return strategy
    known: Shape = shape
    base: Any = type(strategy)
    cut = fields.cut_of(strategy.kind)
    schema = fields.schema_of(strategy.kind, strategy.schema())

    class OfVersion(base):  # type: ignore[misc]  # which class it is of is known when a server starts
        columns = _columns(strategy, version)
        subresources = _subresources(strategy, version, fields)
        deprecation_warning = next(iter(said_in((strategy.deprecation_warning,), version)), "")

        def decode_body(self, data: bytes) -> Any:
            return _cut(super().decode_body(data))

        def from_tree(self, tree: Mapping[str, Any]) -> Any:
            return _cut(super().from_tree(tree))

        def default(self, new: Any, old: Any = None) -> Any:
            return _cut(super().default(new, old))

        def encode(self, obj: Any) -> bytes:
            encoded: bytes = super().encode(_cut(obj))
            return encoded

        def strict_errors(self, tree: Any) -> list[str]:
            return strict_errors_in(tree, known)

        def schema(self) -> Schema:
            return schema

        def warnings(self, new: Any, old: Any) -> Iterable[str]:
            return said_in(super().warnings(new, old), version)

    def _cut(obj: Object) -> Object:
        made: Object = obj if cut is None else without(obj, cut)
        return made

    OfVersion.__name__ = OfVersion.__qualname__ = base.__name__
    made: Strategy[Any] = OfVersion()
    return made


def said_in(warnings: Iterable[str], version: KubernetesVersion) -> list[str]:
    """The warnings that a version gives: not those of what later versions deprecate."""
    return [one for one in warnings if one and not ((since := _SINCE.search(one)) and int(since[1]) > version.minor)]


def _columns(strategy: Strategy[Any], version: KubernetesVersion) -> tuple[Column, ...]:
    plural = strategy.kind.__kind__.plural
    return tuple(one for one in strategy.columns if _COLUMNS_SINCE.get((plural, one.name), 0) <= version.minor)


def _subresources(strategy: Strategy[Any], version: KubernetesVersion, fields: VersionFields) -> tuple[str, ...]:
    kind = strategy.kind.__kind__
    name = fields.published.name_of(kind.group, kind.version, kind.kind)
    has_status = name is not None and "status" in fields.published.definitions[name].properties
    return tuple(
        one
        for one in strategy.subresources
        if (one != "status" or has_status) and _SUBRESOURCES_SINCE.get((kind.plural, one), 0) <= version.minor
    )
