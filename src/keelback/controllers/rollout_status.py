"""What a Deployment's status and conditions say of its rollout. Pure; reasons and messages are upstream's."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from keelback.api import conditions
from keelback.api.apps_v1 import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet
from keelback.apimachinery.meta import replace
from keelback.controllers import rollout

AVAILABLE = "Available"
PROGRESSING = "Progressing"
REPLICA_FAILURE = "ReplicaFailure"

NEW_AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"

# The API's way to say that there is no deadline.
_NO_DEADLINE = 2**31 - 1


def counted(
    deployment: Deployment, replica_sets: Sequence[ReplicaSet], new: ReplicaSet | None, now: datetime
) -> DeploymentStatus:
    """The counts of the replica sets, and whether enough pods are available."""
    available = rollout.available_total(replica_sets)
    total = rollout.actual_total(replica_sets)
    enough = available >= deployment.spec.replicas - rollout.max_unavailable(deployment)
    condition = DeploymentCondition(
        type=AVAILABLE,
        status="True" if enough else "False",
        reason="MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
        message="Deployment has minimum availability." if enough else "Deployment does not have minimum availability.",
        last_update_time=now,
        last_transition_time=now,
    )
    terminating = [one.status.terminating_replicas for one in replica_sets]
    return replace(
        deployment.status,
        observed_generation=deployment.metadata.generation,
        replicas=total,
        updated_replicas=new.status.replicas if new is not None else 0,
        ready_replicas=sum(one.status.ready_replicas for one in replica_sets),
        available_replicas=available,
        # Also those that could not be made.
        unavailable_replicas=max(0, rollout.wanted_total(replica_sets) - available),
        terminating_replicas=None if None in terminating else sum(one or 0 for one in terminating),
        conditions=conditions.changed_to(deployment.status.conditions, condition),
    )


def rolled_out(
    deployment: Deployment, replica_sets: Sequence[ReplicaSet], new: ReplicaSet | None, now: datetime
) -> DeploymentStatus:
    """As `counted`, and what became of the rollout: progressing, complete, failed or past its deadline."""
    status = counted(deployment, replica_sets, new, now)
    current = conditions.find(deployment.status.conditions, PROGRESSING)
    found = status.conditions if has_deadline(deployment) else conditions.without(status.conditions, PROGRESSING)
    settled = status.replicas == status.updated_replicas and current is not None and current.reason == NEW_AVAILABLE
    if has_deadline(deployment) and not settled:
        found = _with_progress(deployment, status, found, current, new, now)
    failure = _failure(replica_sets, new)
    found = conditions.changed_to(found, failure) if failure else conditions.without(found, REPLICA_FAILURE)
    return replace(status, conditions=found)


def progressing(status: str, reason: str, message: str, now: datetime) -> DeploymentCondition:
    """A Progressing condition as of now."""
    return DeploymentCondition(
        type=PROGRESSING, status=status, reason=reason, message=message, last_update_time=now, last_transition_time=now
    )


def has_deadline(deployment: Deployment) -> bool:
    """Whether a rollout without progress counts as failed at some time."""
    return deployment.spec.progress_deadline_seconds != _NO_DEADLINE


def is_complete(deployment: Deployment, status: DeploymentStatus) -> bool:
    """Whether all pods are of the new template and available, and no old one runs."""
    wanted = deployment.spec.replicas
    return (
        status.updated_replicas == wanted
        and status.replicas == wanted
        and status.available_replicas == wanted
        and status.observed_generation >= deployment.metadata.generation
    )


def seconds_to_deadline(deployment: Deployment, status: DeploymentStatus, now: datetime) -> float | None:
    """When to look again although nothing changes, to notice that the rollout is stuck; None if there is no need."""
    current = conditions.find(deployment.status.conditions, PROGRESSING)
    if not has_deadline(deployment) or current is None or current.last_update_time is None:
        return None
    if is_complete(deployment, status) or current.reason in (TIMED_OUT, NEW_AVAILABLE):
        return None
    deadline = current.last_update_time + timedelta(seconds=deployment.spec.progress_deadline_seconds)
    return max(0.0, (deadline - now).total_seconds()) + 1.0


def _with_progress(
    deployment: Deployment,
    status: DeploymentStatus,
    found: tuple[DeploymentCondition, ...],
    current: DeploymentCondition | None,
    new: ReplicaSet | None,
    now: datetime,
) -> tuple[DeploymentCondition, ...]:
    what = f'ReplicaSet "{new.metadata.name}"' if new is not None else f'Deployment "{deployment.metadata.name}"'
    if is_complete(deployment, status):
        done = progressing("True", NEW_AVAILABLE, f"{what} has successfully progressed.", now)
        return conditions.changed_to(found, done)
    if _moved(deployment.status, status):
        moved = progressing("True", "ReplicaSetUpdated", f"{what} is progressing.", now)
        if current is not None and current.status == "True":
            moved = replace(moved, last_transition_time=current.last_transition_time)
        # Every step counts as an update, or the deadline would run from the first one.
        return (*conditions.without(found, PROGRESSING), moved)
    if _timed_out(deployment, found, now):
        return conditions.changed_to(found, progressing("False", TIMED_OUT, f"{what} has timed out progressing.", now))
    return found


def _moved(before: DeploymentStatus, after: DeploymentStatus) -> bool:
    return (
        after.updated_replicas > before.updated_replicas
        or after.replicas - after.updated_replicas < before.replicas - before.updated_replicas
        or after.ready_replicas > before.ready_replicas
        or after.available_replicas > before.available_replicas
    )


def _timed_out(deployment: Deployment, found: tuple[DeploymentCondition, ...], now: datetime) -> bool:
    current = conditions.find(found, PROGRESSING)
    if current is None or current.reason == NEW_AVAILABLE:
        return False
    if current.reason == TIMED_OUT:
        return True
    since = current.last_update_time or now
    return since + timedelta(seconds=deployment.spec.progress_deadline_seconds) < now


def _failure(replica_sets: Sequence[ReplicaSet], new: ReplicaSet | None) -> DeploymentCondition | None:
    for one in ([new] if new is not None else []) + list(replica_sets):
        failure = conditions.find(one.status.conditions, REPLICA_FAILURE)
        if failure is not None:
            return DeploymentCondition(
                type=REPLICA_FAILURE,
                status=failure.status,
                reason=failure.reason,
                message=failure.message,
                last_transition_time=failure.last_transition_time,
                last_update_time=failure.last_transition_time,
            )
    return None
