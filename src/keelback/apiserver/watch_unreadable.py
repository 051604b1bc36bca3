"""The keys of a cache whose values could not be decrypted: they are asked for anew whenever somebody wants them."""

from __future__ import annotations

from keelback.component.logs import logger
from keelback.encryption.ciphers import ENCRYPTED_PREFIX
from keelback.storage.protocol import KeyValue

_log = logger("watch_cache")


class UnreadableKeys:
    """Which they are, and why. A server without keys meets what one with keys has left."""

    def __init__(self) -> None:
        self._why: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._why)

    def note(self, kv: KeyValue) -> bool:
        """Remember a key if it is encryption that keeps it from being read; whether it is."""
        why = kv.unreadable
        if not why:
            if not kv.value.startswith(ENCRYPTED_PREFIX):
                return False
            why = f'unable to transform key "{kv.key}": identity transformer tried to read encrypted data'
        if self._why.get(kv.key) != why:
            _log.error("An object in the store cannot be decrypted", key=kv.key, error=why)
        self._why[kv.key] = why
        return True

    def forget(self, key: str) -> None:
        """It is something else now."""
        self._why.pop(key, None)

    def clear(self) -> None:
        """All is about to be read anew."""
        self._why.clear()

    def why(self, key: str) -> str:
        """Why a key cannot be read; empty where it can."""
        return self._why.get(key, "")

    def below(self, scope: str) -> list[str]:
        """The keys that begin with a prefix."""
        return [key for key in self._why if key.startswith(scope)]
