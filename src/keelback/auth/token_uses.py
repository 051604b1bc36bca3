"""Who still uses which tokens of service accounts: counted, and kept for whoever writes it on the Secrets.

https://kep.k8s.io/2799
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from keelback.api.core_v1 import Secret
from keelback.component.metrics import Counter, Registry
from keelback.concurrency.clock import Clock

LAST_USED = "kubernetes.io/legacy-token-last-used"
"""The label of Secrets that says on which day (UTC) their token was last used."""


@dataclass(frozen=True, slots=True)
class LastUse:
    """A Secret whose label is to say another day."""

    namespace: str
    name: str
    uid: str
    day: str


class TokenUses:
    """Counts uses; of legacy tokens it keeps, once a day each, that they were used, until `next` asks for it."""

    def __init__(self, metrics: Registry, clock: Clock) -> None:
        self._clock = clock
        self._pending: dict[tuple[str, str], LastUse] = {}
        self._came = asyncio.Event()

        def counter(name: str, description: str) -> Counter:
            return metrics.counter(f"serviceaccount_{name}_total", description)

        self._legacy = counter("legacy_tokens", "Cumulative legacy service account tokens used")
        self._stale = counter("stale_tokens", "Cumulative stale projected service account tokens used")
        self._valid = counter("valid_tokens", "Cumulative valid projected service account tokens used")
        self._automatic = counter("legacy_auto_token_uses", "Cumulative auto-generated legacy tokens used")
        self._manual = counter("legacy_manual_token_uses", "Cumulative manually created legacy tokens used")
        self._invalid = counter(
            "invalid_legacy_auto_token_uses", "Cumulative invalid auto-generated legacy tokens used"
        )

    def projected(self, *, is_stale: bool) -> None:
        """A token that was asked for was used; a stale one after its client should have got another."""
        (self._stale if is_stale else self._valid).inc()

    def invalidated(self, secret: Secret) -> None:
        """A token was presented that had been marked as no longer good."""
        self._invalid.inc()
        self._note(secret)

    def legacy(self, secret: Secret, *, is_automatic: bool) -> None:
        """The token of a Secret was used: one that was made with the account, or that somebody asked for."""
        self._legacy.inc()
        (self._automatic if is_automatic else self._manual).inc()
        self._note(secret)

    async def next(self) -> LastUse:
        """What has to be written next; waits for it."""
        while not self._pending:
            self._came.clear()
            await self._came.wait()
        return self._pending.pop(next(iter(self._pending)))

    def _note(self, secret: Secret) -> None:
        now = self._clock.now()
        today, tomorrow = (day.date().isoformat() for day in (now, now + timedelta(days=1)))
        # Tomorrow is what another server wrote whose clock is ahead.
        if secret.metadata.labels.get(LAST_USED) in (today, tomorrow):
            return
        metadata = secret.metadata
        self._pending[metadata.namespace, metadata.name] = LastUse(
            metadata.namespace, metadata.name, metadata.uid, today
        )
        self._came.set()
