"""What happened in a test's cluster, write by write: for rules that hold at every moment, not only at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from keelback.concurrency.clock import Clock
from keelback.storage.protocol import Store
from keelback.testing.faults import Asked

_LEFT_OUT: Final = ("/registry/leases/", "/registry/events/")


@dataclass(frozen=True, slots=True)
class Write:
    """One object before and after a write; None where there was none, or is none any more."""

    at: datetime
    key: str
    """As the store has it: `/registry/pods/default/web-1`."""
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def resource(self) -> str:
        """The plural, as "pods"."""
        parts = self.key.split("/")
        return parts[3] if "." in parts[2] else parts[2]

    @property
    def is_deletion(self) -> bool:
        """Whether it began the object's deletion, or was all of it."""
        if self.before is None or self.before["metadata"].get("deletionTimestamp"):
            return False
        return self.after is None or bool(self.after["metadata"].get("deletionTimestamp"))


@dataclass(slots=True)
class Recording:
    """Writes and requests in their order, leases and events left out. `follow` fills it."""

    clock: Clock
    writes: list[Write] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    _held: dict[str, dict[str, Any]] = field(default_factory=dict, init=False, repr=False)

    async def follow(self, store: Store) -> None:
        """Take down what the store holds, then every change, until it closes."""
        held = await store.range("")
        for kv in held.kvs:
            self._take(kv.key, kv.value)
        async for batch in store.watch("", held.revision + 1):
            for event in batch.events:
                self._take(event.kv.key, None if event.type == "delete" else event.kv.value)

    def _take(self, key: str, value: bytes | None) -> None:
        if key.startswith(_LEFT_OUT):
            return
        before = self._held.pop(key, None)
        after = None if value is None else msgspec.json.decode(value)
        if after is not None:
            self._held[key] = after
        self.writes.append(Write(self.clock.now(), key, before, after))


def replayed(writes: list[Write]) -> Iterator[tuple[Write, dict[str, dict[str, Any]]]]:
    """Each write with all that there was when it was done, itself included, by key. The mapping is one and changes."""
    held: dict[str, dict[str, Any]] = {}
    for write in writes:
        if write.after is None:
            held.pop(write.key, None)
        else:
            held[write.key] = write.after
        yield write, held
