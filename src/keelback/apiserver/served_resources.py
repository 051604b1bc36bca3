"""Every resource that is served, as admission sees it: other versions of its objects, their trees, and look-ups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from keelback.apimachinery import codecs
from keelback.apimachinery.meta import Kind, Object, with_metadata
from keelback.apimachinery.schema import Schema, schema_of
from keelback.apiserver.converting_store import ConvertingStore
from keelback.apiserver.resource_handler import ResourceHandler

Handlers = Mapping[tuple[str, str], ResourceHandler]


class ServedResources:
    """Looks at the server's handlers, which come and go with the CustomResourceDefinitions."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._names: tuple[tuple[str, str], ...] = ()
        self._sharing: dict[str, list[Kind]] = {}

    def kind_of(self, api_version: str, kind: str) -> Kind | None:
        """The resource of a kind, None if none is served."""
        for handler in self._handlers.values():
            if (handler.kind.kind, handler.kind.api_version) == (kind, api_version):
                return handler.kind
        return None

    def equivalents(self, kind: Kind) -> Sequence[Kind]:
        """The resources that show what is stored in the same place."""
        handler = self._handler(kind)
        if handler is None:
            return ()
        self._refresh()
        return [one for one in self._sharing.get(handler.store.prefix, ()) if one != kind]

    def _refresh(self) -> None:
        names = tuple(self._handlers)
        if names == self._names:
            return
        self._names = names
        self._sharing = {}
        for handler in self._handlers.values():
            sharing = self._sharing.setdefault(handler.store.prefix, [])
            if handler.kind not in sharing:
                sharing.append(handler.kind)
        for sharing in self._sharing.values():
            sharing.sort(key=lambda one: (one.group, one.version))

    async def convert(self, obj: Any, kind: Kind) -> Any:
        """An object in another version of its resource. Raises ConversionFailed if a webhook does."""
        source, target = self._handler(obj.__kind__), self._handler(kind)
        if source is None or target is None or source is target:
            return obj
        for backend in (source.store.backend, target.store.backend):
            if isinstance(backend, ConvertingStore):
                (tree,) = await backend.webhook.convert([codecs.to_tree(obj)], kind.api_version)
                return target.strategy.from_tree(tree)
        stored = source.strategy.to_storage(source.strategy.encode(obj))
        converted = target.strategy.decode(target.strategy.from_storage(stored))
        # The store knows an object's version by itself; here the object must keep it.
        return with_metadata(converted, resource_version=obj.metadata.resource_version)

    def from_tree(self, tree: Mapping[str, Any], like: Any, old: Any) -> Any:
        """The object of a changed tree, of the class of `like`, pruned and defaulted. Raises codecs.DecodeError."""
        handler = self._of(like)
        if handler is None:
            return codecs.convert(type(like), tree)
        before = old if type(old) is type(like) else None
        return handler.strategy.default(handler.strategy.from_tree(tree), before)

    def strict_errors(self, tree: Mapping[str, Any], like: Any) -> Sequence[str]:
        """The fields of a tree that an object of the class of `like` does not have."""
        handler = self._of(like)
        return codecs.strict_errors(tree, type(like)) if handler is None else handler.strategy.strict_errors(tree)

    def schema_of(self, like: Any) -> Schema:
        """How trees of objects of this class are merged."""
        handler = self._of(like)
        if handler is not None:
            return handler.strategy.schema()
        shown: type[Object] = type(like)
        return schema_of(shown)

    async def find(self, kind: Kind, name: str, namespace: str) -> Mapping[str, Any] | None:
        """The tree of an object, None if there is none. A cache that is behind does not make one look absent."""
        handler = self._handler(kind)
        if handler is None:
            return None
        entry = handler.cache.peek(namespace, name)
        wire = entry.item if entry is not None else await handler.cache.get(namespace, name)
        return None if wire is None else self._tree(handler, wire)

    async def find_all(self, kind: Kind, namespace: str) -> Sequence[Mapping[str, Any]]:
        """The trees of all objects of a kind in a namespace, or of all namespaces."""
        handler = self._handler(kind)
        if handler is None:
            return ()
        return [self._tree(handler, entry.item) for entry in handler.cache.entries(namespace)]

    @staticmethod
    def _tree(handler: ResourceHandler, wire: bytes) -> dict[str, Any]:
        tree: dict[str, Any] = msgspec.json.decode(wire)
        return {"apiVersion": handler.kind.api_version, "kind": handler.kind.kind, **tree}

    def _handler(self, kind: Kind) -> ResourceHandler | None:
        return self._handlers.get((kind.api_version, kind.plural))

    def _of(self, like: Any) -> ResourceHandler | None:
        """The handler of an object of a resource; None for those of subresources only."""
        handler = self._handler(like.__kind__)
        return handler if handler is not None and handler.strategy.kind.__kind__ is like.__kind__ else None
