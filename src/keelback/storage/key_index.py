"""The index of a multi-version store, in memory: which revisions each key has, and the order in which they came.

It holds no values. A revision belongs to exactly one write, so the list of changes is indexed by plain arithmetic.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

import msgspec

from keelback.storage.protocol import FIRST_REVISION


class Record(msgspec.Struct, frozen=True, gc=False):
    """One write. `create_revision` 0 is a deletion; `previous` is the revision it overwrote (0: none that lives).

    `expires` is in seconds since the epoch, 0 for never."""

    key: str
    revision: int
    create_revision: int
    previous: int
    expires: float = 0.0

    @property
    def is_deletion(self) -> bool:
        return self.create_revision == 0


class KeyIndex:
    """Starts at `compacted`, the oldest readable revision; `apply` takes the later writes one by one."""

    def __init__(self, compacted: int = FIRST_REVISION, living: Iterable[Record] = ()) -> None:
        self.compacted = compacted
        self.revision = compacted
        self._history: dict[str, list[Record]] = {record.key: [record] for record in living}
        self._keys: list[str] = sorted(self._history)
        self._is_sorted = True
        # Every write after the one `_first_change` says, without gaps.
        self._changes: list[Record] = []
        self._first_change = compacted + 1
        self._forgotten_keys = 0

    def apply(self, record: Record) -> None:
        """Take the next write."""
        assert record.revision == self.revision + 1, (record, self.revision)
        self.revision = record.revision
        self._changes.append(record)
        history = self._history.get(record.key)
        if history is None:
            self._history[record.key] = [record]
            self._keys.append(record.key)
            self._is_sorted = False
        else:
            history.append(record)

    def head(self, key: str) -> Record | None:
        """The last write of the key when it exists now."""
        history = self._history.get(key)
        if history is None or history[-1].is_deletion:
            return None
        return history[-1]

    def at(self, key: str, revision: int) -> Record | None:
        """The write of exactly that revision, unless it was compacted."""
        for record in reversed(self._history.get(key, ())):
            if record.revision == revision:
                return record
        return None

    def changes(self, from_revision: int, limit: int) -> Sequence[Record]:
        """The writes from a revision on, at most `limit`; the caller has checked that they are not compacted."""
        begin = max(from_revision - self._first_change, 0)
        return self._changes[begin : begin + limit]

    def range(self, prefix: str, start: str, limit: int, revision: int) -> tuple[list[Record], int]:
        """What is visible under the prefix at a revision, in order, and how many there are without the limit."""
        self._sort()
        begin = bisect_left(self._keys, max(prefix, start))
        end = bisect_left(self._keys, prefix_end(prefix)) if prefix else len(self._keys)
        history_of = self._history
        if not limit and revision >= self.revision:
            # All there is now, as caches load it.
            newest = [history_of[key][-1] for key in self._keys[begin:end] if key in history_of]
            living = [record for record in newest if record.create_revision]
            return living, len(living)
        found: list[Record] = []
        count = 0
        for key in self._keys[begin:end]:
            history = history_of.get(key)
            record = _visible(history, revision) if history else None
            if record is None:
                continue
            count += 1
            if not limit or count <= limit:
                found.append(record)
        return found, count

    def compact_step(self, revision: int, limit: int) -> tuple[list[int], bool]:
        """Forget up to `limit` changes at or before `revision`: the revisions whose values nobody can read any more,
        and whether all is done. Reads below the revision are refused from the first step on."""
        self.compacted = max(self.compacted, revision)
        count = min(limit, revision - self._first_change + 1)
        dead: list[int] = []
        for record in self._changes[:count]:
            history = self._history[record.key]
            while history[0].revision < record.revision:
                dead.append(history.pop(0).revision)
            if record.is_deletion:
                dead.append(record.revision)
                history.pop(0)
                if not history:
                    del self._history[record.key]
                    self._forgotten_keys += 1
        del self._changes[:count]
        self._first_change += count
        return dead, self._first_change > revision

    def _sort(self) -> None:
        """Keys are appended when they appear and sorted when somebody reads: sorting a nearly sorted list is cheap."""
        if self._forgotten_keys:
            # A key that was forgotten and came back stands in the list twice.
            self._keys = list(self._history)
            self._forgotten_keys = 0
            self._is_sorted = False
        if not self._is_sorted:
            self._keys.sort()
            self._is_sorted = True


def prefix_end(prefix: str) -> str:
    """The first key after every key that begins with the prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def _visible(history: Sequence[Record], revision: int) -> Record | None:
    for record in reversed(history):
        if record.revision <= revision:
            return None if record.is_deletion else record
    return None
