"""Objects whose kind is not known when this program is written: typed metadata, and everything else as a JSON tree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from keelback.apimachinery.meta import Kind, Object, replace, with_metadata


class Unstructured(Object):
    """An object of a custom resource. `content` is the tree without kind, apiVersion and metadata; who holds it does
    not change it. Each served version has a class of its own, made by `class_of`."""

    content: Mapping[str, Any] = {}

    def flat(self) -> dict[str, Any]:
        """What stands on the wire after kind and apiVersion, metadata first."""
        return {"metadata": self.metadata, **self.content}


class _Metadata(Object):
    """The typed part of any stored object."""


_METADATA = msgspec.json.Decoder(_Metadata)


def class_of(kind: Kind) -> type[Unstructured]:
    """The class of one kind in one version."""
    made: type[Unstructured] = type(kind.kind, (Unstructured,), {"__module__": __name__})
    made.__kind__ = kind
    return made


def decode(cls: type[Unstructured], data: bytes) -> Unstructured:
    """An object from bytes that the server wrote."""
    content = msgspec.json.decode(data)
    for name in ("kind", "apiVersion", "metadata"):
        content.pop(name, None)
    return cls(metadata=_METADATA.decode(data).metadata, content=content)


def with_content(obj: Unstructured, content: Mapping[str, Any]) -> Unstructured:
    """The same object with another content."""
    return replace(obj, content=content)


def metadata_tree(obj: Object) -> dict[str, Any]:
    """An object's metadata as a JSON tree, without its managed fields."""
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(with_metadata(obj, managed_fields=()).metadata))
    return tree
