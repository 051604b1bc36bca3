"""What a scheduling plugin is: the extension points it may implement, what it is given and what it answers.

A plugin answers for all nodes at once: a mask of those that may take the pod, a column of scores. Reasons for one
rejected node are worked out only when a person will read them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.events import Event
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

Mask: TypeAlias = npt.NDArray[np.bool_]
Scores: TypeAlias = npt.NDArray[np.int64]
Rows: TypeAlias = "slice | npt.NDArray[np.intp]"

EVERY: Final = slice(None)
"""All rows of the table."""

MAX_NODE_SCORE: Final = 100


class Scope(enum.Enum):
    """What a plugin's answer for a node depends on, which decides how long it may be kept."""

    NODES = enum.auto()
    """Nodes alone: valid until a node changes."""
    NODE_PODS = enum.auto()
    """The node and the pods on it: valid for a node until a pod comes to it or leaves it."""
    CLUSTER = enum.auto()
    """Pods on other nodes, or other objects: asked for every pod."""


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """Why a node does not take a pod. `unresolvable`: removing pods from it would not help."""

    reasons: tuple[str, ...]
    unresolvable: bool = False


class PluginError(Exception):
    """A plugin cannot say anything of a pod: it is told why, and tried again after its back-off."""


@dataclass(frozen=True, slots=True)
class OnlyNodes:
    """The names of the only nodes that are worth a look."""

    names: frozenset[str]


@dataclass(slots=True)
class CycleState:
    """What one scheduling cycle knows, and what plugins note in it for themselves under their own name."""

    objects: ClusterObjects
    passed: Rows | Mask = field(default_factory=lambda: EVERY)
    """The rows that passed all filters, or where they are: read as `feasible`."""
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def feasible(self) -> Rows:
        """While scoring: the rows that passed all filters."""
        if not isinstance(self.passed, slice) and self.passed.dtype == np.bool_:
            # Counted when somebody asks: for most pods nobody does.
            self.passed = np.flatnonzero(self.passed)
        return cast("Rows", self.passed)


class FilterPlugin(Protocol):
    """Says which nodes may take a pod."""

    name: str
    scope: Scope
    wakes_on: frozenset[Event]

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where the node may take the pod, for the asked rows; None when every node may."""
        ...

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """The reasons of a row for which `filter`, asked with the same state, was False."""
        ...


@runtime_checkable
class RowFilterPlugin(FilterPlugin, Protocol):
    """A filter with a short way to its answer for one row: most placements change one node."""

    def filter_row(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> bool:
        """What `filter` says of this row."""
        ...


@runtime_checkable
class ManyAnswersPlugin(Protocol):
    """A filter that can say why not for many rows at once: for one that refuses whole clusters."""

    def why_none(
        self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: npt.NDArray[np.intp]
    ) -> Iterable[tuple[Unschedulable, npt.NDArray[np.intp]]]:
        """What `why_not` says of these rows, and each time of which of them."""
        ...


class PreFilterPlugin(Protocol):
    """Says, before nodes are looked at, that none can take a pod or that only some are worth it."""

    name: str
    wakes_on: frozenset[Event]

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable) -> Unschedulable | OnlyNodes | None:
        """Why no node can take the pod, or the only nodes that might; None to look at all."""
        ...


class ScorePlugin(Protocol):
    """Says how well a pod would run on each node."""

    name: str
    scope: Scope

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """A whole number for each asked row; None when the plugin has no preference."""
        ...

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        """The scores of the feasible rows, brought to 0..100."""
        ...


@runtime_checkable
class RowScorePlugin(ScorePlugin, Protocol):
    """A plugin with a short way to its score of one row."""

    def score_row(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> int:
        """What `score` gives this row; 0 where it has no preference."""
        ...


@runtime_checkable
class ConcernedPlugin(Protocol):
    """A filter or score of scope `CLUSTER` that can tell by a pod's shape that it has nothing to say of such pods."""

    def concerns(self, pod: PodInfo) -> bool:
        """False where it lets such pods run everywhere and prefers no node, whatever else there is in the cluster."""
        ...


@runtime_checkable
class RemedyPlugin(Protocol):
    """A filter that can also say what would have to change for a node to pass it: read by people alone."""

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Of a row for which `filter`, asked with the same state, was False: all that has to change, each a phrase."""
        ...


def default_normalize(scores: Scores, *, reverse: bool = False) -> Scores:
    """Scale to 0..100 by the greatest; with `reverse` the greatest becomes the worst."""
    greatest = int(scores.max()) if scores.size else 0
    if greatest == 0:
        return np.full_like(scores, MAX_NODE_SCORE) if reverse else scores
    scaled = scores * MAX_NODE_SCORE // greatest
    return MAX_NODE_SCORE - scaled if reverse else scaled
