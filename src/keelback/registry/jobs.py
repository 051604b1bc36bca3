"""Jobs: each gets a selector of its own from its uid, and labels on its pods to match."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

import msgspec

from keelback.api import conditions
from keelback.api.batch_v1 import Job, JobSpec
from keelback.apimachinery import labels, names
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.apimachinery.meta import LabelSelector, ObjectMeta, replace, with_metadata
from keelback.registry import (
    disabled_fields,
    job_specs,
    job_statuses,
    job_warnings,
    label_selectors,
    pod_specs,
    pod_warnings,
)
from keelback.registry.strategy import AGE, Column, Strategy, human_duration
from keelback.registry.workloads import CONTAINERS, IMAGES, SELECTOR, text, validate_selected

CONTROLLER_UID_LABEL = "batch.kubernetes.io/controller-uid"
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
_LEGACY_CONTROLLER_UID_LABEL = "controller-uid"
_LEGACY_JOB_NAME_LABEL = "job-name"
_BACKOFF_LIMIT = 6
_MAX_INT32 = 2**31 - 1


class _Status(msgspec.Struct, frozen=True):
    succeeded: int = 0


class JobFields(msgspec.Struct, frozen=True):
    """What jobs can be selected by."""

    status: _Status = _Status()


def _completions(job: Job) -> str:
    spec = job.spec
    if spec.completions is not None:
        return f"{job.status.succeeded}/{spec.completions}"
    parallelism = spec.parallelism or 0
    return f"{job.status.succeeded}/1 of {parallelism}" if parallelism > 1 else f"{job.status.succeeded}/1"


def _state(job: Job) -> str:
    held = job.status.conditions
    for condition, word in (
        ("Complete", "Complete"),
        ("Failed", "Failed"),
    ):
        if conditions.is_true(held, condition):
            return word
    if job.metadata.deletion_timestamp is not None:
        return "Terminating"
    if conditions.is_true(held, "Suspended"):
        return "Suspended"
    if conditions.is_true(held, "FailureTarget"):
        return "FailureTarget"
    return "SuccessCriteriaMet" if conditions.is_true(held, "SuccessCriteriaMet") else "Running"


def _duration(job: Job, now: datetime) -> str:
    started, ended = job.status.start_time, job.status.completion_time
    if started is None:
        return ""
    return human_duration(((ended or now) - started).total_seconds())


class JobStrategy(Strategy[Job]):
    kind = Job
    checks_metadata_as_new = True
    subresources = ("status",)
    orphans_by_default = True
    columns = (
        text("Status", _state),
        text("Completions", _completions),
        Column("Duration", _duration),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    )
    field_type: ClassVar[type[msgspec.Struct]] = JobFields
    field_names = ("status.successful",)

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {"status.successful": str(narrow.status.succeeded)}

    def default(self, new: Job, old: Job | None = None) -> Job:
        spec = with_spec_defaults(new.spec)
        if spec.manual_selector is None:
            spec = replace(spec, manual_selector=False)
        if spec is not new.spec:
            new = replace(new, spec=spec)
        return _with_labels_of_template(new)

    def prepare_for_create(self, new: Job) -> Job:
        new = _without_disabled(super().prepare_for_create(new))
        return _with_labels_of_template(_with_generated_selector(new))

    def prepare_for_update(self, new: Job, old: Job) -> Job:
        return _without_disabled(super().prepare_for_update(new, old))

    def warnings(self, new: Job, old: Job | None) -> Iterable[str]:
        complaints = names.dns1123_label(new.metadata.name) if old is None else ()
        if complaints:
            yield (
                "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
                f"a DNS label is recommended: [{' '.join(complaints)}]"
            )
        if old is None or old.spec != new.spec:
            yield from job_warnings.of_spec(new.spec, "spec")
            yield from pod_warnings.of_template(new.spec.template, "spec.template")

    def validate(self, new: Job) -> Iterator[FieldError]:
        yield from _generated(new)
        yield from _spec(new.spec)
        completions = new.spec.completions
        if new.spec.completion_mode == "Indexed" and completions is not None and completions > 0:
            hostname = f"{new.metadata.name}-{completions - 1}"
            if names.dns1123_label(hostname):
                why = f"will not able to create pod with invalid DNS label: {hostname}"
                yield invalid("metadata.name", new.metadata.name, why)

    def validate_update(self, new: Job, old: Job) -> Iterator[FieldError]:
        yield from self.validate(new)
        yield from _spec(new.spec)
        yield from job_specs.validate_update(new, old)

    def validate_status_update(self, new: Job, old: Job) -> Iterator[FieldError]:
        yield from job_statuses.validate_update(new, old)


def _spec(spec: JobSpec) -> Iterator[FieldError]:
    yield from job_specs.validate(spec, "spec")
    if spec.selector is None:
        yield required("spec.selector")
    yield from label_selectors.validate(spec.selector, "spec.selector")
    yield from validate_selected(spec.template, spec.selector)


def _generated(job: Job) -> Iterator[FieldError]:
    """What is wrong with labels and selector that were not made by hand, but spoilt by it."""
    if job.spec.manual_selector or job.spec.selector is None:
        return
    if not job.metadata.uid:
        yield required("metadata.uid")
    wanted = _generated_labels(job)
    metadata = job.spec.template.metadata or ObjectMeta()
    for key in (_LEGACY_CONTROLLER_UID_LABEL, _LEGACY_JOB_NAME_LABEL, CONTROLLER_UID_LABEL, JOB_NAME_LABEL):
        where, why = f"spec.template.metadata.labels[{key}]", f"must be '{wanted[key]}'"
        if key not in metadata.labels:
            yield required(where, why)
        elif metadata.labels[key] != wanted[key]:
            yield invalid(where, dict(metadata.labels), why)
    try:
        matches = labels.from_label_selector(job.spec.selector).matches(wanted)
    except labels.LabelSelectorError:
        return
    if not matches:
        yield invalid("spec.selector", job.spec.selector, "`selector` not auto-generated")


def _generated_labels(job: Job) -> dict[str, str]:
    uid, name = job.metadata.uid, job.metadata.name
    return {
        CONTROLLER_UID_LABEL: uid,
        JOB_NAME_LABEL: name,
        _LEGACY_CONTROLLER_UID_LABEL: uid,
        _LEGACY_JOB_NAME_LABEL: name,
    }


def _without_disabled(job: Job) -> Job:
    template = disabled_fields.dropped_from_template(job.spec.template)
    return job if template is job.spec.template else replace(job, spec=replace(job.spec, template=template))


def with_spec_defaults(spec: JobSpec) -> JobSpec:
    """A job's spec with the defaults that depend on other fields; also for the template of a CronJob's jobs."""
    changes: dict[str, Any] = {}
    if spec.completions is None and spec.parallelism is None:
        changes |= {"completions": 1, "parallelism": 1}
    elif spec.parallelism is None:
        changes["parallelism"] = 1
    if spec.backoff_limit is None:
        changes["backoff_limit"] = _BACKOFF_LIMIT if spec.backoff_limit_per_index is None else _MAX_INT32
    if spec.completion_mode is None:
        changes["completion_mode"] = "NonIndexed"
    if spec.suspend is None:
        changes["suspend"] = False
    if spec.pod_replacement_policy is None:
        changes["pod_replacement_policy"] = "Failed" if spec.pod_failure_policy else "TerminatingOrFailed"
    template = pod_specs.with_template_defaults(spec.template)
    if template is not spec.template:
        changes["template"] = template
    return replace(spec, **changes) if changes else spec


def _with_labels_of_template(job: Job) -> Job:
    own = job.spec.template.metadata.labels if job.spec.template.metadata else {}
    return with_metadata(job, labels=own) if own and not job.metadata.labels else job


def _with_generated_selector(job: Job) -> Job:
    """Upstream's generateSelector: the uid selects, and the labels of old are kept beside the new ones."""
    uid = job.metadata.uid
    if job.spec.manual_selector or not uid:
        return job
    template = job.spec.template
    metadata = template.metadata or ObjectMeta()
    own = {**_generated_labels(job), **metadata.labels}
    selector = job.spec.selector or LabelSelector()
    selector = replace(selector, match_labels={CONTROLLER_UID_LABEL: uid, **selector.match_labels})
    template = replace(template, metadata=replace(metadata, labels=own))
    return replace(job, spec=replace(job.spec, template=template, selector=selector))
