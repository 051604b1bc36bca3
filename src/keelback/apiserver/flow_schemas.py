"""The status of FlowSchemas: whether the priority level exists that one names."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NoReturn

from keelback.api import conditions
from keelback.api.flowcontrol_v1 import FlowSchema, FlowSchemaCondition, FlowSchemaStatus, PriorityLevelConfiguration
from keelback.apimachinery import errors
from keelback.apimachinery.meta import replace, with_metadata
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.watch_cache import WatchOptions
from keelback.client import Client
from keelback.concurrency.clock import Clock

_DANGLING = "Dangling"


def plan(schemas: Iterable[FlowSchema], levels: Iterable[str], now: datetime) -> Iterator[FlowSchema]:
    """The schemas whose status says something else than what holds, with the right one."""
    existing = frozenset(levels)
    for schema in schemas:
        wanted = _condition(schema.spec.priority_level_configuration.name, existing, now)
        current = conditions.find(schema.status.conditions, _DANGLING)
        if current is None or (current.status, current.message) != (wanted.status, wanted.message):
            others = tuple(one for one in schema.status.conditions if one.type != _DANGLING)
            yield replace(schema, status=FlowSchemaStatus(conditions=(*others, wanted)))


def _condition(level: str, existing: frozenset[str], now: datetime) -> FlowSchemaCondition:
    exists = level in existing
    says = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" '
    return FlowSchemaCondition(
        type=_DANGLING,
        status="False" if exists else "True",
        reason="Found" if exists else "NotFound",
        message=says + ("and it exists" if exists else "but there is no such object"),
        last_transition_time=now.replace(microsecond=0),
    )


class FlowSchemaStatuses:
    """Keeps them true. Conflicts are left to the next look: whoever won has made a change to look at."""

    def __init__(self, lookup: CacheLookup, client: Client, clock: Clock) -> None:
        self._lookup = lookup
        self._client = client
        self._clock = clock
        self._changed = asyncio.Event()

    async def sync(self) -> None:
        """Look once."""
        levels = [one.metadata.name for one in self._lookup.scan(PriorityLevelConfiguration)]
        for schema in plan(self._lookup.scan(FlowSchema), levels, self._clock.now()):
            try:
                await self._client.update(with_metadata(schema, managed_fields=()), subresource="status")
            except errors.StatusError:
                continue

    async def run(self) -> NoReturn:
        """Look whenever a schema or a level has changed, once for all that has by then."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(FlowSchema))
            group.create_task(self._follow(PriorityLevelConfiguration))
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self.sync()

    async def _follow(self, kind: type[FlowSchema] | type[PriorityLevelConfiguration]) -> NoReturn:
        while True:
            watcher = await self._lookup.cache(kind.__kind__).watch(WatchOptions())
            while records := await watcher.next_records():
                if any(record.type != "BOOKMARK" for record in records):
                    self._changed.set()
            await self._clock.sleep(0.1)
