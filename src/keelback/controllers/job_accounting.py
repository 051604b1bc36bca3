"""How a Job's pods count: which have ended, which failures matter, what they make of the Job. Pure.

A pod carries a finalizer until its end has been counted in the Job's status, so that no end is lost or counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keelback.api import job_indexes, pods
from keelback.api.batch_v1 import Job, PodFailurePolicyRule
from keelback.controllers.observed import PodView

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
INDEX_FAILURES = "batch.kubernetes.io/job-index-failure-count"

_DEFAULT_BACKOFF_LIMIT = 6
_BACKOFF_SECONDS = 10.0
_MAX_BACKOFF_SECONDS = 600.0
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Ended:
    """A pod that has ended and waits to be counted."""

    pod: PodView
    succeeded: bool
    action: str = ""
    """What the failure policy's rule says to do, where one matched."""
    why: str = ""
    """Why that rule matched."""

    @property
    def counts_as_failed(self) -> bool:
        """Whether the Job is a failure nearer to its end by this."""
        return not self.succeeded and self.action != "Ignore"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a Job has failed."""

    reason: str
    message: str


def is_indexed(job: Job) -> bool:
    """Whether each pod of the Job has a number of its own."""
    return job.spec.completion_mode == "Indexed"


def replaces_only_failed(job: Job) -> bool:
    """Whether a pod that is being deleted must have ended before it is replaced and counted."""
    policy = job.spec.pod_replacement_policy
    return policy == "Failed" or (policy is None and job.spec.pod_failure_policy is not None)


def index_of(pod: PodView) -> int | None:
    """The completion index of a pod of an Indexed Job."""
    text = pod.metadata.annotations.get(INDEX, "")
    return int(text) if text.isdecimal() else None


def is_tracked(pod: PodView) -> bool:
    """Whether the pod still waits to be counted: it has the finalizer."""
    return FINALIZER in pod.metadata.finalizers


def is_failed(pod: PodView, job: Job) -> bool:
    """Whether the pod counts as failed: it has, or it is being deleted and need not be waited for."""
    if pod.status.phase == "Failed":
        return True
    return pods.is_terminating(pod) and pod.status.phase != "Succeeded" and not replaces_only_failed(job)


def newly_ended(job: Job, mine: Iterable[PodView]) -> list[Ended]:
    """The tracked pods whose end the status does not know of yet."""
    uncounted = job.status.uncounted_terminated_pods
    known = {*uncounted.succeeded, *uncounted.failed} if uncounted is not None else set()
    ended: list[Ended] = []
    for pod in mine:
        if not is_tracked(pod) or pod.metadata.uid in known:
            continue
        if pod.status.phase == "Succeeded":
            ended.append(Ended(pod, succeeded=True))
        elif is_failed(pod, job):
            ended.append(_judged(job, pod))
    return ended


def finish_time(pod: PodView, now: datetime) -> datetime:
    """When the pod ended, as well as that is known."""
    times = [
        status.state.terminated.finished_at
        for status in pod.status.container_statuses
        if status.state.terminated is not None and status.state.terminated.finished_at is not None
    ]
    if times:
        return max(times)
    if pod.metadata.deletion_timestamp is not None:
        return pod.metadata.deletion_timestamp
    ready = pods.condition(pod, "Ready")
    return ready.last_transition_time if ready is not None and ready.last_transition_time is not None else now


def backoff_left(job: Job, mine: Iterable[PodView], now: datetime) -> float:
    """Seconds until the next pod may be made: 10 after a failure, doubled by each further one, at most ten minutes."""
    ended = sorted(
        ((finish_time(pod, now), pod) for pod in mine if pod.status.phase == "Succeeded" or is_failed(pod, job)),
        key=lambda pair: pair[0],
    )
    failures = 0
    last = now
    for when, pod in ended:
        failures = 0 if pod.status.phase == "Succeeded" else failures + 1
        last = when
    return _backoff_left(failures - 1, last, now) if failures else 0.0


def last_failures(job: Job, mine: Iterable[PodView]) -> dict[int, PodView]:
    """The failed pod of each index that has one: of several that with the most failures before it."""
    found: dict[int, PodView] = {}
    for pod in mine:
        index = index_of(pod)
        if index is not None and is_failed(pod, job):
            found[index] = max(found.get(index, pod), pod, key=index_failures)
    return found


def index_backoffs(job: Job, mine: Iterable[PodView], now: datetime) -> dict[int, float]:
    """Where each index has failures of its own to use up: seconds until its next pod, for those that must wait."""
    failed = last_failures(job, mine).items()
    waits = {index: _backoff_left(index_failures(pod), finish_time(pod, now), now) for index, pod in failed}
    return {index: seconds for index, seconds in waits.items() if seconds > 0}


def _backoff_left(failures_before: int, last: datetime, now: datetime) -> float:
    delay = min(_BACKOFF_SECONDS * 2.0 ** min(failures_before, 16), _MAX_BACKOFF_SECONDS)
    return max(0.0, (last + timedelta(seconds=delay) - now).total_seconds())


def find_failure(
    job: Job, failed: int, ended: Sequence[Ended], mine: Sequence[PodView], failed_indexes: set[int], now: datetime
) -> Failure | None:
    """Whether, and why, the Job has failed with so many failed pods."""
    spec = job.spec
    by_policy = next((one.why for one in ended if one.action == "FailJob"), "")
    if by_policy:
        return Failure("PodFailurePolicy", by_policy)
    if failed > _backoff_limit(job) or _restarts_exceed_limit(job, mine):
        return Failure("BackoffLimitExceeded", "Job has reached the specified backoff limit")
    left = deadline_left(job, now)
    if left is not None and left <= 0:
        return Failure("DeadlineExceeded", "Job was active longer than specified deadline")
    if spec.max_failed_indexes is not None and len(failed_indexes) > spec.max_failed_indexes:
        return Failure("MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes")
    return None


def deadline_left(job: Job, now: datetime) -> float | None:
    """Seconds until the Job has been active for too long; None where it may be for ever or is not active."""
    seconds = job.spec.active_deadline_seconds
    if seconds is None or job.spec.suspend or job.status.start_time is None:
        return None
    return seconds - (now - job.status.start_time).total_seconds()


def newly_failed_indexes(job: Job, ended: Iterable[Ended]) -> set[int]:
    """The indexes that have used up their own failures."""
    limit = job.spec.backoff_limit_per_index
    return {
        index
        for one in ended
        if limit is not None and one.counts_as_failed and (index := index_of(one.pod)) is not None
        if one.action == "FailIndex" or index_failures(one.pod) >= limit
    }


def index_failures(pod: PodView) -> int:
    """How many pods of the same index had failed before this one was made."""
    text = pod.metadata.annotations.get(INDEX_FAILURES, "0")
    return int(text) if text.isdecimal() else 0


def matched_success_rule(job: Job, succeeded: set[int]) -> int | None:
    """The number of the success policy's rule that these indexes satisfy, if any."""
    policy = job.spec.success_policy
    if policy is None:
        return None
    for number, rule in enumerate(policy.rules):
        counted = succeeded
        if rule.succeeded_indexes:
            wanted = job_indexes.parse(rule.succeeded_indexes, job.spec.completions or 0)
            counted = succeeded & wanted
            if rule.succeeded_count is None and counted == wanted:
                return number
        if rule.succeeded_count is not None and len(counted) >= rule.succeeded_count:
            return number
    return None


def _restarts_exceed_limit(job: Job, mine: Iterable[PodView]) -> bool:
    if job.spec.template.spec.restart_policy != "OnFailure":
        return False
    restarts = sum(
        status.restart_count
        for pod in mine
        if pod.status.phase in ("Running", "Pending")
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses)
    )
    limit = _backoff_limit(job)
    return restarts > 0 if limit == 0 else restarts >= limit


def _backoff_limit(job: Job) -> int:
    """How often a job may fail; the API server gives every job a limit."""
    return _DEFAULT_BACKOFF_LIMIT if job.spec.backoff_limit is None else job.spec.backoff_limit


def _judged(job: Job, pod: PodView) -> Ended:
    policy = job.spec.pod_failure_policy
    for number, rule in enumerate(policy.rules if policy is not None else ()):
        why = _match(rule, pod, number)
        if why:
            return Ended(pod, succeeded=False, action=rule.action, why=why)
    return Ended(pod, succeeded=False)


def _match(rule: PodFailurePolicyRule, pod: PodView, number: int) -> str:
    """Why the rule applies to the pod, in upstream's words; empty if it does not."""
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    codes = rule.on_exit_codes
    if codes is not None:
        for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
            terminated = status.state.terminated
            if terminated is None or terminated.exit_code == 0:
                continue
            if codes.container_name and codes.container_name != status.name:
                continue
            if (terminated.exit_code in codes.values) == (codes.operator == "In"):
                return (
                    f"Container {status.name} for pod {name} failed with exit code {terminated.exit_code} "
                    f"matching {rule.action} rule at index {number}"
                )
        return ""
    for pattern in rule.on_pod_conditions:
        if any(one.type == pattern.type and one.status == pattern.status for one in pod.status.conditions):
            return f"Pod {name} has condition {pattern.type} matching {rule.action} rule at index {number}"
    return ""
