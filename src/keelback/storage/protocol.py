"""What a store promises, which is what etcd promises: one global revision that every write increases by one.

Writes compare and swap, reads may look at any revision that was not compacted, a watch replays every change from a
revision on and then follows, and an acknowledged write is never lost. `tests/storage/test_contract.py` runs on each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal, NamedTuple, Protocol, Self

import msgspec

FIRST_REVISION = 1
"""The revision of an empty store, as in etcd: the first write gets 2."""


class KeyValue(msgspec.Struct, frozen=True, gc=False):
    """One key as it was after its last write. In a delete event: `value` empty, `create_revision` 0."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    is_stale: bool = False
    """Whether what is kept should be written anew though the value is the same: it is encrypted under an old key."""
    unreadable: str = ""
    """Why the value cannot be read, where it cannot; it is empty then. Only what decrypts says so."""


class Event(msgspec.Struct, frozen=True):
    """One change. `prev` is the key before it; None when the key was created."""

    type: Literal["put", "delete"]
    kv: KeyValue
    prev: KeyValue | None


class WatchBatch(NamedTuple):
    """Changes in revision order. After it the watch has seen everything up to and including `revision`."""

    events: Sequence[Event]
    revision: int


class RangeResult(msgspec.Struct, frozen=True):
    """Keys in order. `count` is how many there are from the start key on, whatever the limit; `revision` is the
    revision the answer is true at; `more` says that the limit cut it short."""

    kvs: Sequence[KeyValue]
    count: int
    more: bool
    revision: int


class Page(NamedTuple):
    """Some of the keys under a prefix, as they are at `revision`, which is that of all pages of one reading."""

    kvs: Sequence[KeyValue]
    revision: int


class StorageError(Exception):
    """Anything a store can answer besides success."""


class CompareFailed(StorageError):
    """The key is not at the expected revision. `current` is what it is instead; None when it does not exist."""

    def __init__(self, key: str, current: KeyValue | None) -> None:
        super().__init__(f"{key} is at revision {current.mod_revision if current else 0}")
        self.key = key
        self.current = current


class Compacted(StorageError):
    """The revision asked for was compacted away. `compact_revision` is the oldest that can still be read."""

    def __init__(self, revision: int, compact_revision: int) -> None:
        super().__init__(f"revision {revision} was compacted; the oldest is {compact_revision}")
        self.revision = revision
        self.compact_revision = compact_revision


class FutureRevision(StorageError):
    """The revision asked for has not happened yet."""

    def __init__(self, revision: int, current_revision: int) -> None:
        super().__init__(f"revision {revision} has not happened; the current one is {current_revision}")
        self.revision = revision
        self.current_revision = current_revision


class Overloaded(StorageError):
    """Too many writes wait already; this one was not begun and may be tried again."""


class OutcomeUnknown(StorageError):
    """The write was begun and its result did not arrive in time, or the store failed: it may have happened or not."""


class TransformFailed(StorageError):
    """A value could not be encrypted, or not be decrypted; the message says which and why, and clients are told."""


class TooLarge(StorageError):
    """The value is larger than the store takes in one write; nothing was done."""


class Unavailable(StorageError):
    """The store is closed or broken, or in use by another process; nothing was done."""


class Watch(Protocol):
    """A running watch: iterate it for batches, close it when done. Iteration raises `Compacted` when the next
    revision it owes is gone, and `Unavailable` when the store closes."""

    def __aiter__(self) -> AsyncIterator[WatchBatch]: ...
    async def __anext__(self) -> WatchBatch: ...
    def close(self) -> None: ...


class Store(Protocol):
    """Keys are text, values bytes. All may raise `Unavailable`; writes also `Overloaded`, `TooLarge` and
    `OutcomeUnknown`."""

    async def current_revision(self) -> int:
        """The revision of the last acknowledged write."""
        ...

    async def get(self, key: str) -> KeyValue | None:
        """The key now; None when it does not exist."""
        ...

    async def range(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> RangeResult:
        """The keys that begin with `prefix` and are not below `start`, at `revision` (0: now). `limit` 0 is no limit.

        Raises `Compacted` or `FutureRevision` when the revision cannot be read.
        """
        ...

    def pages(self, prefix: str) -> AsyncIterator[Page]:
        """All keys that begin with `prefix`, now, in order and in pages, at least one: for who makes something of all
        of them, and need not hold them twice.

        Raises `Compacted` where a compaction overtakes the reading: then it can be begun anew.
        """
        ...

    async def put(
        self, key: str, value: bytes, *, expected_revision: int | None = None, ttl_seconds: float | None = None
    ) -> int:
        """Write and return the new revision, once it is durable.

        `expected_revision` is the key's `mod_revision`; 0 means that the key must not exist, None that anything goes.
        With `ttl_seconds` the store deletes the key itself, at most a second late (etcd: later when its leader has
        changed), unless it is written again: a later put sets the time to live anew or, without it, takes it away.
        Raises `CompareFailed`.
        """
        ...

    async def delete(self, key: str, *, expected_revision: int | None = None) -> tuple[int, KeyValue | None]:
        """Delete and return the new revision and what was there. A missing key with `expected_revision` None is no
        change: the current revision and None. Raises `CompareFailed`."""
        ...

    def watch(self, prefix: str, from_revision: int = 0, *, with_previous: bool = True) -> Watch:
        """Every change of keys that begin with `prefix`, from that revision on, itself included (0: from the next).

        Who knows the previous state anyway sets `with_previous` to False and finds `prev` None: that saves a read.
        """
        ...

    async def compact(self, revision: int) -> None:
        """Forget what was overwritten or deleted at or before `revision`, which stays the oldest readable one.

        Raises `FutureRevision`; compacting again at or below the last compaction raises `Compacted`, as in etcd.
        """
        ...

    async def size_bytes(self) -> int:
        """What the database takes on its disk; 0 where there is none. Raises `Unavailable` where that is not known."""
        ...

    async def close(self) -> None:
        """Finish the writes under way, end the watches, release everything."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...
