"""CronJobs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from keelback.api.batch_v1 import CronJob, CronJobSpec
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.registry import cells, cron_schedules, disabled_fields, job_specs, job_warnings, pod_warnings
from keelback.registry.cells import NONE, since, wide
from keelback.registry.jobs import with_spec_defaults
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import number, text, validate_counts

_MAX_NAME_LENGTH = 52  # eleven characters of a job's suffix make it 63
_is_zone_part = re.compile(r"[A-Za-z.\-_0-9+]{1,14}").fullmatch
_CONCURRENCY_POLICIES = ("Allow", "Forbid", "Replace")


def _last_schedule(cron_job: CronJob, now: datetime) -> str:
    last = cron_job.status.last_schedule_time
    return NONE if last is None else since(last, now)


class CronJobStrategy(Strategy[CronJob]):
    kind = CronJob
    subresources = ("status",)
    columns = (
        text("Schedule", lambda one: one.spec.schedule),
        text("Timezone", lambda one: one.spec.time_zone or NONE),
        Column("Suspend", lambda one, _now: "True" if one.spec.suspend else "False", type="boolean"),
        number("Active", lambda one: len(one.status.active)),
        Column("Last Schedule", _last_schedule),
        AGE,
        wide("Containers", lambda one, _now: cells.container_names(one.spec.job_template.spec.template)),
        wide("Images", lambda one, _now: cells.images(one.spec.job_template.spec.template)),
        wide("Selector", lambda one, _now: cells.selector(one.spec.job_template.spec.selector)),
    )

    def prepare_for_create(self, new: CronJob) -> CronJob:
        return _without_disabled(super().prepare_for_create(new))

    def prepare_for_update(self, new: CronJob, old: CronJob) -> CronJob:
        return _without_disabled(super().prepare_for_update(new, old))

    def warnings(self, new: CronJob, old: CronJob | None) -> Iterable[str]:
        complaints = names.dns1123_label(new.metadata.name) if old is None else ()
        if complaints:
            yield (
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
                f"a DNS label is recommended: [{' '.join(complaints)}]"
            )
        if old is None or old.spec != new.spec:
            yield from job_warnings.of_spec(new.spec.job_template.spec, "spec.jobTemplate.spec")
            yield from pod_warnings.of_template(new.spec.job_template.spec.template, "spec.jobTemplate.spec.template")

    def validate(self, new: CronJob) -> Iterator[FieldError]:
        yield from _spec(new.spec, None)
        if len(new.metadata.name.encode()) > _MAX_NAME_LENGTH:
            yield invalid("metadata.name", new.metadata.name, names.max_length_error(_MAX_NAME_LENGTH))

    def validate_update(self, new: CronJob, old: CronJob) -> Iterator[FieldError]:
        # A name that was let in before the limit may stay.
        yield from _spec(new.spec, old.spec)

    def default(self, new: CronJob, old: CronJob | None = None) -> CronJob:
        job_template = new.spec.job_template
        spec = with_spec_defaults(job_template.spec)
        # Upstream's CronJob does not default its jobs: each job gets its defaults when it is made.
        spec = replace(job_template.spec, template=spec.template)
        metadata = job_template.metadata or ObjectMeta()
        return replace(new, spec=replace(new.spec, job_template=replace(job_template, metadata=metadata, spec=spec)))


def _spec(spec: CronJobSpec, old: CronJobSpec | None) -> Iterator[FieldError]:
    yield from _schedule(spec, old)
    yield from validate_counts(("spec.startingDeadlineSeconds", spec.starting_deadline_seconds))
    if spec.time_zone is not None and (old is None or spec.time_zone != old.time_zone):
        yield from _time_zone(spec.time_zone)
    if not spec.concurrency_policy:
        yield required("spec.concurrencyPolicy")
    elif spec.concurrency_policy not in _CONCURRENCY_POLICIES:
        yield not_supported("spec.concurrencyPolicy", spec.concurrency_policy, _CONCURRENCY_POLICIES)
    job = spec.job_template.spec
    yield from job_specs.validate(job, "spec.jobTemplate.spec")
    if job.selector is not None:
        yield invalid("spec.jobTemplate.spec.selector", job.selector, "`selector` will be auto-generated")
    if job.manual_selector:
        supported = ("nil", "false")
        yield not_supported("spec.jobTemplate.spec.manualSelector", True, supported, in_given_order=True)
    yield from validate_counts(
        ("spec.successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
        ("spec.failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    )


def _schedule(spec: CronJobSpec, old: CronJobSpec | None) -> Iterator[FieldError]:
    schedule = spec.schedule
    if not schedule:
        yield required("spec.schedule")
        return
    try:
        cron_schedules.check(_without_time_zone(schedule))
    except cron_schedules.ScheduleError as error:
        yield invalid("spec.schedule", schedule, str(error))
    if "TZ" not in schedule:
        return
    if old is None or "TZ" not in old.schedule:
        yield invalid("spec.schedule", schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead")
    elif spec.time_zone is not None:
        yield invalid("spec.schedule", schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule")


def _without_time_zone(schedule: str) -> str:
    """The schedule as its parser sees it: the time zone before it is another matter."""
    if schedule.startswith(("TZ=", "CRON_TZ=")):
        return schedule.partition(" ")[2].strip()
    return schedule


def _time_zone(zone: str) -> Iterator[FieldError]:
    if not zone:
        yield invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
        return
    if any(part in (".", "..") or part.startswith("-") or not _is_zone_part(part) for part in zone.split("/")):
        yield invalid("spec.timeZone", zone, f"unknown time zone {zone}")
        return
    if zone.lower() == "local":
        yield invalid(
            "spec.timeZone",
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        )
        if zone == "Local":
            return
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield invalid("spec.timeZone", zone, f"unknown time zone {zone}")


def _without_disabled(one: CronJob) -> CronJob:
    job = one.spec.job_template.spec
    template = disabled_fields.dropped_from_template(job.template)
    if template is job.template:
        return one
    job_template = replace(one.spec.job_template, spec=replace(job, template=template))
    return replace(one, spec=replace(one.spec, job_template=job_template))
