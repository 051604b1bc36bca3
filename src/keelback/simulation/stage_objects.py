"""Stages that are objects of the API: read from there for as long as their definition is served.

Who wants them applies KWOK's definition of stages.kwok.x-k8s.io. Without it nothing is asked but whether it has come.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

from keelback.api.apiextensions_v1 import CustomResourceDefinition
from keelback.apimachinery.meta import Kind, Object, Value, make_kind, narrow, written
from keelback.client import Change, Client, Informer
from keelback.client.events import EventRecorder, reference_to
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.simulation import stage_files
from keelback.simulation.pods import SimulatedMeta
from keelback.simulation.stage_files import GROUP, StageError
from keelback.simulation.stages import Stage

DEFINITION: Final = f"stages.{GROUP}"

_log = logger("kubelet.simulated")


class DefinitionCondition(Value):
    type: str
    status: str


class DefinitionStatus(Value):
    conditions: tuple[DefinitionCondition, ...] | None = None


@narrow(CustomResourceDefinition)
class StageDefinition(Object):
    """Whether Stages are served."""

    metadata: SimulatedMeta = written(SimulatedMeta())
    status: DefinitionStatus = DefinitionStatus()


class StageObject(Object):
    """A Stage as the API has it."""

    __kind__: ClassVar[Kind] = make_kind(f"{GROUP}/v1alpha1", "Stage", "stages", namespaced=False)
    metadata: SimulatedMeta = written(SimulatedMeta())
    spec: dict[str, Any] = {}


class StageObjects:
    """Gives `use` all Stages of the API whenever they have changed. One that cannot be carried out is told of."""

    def __init__(
        self, client: Client, clock: Clock, use: Callable[[tuple[Stage, ...]], Awaitable[None]], chance: random.Random
    ) -> None:
        self._client = client
        self._clock = clock
        self._use = use
        self._chance = chance
        self._recorder = EventRecorder(client, "kubelet", "simulated", clock)
        self._changed = asyncio.Event()
        self._told: dict[str, str] = {}
        self.are_served = False
        """Whether the definition is there."""

    async def run(self) -> None:
        """Follow the definition, and the Stages while it is there, until cancelled."""
        only = f"metadata.name={DEFINITION}"
        definitions = Informer(
            self._client, StageDefinition, field_selector=only, clock=self._clock, chance=self._chance
        )
        definitions.subscribe(self._definition_changed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(definitions.run())
            tasks.create_task(self._follow())

    def _definition_changed(self, change: Change[StageDefinition]) -> None:
        conditions = () if change.new is None else change.new.status.conditions or ()
        self.are_served = any(one.type == "Established" and one.status == "True" for one in conditions)
        self._changed.set()

    async def _follow(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self.are_served:
                await self._follow_stages()
                await self._use(())

    async def _follow_stages(self) -> None:
        """Return when they are not served any more."""
        informer = Informer(self._client, StageObject, clock=self._clock, chance=self._chance)
        informer.subscribe(lambda change: self._changed.set())
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(informer.run())
            await informer.wait_synced()
            while self.are_served:
                self._changed.clear()
                await self._use(tuple([stage for one in informer.store.list() if (stage := await self._read(one))]))
                await self._changed.wait()
            following.cancel()

    async def _read(self, obj: StageObject) -> Stage | None:
        name = obj.metadata.name
        try:
            return stage_files.read({"metadata": {"name": name}, "spec": obj.spec})
        except StageError as error:
            if self._told.get(name) != obj.metadata.resource_version:
                self._told[name] = obj.metadata.resource_version
                _log.warning("A Stage cannot be carried out", stage=name, error=str(error))
                await self._recorder.event(reference_to(obj), "Warning", "InvalidStage", str(error))
            return None
