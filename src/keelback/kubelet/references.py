"""ConfigMaps, Secrets and whatever else pods name, read when needed; many pods asking at the same time ask once."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from keelback.api.core_v1 import ConfigMap, Secret
from keelback.api.node_v1 import RuntimeClass
from keelback.apimachinery.meta import Object
from keelback.client import Client
from keelback.concurrency.clock import Clock

T = TypeVar("T", bound=Object)
_FRESH_SECONDS = 1.0
_MAX_HELD = 1000


class References:
    """Answers are shared for a second, no longer: a pod that starts must see what was written before it."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[tuple[str, str, str], tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, cls: type[T], name: str, namespace: str = "") -> T:
        """The object. Raises StatusErrors."""
        key = (cls.__kind__.plural, namespace, name)
        now = self._clock.monotonic()
        held = self._held.get(key)
        if held is None or now - held[0] > _FRESH_SECONDS or (held[1].done() and held[1].cancelled()):
            if len(self._held) >= _MAX_HELD:
                self._held.clear()
            task = asyncio.ensure_future(self._client.get(cls, name, namespace))
            # A failure that nobody waits for any more is not an error of the program.
            task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
            held = self._held[key] = (now, task)
        found: T = await asyncio.shield(held[1])
        return found

    async def config_map(self, namespace: str, name: str) -> ConfigMap:
        """Raises NotFound."""
        return await self.get(ConfigMap, name, namespace)

    async def secret(self, namespace: str, name: str) -> Secret:
        """Raises NotFound."""
        return await self.get(Secret, name, namespace)

    async def runtime_handler(self, runtime_class: str) -> str:
        """The runtime's name for a RuntimeClass. Raises NotFound."""
        return (await self.get(RuntimeClass, runtime_class)).handler
