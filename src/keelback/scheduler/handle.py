"""What a running scheduler offers to the plugins of users' own that ask for it, by having a method `set_handle`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from keelback.client import Client
from keelback.concurrency.clock import Clock
from keelback.scheduler.waiting_pods import WaitingPods
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.node_table import NodeTable


@dataclass(frozen=True, slots=True)
class SchedulerHandle:
    """Tables are the scheduler's own: to be read, not written."""

    client: Client
    clock: Clock
    nodes: NodeTable
    objects: ClusterObjects
    waiting_pods: WaitingPods
    """Those that Permit has wait, to be allowed or rejected by whoever knows."""
    activate: Callable[[Iterable[str]], None]
    """Have pods, by uid, tried at once."""


@runtime_checkable
class Handled(Protocol):
    """A plugin that wants the handle."""

    def set_handle(self, handle: SchedulerHandle) -> None:
        """Called once, before the first pod is tried."""
        ...
