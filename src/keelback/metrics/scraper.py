"""Asks every node's kubelet what it and its pods use, at a steady pace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from keelback.apimachinery.errors import StatusError
from keelback.client import Change, Client, Informer
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.metrics.observed import MeasuredNode
from keelback.metrics.usage import Reading, Readings, parse

Fetch: TypeAlias = Callable[[MeasuredNode], Awaitable[bytes]]
"""The text of a node's `/metrics/resource`. Raises StatusError, OSError or TimeoutError where there is none."""

_AT_ONCE: Final = 32
_log = logger("metrics")


class Scraper:
    """Keeps `readings` fresh, one round of all nodes every `period_seconds`."""

    def __init__(self, client: Client, fetch: Fetch, readings: Readings, clock: Clock, period_seconds: float) -> None:
        self._nodes = Informer(client, MeasuredNode, clock=clock)
        self._fetch = fetch
        self._readings = readings
        self._clock = clock
        self._period_seconds = period_seconds
        self._failing: set[str] = set()

    async def run(self) -> None:
        """Go round until cancelled."""
        self._nodes.subscribe(self._observe)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._nodes.run())
            await self._nodes.wait_synced()
            while True:
                started = self._clock.monotonic()
                await self._round()
                await self._clock.sleep(max(0.001, started + self._period_seconds - self._clock.monotonic()))

    def _observe(self, change: Change[MeasuredNode]) -> None:
        if change.type == "DELETED":
            self._readings.forget(change.object.metadata.name)
            self._failing.discard(change.object.metadata.name)

    async def _round(self) -> None:
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(node: MeasuredNode) -> None:
            async with room:
                await self._scrape(node)

        async with asyncio.TaskGroup() as tasks:
            for node in self._nodes.store.list():
                tasks.create_task(one(node))

    async def _scrape(self, node: MeasuredNode) -> None:
        name = node.metadata.name
        try:
            text = await self._fetch(node)
            reading = parse(text, self._clock.now().timestamp())
        except (StatusError, OSError, TimeoutError, ValueError) as error:
            # Old figures must not pass for new ones; the node itself is likely in trouble and says so elsewhere.
            self._readings.take(name, Reading())
            if name not in self._failing:
                self._failing.add(name)
                _log.warning("Failed to scrape node", node=name, error=str(error) or type(error).__name__)
            return
        if name in self._failing:
            self._failing.discard(name)
            _log.info("Node is scraped again", node=name)
        # It may have been deleted while its kubelet was asked.
        if self._nodes.store.get("", name) is not None:
            self._readings.take(name, reading)
