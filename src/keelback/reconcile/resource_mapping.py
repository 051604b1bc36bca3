"""The resource behind a kind's name, custom ones included, for controllers that are told of kinds by objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from keelback.apimachinery.meta import Kind
from keelback.client import Client
from keelback.concurrency.clock import Clock
from keelback.reconcile.discovery import discover

_AGAIN_SECONDS: Final = 10.0


@dataclass(slots=True)
class ResourceMapping:
    """Asks the server again when a kind is not known, but not more often than every ten seconds."""

    client: Client
    clock: Clock
    _kinds: dict[tuple[str, str], Kind] = field(default_factory=dict)
    _asked_at: float = -_AGAIN_SECONDS

    async def of(self, group: str, kind: str) -> Kind | None:
        """The kind in the version that its group prefers; None where there is none. Raises StatusError, OSError."""
        now = self.clock.monotonic()
        if (group, kind) not in self._kinds and now - self._asked_at >= _AGAIN_SECONDS:
            self._asked_at = now
            found = await discover(self.client)
            self._kinds = {(one.kind.group, one.kind.kind): one.kind for one in reversed(found.resources)}
        return self._kinds.get((group, kind))

    async def named(self, api_version: str, kind: str) -> Kind:
        """The kind that a reference means, whatever version it asks for. Raises LookupError with upstream's text."""
        group = api_version.rpartition("/")[0]
        found = await self.of(group, kind)
        if found is None:
            raise LookupError(f'no matches for kind "{kind}" in group "{group}"')
        return found
