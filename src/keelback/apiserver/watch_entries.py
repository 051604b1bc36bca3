"""The entries of a watch cache: by key, in order, and by labels and fields, which are read when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from keelback.apiserver.watch_index import Entry, OrderedEntries, PairIndex, View
from keelback.apiserver.watch_selection import Filter
from keelback.apiserver.watch_wire import CachedResource
from keelback.component.logs import logger

log = logger("watch_cache")


class _Labelled(msgspec.Struct):
    labels: dict[str, str] | None = None


class _WithLabels(msgspec.Struct):
    metadata: _Labelled = msgspec.field(default_factory=_Labelled)


_LABELS = msgspec.json.Decoder(_WithLabels)


class EntrySet:
    """The newest entries of one resource."""

    def __init__(self, resource: CachedResource) -> None:
        self._resource = resource
        self._field_decoder = msgspec.json.Decoder(resource.field_type)
        self.changes = 0
        self.load(())

    def load(self, entries: Iterable[Entry]) -> None:
        """Hold these instead of all others."""
        self.changes += 1
        self._by_key = {entry.key: entry for entry in entries}
        self.size_bytes = sum(entry.size for entry in self._by_key.values())
        self.ordered = OrderedEntries(self._by_key.values())
        self._label_index: PairIndex | None = None
        self._field_index: PairIndex | None = None

    def get(self, key: str) -> Entry | None:
        return self._by_key.get(key)

    def __len__(self) -> int:
        return len(self._by_key)

    def set(self, entry: Entry) -> None:
        """Add an entry, or replace that of the same key."""
        self.changes += 1
        old = self._by_key.get(entry.key)
        self._by_key[entry.key] = entry
        self.size_bytes += entry.size - (0 if old is None else old.size)
        self.ordered.set(entry)
        self._reindex(old, entry)

    def delete(self, key: str) -> None:
        """Delete a key that is there."""
        self.changes += 1
        old = self._by_key.pop(key)
        self.size_bytes -= old.size
        self.ordered.delete(key)
        self._reindex(old, None)

    def scope(self, namespace: str) -> str:
        """The key prefix of a namespace; of the whole resource for none."""
        return f"{self._resource.prefix}{namespace}/" if namespace else self._resource.prefix

    def scopes(self, key: str) -> tuple[str, ...]:
        """The key prefixes a key lies in."""
        prefix = self._resource.prefix
        slash = key.find("/", len(prefix)) if self._resource.is_namespaced else -1
        return (prefix,) if slash < 0 else (prefix, key[: slash + 1])

    def select(self, filter_: Filter, start: str, wanted: int) -> list[Entry]:
        """The newest entries that match, from a start key on, in order, at most `wanted` (0: all)."""
        if not filter_.has_selectors:
            return self.ordered.slice(start, end_of(filter_.scope), wanted)
        keys = self._candidates(filter_)
        if keys is None:
            return self.scan(self.ordered, filter_, start, wanted)
        found = []
        for key in sorted(key for key in keys if key >= start and key.startswith(filter_.scope)):
            entry = self._by_key[key]
            if self.matches(filter_, entry):
                found.append(entry)
                if len(found) == wanted:
                    break
        return found

    def scan(self, view: View, filter_: Filter, start: str, wanted: int) -> list[Entry]:
        """The same from a view, looking at every entry in turn."""
        end = end_of(filter_.scope)
        if not filter_.has_selectors:
            return view.slice(start, end, wanted)
        found = []
        for entry in view.slice(start, end):
            if self.matches(filter_, entry):
                found.append(entry)
                if len(found) == wanted:
                    break
        return found

    def _candidates(self, filter_: Filter) -> Iterable[str] | None:
        """Keys among which all matches are, from the most selective condition; None when it must be all of them."""
        name = filter_.fields.the_only("metadata.name") if filter_.fields else None
        if name is not None and (not self._resource.is_namespaced or filter_.scope != self._resource.prefix):
            key = filter_.scope + name
            return (key,) if key in self._by_key else ()
        best: tuple[int, PairIndex, str, frozenset[str] | None] | None = None
        if filter_.labels is not None and filter_.labels.required:
            index = self._labels_indexed()
            for required, values in filter_.labels.required:
                size = index.estimate(required, values)
                if best is None or size < best[0]:
                    best = (size, index, required, values)
        if filter_.fields is not None:
            for required, values in filter_.fields.required:
                if required in self._resource.indexed_fields:
                    index = self._fields_indexed()
                    size = index.estimate(required, values)
                    if best is None or size < best[0]:
                        best = (size, index, required, values)
        if best is None or best[0] > len(self._by_key) // 2:
            return None
        return best[1].find(best[2], best[3])

    def matches(self, filter_: Filter, entry: Entry) -> bool:
        """Whether the selectors of the filter match; the scope is not looked at."""
        return (filter_.labels is None or filter_.labels.matches(self.labels(entry))) and (
            filter_.fields is None or filter_.fields.matches(self.fields(entry))
        )

    def labels(self, entry: Entry) -> Mapping[str, str]:
        """The object's labels."""
        if entry.labels is None:
            try:
                entry.labels = _LABELS.decode(entry.item).metadata.labels or {}
            except msgspec.MsgspecError as error:
                log.error("The labels of a stored object cannot be read", key=entry.key, error=str(error))
                entry.labels = {}
        return entry.labels

    def fields(self, entry: Entry) -> Mapping[str, str]:
        """What field selectors of this resource look at."""
        if entry.fields is None:
            namespace, _, name = entry.key.removeprefix(self._resource.prefix).rpartition("/")
            entry.fields = {"metadata.name": name, "metadata.namespace": namespace}
            try:
                entry.fields |= self._resource.fields(self._field_decoder.decode(entry.item))
            except msgspec.MsgspecError as error:
                log.error("The fields of a stored object cannot be read", key=entry.key, error=str(error))
        return entry.fields

    def field_of(self, entry: Entry, name: str) -> str:
        """One field; empty when there is none of that name."""
        if name == "metadata.name":
            return entry.key.rpartition("/")[2]
        return self.fields(entry).get(name, "")

    # Indexes: made when first needed, then kept up to date.

    def _labels_indexed(self) -> PairIndex:
        if self._label_index is None:
            self._label_index = PairIndex()
            for entry in self.ordered:
                self._label_index.add(entry.key, self.labels(entry))
        return self._label_index

    def _fields_indexed(self) -> PairIndex:
        if self._field_index is None:
            self._field_index = PairIndex()
            for entry in self.ordered:
                self._field_index.add(entry.key, self._indexed(entry))
        return self._field_index

    def _indexed(self, entry: Entry) -> Mapping[str, str]:
        fields = self.fields(entry)
        return {name: fields.get(name, "") for name in self._resource.indexed_fields}

    def _reindex(self, old: Entry | None, new: Entry | None) -> None:
        if self._label_index is not None:
            _move(self._label_index, old, new, self.labels)
        if self._field_index is not None:
            _move(self._field_index, old, new, self._indexed)


def end_of(scope: str) -> str:
    """The first key after those in the scope, which ends with a slash."""
    return scope[:-1] + "0"


def _move(index: PairIndex, old: Entry | None, new: Entry | None, pairs: Callable[[Entry], Mapping[str, str]]) -> None:
    if old is not None and new is not None and pairs(old) == pairs(new):
        return
    if old is not None:
        index.remove(old.key, pairs(old))
    if new is not None:
        index.add(new.key, pairs(new))
