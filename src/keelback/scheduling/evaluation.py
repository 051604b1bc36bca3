"""Which nodes may take a pod and how well: all plugins over all nodes, kept between pods of one shape.

What depends on nodes alone is kept until a node changes; what depends on a node's own pods is brought up to date for
the rows that pods came to or left; only what depends on pods elsewhere is asked again for each pod.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from keelback.scheduling import resources
from keelback.scheduling.best_rows import NOWHERE
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.dynamic_resources import DynamicResources
from keelback.scheduling.fit_error import Answers, Diagnosis
from keelback.scheduling.framework import (
    EVERY,
    ConcernedPlugin,
    CycleState,
    ManyAnswersPlugin,
    Mask,
    OnlyNodes,
    Rows,
    Scope,
    Scores,
    Unschedulable,
)
from keelback.scheduling.local_answers import filter_of_row
from keelback.scheduling.node_ports import NodePorts
from keelback.scheduling.node_resources_fit import NodeResourcesFit
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.room import wants_more
from keelback.scheduling.standings import Standings

R = TypeVar("R")

_LEAST_SAMPLE: Final = 100


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
        self._standings = Standings(plugins, nodes, objects, self._asked)
        self.fit = next((plugin for plugin in plugins.filters if isinstance(plugin, NodeResourcesFit)), None)
        self.devices = next((plugin for plugin in plugins.filters if isinstance(plugin, DynamicResources)), None)
        # Of what depends on a node's own pods: their requests and their ports, and no more.
        self._has_plain_filters = self.fit is not None and all(
            isinstance(plugin, NodeResourcesFit | NodePorts) for plugin in self._standings.local_filters
        )
        self._wide_filters = [(one, _concerns(one)) for one in plugins.filters if one.scope is Scope.CLUSTER]
        self._row_filters = [(one, filter_of_row(one), _concerns(one)) for one in plugins.filters]
        self._wide_scores = [
            (one, weight, _concerns(one)) for one, weight in plugins.scores if one.scope is Scope.CLUSTER
        ]

    def choose(self, pod: PodInfo, chance: random.Random, nominated: Sequence[PlacedPod] = ()) -> str | None:
        """The best node for the pod, one of the best by chance where several are; None when it fits nowhere.

        `nominated` pods have no node yet but are promised one: the pod must fit with them there, and without.
        """
        if not len(self._nodes):
            return None
        found = self._point("PreFilter", self._pre_filter, pod)
        if isinstance(found, frozenset) and len(found) == 1 and self._percentage >= 100:
            return self._point("Filter", self._named, pod, *found, nominated)
        if isinstance(found, tuple):
            return None
        return self.best(pod, self._passing(pod, nominated, found), chance)

    def passing(self, pod: PodInfo, nominated: Sequence[PlacedPod] = ()) -> Mask | None:
        """True for the nodes that are compared: those that fit, or as many of them as are asked for; None where nothing
        can fit."""
        found = self._point("PreFilter", self._pre_filter, pod) if len(self._nodes) else ()
        return None if isinstance(found, tuple) else self._passing(pod, nominated, found).copy()

    def best(self, pod: PodInfo, feasible: Mask, chance: random.Random, more: Scores | None = None) -> str | None:
        """The best of the nodes, where scores of others may count besides; None when there is none."""
        row = self._point("Score", self._best, pod, feasible, chance, more)
        return None if row is None else self._nodes.nodes[row].name

    def feasible(self, pod: PodInfo, nominated: Sequence[PlacedPod] = ()) -> Mask:
        """True where every filter lets the pod run."""
        return self._feasible(pod, nominated).copy()

    # Masks that these return may be those that are kept: they are not to be changed, nor to be kept by others.

    def _passing(self, pod: PodInfo, nominated: Sequence[PlacedPod], only: frozenset[str] | None) -> Mask:
        feasible = self._point("Filter", self._feasible, pod, nominated)
        if only is not None:
            feasible = feasible & self._rows_of(only)
        return feasible if self._percentage >= 100 else self._sample(feasible)

    def _rows_of(self, names: frozenset[str]) -> Mask:
        mask = np.zeros(len(self._nodes), np.bool_)
        mask[[row for row in map(self._nodes.row_of.get, names) if row is not None]] = True
        return mask

    def _named(self, pod: PodInfo, node_name: str, nominated: Sequence[PlacedPod]) -> str | None:
        """The only node that the pod may run on, as those of DaemonSets: nobody need ask the others."""
        row = self._nodes.row_of.get(node_name)
        return None if row is None or self.fits(pod, row, nominated) is not None else node_name

    def _feasible(self, pod: PodInfo, nominated: Sequence[PlacedPod]) -> Mask:
        mask, looks_around = self._filter(pod)
        if not nominated or not mask.any() or not (counting := self._counting(nominated, mask, looks_around)):
            return mask
        refusals = self._refusals(pod, counting, looks_around)
        if refusals is not None:
            mask = mask.copy()
            for _, rows in refusals:
                mask[rows] = False
            return mask
        mask = mask.copy()
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
        state = CycleState(self._objects, EVERY if feasible.all() else feasible)
        if not feasible.any():
            return np.empty(0, np.int64), state.feasible
        total = self._standings.compared(self._standings.of(pod), state.feasible)
        wide = self._of_wide_scores(pod, state)
        return total if wide is None else total + wide, state.feasible

    def _best(self, pod: PodInfo, feasible: Mask, chance: random.Random, more: Scores | None) -> int | None:
        standings = self._standings
        standing = standings.of(pod)
        is_kept = feasible is standing.mask
        if more is not None or (standing.fixed_scores and not is_kept):
            scores, rows = self.totals(pod, feasible)
            return _one_of_best(scores if more is None else scores + more[rows], rows, chance)
        passed: Rows | Mask = standings.rows(standing) if is_kept else feasible
        if not (isinstance(passed, slice) or (len(passed) if is_kept else passed.any())):
            return None
        # What nodes have by themselves is compared as it is: ranks hold for any part of them.
        state = CycleState(self._objects, passed)
        wide = self._of_wide_scores(pod, state)
        if wide is not None:
            return _one_of_best(standings.ranks(standing)[state.feasible] + wide, state.feasible, chance)
        if is_kept:
            return standings.best(standing, chance)
        return _one_of_best(np.where(feasible, standings.ranks(standing), NOWHERE), EVERY, chance)

    def _of_wide_scores(self, pod: PodInfo, state: CycleState) -> Scores | None:
        """The weighted sum of the scores that look at other nodes; None where they prefer none."""
        for preparing in self._plugins.pre_scores:
            self._asked("PreScore", preparing.name, preparing.pre_score, state, pod, self._nodes, state.feasible)
        total: Scores | None = None
        for plugin, weight, concerns in self._wide_scores:
            if concerns is not None and not concerns(pod):
                continue
            scores = self._asked("Score", plugin.name, plugin.score, state, pod, self._nodes)
            if scores is not None:
                compared = scores[state.feasible]
                normal = self._asked("ScoreExtensionNormalize", plugin.name, plugin.normalize, state, compared)
                total = weight * normal if total is None else total + weight * normal
        return total

    def fits(self, pod: PodInfo, row: int, nominated: Sequence[PlacedPod] = ()) -> Unschedulable | None:
        """Why one node does not take the pod, as things are and with those that are promised it; None when it does."""
        state = CycleState(self._objects)
        looks_around = False
        for plugin, of_row, concerns in self._row_filters:
            if plugin.scope is not Scope.CLUSTER:
                refused = not of_row(state, pod, self._nodes, row)
            elif concerns is not None and not concerns(pod):
                continue
            else:
                mask = plugin.filter(state, pod, self._nodes)
                looks_around |= mask is not None
                refused = mask is not None and not mask[row]
            if refused:
                return plugin.why_not(state, pod, self._nodes, row)
        if not nominated:
            return None
        here = np.zeros(len(self._nodes), np.bool_)
        here[row] = True
        counting = self._counting(nominated, here, looks_around)
        if counting:
            with self._nodes.supposing(added=counting):
                return self.fits(pod, row)
        return None

    def explain(self, pod: PodInfo, nominated: Sequence[PlacedPod] = ()) -> Diagnosis:
        """What every node answered, for a pod that fits nowhere."""
        total = len(self._nodes)
        if not total:
            return Diagnosis(0)
        found = self._pre_filter(pod)
        if isinstance(found, tuple):
            plugin_name, answer = found
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
        if any(plugin.filter(state, pod, self._nodes) is not None for plugin, _ in self._wide_filters):
            return None
        # A node with fewer pods has no fewer ports.
        others = [
            plugin for plugin in self._plugins.filters if plugin.scope is not Scope.CLUSTER and plugin is not self.fit
        ]
        mask = np.ones(len(self._nodes), np.bool_)
        for plugin in others:
            answer = plugin.filter(state, pod, self._nodes)
            if answer is not None:
                mask &= answer
        return mask

    def notes(self, pod: PodInfo) -> dict[str, Any]:
        """What preemption notes for pods of this shape; forgotten when a node changes."""
        return self._standings.notes(pod)

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
        mask = self._rows_of(only)
        answers.add(left_out, np.flatnonzero(~mask))
        left &= mask

    def _pre_filter(self, pod: PodInfo) -> tuple[str, Unschedulable] | frozenset[str] | None:
        """Who says that no node can take the pod, and why; or the names of the only nodes that might."""
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
        return only

    def _asked(self, point: str, name: str, call: Callable[..., R], *arguments: Any) -> R:
        return call(*arguments) if self.observer is None else self.observer.plugin(point, name, call, *arguments)

    def _point(self, point: str, call: Callable[..., R], *arguments: Any) -> R:
        return call(*arguments) if self.observer is None else self.observer.point(point, call, *arguments)

    def _filter(self, pod: PodInfo) -> tuple[Mask, bool]:
        """Where every filter lets the pod run, and whether one of them looked at pods elsewhere."""
        mask = self._standings.of(pod).mask
        state = CycleState(self._objects)
        looks_around = False
        for plugin, concerns in self._wide_filters:
            if concerns is not None and not concerns(pod):
                continue
            answer = self._asked("Filter", plugin.name, plugin.filter, state, pod, self._nodes)
            if answer is not None:
                looks_around = True
                if not answer.all():
                    mask = mask & answer
        return mask, looks_around


def _one_of_best(scores: Scores, rows: Rows, chance: random.Random) -> int | None:
    if not len(scores):
        return None
    best = np.flatnonzero(scores == scores.max())
    chosen = int(best[0] if len(best) == 1 else best[int(chance.random() * len(best))])
    return chosen if isinstance(rows, slice) else int(rows[chosen])


def _concerns(plugin: object) -> Callable[[PodInfo], bool] | None:
    return plugin.concerns if isinstance(plugin, ConcernedPlugin) else None


def _no_common_node(plugins: Sequence[str]) -> Unschedulable:
    if len(plugins) == 1:
        return Unschedulable((f"node(s) didn't satisfy plugin {plugins[0]}",), unresolvable=True)
    names = " ".join(sorted(plugins))
    return Unschedulable((f"node(s) didn't satisfy plugin(s) [{names}] simultaneously",), unresolvable=True)
