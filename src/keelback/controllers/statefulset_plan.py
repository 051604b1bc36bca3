"""What a StatefulSet does next: which of its numbered pods to make, replace or delete. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from keelback.api import pods
from keelback.api.apps_v1 import RollingUpdateStatefulSetStrategy, StatefulSet
from keelback.apimachinery.int_or_string import scaled_value
from keelback.controllers.observed import PodView
from keelback.controllers.revisions import HASH_LABEL


@dataclass(slots=True)
class Plan:
    """Ordinals to make a pod for, each at a revision, and pods to delete."""

    create: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    delete: list[PodView] = dataclasses.field(default_factory=list)


def ordinal_of(stateful_set: StatefulSet, pod_name: str) -> int | None:
    """The number in a pod's name; None where the pod is not one of the set's."""
    parent, _, number = pod_name.rpartition("-")
    is_canonical = number.isascii() and number.isdecimal() and str(int(number)) == number
    return int(number) if parent == stateful_set.metadata.name and is_canonical else None


def ordinals(stateful_set: StatefulSet) -> range:
    """The numbers of the pods wanted."""
    held = stateful_set.spec.ordinals
    start = (held.start or 0) if held is not None else 0
    return range(start, start + stateful_set.spec.replicas)


def pending(stateful_set: StatefulSet, by_ordinal: Mapping[int, PodView]) -> list[int]:
    """The numbers of wanted pods that are there and have not started: they may lack a claim that went meanwhile."""
    held = {ordinal: by_ordinal[ordinal] for ordinal in ordinals(stateful_set) if ordinal in by_ordinal}
    return [ordinal for ordinal, pod in held.items() if pod.status.phase == "Pending" and not pods.is_terminating(pod)]


def partition(stateful_set: StatefulSet) -> int:
    """The ordinal from which on pods are updated."""
    rolling = stateful_set.spec.update_strategy.rolling_update
    return rolling.partition if rolling is not None else 0


def revision_for(stateful_set: StatefulSet, ordinal: int, current: str, update: str) -> str:
    """At which revision a missing pod is made: below the partition the one that was there before the update."""
    is_rolling = stateful_set.spec.update_strategy.type == "RollingUpdate"
    is_below = ordinal < ordinals(stateful_set).start + partition(stateful_set)
    return current if is_rolling and is_below and current else update


def plan(
    stateful_set: StatefulSet, by_ordinal: Mapping[int, PodView], current: str, update: str, now: datetime
) -> Plan:
    """Decide the next step. OrderedReady does one thing at a time and only while all before it are well."""
    is_ordered = stateful_set.spec.pod_management_policy != "Parallel"
    result = Plan()
    wanted = ordinals(stateful_set)
    for ordinal in wanted:
        pod = by_ordinal.get(ordinal)
        if pod is None:
            result.create.append((ordinal, revision_for(stateful_set, ordinal, current, update)))
        elif pods.is_terminal(pod) and not pods.is_terminating(pod):
            # A failed pod keeps its name, so that it must go before its successor can come.
            result.delete.append(pod)
        elif not is_ordered or _is_healthy(stateful_set, pod, now):
            continue
        if is_ordered:
            return result
    condemned = sorted((ordinal for ordinal in by_ordinal if ordinal not in wanted), reverse=True)
    # In order, the only unhealthy pod that may go is the lowest: else it is not sure that the set bears the loss.
    unhealthy = [one for one in condemned if not _is_healthy(stateful_set, by_ordinal[one], now)]
    for ordinal in condemned:
        pod = by_ordinal[ordinal]
        if is_ordered and ordinal in unhealthy and ordinal != unhealthy[-1]:
            return result
        if not pods.is_terminating(pod):
            result.delete.append(pod)
        if is_ordered:
            return result
    if result.create or result.delete or stateful_set.spec.update_strategy.type != "RollingUpdate":
        return result
    _plan_update(result, stateful_set, by_ordinal, update, now)
    return result


def _plan_update(
    result: Plan, stateful_set: StatefulSet, by_ordinal: Mapping[int, PodView], update: str, now: datetime
) -> None:
    """From the highest ordinal down to the partition, replace pods of an older revision."""
    rolling = stateful_set.spec.update_strategy.rolling_update or RollingUpdateStatefulSetStrategy()
    wanted = ordinals(stateful_set)
    limit = 1
    if rolling.max_unavailable is not None:
        limit = max(1, scaled_value(rolling.max_unavailable, stateful_set.spec.replicas, round_up=True))
    unavailable = sum(not _is_healthy(stateful_set, by_ordinal[one], now) for one in wanted if one in by_ordinal)
    for ordinal in reversed(wanted[partition(stateful_set) :]):
        pod = by_ordinal.get(ordinal)
        if pod is None or pods.is_terminating(pod):
            if limit == 1:
                return  # one at a time, and this one is not back yet
            continue
        is_healthy = _is_healthy(stateful_set, pod, now)
        if pod.metadata.labels.get(HASH_LABEL) != update:
            if is_healthy and unavailable >= limit:
                return
            result.delete.append(pod)
            unavailable += is_healthy
            if unavailable >= limit:
                return
        elif not is_healthy and limit == 1:
            return  # wait for the pod just updated


def _is_healthy(stateful_set: StatefulSet, pod: PodView, now: datetime) -> bool:
    if pods.is_terminating(pod) or pod.status.phase != "Running":
        return False
    return pods.is_available(pod, stateful_set.spec.min_ready_seconds, now)


@dataclass(frozen=True, slots=True)
class Counts:
    """What the status says of the pods."""

    replicas: int
    ready: int
    available: int
    current: int
    updated: int


def count(stateful_set: StatefulSet, mine: Sequence[PodView], current: str, update: str, now: datetime) -> Counts:
    """Count the pods that exist."""
    running = [pod for pod in mine if not pods.is_terminating(pod)]
    available = [
        pod
        for pod in running
        if pod.status.phase == "Running" and pods.is_available(pod, stateful_set.spec.min_ready_seconds, now)
    ]
    return Counts(
        replicas=len(mine),
        ready=sum(pod.status.phase == "Running" and pods.is_ready(pod) for pod in mine),
        available=len(available),
        current=sum(pod.metadata.labels.get(HASH_LABEL) == current for pod in running),
        updated=sum(pod.metadata.labels.get(HASH_LABEL) == update for pod in running),
    )
