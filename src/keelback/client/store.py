"""What an informer holds: the latest state of each object, by namespace and name and by index."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeAlias, TypeVar

from keelback.apimachinery.meta import Object

T = TypeVar("T", bound=Object)
Key: TypeAlias = tuple[str, str]
IndexFunction: TypeAlias = Callable[[T], Iterable[Hashable]]


def key_of(obj: Object) -> Key:
    """Namespace and name."""
    return obj.metadata.namespace, obj.metadata.name


class Store(Generic[T]):
    """Objects of one kind. Only its informer writes; readers may keep what they get, for objects are frozen."""

    def __init__(self, indexes: Mapping[str, IndexFunction[T]] | None = None) -> None:
        self.resource_version = ""
        """The version up to which every change is in here; empty before the first list."""
        self._objects: dict[Key, T] = {}
        self._index_functions: dict[str, IndexFunction[T]] = {}
        self._indexes: dict[str, dict[Hashable, dict[Key, T]]] = {}
        for name, function in (indexes or {}).items():
            self.add_index(name, function)

    def get(self, namespace: str, name: str) -> T | None:
        """The object, or None."""
        return self._objects.get((namespace, name))

    def list(self, namespace: str | None = None) -> list[T]:
        """All objects, or those of one namespace."""
        if namespace is None:
            return list(self._objects.values())
        return [obj for key, obj in self._objects.items() if key[0] == namespace]

    def by_index(self, name: str, value: Hashable) -> builtins.list[T]:
        """The objects for which the index function yields `value`. Raises KeyError for an unknown index."""
        found = self._indexes[name].get(value)
        return [*found.values()] if found else []

    def keys(self) -> Iterator[Key]:
        """Namespace and name of each object."""
        return iter(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def __contains__(self, key: Key) -> bool:
        return key in self._objects

    def add_index(self, name: str, function: IndexFunction[T]) -> None:
        """Keep objects findable by what `function` yields of them."""
        self._index_functions[name] = function
        entries: dict[Hashable, dict[Key, T]] = {}
        for key, obj in self._objects.items():
            for value in function(obj):
                entries.setdefault(value, {})[key] = obj
        self._indexes[name] = entries

    def put(self, obj: T) -> T | None:
        """Hold this state of an object; the state it replaces."""
        key = (obj.metadata.namespace, obj.metadata.name)
        old = self._objects.get(key)
        self._objects[key] = obj
        if self._index_functions:
            self._reindex(key, old, obj)
        return old

    def remove(self, key: Key) -> T | None:
        """Forget an object; its last state, or None where it was not held."""
        old = self._objects.pop(key, None)
        if old is not None and self._index_functions:
            self._reindex(key, old, None)
        return old

    def _reindex(self, key: Key, old: T | None, new: T | None) -> None:
        for name, function in self._index_functions.items():
            entries = self._indexes[name]
            if old is not None:
                for value in function(old):
                    held = entries.get(value)
                    if held is not None:
                        held.pop(key, None)
                        if not held:
                            del entries[value]
            if new is not None:
                for value in function(new):
                    entries.setdefault(value, {})[key] = new
