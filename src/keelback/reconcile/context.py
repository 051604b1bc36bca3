"""What a controller is given to work with, and nothing else of the process."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from keelback.apimachinery.meta import Object
from keelback.concurrency.clock import Clock
from keelback.reconcile.caches import SharedCaches
from keelback.reconcile.controller_metrics import ControllerMetrics
from keelback.reconcile.writer import Writer


class Events(Protocol):
    """Records what happened to an object, for people to read."""

    async def event(self, obj: Object, type: str, reason: str, message: str, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """One controller's client, the shared caches, its event recorder, and where time and chance come from."""

    client: Writer
    caches: SharedCaches
    events: Events
    clock: Clock
    chance: random.Random
    metrics: ControllerMetrics = field(default_factory=ControllerMetrics)

    def now(self) -> datetime:
        """The time as objects carry it: whole seconds, so that what was written reads back the same."""
        return self.clock.now().replace(microsecond=0)
