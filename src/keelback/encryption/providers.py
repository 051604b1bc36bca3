"""The providers of a resource: the first encrypts, and each decrypts what begins with its prefix.

So keys are changed: a new one is put behind the old, then before it, and the old one goes when nothing needs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from keelback.apimachinery.go_text import aggregate
from keelback.encryption.ciphers import CannotTransform, Cipher, Identity
from keelback.encryption.config import GroupResource
from keelback.encryption.metrics import EncryptionMetrics


class Opened:
    """A value as it was before it was encrypted. It is stale where a write would encrypt it otherwise."""

    __slots__ = ("is_stale", "plain")

    def __init__(self, plain: bytes, is_stale: bool) -> None:
        self.plain = plain
        self.is_stale = is_stale


class KeyNeeded(Exception):
    """A value is encrypted under a key that must be asked for first."""

    async def fetch(self) -> None:
        """Ask for it. Raises CannotTransform."""
        raise NotImplementedError


class Provider(Protocol):
    """One way to encrypt, and what its values begin with."""

    @property
    def prefix(self) -> bytes: ...

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        """The value without the prefix. Raises CannotTransform."""
        ...

    def decrypt(self, data: bytes, context: bytes) -> Opened:
        """From the value without the prefix. Raises CannotTransform and KeyNeeded."""
        ...


class IdentityProvider:
    """Values as they are."""

    prefix = b""

    def __init__(self) -> None:
        self._cipher = Identity()

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        return plain

    def decrypt(self, data: bytes, context: bytes) -> Opened:
        return Opened(self._cipher.decrypt(data, context), is_stale=False)


class KeyedProvider:
    """A cipher with named keys; the name stands before each value."""

    def __init__(self, prefix: bytes, keys: Sequence[tuple[str, Cipher]], what: str) -> None:
        self.prefix = prefix
        self._keys = tuple((f"{name}:".encode(), cipher) for name, cipher in keys)
        self._none_matches = f"no matching key was found for the provided {what} transformer"

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        name, cipher = self._keys[0]
        return name + cipher.encrypt(plain, context)

    def decrypt(self, data: bytes, context: bytes) -> Opened:
        failures = []
        for index, (name, cipher) in enumerate(self._keys):
            if data.startswith(name):
                try:
                    return Opened(cipher.decrypt(data[len(name) :], context), is_stale=index != 0)
                except CannotTransform as error:
                    # Another key may have the same name.
                    failures.append(str(error))
        raise CannotTransform(aggregate(failures) if failures else self._none_matches)


class Providers:
    """Those of one resource, in order."""

    def __init__(self, resource: str, providers: Sequence[Provider], metrics: EncryptionMetrics) -> None:
        self._resource = resource
        self._providers = tuple(providers)
        self._metrics = metrics

    def encrypt(self, plain: bytes, context: bytes) -> bytes:
        """The value to store. Raises CannotTransform."""
        first = self._providers[0]
        started = self._metrics.now()
        try:
            made = first.prefix + first.encrypt(plain, context)
        except CannotTransform:
            self._metrics.transformed("to_storage", first.prefix, self._resource, started, succeeded=False)
            raise
        self._metrics.transformed("to_storage", first.prefix, self._resource, started, succeeded=True)
        return made

    def decrypt(self, data: bytes, context: bytes) -> Opened:
        """The value that was stored. Raises CannotTransform and KeyNeeded."""
        failures = []
        started = self._metrics.now()
        for index, provider in enumerate(self._providers):
            prefix = provider.prefix
            if not data.startswith(prefix):
                continue
            try:
                opened = provider.decrypt(data[len(prefix) :], context)
            except CannotTransform as error:
                # What identity cannot read, a provider behind it may.
                if prefix:
                    self._metrics.transformed("from_storage", prefix, self._resource, started, succeeded=False)
                    failures.append(str(error))
                continue
            self._metrics.transformed("from_storage", prefix, self._resource, started, succeeded=True)
            if index and not opened.is_stale:
                return Opened(opened.plain, is_stale=True)
            return opened
        raise CannotTransform(aggregate(failures) if failures else "no matching prefix found")


@dataclass(frozen=True, slots=True)
class Rules:
    """Which resource has which providers."""

    providers: Mapping[GroupResource, Providers]

    def find(self, resource: GroupResource) -> Providers | None:
        """The providers of a resource: its own, its group's, or those of everything; None where it has none."""
        found = self.providers
        return (
            found.get(resource) or found.get(GroupResource(resource.group, "*")) or found.get(GroupResource("*", "*"))
        )
