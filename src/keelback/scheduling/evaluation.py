"""Which nodes may take a pod and how well: all plugins over all nodes, kept between pods of one shape.

What depends on nodes alone is kept until a node changes; what depends on a node's own pods is brought up to date for
the rows that pods came to or left; only what depends on pods elsewhere is asked again for each pod.
"""

from __future__ import annotations

import random
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from keelback.scheduling import resources
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.dynamic_resources import DynamicResources
from keelback.scheduling.fit_error import Answers, Diagnosis
from keelback.scheduling.framework import (
    EVERY,
    CycleState,
    FilterPlugin,
    ManyAnswersPlugin,
    Mask,
    OnlyNodes,
    Rows,
    Scope,
    ScorePlugin,
    Scores,
    Unschedulable,
)
from keelback.scheduling.node_ports import NodePorts
from keelback.scheduling.node_resources_fit import NodeResourcesFit
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.room import wants_more

R = TypeVar("R")

_MOST_SHAPES: Final = 512
_MOST_NOTES: Final = 32
_LEAST_SAMPLE: Final = 100


@dataclass(slots=True)
class _Kept:
    # One shape's answers. `version` and `position` say up to which change of the table they hold.
    version: int
    position: int
    fixed_mask: Mask | None
    fixed_scores: list[tuple[ScorePlugin, int, Scores]]
    local_mask: Mask
    local_scores: Scores
    normalized: Scores | None = field(default=None)
    """The weighted sum of the fixed scores when every node is feasible."""
    notes: dict[str, Any] = field(default_factory=dict)


class Observer(Protocol):
    """Measures what it is given to do."""

    def plugin(self, point: str, name: str, call: Callable[..., R], *arguments: Any) -> R:
        """Ask a plugin."""
        ...

    def point(self, point: str, call: Callable[..., R], *arguments: Any) -> R:
        """Ask all plugins of an extension point."""
        ...


class Evaluator:
    """Runs the plugins of a profile over a table of nodes."""

    observer: Observer | None = None
    """Who measures, at the moment."""

    def __init__(self, plugins: Plugins, nodes: NodeTable, objects: ClusterObjects, percentage: int = 100) -> None:
        self.plugins = plugins
        self._percentage = percentage
        self._next_start = 0
        self._plugins = plugins
        self._nodes = nodes
        self._objects = objects
        self._kept: OrderedDict[PodInfo, _Kept] = OrderedDict()
        self._noting: deque[_Kept] = deque()
        self._fixed_filters = [plugin for plugin in plugins.filters if plugin.scope is Scope.NODES]
        self._local_filters = [plugin for plugin in plugins.filters if plugin.scope is Scope.NODE_PODS]
        self.fit = next((plugin for plugin in plugins.filters if isinstance(plugin, NodeResourcesFit)), None)
        self.devices = next((plugin for plugin in plugins.filters if isinstance(plugin, DynamicResources)), None)
        # Of what depends on a node's own pods: their requests and their ports, and no more.
        self._has_plain_filters = self.fit is not None and all(
            isinstance(plugin, NodeResourcesFit | NodePorts) for plugin in self._local_filters
        )
        self._wide_filters = [plugin for plugin in plugins.filters if plugin.scope is Scope.CLUSTER]
        self._fixed_scores = [one for one in plugins.scores if one[0].scope is Scope.NODES]
        self._local_scores = [one for one in plugins.scores if one[0].scope is Scope.NODE_PODS]
        self._wide_scores = [one for one in plugins.scores if one[0].scope is Scope.CLUSTER]

    def choose(self, pod: PodInfo, chance: random.Random, nominated: Sequence[PlacedPod] = ()) -> str | None:
        """The best node for the pod, one of the best by chance where several are; None when it fits nowhere.

        `nominated` pods have no node yet but are promised one: the pod must fit with them there, and without.
        """
        feasible = self.passing(pod, nominated)
        return None if feasible is None else self.best(pod, feasible, chance)

    def passing(self, pod: PodInfo, nominated: Sequence[PlacedPod] = ()) -> Mask | None:
        """True for the nodes that are compared: those that fit, or as many of them as are asked for; None where nothing
        can fit."""
        if not len(self._nodes) or self._point("PreFilter", self._pre_filter, pod) is not None:
            return None
        feasible = self._point("Filter", self.feasible, pod, nominated)
        return feasible if self._percentage >= 100 else self._sample(feasible)

    def best(self, pod: PodInfo, feasible: Mask, chance: random.Random, more: Scores | None = None) -> str | None:
        """The best of the nodes, where scores of others may count besides; None when there is none."""
        scores, rows = self._point("Score", self.totals, pod, feasible)
        if not scores.size:
            return None
        if more is not None:
            scores = scores + more[rows]
        best = np.flatnonzero(scores == scores.max())
        chosen = int(best[0] if len(best) == 1 else best[int(chance.random() * len(best))])
        row = chosen if isinstance(rows, slice) else int(rows[chosen])
        return self._nodes.nodes[row].name

    def feasible(self, pod: PodInfo, nominated: Sequence[PlacedPod] = ()) -> Mask:
        """True where every filter lets the pod run."""
        mask, looks_around = self._filter(pod)
        if not nominated or not mask.any() or not (counting := self._counting(nominated, mask, looks_around)):
            return mask
        refusals = self._refusals(pod, counting, looks_around)
        if refusals is not None:
            for _, rows in refusals:
                mask[rows] = False
            return mask
        with self._nodes.supposing(added=counting):
            return mask & self._filter(pod)[0]

    def _sample(self, feasible: Mask) -> Mask:
        # Upstream stops looking when it has found so many; the next pod's search begins where this one ended.
        enough = max(_LEAST_SAMPLE, len(feasible) * self._percentage // 100)
        rows = np.flatnonzero(feasible)
        if len(rows) <= enough:
            return feasible
        first = int(np.searchsorted(rows, self._next_start % len(feasible)))
        taken = np.take(rows, np.arange(first, first + enough), mode="wrap")
        self._next_start = int(taken[-1]) + 1
        mask = np.zeros_like(feasible)
        mask[taken] = True
        return mask

    def totals(self, pod: PodInfo, feasible: Mask) -> tuple[Scores, Rows]:
        """The weighted sum of all scores for the feasible rows, and which rows these are."""
        kept = self._up_to_date(pod)
        everywhere = bool(feasible.all())
        rows: Rows = EVERY if everywhere else np.flatnonzero(feasible)
        if not feasible.any():
            return np.empty(0, np.int64), rows
        state = CycleState(self._objects, rows)
        total = kept.local_scores[rows]
        if everywhere:
            if kept.normalized is None:
                kept.normalized = _sum(state, kept.fixed_scores, rows, len(feasible))
            total = total + kept.normalized
        elif kept.fixed_scores:
            total = total + _sum(state, kept.fixed_scores, rows, len(total))
        for preparing in self._plugins.pre_scores:
            self._asked("PreScore", preparing.name, preparing.pre_score, state, pod, self._nodes, rows)
        for plugin, weight in self._wide_scores:
            scores = self._asked("Score", plugin.name, plugin.score, state, pod, self._nodes)
            if scores is not None:
                normal = self._asked("ScoreExtensionNormalize", plugin.name, plugin.normalize, state, scores[rows])
                total = total + weight * normal
        return total, rows

    def fits(self, pod: PodInfo, row: int, nominated: Sequence[PlacedPod] = ()) -> Unschedulable | None:
        """Why one node does not take the pod, as things are and with those that are promised it; None when it does."""
        state = CycleState(self._objects)
        only = np.array([row])
        looks_around = False
        for plugin in self._plugins.filters:
            if plugin.scope is Scope.CLUSTER:
                mask = plugin.filter(state, pod, self._nodes)
                looks_around |= mask is not None
                refused = mask is not None and not mask[row]
            else:
                mask = plugin.filter(state, pod, self._nodes, only)
                refused = mask is not None and not mask[0]
            if refused:
                return plugin.why_not(state, pod, self._nodes, row)
        here = np.zeros(len(self._nodes), np.bool_)
        here[row] = True
        if nominated and (counting := self._counting(nominated, here, looks_around)):
            with self._nodes.supposing(added=counting):
                return self.fits(pod, row)
        return None

    def explain(self, pod: PodInfo, nominated: Sequence[PlacedPod] = ()) -> Diagnosis:
        """What every node answered, for a pod that fits nowhere."""
        total = len(self._nodes)
        if not total:
            return Diagnosis(0)
        refusal = self._pre_filter(pod)
        if refusal is not None:
            plugin_name, answer = refusal
            return Diagnosis(total, pre_filter=answer, plugins=frozenset((plugin_name,)))
        answers = Answers(total)
        names: set[str] = set()
        left = np.ones(total, np.bool_)
        self._leave_out(pod, left, answers, names)
        looks_around = self._ask_each(pod, left, answers, names)
        counting = self._counting(nominated, left, looks_around)
        if counting and left.any():
            refusals = self._refusals(pod, counting, looks_around)
            if refusals is None or self.fit is None:
                with self._nodes.supposing(added=counting):
                    self._ask_each(pod, left, answers, names)
            else:
                names.update((self.fit.name,) if refusals else ())
                for answer, rows in refusals:
                    answers.add(answer, rows)
        return Diagnosis(total, answers.answers, answers.answer_of, plugins=frozenset(names))

    def only_room_matters(self, pod: PodInfo) -> Mask | None:
        """The rows where only what pods request decides whether the pod fits, whichever pods are removed from the node;
        None where more than that has a say."""
        state = CycleState(self._objects)
        if not self._has_plain_filters:
            return None
        if any(plugin.filter(state, pod, self._nodes) is not None for plugin in self._wide_filters):
            return None
        # A node with fewer pods has no fewer ports.
        others = [plugin for plugin in (*self._fixed_filters, *self._local_filters) if plugin is not self.fit]
        mask = self._all_of(state, others, pod)
        return np.ones(len(self._nodes), np.bool_) if mask is None else mask

    def notes(self, pod: PodInfo) -> dict[str, Any]:
        """What preemption notes for pods of this shape; forgotten when a node changes."""
        kept = self._up_to_date(pod)
        if not kept.notes:
            # Notes are columns of their own: only the shapes that preempted last have them.
            self._noting.append(kept)
            if len(self._noting) > _MOST_NOTES:
                self._noting.popleft().notes.clear()
        return kept.notes

    def _counting(self, nominated: Sequence[PlacedPod], mask: Mask, looks_around: bool) -> Sequence[PlacedPod]:
        """Of the pods that are promised a node those that can still change the answer of a row of the mask."""
        if looks_around or any(one.info.anti_affinity_required for one in nominated):
            return nominated
        row_of = self._nodes.row_of
        rows = ((one, row_of.get(one.node_name)) for one in nominated)
        return [one for one, row in rows if row is not None and mask[row]]

    def _refusals(
        self, pod: PodInfo, counting: Sequence[PlacedPod], looks_around: bool
    ) -> list[tuple[Unschedulable, npt.NDArray[np.intp]]] | None:
        """Which rows have no room for the pod when those are there that are promised it, and what of; None where more
        than room matters."""
        if self.fit is None or not self._has_plain_filters or looks_around or wants_more(counting):
            return None
        nodes = self._nodes
        coming = [one for one in counting if nodes.pod(one.node_name, one.uid) is None]
        rows, place = np.unique([nodes.row_of[one.node_name] for one in coming], return_inverse=True)
        more = {resources.PODS: np.bincount(place, minlength=len(rows))}
        for name, _ in self.fit.counted(pod):
            amounts = np.zeros(len(rows), np.int64)
            np.add.at(amounts, place, [one.info.requests.get(name, 0) for one in coming])
            more[name] = amounts
        return list(self.fit.why_none(CycleState(self._objects), pod, nodes, rows, more))

    def _ask_each(self, pod: PodInfo, left: Mask, answers: Answers, names: set[str]) -> bool:
        """Ask the rows that are left; whether a plugin looked at pods elsewhere.

        Each node is refused by the first plugin that does, as if nodes were asked one by one.
        """
        state = CycleState(self._objects)
        looks_around = False
        for plugin in self._plugins.filters:
            mask = plugin.filter(state, pod, self._nodes)
            if mask is None:
                continue
            looks_around |= plugin.scope is Scope.CLUSTER
            refused = np.flatnonzero(left & ~mask)
            if not len(refused):
                continue
            names.add(plugin.name)
            left &= mask
            if isinstance(plugin, ManyAnswersPlugin):
                for answer, rows in plugin.why_none(state, pod, self._nodes, refused):
                    answers.add(answer, rows)
            else:
                for row in refused.tolist():
                    answers.add(plugin.why_not(state, pod, self._nodes, row), row)
        return looks_around

    def _leave_out(self, pod: PodInfo, left: Mask, answers: Answers, names: set[str]) -> None:
        state = CycleState(self._objects)
        only: frozenset[str] | None = None
        by: list[str] = []
        for plugin in self._plugins.pre_filters:
            answer = plugin.pre_filter(state, pod, self._nodes)
            if isinstance(answer, OnlyNodes):
                only = answer.names if only is None else only & answer.names
                by.append(plugin.name)
        if only is None:
            return
        names.update(by)
        left_out = Unschedulable((f"node(s) didn't satisfy plugin(s) [{' '.join(sorted(by))}]",), unresolvable=True)
        kept = [row for row in map(self._nodes.row_of.get, only) if row is not None]
        mask = np.zeros(len(left), np.bool_)
        mask[kept] = True
        answers.add(left_out, np.flatnonzero(~mask))
        left &= mask

    def _pre_filter(self, pod: PodInfo) -> tuple[str, Unschedulable] | None:
        state = CycleState(self._objects)
        only: frozenset[str] | None = None
        by: list[str] = []
        for plugin in self._plugins.pre_filters:
            answer = self._asked("PreFilter", plugin.name, plugin.pre_filter, state, pod, self._nodes)
            if isinstance(answer, Unschedulable):
                return plugin.name, answer
            if isinstance(answer, OnlyNodes):
                only = answer.names if only is None else only & answer.names
                by.append(plugin.name)
                if not only:
                    return plugin.name, _no_common_node(by)
        return None

    def _asked(self, point: str, name: str, call: Callable[..., R], *arguments: Any) -> R:
        return call(*arguments) if self.observer is None else self.observer.plugin(point, name, call, *arguments)

    def _point(self, point: str, call: Callable[..., R], *arguments: Any) -> R:
        return call(*arguments) if self.observer is None else self.observer.point(point, call, *arguments)

    def _filter(self, pod: PodInfo) -> tuple[Mask, bool]:
        """Where every filter lets the pod run, and whether one of them looked at pods elsewhere."""
        kept = self._up_to_date(pod)
        # A copy where need be: what is kept is brought up to date in place.
        mask = kept.local_mask.copy() if kept.fixed_mask is None else kept.local_mask & kept.fixed_mask
        state = CycleState(self._objects)
        looks_around = False
        for plugin in self._wide_filters:
            answer = self._asked("Filter", plugin.name, plugin.filter, state, pod, self._nodes)
            if answer is not None:
                mask = mask & answer
                looks_around = True
        return mask, looks_around

    def _up_to_date(self, pod: PodInfo) -> _Kept:
        nodes = self._nodes
        # None of the plugins whose answers are kept looks at claims for devices.
        pod = pod.shape
        kept = self._kept.get(pod)
        if kept is None or kept.version != nodes.version:
            kept = self._kept[pod] = self._evaluate(pod)
            if len(self._kept) > _MOST_SHAPES:
                self._kept.popitem(last=False)
            return kept
        if kept.position != nodes.position:
            touched = nodes.touched_since(kept.position)
            if touched is None or len(touched) > len(nodes) // 4:
                kept.local_mask, kept.local_scores = self._local(pod, EVERY, len(nodes))
            else:
                rows = np.fromiter(touched, np.intp, len(touched))
                kept.local_mask[rows], kept.local_scores[rows] = self._local(pod, rows, len(rows))
            kept.position = nodes.position
        return kept

    def _evaluate(self, pod: PodInfo) -> _Kept:
        nodes = self._nodes
        state = CycleState(self._objects)
        fixed_mask = self._all_of(state, self._fixed_filters, pod)
        scored = (
            (plugin, weight, self._asked("Score", plugin.name, plugin.score, state, pod, nodes))
            for plugin, weight in self._fixed_scores
        )
        local_mask, local_scores = self._local(pod, EVERY, len(nodes))
        return _Kept(
            version=nodes.version,
            position=nodes.position,
            fixed_mask=fixed_mask,
            fixed_scores=[(plugin, weight, scores) for plugin, weight, scores in scored if scores is not None],
            local_mask=local_mask,
            local_scores=local_scores,
        )

    def _local(self, pod: PodInfo, rows: Rows, number: int) -> tuple[Mask, Scores]:
        state = CycleState(self._objects)
        mask = self._all_of(state, self._local_filters, pod, rows)
        total = np.zeros(number, np.int64)
        for plugin, weight in self._local_scores:
            # Scores that depend on the node alone are used as they are: there is nothing to compare them with.
            scores = self._asked("Score", plugin.name, plugin.score, state, pod, self._nodes, rows)
            if scores is not None:
                total += weight * scores
        return np.ones(number, np.bool_) if mask is None else mask, total

    def _all_of(
        self, state: CycleState, plugins: Sequence[FilterPlugin], pod: PodInfo, rows: Rows = EVERY
    ) -> Mask | None:
        together: Mask | None = None
        for plugin in plugins:
            mask = self._asked("Filter", plugin.name, plugin.filter, state, pod, self._nodes, rows)
            if mask is not None:
                together = mask if together is None else together & mask
        return together


def _no_common_node(plugins: Sequence[str]) -> Unschedulable:
    if len(plugins) == 1:
        return Unschedulable((f"node(s) didn't satisfy plugin {plugins[0]}",), unresolvable=True)
    names = " ".join(sorted(plugins))
    return Unschedulable((f"node(s) didn't satisfy plugin(s) [{names}] simultaneously",), unresolvable=True)


def _sum(state: CycleState, scored: list[tuple[ScorePlugin, int, Scores]], rows: Rows, number: int) -> Scores:
    total: npt.NDArray[np.int64] = np.zeros(number, np.int64)
    for plugin, weight, scores in scored:
        total += weight * plugin.normalize(state, scores[rows])
    return total
