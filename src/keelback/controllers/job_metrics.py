"""What the job controller counts, by upstream's names."""

from __future__ import annotations

from collections.abc import Iterable

from keelback.api.batch_v1 import Job, JobCondition
from keelback.api.jobs import COMPLETE
from keelback.controllers import job_accounting
from keelback.controllers.job_accounting import Ended
from keelback.reconcile.controller_metrics import ControllerMetrics, Count, Work, powers

_MODE = "completion_mode"
SYNCS = Work(
    "job_controller_job_syncs_total",
    "The number of job syncs",
    "job_controller_job_sync_duration_seconds",
    "The time it took to sync a job",
    (_MODE, "result", "action"),
    powers(0.004, 2, 15),
)
FINISHED = Count("job_controller_jobs_finished_total", "The number of finished jobs", (_MODE, "result", "reason"))
PODS_FINISHED = Count(
    "job_controller_job_pods_finished_total", "The number of finished Pods that are fully tracked", (_MODE, "result")
)
INDEXES_FINISHED = Count(
    "job_controller_job_finished_indexes_total", "The number of finished indexes", ("status", "backoffLimit")
)
PODS_CREATED = Count(
    "job_controller_job_pods_creation_total",
    "`The number of Pods created by the Job controller labelled with a reason for the Pod creation.",
    ("reason", "status"),
)
POLICY_FAILURES = Count(
    "job_controller_pod_failures_handled_by_failure_policy_total",
    "`The number of failed Pods handled by failure policy with respect to the failure policy action applied based on "
    "the matched rule.",
    ("action",),
)
TRACKED = Count(
    "job_controller_terminated_pods_tracking_finalizer_total",
    "`The number of terminated pods (phase=Failed|Succeeded) that have the finalizer batch.kubernetes.io/job-tracking. "
    'The event label can be "add" or "delete".',
    ("event",),
)


def mode(job: Job) -> str:
    """How the Job's pods count, as metrics name it."""
    return "Indexed" if job_accounting.is_indexed(job) else "NonIndexed"


def count_ends(metrics: ControllerMetrics, job: Job, ended: Iterable[Ended]) -> None:
    """Pods that have ended, once they are noted in the status."""
    for one in ended:
        metrics.inc(PODS_FINISHED, mode(job), "succeeded" if one.succeeded else "failed")
        metrics.inc(TRACKED, "add")
        if one.action:
            metrics.inc(POLICY_FAILURES, one.action)


def count_indexes(metrics: ControllerMetrics, job: Job, succeeded: int, failed: int) -> None:
    """Indexes that are done now and were not before."""
    limit = "global" if job.spec.backoff_limit_per_index is None else "perIndex"
    for status, number in (("succeeded", succeeded), ("failed", failed)):
        if number > 0:
            metrics.inc(INDEXES_FINISHED, status, limit, amount=number)


def count_creations(metrics: ControllerMetrics, job: Job, made: int, refused: int, *, is_again: bool) -> None:
    """Pods that were made, or that nobody let be made; `is_again` where others have ended before."""
    reason = "new"
    if is_again:
        waits = job_accounting.replaces_only_failed(job)
        reason = "recreate_failed" if waits else "recreate_terminating_or_failed"
    for status, number in (("succeeded", made), ("failed", refused)):
        if number > 0:
            metrics.inc(PODS_CREATED, reason, status, amount=number)


def count_finish(metrics: ControllerMetrics, job: Job, outcome: JobCondition) -> None:
    """A Job that is at its end."""
    result = "succeeded" if outcome.type == COMPLETE else "failed"
    metrics.inc(FINISHED, mode(job), result, outcome.reason)
