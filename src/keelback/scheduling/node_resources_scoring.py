"""How NodeResourcesFit scores by the share of each resource that is taken: the strategies beside the default one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from keelback.scheduling import resources
from keelback.scheduling.framework import MAX_NODE_SCORE, CycleState, Rows, Scores
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo

StrategyType: TypeAlias = Literal["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"]


@dataclass(frozen=True, slots=True)
class Strategy:
    """What makes a node good: plenty of room, little room, or a shape in between."""

    type: StrategyType = "LeastAllocated"
    resources: tuple[tuple[str, int], ...] = ((resources.CPU, 1), (resources.MEMORY, 1))
    """Each with its weight."""
    shape: tuple[tuple[int, int], ...] = ()
    """Utilization in percent and the score for it (0 to 100), by rising utilization; linear in between."""


DEFAULT: Final = Strategy()


def weighed(names: Iterable[str]) -> frozenset[str]:
    """Of the resources that are scored those that devices may stand for."""
    return frozenset(name for name in names if name not in resources.NATIVE)


def load(state: CycleState, nodes: NodeTable, name: str, rows: Rows) -> tuple[Scores, Scores]:
    """How much of an extended resource nodes offer, and how much of it is taken. Where a node offers none itself it is
    the devices that count which stand for it."""
    offered, taken = nodes.allocatable(name)[rows], nodes.requested(name)[rows]
    totals = state.objects.devices.totals(name, nodes)
    if totals is None:
        return offered, taken
    has_itself = offered != 0
    return np.where(has_itself, offered, totals.offered[rows]), np.where(has_itself, taken, totals.taken[rows])


def score(strategy: Strategy, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows) -> Scores:
    """The weighted mean over the resources that the node offers, and of extended ones those that the pod asks for."""
    total = np.zeros(len(nodes), np.int64)[rows]
    weights = total.copy()
    for name, weight in strategy.resources:
        if name not in resources.NATIVE and name not in pod.requests:
            continue
        if name in resources.NATIVE:
            offered, taken = nodes.allocatable(name)[rows], _taken(name, pod, nodes)[rows]
        else:
            offered, used = load(state, nodes, name, rows)
            taken = used + pod.requests[name]
        scores = _one(strategy, offered, taken)
        counts = (offered > 0) & (scores > 0) if strategy.type == "RequestedToCapacityRatio" else offered > 0
        total += np.where(counts, scores * weight, 0)
        weights += np.where(counts, weight, 0)
    divisor = np.maximum(weights, 1)
    if strategy.type == "RequestedToCapacityRatio":
        # Half rounds up, as Go's math.Round has it for what is not negative.
        rounded: Scores = (2 * total + divisor) // (2 * divisor)
        return rounded
    mean: Scores = total // divisor
    return mean


def _taken(name: str, pod: PodInfo, nodes: NodeTable) -> Scores:
    if name in resources.NOMINAL:
        nominal: Scores = nodes.nominal_requested(name) + pod.nominal_requests[name]
        return nominal
    requested: Scores = nodes.requested(name) + pod.requests.get(name, 0)
    return requested


def _one(strategy: Strategy, offered: Scores, taken: Scores) -> Scores:
    capacity = np.maximum(offered, 1).astype(float)
    percent: Scores = (np.minimum(taken, offered) * float(MAX_NODE_SCORE) / capacity).astype(np.int64)
    match strategy.type:
        case "MostAllocated":
            return percent
        case "LeastAllocated":
            free: Scores = (np.maximum(offered - taken, 0) * float(MAX_NODE_SCORE) / capacity).astype(np.int64)
            return free
        case _:
            return _shaped(strategy.shape, np.where(taken > offered, 100, percent))


def _shaped(shape: tuple[tuple[int, int], ...], percent: Scores) -> Scores:
    scores = np.full_like(percent, shape[-1][1])
    for (left, low), (right, high) in reversed(list(itertools.pairwise(shape))):
        # Rounded towards zero, as Go divides.
        rise = ((high - low) * (percent - left) / (right - left)).astype(np.int64)
        scores = np.where(percent <= right, low + rise, scores)
    return np.where(percent <= shape[0][0], shape[0][1], scores)
