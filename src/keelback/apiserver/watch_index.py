"""How the watch cache finds entries: in key order with cheap snapshots, and by the pairs of their labels and fields."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

CHUNK = 256


class Entry:
    """One object of the cache: its key, its item (see `watch_wire`) and revision. Never changed, only replaced.

    The item is in three pieces, of which other entries may hold the middle one too (see `shared_parts`). `labels`,
    `fields` and the item as a protobuf `message` are filled in when first asked for; ask the cache.
    """

    __slots__ = ("after", "before", "fields", "key", "labels", "message", "revision", "shared")

    def __init__(self, key: str, pieces: tuple[bytes, bytes, bytes], revision: int) -> None:
        self.key = key
        before, self.shared, self.after = pieces
        # With the comma that parts items in a list, which has a third more pieces to write otherwise.
        self.before = b"," + before
        self.revision = revision
        self.labels: Mapping[str, str] | None = None
        self.fields: Mapping[str, str] | None = None
        self.message: bytes | None = None

    @property
    def item(self) -> bytes:
        """The item, put together."""
        return self.before[1:] + self.shared + self.after if self.shared else self.before[1:]

    @property
    def size(self) -> int:
        """The length of the item in bytes."""
        return len(self.before) + len(self.shared) + len(self.after) - 1

    def __repr__(self) -> str:
        return f"<Entry {self.key} {self.revision}>"


class _Chunk:
    __slots__ = ("entries", "epoch", "keys")

    def __init__(self, keys: list[str], entries: list[Entry], epoch: int) -> None:
        self.keys = keys
        self.entries = entries
        self.epoch = epoch


class View:
    """Entries in key order. A snapshot's view stays as it is whatever is written afterwards."""

    def __init__(self, chunks: list[_Chunk], firsts: list[str]) -> None:
        self._chunks = chunks
        self._firsts = firsts

    def slice(self, start: str, end: str, limit: int = 0) -> list[Entry]:
        """The entries with start <= key < end, at most `limit` (0: all)."""
        found: list[Entry] = []
        for chunk, low, high in self._spans(start, end):
            found += chunk.entries[low:high]
            if limit and len(found) >= limit:
                del found[limit:]
                break
        return found

    def count(self, start: str, end: str) -> int:
        return sum(high - low for _, low, high in self._spans(start, end))

    def __iter__(self) -> Iterator[Entry]:
        for chunk in self._chunks:
            yield from chunk.entries

    def _spans(self, start: str, end: str) -> Iterator[tuple[_Chunk, int, int]]:
        for at in range(max(bisect_right(self._firsts, start) - 1, 0), len(self._chunks)):
            chunk = self._chunks[at]
            if chunk.keys[0] >= end:
                return
            low = bisect_left(chunk.keys, start) if chunk.keys[0] < start else 0
            high = len(chunk.keys) if chunk.keys[-1] < end else bisect_left(chunk.keys, end)
            if low < high:
                yield chunk, low, high


class OrderedEntries(View):
    """A sorted map in chunks. A chunk that a snapshot shares is copied before it is changed."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        ordered = sorted(entries, key=lambda entry: entry.key)
        self._epoch = 0
        pieces = [ordered[at : at + CHUNK] for at in range(0, len(ordered), CHUNK)]
        chunks = [_Chunk([entry.key for entry in piece], piece, 0) for piece in pieces]
        super().__init__(chunks, [chunk.keys[0] for chunk in chunks])

    def snapshot(self) -> View:
        self._epoch += 1
        return View(self._chunks.copy(), self._firsts.copy())

    def set(self, entry: Entry) -> None:
        if not self._chunks:
            self._chunks.append(_Chunk([entry.key], [entry], self._epoch))
            self._firsts.append(entry.key)
            return
        at = max(bisect_right(self._firsts, entry.key) - 1, 0)
        chunk = self._own(at)
        index = bisect_left(chunk.keys, entry.key)
        if index < len(chunk.keys) and chunk.keys[index] == entry.key:
            chunk.entries[index] = entry
            return
        chunk.keys.insert(index, entry.key)
        chunk.entries.insert(index, entry)
        self._firsts[at] = chunk.keys[0]
        if len(chunk.keys) > 2 * CHUNK:
            self._split(at, chunk)

    def delete(self, key: str) -> None:
        """Delete a key that is there."""
        at = max(bisect_right(self._firsts, key) - 1, 0)
        chunk = self._own(at)
        index = bisect_left(chunk.keys, key)
        assert chunk.keys[index] == key
        del chunk.keys[index], chunk.entries[index]
        if chunk.keys:
            self._firsts[at] = chunk.keys[0]
        else:
            del self._chunks[at], self._firsts[at]

    def _own(self, at: int) -> _Chunk:
        chunk = self._chunks[at]
        if chunk.epoch < self._epoch:
            chunk = self._chunks[at] = _Chunk(chunk.keys.copy(), chunk.entries.copy(), self._epoch)
        return chunk

    def _split(self, at: int, chunk: _Chunk) -> None:
        right = _Chunk(chunk.keys[CHUNK:], chunk.entries[CHUNK:], self._epoch)
        del chunk.keys[CHUNK:], chunk.entries[CHUNK:]
        self._chunks.insert(at + 1, right)
        self._firsts.insert(at + 1, right.keys[0])


class PairIndex:
    """From name and value (a label, a field) to the keys that have it."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[str, set[str]]] = {}

    def add(self, key: str, pairs: Mapping[str, str]) -> None:
        for name, value in pairs.items():
            self._keys.setdefault(name, {}).setdefault(value, set()).add(key)

    def remove(self, key: str, pairs: Mapping[str, str]) -> None:
        for name, value in pairs.items():
            values = self._keys[name]
            keys = values[value]
            keys.remove(key)
            if not keys:
                del values[value]
                if not values:
                    del self._keys[name]

    def estimate(self, name: str, values: frozenset[str] | None) -> int:
        """At least how many keys `find` gives."""
        return sum(map(len, self._sets(name, values)))

    def find(self, name: str, values: frozenset[str] | None) -> set[str]:
        """The keys that have the name with one of the values, or with any when None."""
        return set().union(*self._sets(name, values))

    def _sets(self, name: str, values: frozenset[str] | None) -> Sequence[set[str]]:
        known = self._keys.get(name)
        if known is None:
            return ()
        if values is None:
            return tuple(known.values())
        return tuple(known[value] for value in values if value in known)
