"""The extension points besides those of `framework`: before a pod is tried, and once it has a node until it is bound.

At these a plugin is given one pod, not a shape. None says yes; what else may be answered each point says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from keelback.scheduling.events import Event
from keelback.scheduling.fit_error import Diagnosis
from keelback.scheduling.framework import CycleState, Rows, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.pod_to_place import PodToPlace

MAX_PERMIT_SECONDS: Final = 15 * 60.0
"""No plugin has a pod wait longer, as upstream."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Permit's third answer: the pod keeps its place until it is allowed or rejected, or the time is over."""

    timeout_seconds: float


Permission: TypeAlias = "Unschedulable | Wait | None"


class PreEnqueuePlugin(Protocol):
    """Says whether a pod may be tried at all; one that may not is not an unschedulable one, and costs nothing."""

    name: str
    wakes_on: frozenset[Event]
    """After these the pods that it holds back are asked about again; a change of the pod itself always counts."""

    def pre_enqueue(self, pod: PodToPlace, info: PodInfo) -> Unschedulable | None:
        """Why the pod is not to be tried yet."""
        ...


class QueueSortPlugin(Protocol):
    """Says which waiting pod is tried first; all profiles share one."""

    name: str

    def rank(self, pod: PodInfo, queued_at: float) -> tuple[Any, ...]:
        """A key for sorting, the smaller first; `queued_at` in seconds says since when the pod has been ready."""
        ...


@dataclass(frozen=True, slots=True)
class Nominated:
    """PostFilter's good news: the pod is promised a node, on which room is being made. Empty: any may do next time."""

    node_name: str = ""


class PostFilterPlugin(Protocol):
    """Asked when no node takes a pod, in the profile's order, before DefaultPreemption; the first answer counts."""

    name: str

    def post_filter(
        self, state: CycleState, pod: PodToPlace, nodes: NodeTable, diagnosis: Diagnosis
    ) -> Nominated | Unschedulable | None:
        """What has been done about it, or (an Unschedulable) why nothing can be; None leaves it to the next plugin."""
        ...


class PreScorePlugin(Protocol):
    """Notes what its score needs, once for all nodes; for plugins whose scores are asked for every pod."""

    name: str

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows) -> None:
        """`rows` are those that passed all filters; notes go to `state.notes` under the plugin's name."""
        ...


class ReservePlugin(Protocol):
    """Keeps something for a pod that has just been given a node, and gives it back if it is not bound after all."""

    name: str

    def reserve(self, state: CycleState, pod: PodToPlace, node_name: str) -> Unschedulable | None:
        """Why it cannot be kept: then all plugins `unreserve`, and the pod is tried again."""
        ...

    def unreserve(self, state: CycleState, pod: PodToPlace, node_name: str) -> None:
        """Give back, whether or not anything was kept: it may be asked twice, and must not fail."""
        ...


class PermitPlugin(Protocol):
    """Says whether a pod with a node may be bound now, later or not at all."""

    name: str

    def permit(self, state: CycleState, pod: PodToPlace, node_name: str) -> Permission:
        """No, not yet, or yes."""
        ...


class PreBindPlugin(Protocol):
    """Does what must be done before a pod is bound; it may write and wait."""

    name: str

    async def pre_bind(self, state: CycleState, pod: PodToPlace, node_name: str) -> Unschedulable | None:
        """Why the pod is not to be bound there; what it raises is a failed attempt, tried again."""
        ...


class BindPlugin(Protocol):
    """Binds pods, instead of DefaultBinder."""

    name: str

    async def bind(self, pod: PodToPlace, node_name: str) -> bool:
        """Whether it bound the pod; False leaves it to the next one. What it raises is a failed attempt."""
        ...


class PostBindPlugin(Protocol):
    """Is told that a pod has been bound."""

    name: str

    def post_bind(self, state: CycleState, pod: PodToPlace, node_name: str) -> None:
        """Clean up."""
        ...
