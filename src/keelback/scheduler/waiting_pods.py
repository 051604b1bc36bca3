"""The pods that have a node and wait for a Permit plugin's word before they are bound."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from keelback.component import flags
from keelback.concurrency.clock import Clock
from keelback.scheduling.extension_points import MAX_PERMIT_SECONDS
from keelback.scheduling.framework import Unschedulable
from keelback.scheduling.pod_to_place import PodToPlace


@dataclass(frozen=True, slots=True)
class Rejection:
    """Which plugin said no, and why."""

    plugin: str
    answer: Unschedulable


@dataclass(slots=True, eq=False)
class WaitingPod:
    """One of them. It may be bound when every plugin that had it wait has allowed it."""

    pod: PodToPlace
    node_name: str
    waits: Mapping[str, float]
    """By plugin, how many seconds it is waited for at most."""
    _pending: set[str] = field(init=False)
    _rejection: Rejection | None = None
    _decided: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._pending = set(self.waits)

    @property
    def pending_plugins(self) -> tuple[str, ...]:
        """Those whose word is still to come."""
        return tuple(sorted(self._pending))

    def allow(self, plugin_name: str) -> None:
        """A plugin agrees."""
        self._pending.discard(plugin_name)
        if not self._pending:
            self._decided.set()

    def reject(self, plugin_name: str, message: str) -> None:
        """A plugin disagrees: the pod gives up its node. After the decision it changes nothing."""
        if not self._decided.is_set():
            self._rejection = Rejection(plugin_name, Unschedulable((message,)))
            self._decided.set()

    async def verdict(self, clock: Clock) -> Rejection | None:
        """Who rejected it, if anybody; returns when that is known or the first wait is over."""
        timers = [asyncio.ensure_future(self._time_out(clock, *wait)) for wait in self.waits.items()]
        try:
            await self._decided.wait()
        finally:
            for timer in timers:
                timer.cancel()
        return self._rejection

    async def _time_out(self, clock: Clock, plugin_name: str, seconds: float) -> None:
        await clock.sleep(min(seconds, MAX_PERMIT_SECONDS))
        if plugin_name in self._pending:
            waited = flags.duration_text(min(seconds, MAX_PERMIT_SECONDS))
            self.reject(plugin_name, f"rejected due to timeout after waiting {waited} at plugin {plugin_name}")


class WaitingPods:
    """By uid."""

    def __init__(self) -> None:
        self._pods: dict[str, WaitingPod] = {}

    def __len__(self) -> int:
        return len(self._pods)

    def __iter__(self) -> Iterator[WaitingPod]:
        return iter(list(self._pods.values()))

    def get(self, uid: str) -> WaitingPod | None:
        """The waiting pod of that uid."""
        return self._pods.get(uid)

    def add(self, waiting: WaitingPod) -> None:
        """It waits from now on."""
        self._pods[waiting.pod.metadata.uid] = waiting

    def remove(self, waiting: WaitingPod) -> None:
        """It waits no longer."""
        self._pods.pop(waiting.pod.metadata.uid, None)
