"""CronJobs."""

from __future__ import annotations

from datetime import datetime

from keelback.api.batch_v1 import CronJob
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.registry import cells
from keelback.registry.cells import NONE, since, wide
from keelback.registry.jobs import with_spec_defaults
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import number, text


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

    def default(self, new: CronJob, old: CronJob | None = None) -> CronJob:
        job_template = new.spec.job_template
        spec = with_spec_defaults(job_template.spec)
        # Upstream's CronJob does not default its jobs: each job gets its defaults when it is made.
        spec = replace(job_template.spec, template=spec.template)
        metadata = job_template.metadata or ObjectMeta()
        return replace(new, spec=replace(new.spec, job_template=replace(job_template, metadata=metadata, spec=spec)))
