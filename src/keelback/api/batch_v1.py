"""The types of batch/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from typing import Annotated

from keelback.api.core_v1 import ObjectReference, PodTemplateSpec
from keelback.apimachinery.meta import (
    Atomic,
    LabelSelector,
    ListSet,
    Merge,
    Object,
    ObjectMeta,
    Time,
    Value,
    defaulted,
    kind,
    written,
)


class JobSpec(Value):
    active_deadline_seconds: int | None = None
    backoff_limit: int | None = None
    backoff_limit_per_index: int | None = None
    completion_mode: str | None = None
    completions: int | None = None
    managed_by: str | None = None
    manual_selector: bool | None = None
    max_failed_indexes: int | None = None
    parallelism: int | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    pod_replacement_policy: str | None = None
    selector: Annotated[LabelSelector | None, Atomic()] = None
    success_policy: SuccessPolicy | None = None
    suspend: bool | None = None
    template: PodTemplateSpec = written(PodTemplateSpec())
    ttl_seconds_after_finished: int | None = None


class JobTemplateSpec(Value):
    metadata: ObjectMeta | None = None
    spec: JobSpec = written(JobSpec())


class CronJobSpec(Value):
    concurrency_policy: str = defaulted("Allow")
    failed_jobs_history_limit: int = written(1)
    job_template: JobTemplateSpec = written(JobTemplateSpec())
    schedule: str = written("")
    starting_deadline_seconds: int | None = None
    successful_jobs_history_limit: int = written(3)
    suspend: bool = written(False)
    time_zone: str | None = None


class CronJobStatus(Value):
    active: tuple[ObjectReference, ...] = ()
    last_schedule_time: Time | None = None
    last_successful_time: Time | None = None


@kind("batch/v1", "cronjobs", short_names=("cj",), categories=("all",))
class CronJob(Object):
    spec: CronJobSpec = written(CronJobSpec())
    status: CronJobStatus = written(CronJobStatus())


class JobStatus(Value):
    active: int = 0
    completed_indexes: str = ""
    completion_time: Time | None = None
    conditions: Annotated[tuple[JobCondition, ...], Merge("type"), Atomic()] = ()
    failed: int = 0
    failed_indexes: str = ""
    ready: int | None = None
    start_time: Time | None = None
    succeeded: int = 0
    terminating: int | None = None
    uncounted_terminated_pods: UncountedTerminatedPods | None = None


@kind("batch/v1", "jobs", categories=("all",))
class Job(Object):
    spec: JobSpec = written(JobSpec())
    status: JobStatus = written(JobStatus())


class JobCondition(Value):
    last_probe_time: Time | None = written(None)
    last_transition_time: Time | None = written(None)
    message: str = ""
    reason: str = ""
    status: str = written("")
    type: str = written("")


class PodFailurePolicy(Value):
    rules: tuple[PodFailurePolicyRule, ...] = written(())


class PodFailurePolicyOnExitCodesRequirement(Value):
    container_name: str = ""
    operator: str = written("")
    values: Annotated[tuple[int, ...], ListSet()] = written(())


class PodFailurePolicyOnPodConditionsPattern(Value):
    status: str = defaulted("True")
    type: str = written("")


class PodFailurePolicyRule(Value):
    action: str = written("")
    on_exit_codes: PodFailurePolicyOnExitCodesRequirement | None = None
    on_pod_conditions: tuple[PodFailurePolicyOnPodConditionsPattern, ...] = ()


class SuccessPolicy(Value):
    rules: tuple[SuccessPolicyRule, ...] = written(())


class SuccessPolicyRule(Value):
    succeeded_count: int | None = None
    succeeded_indexes: str | None = None


class UncountedTerminatedPods(Value):
    failed: Annotated[tuple[str, ...], ListSet()] = ()
    succeeded: Annotated[tuple[str, ...], ListSet()] = ()
