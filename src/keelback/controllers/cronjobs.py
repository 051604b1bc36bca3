"""The cronjob controller: makes Jobs at the times of a schedule, and forgets old ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from keelback.api import owners
from keelback.api.batch_v1 import CronJob, CronJobStatus, Job
from keelback.api.core_v1 import ObjectReference
from keelback.api.jobs import end_of
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers import cron_schedule
from keelback.controllers.pod_control import is_namespace_terminating
from keelback.reconcile import caches, patches
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Spread, powers
from keelback.reconcile.result import DONE, Result, again_after

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"

SKEW = Spread(
    "cronjob_controller_job_creation_skew_duration_seconds",
    "Time between when a cronjob is scheduled to be run, and when the corresponding job is created",
    buckets=powers(1, 2, 10),
)
_TOO_MANY_MISSED = 100
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Due:
    """The latest time that has come and was not acted on, how many were missed before it, and the next to come."""

    scheduled: datetime | None
    missed: int
    next: datetime | None


def due(cron_job: CronJob, schedule: cron_schedule.Schedule, now: datetime) -> Due:
    """What the schedule says at `now`, since the last time a Job was made."""
    earliest = cron_job.status.last_schedule_time or cron_job.metadata.creation_timestamp or now
    deadline = cron_job.spec.starting_deadline_seconds
    if deadline is not None:
        earliest = max(earliest, now - timedelta(seconds=deadline))
    found: datetime | None = None
    missed = -1
    upcoming = schedule.next_after(earliest)
    while upcoming is not None and upcoming <= now:
        found = upcoming
        missed += 1
        if missed > _TOO_MANY_MISSED:
            # After a long time away the schedule is caught up with from the end, not step by step.
            upcoming = schedule.next_after(max(upcoming, now - (upcoming - earliest) / missed * 2))
        else:
            upcoming = schedule.next_after(upcoming)
    return Due(found, max(0, missed), upcoming)


def finished(job: Job) -> str:
    """`Complete` or `Failed`, or empty for a Job that still runs."""
    end = end_of(job)
    return end.type if end is not None else ""


def old_jobs(cron_job: CronJob, jobs: Sequence[Job]) -> list[Job]:
    """The finished Jobs beyond what the history keeps, the oldest first."""
    result = []
    for outcome, limit in (
        ("Complete", cron_job.spec.successful_jobs_history_limit),
        ("Failed", cron_job.spec.failed_jobs_history_limit),
    ):
        matching = [job for job in jobs if finished(job) == outcome]
        matching.sort(key=lambda job: (job.status.start_time or _NEVER, job.metadata.name))
        result.extend(matching[: max(0, len(matching) - limit)])
    return result


def make_job(cron_job: CronJob, scheduled: datetime) -> Job:
    """The Job of one time; its name is made of the time, so that it cannot be made twice."""
    template = cron_job.spec.job_template
    meta = template.metadata or ObjectMeta()
    moment = scheduled.astimezone(cron_schedule.parse("* * * * *", cron_job.spec.time_zone).zone)
    annotations = {**meta.annotations, SCHEDULED: moment.isoformat().replace("+00:00", "Z")}
    return Job(
        metadata=ObjectMeta(
            name=f"{cron_job.metadata.name}-{int(scheduled.timestamp()) // 60}",
            namespace=cron_job.metadata.namespace,
            labels=meta.labels,
            annotations=annotations,
            owner_references=(owners.controller_reference(cron_job),),
        ),
        spec=template.spec,
    )


@dataclass(frozen=True, slots=True)
class CronJobReconciler:
    """Notes what has finished, cleans up, makes the Job that is due, and comes back at the next time."""

    context: Context
    name: ClassVar = "cronjob-controller"
    role: ClassVar = "cronjob-controller"
    component: ClassVar = "cronjob-controller"
    kind: ClassVar = CronJob
    owns: ClassVar = (Job,)

    async def reconcile(self, cron_job: CronJob) -> Result:
        if cron_job.metadata.deletion_timestamp is not None:
            return DONE
        jobs = caches.controlled_by(self.context.caches.index_by_controller(Job), cron_job)
        status = await self._observe(cron_job, jobs)
        for job in old_jobs(cron_job, jobs):
            await self._delete(cron_job, job)
        try:
            schedule = cron_schedule.parse(cron_job.spec.schedule, cron_job.spec.time_zone)
        except cron_schedule.TimeZoneError as error:
            message = f'invalid timeZone: "{cron_job.spec.time_zone}": {error}'
            await self.context.events.event(cron_job, "Warning", "UnknownTimeZone", message)
            await patches.write_status(self.context.client, cron_job, cron_job.status, status)
            return DONE
        except cron_schedule.ScheduleError as error:
            message = f'unparseable schedule: "{cron_job.spec.schedule}" : {error}'
            await self.context.events.event(cron_job, "Warning", "UnparseableSchedule", message)
            await patches.write_status(self.context.client, cron_job, cron_job.status, status)
            return DONE
        # To the microsecond: were it cut to the second, each Job would come up to a second later than its time.
        now = self.context.clock.now()
        found = due(cron_job, schedule, now)
        if not cron_job.spec.suspend and found.scheduled is not None:
            status = await self._start(cron_job, status, jobs, found, now)
        await patches.write_status(self.context.client, cron_job, cron_job.status, status)
        if cron_job.spec.suspend or found.next is None:
            return DONE
        # A little late rather than a little early: the clock may not have reached the minute yet.
        return again_after((found.next - now).total_seconds() + 0.1)

    async def _observe(self, cron_job: CronJob, jobs: Sequence[Job]) -> CronJobStatus:
        status = cron_job.status
        by_uid = {job.metadata.uid: job for job in jobs}
        active = []
        last_success = status.last_successful_time
        for reference in status.active:
            job = by_uid.get(reference.uid)
            if job is None:
                message = f"Active job went missing: {reference.name}"
                await self.context.events.event(cron_job, "Normal", "MissingJob", message)
            elif finished(job):
                message = f"Saw completed job: {job.metadata.name}, condition: {finished(job)}"
                await self.context.events.event(cron_job, "Normal", "SawCompletedJob", message)
            else:
                active.append(reference)
        known = {one.uid for one in status.active}
        for job in jobs:
            done = job.status.completion_time
            if finished(job) == "Complete" and done is not None and (last_success is None or done > last_success):
                last_success = done
            if not finished(job) and job.metadata.uid not in known:
                message = f"Saw a job that the controller did not create or forgot: {job.metadata.name}"
                await self.context.events.event(cron_job, "Warning", "UnexpectedJob", message)
        return replace(status, active=tuple(active), last_successful_time=last_success)

    async def _start(
        self, cron_job: CronJob, status: CronJobStatus, jobs: Sequence[Job], found: Due, now: datetime
    ) -> CronJobStatus:
        scheduled = found.scheduled
        assert scheduled is not None
        if found.missed > _TOO_MANY_MISSED:
            message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            await self.context.events.event(cron_job, "Warning", "TooManyMissedTimes", message)
        deadline = cron_job.spec.starting_deadline_seconds
        if deadline is not None and scheduled + timedelta(seconds=deadline) < now:
            message = f"Missed scheduled time to start a job: {scheduled:%a, %d %b %Y %H:%M:%S} +0000"
            await self.context.events.event(cron_job, "Warning", "MissSchedule", message)
            return status
        if status.active and cron_job.spec.concurrency_policy == "Forbid":
            message = "Not starting job because prior execution is running and concurrency policy is Forbid"
            await self.context.events.event(cron_job, "Normal", "JobAlreadyActive", message)
            return status
        if cron_job.spec.concurrency_policy == "Replace":
            running = {one.uid for one in status.active}
            for job in jobs:
                if job.metadata.uid in running:
                    await self._delete(cron_job, job)
            status = replace(status, active=())
        return await self._create(cron_job, status, scheduled)

    async def _create(self, cron_job: CronJob, status: CronJobStatus, scheduled: datetime) -> CronJobStatus:
        wanted = make_job(cron_job, scheduled)
        try:
            job = await self.context.client.create(wanted)
        except errors.AlreadyExists:
            job = await self.context.client.get(Job, wanted.metadata.name, wanted.metadata.namespace)
            if not owners.is_controlled_by(job, cron_job):
                raise
        except errors.StatusError as error:
            if is_namespace_terminating(error):
                return status
            await self.context.events.event(cron_job, "Warning", "FailedCreate", f"Error creating job: {error}")
            raise
        else:
            late = (job.metadata.creation_timestamp or self.context.now()) - scheduled
            self.context.metrics.observe(SKEW, late.total_seconds())
            message = f"Created job {job.metadata.name}"
            await self.context.events.event(cron_job, "Normal", "SuccessfulCreate", message)
        reference = ObjectReference(
            api_version="batch/v1",
            kind="Job",
            namespace=job.metadata.namespace,
            name=job.metadata.name,
            uid=job.metadata.uid,
            resource_version=job.metadata.resource_version,
        )
        held = tuple(one for one in status.active if one.uid != reference.uid)
        active = held if finished(job) else (*held, reference)
        return replace(status, active=active, last_schedule_time=scheduled)

    async def _delete(self, cron_job: CronJob, job: Job) -> None:
        metadata = job.metadata
        deleted = await self.context.client.delete(
            Job, metadata.name, metadata.namespace, uid=metadata.uid, propagation_policy="Background"
        )
        if deleted:
            message = f"Deleted job {metadata.name}"
            await self.context.events.event(cron_job, "Normal", "SuccessfulDelete", message)
