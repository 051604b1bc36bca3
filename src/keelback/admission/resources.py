"""What admission knows of the resources that are served: their other versions, their trees, and objects of any kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from keelback.apimachinery.meta import Kind
from keelback.apimachinery.schema import Schema


class Resources(Protocol):
    """Every resource there is, built in or defined by users, in each of its versions."""

    def kind_of(self, api_version: str, kind: str) -> Kind | None:
        """The resource of a kind, None if none is served."""
        ...

    def equivalents(self, kind: Kind) -> Sequence[Kind]:
        """The other versions (and groups) that show the same objects as a resource."""
        ...

    async def convert(self, obj: Any, kind: Kind) -> Any:
        """An object in another of these versions. Raises StatusError if a conversion webhook fails."""
        ...

    def from_tree(self, tree: Mapping[str, Any], like: Any, old: Any) -> Any:
        """The object of a changed JSON tree, of the class of `like`: pruned and with its defaults.

        Raises codecs.DecodeError.
        """
        ...

    def strict_errors(self, tree: Mapping[str, Any], like: Any) -> Sequence[str]:
        """The fields of a tree that an object of the class of `like` does not have."""
        ...

    def schema_of(self, like: Any) -> Schema:
        """How trees of objects of this class are merged."""
        ...

    async def find(self, kind: Kind, name: str, namespace: str) -> Mapping[str, Any] | None:
        """The tree of an object, from the cache; None if there is none."""
        ...

    async def find_all(self, kind: Kind, namespace: str) -> Sequence[Mapping[str, Any]]:
        """The trees of all objects of a kind in a namespace (or of all namespaces), by namespace and name."""
        ...
