"""Notices what happens in the runtime: by its events, or by listing it, less and less often while nothing happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.cri.runtime import ContainerRuntime, ContainerRuntimeError, Unimplemented
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.observed import POD_UID_LABEL

_log = logger("kubelet.runtime")


class RuntimeWatch:
    """Calls back with the uid of each pod of which something may have changed."""

    def __init__(
        self, runtime: ContainerRuntime, config: KubeletConfig, clock: Clock, changed: Callable[[str], None]
    ) -> None:
        self._runtime = runtime
        self._config = config
        self._clock = clock
        self._changed = changed
        self._sandboxes: dict[str, str] = {}
        self._states: dict[str, tuple[str, int]] = {}
        self._has_events = False
        self.is_healthy = False

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_events())
            tasks.create_task(self._relist_forever())

    async def relist(self) -> bool:
        """Look at everything; whether anything differs from the last time. Raises ContainerRuntimeError."""
        sandboxes = await self._runtime.list_pod_sandboxes()
        containers = await self._runtime.list_containers()
        states: dict[str, tuple[str, int]] = {}
        self._sandboxes = {one.id: one.uid for one in sandboxes}
        for sandbox in sandboxes:
            states[sandbox.id] = (sandbox.uid, sandbox.state)
        for one in containers:
            states[one.id] = (one.labels.get(POD_UID_LABEL, ""), one.state)
        old, self._states = self._states, states
        changed = {uid for key, (uid, state) in states.items() if old.get(key) != (uid, state)}
        changed |= {uid for key, (uid, _) in old.items() if key not in states}
        for uid in changed:
            self._changed(uid)
        return bool(changed)

    async def _follow_events(self) -> None:
        while True:
            try:
                async for event in self._runtime.events():
                    self._has_events = True
                    uid = self._sandboxes.get(event.sandbox_id) or await self._uid_of(event.sandbox_id)
                    if uid:
                        self._changed(uid)
            except Unimplemented:
                _log.info("The container runtime has no events; it is listed again and again instead")
                return
            except ContainerRuntimeError as error:
                if self._has_events:
                    _log.warning("The container runtime's events ended", error=str(error))
            self._has_events = False
            await self._clock.sleep(0.5)

    async def _uid_of(self, sandbox_id: str) -> str:
        found = await self._runtime.list_pod_sandboxes(id=sandbox_id)
        if not found:
            return ""
        self._sandboxes[sandbox_id] = found[0].uid
        return found[0].uid

    async def _relist_forever(self) -> None:
        pause = self._config.relist_seconds
        while True:
            try:
                changed = await self.relist()
                was_down, self.is_healthy = not self.is_healthy, True
                changed = changed or was_down
            except ContainerRuntimeError as error:
                if self.is_healthy:
                    _log.error("The container runtime does not answer", error=str(error))
                self.is_healthy, changed = False, True
            cap = self._config.relist_with_events_seconds if self._has_events else self._config.relist_cap_seconds
            pause = self._config.relist_seconds if changed else min(pause * 1.5, cap)
            await self._clock.sleep(pause)
