"""A scheme: the kinds that a server or a client knows, found by their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keelback.apimachinery.meta import Kind, Object


class Scheme:
    """An immutable index of kinds. Build one from lists (`keelback.api.builtin`); nothing registers itself."""

    def __init__(self, types: Iterable[type[Object]]) -> None:
        self._types = tuple(types)
        self._by_kind = {(t.__kind__.api_version, t.__kind__.kind): t for t in self._types}
        self._by_resource = {(t.__kind__.group, t.__kind__.version, t.__kind__.plural): t for t in self._types}
        self._kind_names = frozenset(t.__kind__.kind for t in self._types)

    def __iter__(self) -> Iterator[type[Object]]:
        return iter(self._types)

    def type_of(self, api_version: str, kind: str) -> type[Object] | None:
        """The type of a manifest's `apiVersion` and `kind`, or None if it is not known here."""
        return self._by_kind.get((api_version, kind))

    def type_for(self, group: str, version: str, plural: str) -> type[Object] | None:
        """The type behind a URL path, or None if it is not known here."""
        return self._by_resource.get((group, version, plural))

    def kinds(self) -> Iterator[Kind]:
        return (t.__kind__ for t in self._types)

    def knows(self, api_version: str, kind: str) -> bool:
        return (api_version, kind) in self._by_kind
