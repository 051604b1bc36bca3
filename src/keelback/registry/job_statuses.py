"""What an update of a job's status may say: the path to its end is one way (KEP-4368).

What an old status already said wrong may stay; only what an update touches is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from keelback.api import conditions, job_indexes
from keelback.api.batch_v1 import Job, JobStatus, UncountedTerminatedPods
from keelback.apimachinery.errors import OMITTED, FieldError, duplicate, invalid, required
from keelback.registry.internal_forms import internal
from keelback.registry.workloads import validate_counts

_FOR_GOOD: Final = ("Failed", "Complete", "FailureTarget")


def validate_update(new: Job, old: Job) -> Iterator[FieldError]:
    """Everything that an update of a job's status says and may not."""
    after, before = new.status, old.status
    yield from validate_counts(
        ("status.active", after.active),
        ("status.succeeded", after.succeeded),
        ("status.failed", after.failed),
        ("status.ready", after.ready),
        ("status.terminating", after.terminating),
    )
    if after.uncounted_terminated_pods is not None:
        yield from _uncounted(after.uncounted_terminated_pods, "status.uncountedTerminatedPods")
    yield from _conditions(after, before)
    yield from _times(after, before)
    yield from _ends(after, before)
    yield from _of_finished(new, before)
    yield from _indexes(new, old)
    yield from _pods(after, before)
    yield from _criteria(new)
    yield from _changes(new, old)


def _is(status: JobStatus, condition: str) -> bool:
    return conditions.is_true(status.conditions, condition)


def _is_finished(status: JobStatus) -> bool:
    return _is(status, "Complete") or _is(status, "Failed")


def _uncounted(pods: UncountedTerminatedPods, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for field, uids in (("succeeded", pods.succeeded), ("failed", pods.failed)):
        for index, uid in enumerate(uids):
            if not uid:
                yield invalid(f"{path}.{field}[{index}]", uid, "must not be empty")
            elif uid in seen:
                yield duplicate(f"{path}.{field}[{index}]", uid)
            seen.add(uid)


def _wrong(why: str) -> FieldError:
    return invalid("status.conditions", OMITTED, why)


def _changed(after: JobStatus, before: JobStatus, *conditions: str) -> bool:
    return any(_is(after, name) != _is(before, name) for name in conditions)


def _conditions(after: JobStatus, before: JobStatus) -> Iterator[FieldError]:
    if not _is(after, "Complete"):
        return
    if _is(after, "Failed") and _changed(after, before, "Complete", "Failed"):
        yield _wrong("cannot set Complete=True and Failed=true conditions")
    if _is(after, "FailureTarget") and _changed(after, before, "Complete", "FailureTarget"):
        yield _wrong("cannot set Complete=True and FailureTarget=true conditions")


def _times(after: JobStatus, before: JobStatus) -> Iterator[FieldError]:
    path, start, end = "status.completionTime", after.start_time, after.completion_time
    complete = _is(after, "Complete")
    if complete != _is(before, "Complete") or end != before.completion_time:
        if end is not None and not complete:
            why = "cannot set completionTime when there is no Complete=True condition"
            yield invalid(path, _shown(end), why)
        if end is None and complete:
            yield required(path, "completionTime is required for Complete jobs")
    is_changed = (start, end) != (before.start_time, before.completion_time)
    if is_changed and start is not None and end is not None and end < start:
        yield invalid(path, _shown(end), "must be equal to or after `startTime`")


def _ends(after: JobStatus, before: JobStatus) -> Iterator[FieldError]:
    """A job says that it is about to end before it says that it has ended."""
    is_new_failure = _changed(after, before, "Failed", "FailureTarget")
    if is_new_failure and _is(after, "Failed") and not _is(after, "FailureTarget"):
        yield _wrong("cannot set Failed=True condition without the FailureTarget=true condition")
    is_new_success = _changed(after, before, "Complete", "SuccessCriteriaMet")
    if is_new_success and _is(after, "Complete") and not _is(after, "SuccessCriteriaMet"):
        yield _wrong("cannot set Complete=True condition without the SuccessCriteriaMet=true condition")


def _of_finished(new: Job, before: JobStatus) -> Iterator[FieldError]:
    after = new.status
    if not _is_finished(after):
        return
    # A suspended job of nothing at all is complete without ever having started.
    may_lack_start = new.spec.suspend and new.spec.completions == 0
    is_new = not _is_finished(before)
    uncounted = after.uncounted_terminated_pods or UncountedTerminatedPods()
    if after.active > 0 and (is_new or after.active != before.active):
        yield invalid("status.active", after.active, "active>0 is invalid for finished job")
    if after.start_time is None and not may_lack_start and (is_new or before.start_time is not None):
        yield required("status.startTime", "startTime is required for finished job")
    is_new_count = is_new or uncounted != before.uncounted_terminated_pods
    if is_new_count and (uncounted.failed or uncounted.succeeded):
        yield invalid("status.uncountedTerminatedPods", internal(uncounted), "must be empty for finished job")


def _indexes(new: Job, old: Job) -> Iterator[FieldError]:
    spec, after, before = new.spec, new.status, old.status
    completed, failed = after.completed_indexes, after.failed_indexes
    for field, text, is_changed, is_read in (
        ("completedIndexes", completed, completed != before.completed_indexes, True),
        ("failedIndexes", failed, failed != before.failed_indexes, spec.backoff_limit_per_index is not None),
    ):
        if is_changed and is_read and spec.completions is not None:
            try:
                job_indexes.count(text, spec.completions)
            except job_indexes.IndexesError as error:
                yield invalid(f"status.{field}", text, f"error parsing {field}: {error}")
    if completed and completed != before.completed_indexes and spec.completion_mode != "Indexed":
        why = "cannot set non-empty completedIndexes when non-indexed completion mode"
        yield invalid("status.completedIndexes", completed, why)
    if failed and failed != before.failed_indexes and spec.backoff_limit_per_index is None:
        why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        yield invalid("status.failedIndexes", failed, why)
    if spec.completions is not None and (completed, failed) != (before.completed_indexes, before.failed_indexes):
        shared = job_indexes.overlap(completed, failed, spec.completions)
        if shared is not None:
            why = f"failedIndexes and completedIndexes overlap at index: {shared}"
            yield invalid("status.failedIndexes", failed, why)


def _pods(after: JobStatus, before: JobStatus) -> Iterator[FieldError]:
    is_changed = _is_finished(before) != _is_finished(after) or after.terminating != before.terminating
    if is_changed and after.terminating and _is_finished(after):
        yield invalid("status.terminating", after.terminating, "terminating>0 is invalid for finished job")
    is_changed = (after.ready, after.active) != (before.ready, before.active)
    if is_changed and after.ready is not None and after.ready > after.active:
        yield invalid("status.ready", after.ready, "cannot set more ready pods than active")


def _criteria(new: Job) -> Iterator[FieldError]:
    """What an old status said wrong of them may not stay."""
    if _is(new.status, "SuccessCriteriaMet"):
        for condition, shown in (("Failed", "Failed=true"), ("FailureTarget", "FailureTarget=true")):
            if _is(new.status, condition):
                yield _wrong(f"cannot set SuccessCriteriaMet=True and {shown} conditions")
    elif new.spec.success_policy is not None and _is(new.status, "Complete"):
        yield _wrong("cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True")


def _changes(new: Job, old: Job) -> Iterator[FieldError]:
    after, before = new.status, old.status
    for condition in _FOR_GOOD:
        if _is(before, condition) and not _is(after, condition):
            yield _wrong(f"cannot disable the terminal {condition}=True condition")
    if after.failed < before.failed:
        yield invalid("status.failed", after.failed, "cannot decrease the failed counter")
    # A job of as many pods at a time as in all can be scaled down.
    is_elastic = new.spec.completion_mode == "Indexed" and new.spec.completions == new.spec.parallelism
    if after.succeeded < before.succeeded and not is_elastic:
        yield invalid("status.succeeded", after.succeeded, "cannot decrease the succeeded counter")
    end, ended = after.completion_time, before.completion_time
    if end is not None and ended is not None and end != ended:
        yield invalid("status.completionTime", _shown(end), "field is immutable")
    if before.start_time is not None and after.start_time != before.start_time and not new.spec.suspend:
        yield required("status.startTime", "startTime cannot be removed for unsuspended job")
    if _is(before, "SuccessCriteriaMet") and not _is(after, "SuccessCriteriaMet"):
        yield _wrong("cannot disable the SuccessCriteriaMet=True condition")
    if _is(before, "Complete") and not _is(before, "SuccessCriteriaMet") and _is(after, "SuccessCriteriaMet"):
        yield _wrong("cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions")


def _shown(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
