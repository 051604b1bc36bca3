"""The store that forgets: for tests and for clusters that need not outlive their process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from keelback.concurrency.clock import Clock
from keelback.storage.embedded import EmbeddedStore
from keelback.storage.key_index import KeyIndex, Record


def open_store(clock: Clock) -> EmbeddedStore:
    """An empty store; call it on a running event loop."""
    return EmbeddedStore(MemoryLog(), KeyIndex(), clock)


class MemoryLog:
    """A dictionary of values."""

    group_window_seconds = 0.0

    def __init__(self) -> None:
        self._values: dict[int, bytes] = {}

    def append(self, group: Sequence[tuple[Record, bytes]], done: Callable[[BaseException | None], None]) -> None:
        for record, value in group:
            self._values[record.revision] = value
        done(None)

    def value(self, revision: int) -> bytes | None:
        return self._values.get(revision)

    async def values(self, revisions: Sequence[int]) -> Mapping[int, bytes]:
        values = self._values
        return {revision: values[revision] for revision in revisions if revision in values}

    async def compact(self, compacted: int, dead: Sequence[int]) -> None:
        for revision in dead:
            self._values.pop(revision, None)

    def size_bytes(self) -> int:
        return 0

    async def close(self) -> None:
        self._values.clear()
