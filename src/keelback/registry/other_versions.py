"""Strategies of kinds in another version of the same shape: the store keeps one version, and only the words at an
object's beginning differ."""

from __future__ import annotations

import types
from typing import Any

from keelback.apimachinery.meta import make_kind
from keelback.registry.strategy import Strategy


def in_version(base: type[Strategy[Any]], version: str) -> Strategy[Any]:
    """The strategy for `version` of the kind that `base` is of, kept in the store as `base` keeps it."""
    stored = base.kind
    described = stored.__kind__
    kind: Any = types.new_class(described.kind, (stored,))
    kind.__kind__ = make_kind(
        f"{described.group}/{version}",
        described.kind,
        described.plural,
        namespaced=described.namespaced,
        short_names=described.short_names,
        categories=described.categories,
    )
    head, stored_head = kind.__kind__.head, described.head

    def from_storage(self: Strategy[Any], data: bytes) -> bytes:
        return bytes(head + data[len(stored_head) :])

    def to_storage(self: Strategy[Any], data: bytes) -> bytes:
        return bytes(stored_head + data[len(head) :])

    members = {"kind": kind, "storage_kind": stored, "from_storage": from_storage, "to_storage": to_storage}
    made: type[Strategy[Any]] = type(f"{version.capitalize()}{base.__name__}", (base,), members)
    return made()
