"""How every node stands for the pods of one shape, as far as one node's answers do not depend on others: kept.

What depends on nodes alone holds until a node changes; the rest is brought up to date for the rows that pods came to or
left. A placement changes one row, so most pods are decided by looking again at one node.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from keelback.scheduling.best_rows import NOWHERE, BestRows
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.framework import (
    EVERY,
    CycleState,
    FilterPlugin,
    Mask,
    Rows,
    Scope,
    ScorePlugin,
    Scores,
)
from keelback.scheduling.image_locality import ImageLocality
from keelback.scheduling.local_answers import FEW_ROWS, Answers, LocalAnswers
from keelback.scheduling.node_affinity import NodeAffinity
from keelback.scheduling.node_declared_features import NodeDeclaredFeatures
from keelback.scheduling.node_name import NodeName
from keelback.scheduling.node_ports import NodePorts
from keelback.scheduling.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from keelback.scheduling.node_resources_fit import NodeResourcesFit
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.node_unschedulable import NodeUnschedulable
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.taint_toleration import TaintToleration

_MOST_SHAPES: Final = 512
_MOST_NOTES: Final = 32

_OVERLOOKING_CLAIMS: Final = frozenset(
    {
        ImageLocality,
        NodeAffinity,
        NodeDeclaredFeatures,
        NodeName,
        NodePorts,
        NodeResourcesBalancedAllocation,
        NodeResourcesFit,
        NodeUnschedulable,
        TaintToleration,
    }
)
"""What these say is the same for pods that differ in their claims alone. Of users' plugins nobody knows."""


@dataclass(slots=True)
class Standing:
    """What the plugins that look at no other nodes say of each node. Of its columns none may be changed by readers."""

    version: int
    position: int
    devices: int
    """Up to which change of nodes, of their pods, and of devices all of it holds."""
    mask: Mask
    """Where all of them let the pod run."""
    fixed_mask: Mask | None
    fixed_scores: list[tuple[ScorePlugin, int, Scores]]
    """Of those that look at nodes alone: each with its weight, before they are compared with one another."""
    local: Answers
    """What the others say, which alike pods share."""
    local_scores: Scores
    """Their scores as they were when all of this was brought up to date."""
    rows: Rows | None = None
    """Those where the mask is True; None until somebody asks."""
    ranks: Scores | None = None
    """The weighted sum of all, compared among the rows where the mask is True; None until somebody asks."""
    best: BestRows | None = None
    """Of the ranks; None until somebody asks."""
    notes: dict[str, Any] = field(default_factory=dict)


class Standings:
    """Those of the shapes that were asked about last."""

    def __init__(self, plugins: Plugins, nodes: NodeTable, objects: ClusterObjects, asked: Callable[..., Any]) -> None:
        """`asked` calls a plugin, given an extension point's and the plugin's name, the method and its arguments."""
        self._nodes = nodes
        self._objects = objects
        self._asked = asked
        self._kept: OrderedDict[PodInfo, Standing] = OrderedDict()
        self._noting: deque[Standing] = deque()
        self.fixed_filters = [plugin for plugin in plugins.filters if plugin.scope is Scope.NODES]
        self._fixed_scores = [one for one in plugins.scores if one[0].scope is Scope.NODES]
        self._local = LocalAnswers(plugins, nodes, objects, asked)
        self.local_filters = self._local.filters
        kept = (plugin for plugin in plugins.all() if getattr(plugin, "scope", Scope.CLUSTER) is not Scope.CLUSTER)
        self._overlooks_claims = all(type(plugin) in _OVERLOOKING_CLAIMS for plugin in kept)

    def of(self, pod: PodInfo) -> Standing:
        """How nodes stand for the pod, as of now."""
        nodes = self._nodes
        if self._overlooks_claims or not pod.claims:
            pod = pod.shape
        standing = self._kept.get(pod)
        if standing is None or standing.version != nodes.version:
            standing = self._kept[pod] = self._evaluate(pod)
            if len(self._kept) > _MOST_SHAPES:
                self._kept.popitem(last=False)
        elif standing.position != nodes.position or standing.devices != self._objects.devices.changes:
            self._bring_up_to_date(standing, pod)
        return standing

    def rows(self, standing: Standing) -> Rows:
        """The rows where all let the pod run: all of them, or their numbers."""
        if standing.rows is None:
            standing.rows = EVERY if standing.mask.all() else np.flatnonzero(standing.mask)
        return standing.rows

    def ranks(self, standing: Standing) -> Scores:
        """How good each row is, `NOWHERE` for those that are refused. Not to be changed."""
        if standing.ranks is None:
            rows = self.rows(standing)
            ranks = np.full(len(standing.mask), NOWHERE, np.int64)
            ranks[rows] = self.compared(standing, rows)
            standing.ranks = ranks
        return standing.ranks

    def best(self, standing: Standing, chance: random.Random) -> int | None:
        """One of the best rows; None where all are refused."""
        if standing.best is None:
            standing.best = BestRows(self.ranks(standing))
        return standing.best.one(chance)

    def compared(self, standing: Standing, rows: Rows) -> Scores:
        """The sum of all scores of these rows, compared among them."""
        state = CycleState(self._objects, rows)
        total = standing.local_scores[rows].copy()
        for plugin, weight, scores in standing.fixed_scores:
            total += weight * plugin.normalize(state, scores[rows])
        return total

    def notes(self, pod: PodInfo) -> dict[str, Any]:
        """What preemption notes for pods of this shape; forgotten when a node changes."""
        standing = self.of(pod)
        if not standing.notes:
            # Notes are columns of their own: only the shapes that preempted last have them.
            self._noting.append(standing)
            if len(self._noting) > _MOST_NOTES:
                self._noting.popleft().notes.clear()
        return standing.notes

    def _evaluate(self, pod: PodInfo) -> Standing:
        nodes = self._nodes
        state = CycleState(self._objects)
        fixed_mask = self._all_of(state, self.fixed_filters, pod)
        scored = (
            (plugin, weight, self._asked("Score", plugin.name, plugin.score, state, pod, nodes))
            for plugin, weight in self._fixed_scores
        )
        fixed_scores = [(plugin, weight, scores) for plugin, weight, scores in scored if scores is not None]
        local = self._local.of(pod)
        return Standing(
            version=nodes.version,
            position=nodes.position,
            devices=local.devices,
            mask=_with(local.mask, fixed_mask),
            fixed_mask=fixed_mask,
            fixed_scores=fixed_scores,
            local=local,
            local_scores=local.scores.copy(),
        )

    def _bring_up_to_date(self, standing: Standing, pod: PodInfo) -> None:
        nodes = self._nodes
        local = standing.local = self._local.of(pod, standing.local)
        touched = nodes.touched_since(standing.position)
        has_other_devices = standing.devices != local.devices
        standing.position, standing.devices = nodes.position, local.devices
        if touched is None or has_other_devices or len(touched) > max(len(nodes) // 4, FEW_ROWS):
            standing.mask = _with(local.mask, standing.fixed_mask)
            standing.local_scores = local.scores.copy()
            standing.rows = standing.ranks = standing.best = None
        elif len(touched) <= FEW_ROWS:
            for row in touched:
                _put(standing, row, local.mask.item(row), local.scores.item(row))
        else:
            rows = np.fromiter(touched, np.intp, len(touched))
            _put_all(standing, rows, local.mask[rows], local.scores[rows])

    def _all_of(
        self, state: CycleState, plugins: Sequence[FilterPlugin], pod: PodInfo, rows: Rows = EVERY
    ) -> Mask | None:
        together: Mask | None = None
        for plugin in plugins:
            mask = self._asked("Filter", plugin.name, plugin.filter, state, pod, self._nodes, rows)
            if mask is not None:
                together = mask if together is None else together & mask
        return together


def _with(local: Mask, fixed: Mask | None) -> Mask:
    return local.copy() if fixed is None else local & fixed


def _put(standing: Standing, row: int, fits: bool, score: int) -> None:
    fits = fits and (standing.fixed_mask is None or standing.fixed_mask.item(row))
    standing.local_scores[row], more = score, score - standing.local_scores.item(row)
    if fits != standing.mask.item(row):
        standing.mask[row] = fits
        standing.rows = None
        if standing.fixed_scores:
            # They are compared among the rows that are left.
            standing.ranks = standing.best = None
    elif not fits or not more:
        return
    if standing.ranks is not None:
        rank = NOWHERE if not fits else standing.ranks.item(row) + more if standing.fixed_scores else score
        standing.ranks[row] = rank
        if standing.best is not None:
            standing.best.changed(row, rank)


def _put_all(standing: Standing, rows: npt.NDArray[np.intp], fits: Mask, scores: Scores) -> None:
    """As `_put`, for many rows."""
    if standing.fixed_mask is not None:
        fits = fits & standing.fixed_mask[rows]
    more = scores - standing.local_scores[rows]
    standing.local_scores[rows] = scores
    if (fits != standing.mask[rows]).any():
        standing.mask[rows] = fits
        standing.rows = standing.ranks = None
    elif standing.ranks is not None:
        standing.ranks[rows] += np.where(fits, more, 0)
    standing.best = None
