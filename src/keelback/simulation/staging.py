"""The stages in force on simulated nodes: those of pods and those of nodes, each kind from its first stage on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Final

from keelback.client import Client, EventRecorder
from keelback.concurrency.clock import Clock
from keelback.simulation import stages
from keelback.simulation.config import SIMULATED_LABEL, Links, SimulatedConfig
from keelback.simulation.go_templates import Functions
from keelback.simulation.stage_surroundings import PodAddress, Surroundings
from keelback.simulation.staged_objects import StagedNode, StagedObjects, StagedPod
from keelback.simulation.stages import Stage

_LABEL: Final = f"{SIMULATED_LABEL}=true"


class Staging:
    """A kind without stages costs nothing: its objects are not even watched here."""

    def __init__(
        self,
        config: SimulatedConfig,
        client: Client,
        clock: Clock,
        chance: random.Random,
        recorder: EventRecorder,
        pod_address: PodAddress,
        links: Links,
    ) -> None:
        self._links = links
        self._ours = frozenset(node.name for node in config.nodes)
        addresses = {node.name: node.internal_ip for node in config.nodes}
        self._surroundings = Surroundings(addresses, pod_address, clock)
        shared = (client, clock, chance, recorder)
        self._pods = StagedObjects(StagedPod, ("", config.pod_selector), self._is_own_pod, self._around_pod, *shared)
        self._nodes = StagedObjects(
            StagedNode, (_LABEL, config.node_selector), self._is_own_node, self._around_node, *shared
        )
        self._given: tuple[Stage, ...] = config.stages
        self._objects: tuple[Stage, ...] = ()
        self._changed = asyncio.Event()
        self._changed.set()

    def takes(self, kind: str) -> bool:
        """Whether objects of the kind go through stages."""
        return any(stage.kind == kind for stage in self._in_force)

    @property
    def _in_force(self) -> tuple[Stage, ...]:
        return stages.merged(self._given, self._objects)

    def use(self, wanted: Iterable[Stage]) -> None:
        """Add these; one of a known name is replaced."""
        self._given = stages.merged(self._given, wanted)
        self._changed.set()

    def use_objects(self, wanted: Iterable[Stage]) -> None:
        """These are all that are objects of the API."""
        self._objects = tuple(wanted)
        self._changed.set()

    async def run(self) -> None:
        """Carry stages out until cancelled."""
        begun: set[str] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._changed.wait()
                self._changed.clear()
                kinds: dict[str, StagedObjects[StagedPod] | StagedObjects[StagedNode]]
                kinds = {"Pod": self._pods, "Node": self._nodes}
                for kind, staged in kinds.items():
                    staged.use([stage for stage in self._in_force if stage.kind == kind])
                    if self.takes(kind) and kind not in begun:
                        begun.add(kind)
                        tasks.create_task(staged.run())

    def look_again(self, node_name: str) -> None:
        """The node was cut off, and is not any more."""
        self._nodes.look_again(lambda node: node.metadata.name == node_name)
        self._pods.look_again(lambda pod: pod.spec.get("nodeName") == node_name)

    def _is_own_pod(self, pod: StagedPod) -> bool:
        name = pod.spec.get("nodeName", "")
        return name in self._ours and self._links.reaches(name)

    def _is_own_node(self, node: StagedNode) -> bool:
        return node.metadata.name in self._ours and self._links.reaches(node.metadata.name)

    def _around_pod(self, pod: StagedPod) -> Functions:
        on_host = bool(pod.spec.get("hostNetwork"))
        return self._surroundings.of_pod(pod.spec["nodeName"], pod.metadata.uid, on_host_network=on_host)

    def _around_node(self, node: StagedNode) -> Functions:
        return self._surroundings.of_node(node.metadata.name)
