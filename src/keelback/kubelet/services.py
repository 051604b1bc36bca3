"""What every pod's worker shares: the runtime, the volumes, the clock and the ways to tell the API."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from keelback.api.core_v1 import ConfigMap, Pod, PodStatus, Secret, Service
from keelback.apimachinery.meta import Object
from keelback.concurrency.clock import Clock
from keelback.cri.runtime import ContainerRuntime
from keelback.kubelet.cgroups import Cgroups
from keelback.kubelet.config import KubeletConfig
from keelback.kubelet.images import Images
from keelback.kubelet.network_files import ResolvConf
from keelback.kubelet.observed import Observer
from keelback.volume.pod_volumes import PodVolumes


class Recorder(Protocol):
    """Writes events; never raises and never waits for the API."""

    def event(self, obj: Object, kind: str, reason: str, message: str, *, container: str = "") -> None: ...


class StatusSink(Protocol):
    """Takes statuses to be written; never raises and never waits for the API."""

    def write(self, pod: Pod, status: PodStatus) -> None: ...

    def remove(self, pod: Pod, status: PodStatus) -> None:
        """Write the last status, then delete the pod for good: nothing of it is left on the node."""
        ...


class PodReferences(Protocol):
    """The ConfigMaps, Secrets and image credentials that pods refer to. Raises StatusErrors."""

    async def config_map(self, namespace: str, name: str) -> ConfigMap: ...
    async def secret(self, namespace: str, name: str) -> Secret: ...

    async def runtime_handler(self, runtime_class: str) -> str:
        """The runtime's name for a RuntimeClass."""
        ...


class Endpoints(Protocol):
    """Knows where Services send connections; on a node, its proxy does."""

    async def wait_left(self, uid: str, services: Sequence[tuple[str, str]]) -> bool:
        """Return when no node sends new connections for these Services (namespace, name) to the pod.

        False, at once, where that cannot be known. The caller sets the bound.
        """
        ...


@dataclass(frozen=True, slots=True)
class NodeServices:
    """One node's shared parts."""

    config: KubeletConfig
    runtime: ContainerRuntime
    observer: Observer
    images: Images
    volumes: PodVolumes
    cgroups: Cgroups
    references: PodReferences
    recorder: Recorder
    statuses: StatusSink
    clock: Clock
    chance: random.Random
    resolv_conf: ResolvConf
    runtime_name: str
    memory_capacity_bytes: int
    services: Callable[[], Sequence[Service]]
    allocatable: Callable[[], dict[str, str]]
    endpoints: Endpoints | None = None
