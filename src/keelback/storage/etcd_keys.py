"""Where keys are in etcd, which others may use too, and how its revisions are counted here."""

from __future__ import annotations

from dataclasses import dataclass

WHOLE_KEY_SPACE = (b"\0", b"\0")
"""A range from the first key to the end."""


@dataclass(frozen=True, slots=True)
class KeySpace:
    """Keys begin with `inside` here and with `outside` in etcd. `offset` is what revisions here are ahead of etcd's.

    The offset is zero unless the store was moved or restored: then it lets revisions go on rising, as clients demand.
    """

    inside: str = "/registry"
    outside: str = "/registry"
    offset: int = 0

    def key(self, key: str) -> bytes:
        """The key as etcd has it."""
        if not key.startswith(self.inside):
            raise ValueError(f"{key} does not begin with {self.inside}")
        return (self.outside + key[len(self.inside) :]).encode()

    def name(self, key: bytes) -> str | None:
        """The key as it is called here; None for somebody else's."""
        text = key.decode("utf-8", "surrogateescape")
        return self.inside + text[len(self.outside) :] if text.startswith(self._folder) else None

    def range(self, prefix: str, start: str = "") -> tuple[bytes, bytes]:
        """The keys that begin with `prefix` and are not below `start`, as etcd writes a range."""
        first = self._folder.encode() if self.inside.startswith(prefix) else self.key(prefix)
        end = end_of(first)
        return max(first, self.key(start) if start > self.inside else b"", b"\0"), end

    @property
    def offset_key(self) -> bytes:
        """Where the offset is kept: beside the keys, not among them, as Kubernetes' own `compact_rev_key` is."""
        return f"keelback_revision_offset{self.outside}".encode()

    @property
    def fence_key(self) -> bytes:
        """What every write depends on: see `EtcdStore`. All servers share it."""
        return f"keelback_fence{self.outside}".encode()

    @property
    def unfinished_key(self) -> bytes:
        """What is there while a store is being moved to etcd."""
        return f"keelback_move_unfinished{self.outside}".encode()

    @property
    def _folder(self) -> str:
        return f"{self.outside}/" if self.inside else self.outside


def end_of(prefix: bytes) -> bytes:
    """The end of the range of keys that begin with the prefix; a zero byte for no end."""
    for at in range(len(prefix) - 1, -1, -1):
        if prefix[at] < 0xFF:
            return prefix[:at] + bytes((prefix[at] + 1,))
    return b"\0"
