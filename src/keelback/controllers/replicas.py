"""How many replicas to make, or which to delete: the policy that replica sets and replication controllers share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from keelback.api import conditions, pods
from keelback.api.apps_v1 import ReplicaSetCondition
from keelback.api.core_v1 import ReplicationControllerCondition
from keelback.apimachinery import errors
from keelback.controllers.observed import PodView
from keelback.controllers.pod_control import BURST

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_FAILURE = "ReplicaFailure"

ConditionT = TypeVar("ConditionT", ReplicaSetCondition, ReplicationControllerCondition)


@dataclass(frozen=True, slots=True)
class Plan:
    """Pods to make, or pods to delete; never both."""

    create: int = 0
    delete: tuple[PodView, ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """What the status of a replica set says of its pods."""

    replicas: int
    fully_labeled: int
    ready: int
    available: int
    terminating: int

    def with_new(self, made: int) -> Counts:
        """With so many more, made by the template a moment ago."""
        return replace(self, replicas=self.replicas + made, fully_labeled=self.fully_labeled + made)


def plan(wanted: int, active: Sequence[PodView], now: datetime, related: Sequence[PodView] = ()) -> Plan:
    """Decide, and touch nothing. `related` are the pods of all replica sets of the same rollout, these included."""
    surplus = len(active) - wanted
    if surplus < 0:
        return Plan(create=min(-surplus, BURST))
    if surplus == 0:
        return Plan()
    rank = deletion_rank(related or active, now)
    return Plan(delete=tuple(sorted(active, key=rank)[: min(surplus, BURST)]))


def deletion_rank(related: Sequence[PodView], now: datetime) -> Callable[[PodView], tuple[object, ...]]:
    """A sort key that puts first what is missed least (upstream's ActivePodsWithRanks).

    Unassigned, pending, not ready, of low deletion cost, crowded on one node, lately ready, often restarted, young.
    Ages compare by their logarithm, so that replicas made at about the same time go in no particular order.
    """
    crowd: dict[str, int] = {}
    for pod in related:
        if pod.spec.node_name and pods.is_active(pod):
            crowd[pod.spec.node_name] = crowd.get(pod.spec.node_name, 0) + 1

    def rank(pod: PodView) -> tuple[object, ...]:
        ready = pods.condition(pod, "Ready")
        is_ready = ready is not None and ready.status == "True"
        return (
            bool(pod.spec.node_name),
            _PHASES.get(pod.status.phase, 0),
            is_ready,
            _deletion_cost(pod),
            -crowd.get(pod.spec.node_name, 0),
            _age_rank(ready.last_transition_time if ready is not None and is_ready else None, now),
            -max((status.restart_count for status in pod.status.container_statuses), default=0),
            _age_rank(pod.metadata.creation_timestamp, now),
            pod.metadata.uid,
        )

    return rank


def count(mine: Sequence[PodView], template_labels: dict[str, str], min_ready_seconds: int, now: datetime) -> Counts:
    """Count pods for the status: `mine` are all pods claimed, the inactive ones too."""
    active = [pod for pod in mine if pods.is_active(pod)]
    return Counts(
        replicas=len(active),
        fully_labeled=sum(template_labels.items() <= dict(pod.metadata.labels).items() for pod in active),
        ready=sum(pods.is_ready(pod) for pod in active),
        available=sum(pods.is_available(pod, min_ready_seconds, now) for pod in active),
        terminating=sum(pods.is_terminating(pod) and not pods.is_terminal(pod) for pod in mine),
    )


def failure_conditions(
    found: tuple[ConditionT, ...],
    condition: type[ConditionT],
    failure: errors.StatusError | None,
    attempted: int,
    now: datetime,
) -> tuple[ConditionT, ...]:
    """The conditions with ReplicaFailure for as long as something fails, in the words of what failed first.

    `attempted` is how many pods were wanted more (or, negative, fewer).
    """
    if failure is None:
        return conditions.without(found, _FAILURE)
    if conditions.find(found, _FAILURE) is not None:
        return found
    reason = "FailedCreate" if attempted > 0 else "FailedDelete"
    new = condition(type=_FAILURE, status="True", reason=reason, message=str(failure), last_transition_time=now)
    return conditions.changed_to(found, new)


def seconds_until_available(mine: Sequence[PodView], min_ready_seconds: int, now: datetime) -> float | None:
    """When the next ready pod becomes available by time alone; None where none will."""
    soonest: float | None = None
    for pod in mine:
        ready = pods.condition(pod, "Ready")
        if not pods.is_active(pod) or ready is None or ready.status != "True" or ready.last_transition_time is None:
            continue
        left = min_ready_seconds - (now - ready.last_transition_time).total_seconds()
        if left > 0 and (soonest is None or left < soonest):
            soonest = left
    return soonest


def _deletion_cost(pod: PodView) -> int:
    try:
        return int(pod.metadata.annotations.get(_DELETION_COST, "0"))
    except ValueError:
        return 0


def _age_rank(since: datetime | None, now: datetime) -> float:
    seconds = 0.0 if since is None else (now - since).total_seconds()
    return math.floor(math.log2(seconds)) if seconds > 0 else -100.0
