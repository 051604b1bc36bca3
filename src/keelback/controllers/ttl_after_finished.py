"""The ttl-after-finished controller: deletes Jobs some time after they have finished, where they ask for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from keelback.api.batch_v1 import Job
from keelback.api.jobs import end_of
from keelback.apimachinery import errors
from keelback.client import Change
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Spread, powers
from keelback.reconcile.result import DONE, Result, again_after

DELETION = Spread(
    "ttl_after_finished_controller_job_deletion_duration_seconds",
    "The time it took to delete the job since it became eligible for deletion",
    buckets=powers(0.1, 2, 14),
)


def is_to_go(job: Job) -> bool:
    """Whether it has finished, and is to be deleted some time after that."""
    ttl = job.spec.ttl_seconds_after_finished
    return ttl is not None and job.metadata.deletion_timestamp is None and end_of(job) is not None


def seconds_left(job: Job, now: datetime) -> float | None:
    """Seconds until the Job may be deleted; None while it runs, or where it is to stay."""
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is None or job.metadata.deletion_timestamp is not None:
        return None
    end = end_of(job)
    if end is None or end.last_transition_time is None:
        return None
    return ttl - (now - end.last_transition_time).total_seconds()


@dataclass(frozen=True, slots=True)
class TTLAfterFinishedReconciler:
    """Deletes a Job, with its pods, when its time has come."""

    context: Context
    name: ClassVar = "ttl-after-finished-controller"
    role: ClassVar = "ttl-after-finished-controller"
    component: ClassVar = "ttl-after-finished-controller"
    kind: ClassVar = Job
    owns: ClassVar = ()

    def is_relevant(self, change: Change[Job]) -> bool:
        return is_to_go(change.object)

    async def reconcile(self, job: Job) -> Result:
        left = seconds_left(job, self.context.now())
        if left is None:
            return DONE
        if left > 0:
            return again_after(left)
        # The cache may be behind: the time to live may have been raised meanwhile.
        try:
            fresh = await self.context.client.get(Job, job.metadata.name, job.metadata.namespace)
        except errors.NotFound:
            return DONE
        left = seconds_left(fresh, self.context.now())
        if left is not None and left <= 0 and fresh.metadata.uid == job.metadata.uid:
            name, namespace, uid = job.metadata.name, job.metadata.namespace, job.metadata.uid
            await self.context.client.delete(Job, name, namespace, uid=uid, propagation_policy="Foreground")
            self.context.metrics.observe(DELETION, -left)
        return DONE
