"""What one asks of a Job. Shared by the controllers, so that they cannot disagree."""

from __future__ import annotations

from typing import Final

from keelback.api.batch_v1 import Job, JobCondition

COMPLETE: Final = "Complete"
FAILED: Final = "Failed"


def end_of(job: Job) -> JobCondition | None:
    """The condition that says that the Job is over and how, by its type; None while it runs."""
    for condition in job.status.conditions:
        if condition.type in (COMPLETE, FAILED) and condition.status == "True":
            return condition
    return None


def is_finished(job: Job) -> bool:
    """Whether the Job is over, one way or the other."""
    return end_of(job) is not None
