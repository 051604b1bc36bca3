"""How a Job ended is said by one condition."""

from __future__ import annotations

from keelback.api import jobs
from keelback.api.batch_v1 import Job, JobCondition, JobSpec, JobStatus
from keelback.api.core_v1 import PodTemplateSpec
from keelback.apimachinery.meta import ObjectMeta


def job(*conditions: tuple[str, str]) -> Job:
    found = tuple(JobCondition(type=type, status=status) for type, status in conditions)
    spec = JobSpec(template=PodTemplateSpec())
    return Job(metadata=ObjectMeta(name="sum"), spec=spec, status=JobStatus(conditions=found))


def test_only_complete_and_failed_end_a_job() -> None:
    assert not jobs.is_finished(job(("SuccessCriteriaMet", "True"), ("FailureTarget", "True"), ("Suspended", "True")))
    assert not jobs.is_finished(job((jobs.COMPLETE, "False")))
    for type in (jobs.COMPLETE, jobs.FAILED):
        end = jobs.end_of(job(("Suspended", "False"), (type, "True")))
        assert end is not None
        assert end.type == type
