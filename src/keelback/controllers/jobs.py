"""The job controller: runs pods until enough have succeeded, or too many have failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

from keelback.api import conditions, job_indexes, owners, pods
from keelback.api.batch_v1 import Job, JobCondition, JobStatus, UncountedTerminatedPods
from keelback.api.core_v1 import EnvVar, EnvVarSource, ObjectFieldSelector, Pod
from keelback.api.jobs import COMPLETE, FAILED, is_finished
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, replace
from keelback.client import MergePatch
from keelback.controllers import adoption, job_accounting, job_metrics, replicas
from keelback.controllers.job_accounting import FINALIZER, INDEX, INDEX_FAILURES, Ended, Failure
from keelback.controllers.observed import PodView
from keelback.controllers.pod_control import BURST, create_pods, delete_pods, pod_from_template
from keelback.reconcile import caches, patches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result, again_after

SUSPENDED = "Suspended"
FAILURE_TARGET, SUCCESS_CRITERIA_MET = "FailureTarget", "SuccessCriteriaMet"
_CONTROLLER = "kubernetes.io/job-controller"

#: The index of pods that wait to be counted, by the key of the Job they name.
_TRACKED = "tracked-by-job"


@dataclass(frozen=True, slots=True)
class Plan:
    """Pods to make (for an Indexed Job: for these indexes), or pods to delete."""

    create: int = 0
    indexes: tuple[int, ...] = ()
    delete: tuple[PodView, ...] = ()
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Tally:
    """What has become of a Job's pods, those counted now included."""

    succeeded: int
    failed: int
    succeeded_indexes: frozenset[int]
    failed_indexes: frozenset[int]


def plan(
    job: Job,
    tally: Tally,
    active: Sequence[PodView],
    terminating: int,
    wait: float,
    now: datetime,
    waits: Mapping[int, float] = MappingProxyType({}),
) -> Plan:
    """Decide how many pods to run: as many as may run at once, but no more than are still needed.

    After failures all wait for so long, or, where indexes fail for themselves, those of `waits`.
    """
    spec = job.spec
    if spec.suspend:
        return Plan(delete=tuple(active))
    parallelism = 1 if spec.parallelism is None else spec.parallelism
    if spec.completions is None:
        wanted = min(len(active), parallelism) if tally.succeeded > 0 else parallelism
    else:
        done = tally.succeeded + len(tally.failed_indexes)
        wanted = max(0, min(spec.completions - done, parallelism))
    rank = replicas.deletion_rank(active, now)
    if job_accounting.is_indexed(job):
        unwanted = _needless(job, tally, active)
        if unwanted:
            return Plan(delete=tuple(unwanted))
    if len(active) > wanted:
        return Plan(delete=tuple(sorted(active, key=rank)[: len(active) - wanted]))
    missing = wanted - len(active)
    if job_accounting.replaces_only_failed(job):
        missing -= terminating
    if missing <= 0:
        return Plan()
    if wait > 0:
        return Plan(wait_seconds=wait)
    missing = min(missing, BURST)
    if not job_accounting.is_indexed(job):
        return Plan(create=missing)
    taken = {job_accounting.index_of(pod) for pod in active} | tally.succeeded_indexes | tally.failed_indexes
    free = (index for index in range(spec.completions or 0) if index not in taken and index not in waits)
    indexes = tuple(index for index, _ in zip(free, range(missing), strict=False))
    left = min((seconds for index, seconds in waits.items() if index not in taken), default=0.0)
    return Plan(create=len(indexes), indexes=indexes, wait_seconds=left)


def is_foreign(job: Job) -> bool:
    """Whether another controller looks after the Job."""
    return job.spec.managed_by not in (None, "", _CONTROLLER)


def make_pod(job: Job, index: int | None, failures: int) -> Pod:
    """A pod of the Job's, tracked until it has been counted."""
    if index is None:
        return pod_from_template(job.spec.template, job, finalizers=(FINALIZER,))
    labels = {INDEX: str(index)}
    annotations = dict(labels)
    if job.spec.backoff_limit_per_index is not None:
        annotations[INDEX_FAILURES] = str(failures)
    pod = pod_from_template(job.spec.template, job, labels=labels, annotations=annotations, finalizers=(FINALIZER,))
    selector = ObjectFieldSelector(api_version="v1", field_path=f"metadata.labels['{INDEX}']")
    variable = EnvVar(name="JOB_COMPLETION_INDEX", value_from=EnvVarSource(field_ref=selector))
    pod = pods.with_containers(
        pod,
        lambda one: (
            one if any(held.name == variable.name for held in one.env) else replace(one, env=(*one.env, variable))
        ),
    )
    metadata = replace(pod.metadata, generate_name=f"{job.metadata.name[:50]}-{index}-")
    spec = pod.spec if pod.spec.hostname else replace(pod.spec, hostname=f"{job.metadata.name}-{index}"[:63])
    return replace(pod, metadata=metadata, spec=spec)


@dataclass(frozen=True, slots=True)
class JobReconciler:
    """Counts what has ended, decides whether that is enough, and runs what is missing."""

    context: Context
    name: ClassVar = "job-controller"
    role: ClassVar = "job-controller"
    component: ClassVar = "job-controller"
    kind: ClassVar = Job
    owns: ClassVar = (PodView,)

    def may_adopt(self, job: Job, pod: Object) -> bool:
        return not is_foreign(job) and adoption.by_selector(job.spec.selector)(pod.metadata.labels)

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(PodView, _TRACKED, _job_of_tracked)
        return (Source(PodView, _job_of_tracked),)

    async def reconcile(self, job: Job) -> Result:
        if is_foreign(job):
            return DONE
        metrics, clock = self.context.metrics, self.context.clock
        started = clock.monotonic()
        labels = (job_metrics.mode(job), "error", "reconciling")
        try:
            result, action = await self._sync(job)
            labels = (labels[0], "success", action)
            return result
        finally:
            metrics.done(job_metrics.SYNCS, clock.monotonic() - started, *labels)

    async def _sync(self, job: Job) -> tuple[Result, str]:
        """What is to be done next, and what was done now, as metrics name it."""
        await self._untrack(self._of_namesakes(job))
        mine = await self._observe(job)
        if is_finished(job) or job.metadata.deletion_timestamp is not None:
            await self._untrack([pod for pod in mine if job_accounting.is_tracked(pod)])
            return DONE, "tracking"
        current = self._started(job)
        ended = job_accounting.newly_ended(current, mine)
        tally = _tally(current, ended)
        verdict = self._verdict(current, tally, ended, mine)
        active = [pod for pod in mine if pods.is_active(pod)]
        terminating = [pod for pod in mine if pods.is_terminating(pod) and not pods.is_terminal(pod)]
        if verdict is None:
            wait, waits, now = 0.0, {}, self.context.now()
            if job.spec.backoff_limit_per_index is None:
                wait = job_accounting.backoff_left(current, mine, now)
            else:
                waits = job_accounting.index_backoffs(current, mine, now)
            decided = plan(current, tally, active, len(terminating), wait, now, waits)
        else:
            # Whatever the end is, what still runs is needed no longer.
            decided = Plan(delete=tuple(active))
        if verdict is None or verdict.type != FAILURE_TARGET:
            # What is deleted because it is not needed has not failed; what a failing Job takes down has.
            await self._untrack([pod for pod in decided.delete if job_accounting.is_tracked(pod)])
        made, failure = await self._carry_out(current, decided, mine)
        number_active = len(active) + made - len(decided.delete)
        status = self._counted(current, tally, verdict, ended)
        status = replace(
            status,
            active=max(0, number_active),
            ready=sum(pods.is_ready(pod) for pod in active if pod not in decided.delete),
            terminating=len(terminating) + len(decided.delete),
        )
        await self._report(job, current, status, tally, ended, mine, verdict)
        if failure is not None:
            raise failure
        did = "pods_created" if made else "pods_deleted" if decided.delete else "tracking" if ended else "reconciling"
        return self._next(current, decided), did

    async def reconcile_absence(self, namespace: str, name: str) -> Result:
        """Pods of a Job that was deleted wait for nobody to count them."""

        def is_left(pod: PodView) -> bool:
            reference = owners.controller_of(pod)
            # One that was orphaned with the Job has no reference any more, and would wait for ever.
            return reference is None or (reference.kind == "Job" and reference.name == name)

        tracked = filter(job_accounting.is_tracked, self.context.caches.store(PodView).list(namespace))
        await self._untrack([pod for pod in tracked if is_left(pod)])
        return DONE

    def _of_namesakes(self, job: Job) -> list[PodView]:
        """Tracked pods of a Job that had this name before: nobody else will ever let them go."""
        store = self.context.caches.index(PodView, _TRACKED, _job_of_tracked)
        tracked = store.by_index(_TRACKED, (job.metadata.namespace, job.metadata.name))
        return [pod for pod in tracked if not owners.is_controlled_by(pod, job)]

    async def _observe(self, job: Job) -> list[PodView]:
        store = self.context.caches.index_by_controller(PodView)
        if job.spec.selector is None:
            # The API server gives every Job a selector. Were one without to select nothing, it would let its pods go
            # and make others, over and over.
            return caches.controlled_by(store, job)
        selects = adoption.by_selector(job.spec.selector)
        return await adoption.claim(self.context.client, job, selects, store, (FINALIZER,))

    def _started(self, job: Job) -> Job:
        """The Job with its start time and its being suspended or resumed noted."""
        now, status = self.context.now(), job.status
        is_suspended = bool(job.spec.suspend)
        if is_suspended != conditions.is_true(status.conditions, SUSPENDED):
            word = "Suspended" if is_suspended else "Resumed"
            said = _condition(SUSPENDED, str(is_suspended), f"Job{word}", f"Job {word.lower()}", now)
            found = conditions.set_in_place(status.conditions, said)
            status = replace(status, conditions=found, start_time=None if is_suspended else now)
        elif not is_suspended and status.start_time is None:
            status = replace(status, start_time=now)
        return replace(job, status=status)

    def _verdict(self, job: Job, tally: Tally, ended: Sequence[Ended], mine: Sequence[PodView]) -> JobCondition | None:
        """The condition that says how the Job will end, once that is decided."""
        for type in (FAILURE_TARGET, SUCCESS_CRITERIA_MET):
            held = conditions.find(job.status.conditions, type)
            if held is not None and held.status == "True":
                return held
        now = self.context.now()
        failed_indexes = set(tally.failed_indexes)
        failure = job_accounting.find_failure(job, tally.failed, ended, mine, failed_indexes, now)
        completions = job.spec.completions
        if failure is None and job_accounting.is_indexed(job) and completions is not None:
            rule = job_accounting.matched_success_rule(job, set(tally.succeeded_indexes))
            if rule is not None:
                message = f"Matched rules at index {rule}"
                return _condition(SUCCESS_CRITERIA_MET, "True", "SuccessPolicy", message, now)
            if failed_indexes and len(failed_indexes) + tally.succeeded >= completions:
                failure = Failure("FailedIndexes", "Job has failed indexes")
        if failure is not None:
            return _condition(FAILURE_TARGET, "True", failure.reason, failure.message, now)
        if _has_enough(job, tally, mine):
            message = "Reached expected number of succeeded pods"
            return _condition(SUCCESS_CRITERIA_MET, "True", "CompletionsReached", message, now)
        return None

    async def _carry_out(
        self, job: Job, decided: Plan, mine: Sequence[PodView]
    ) -> tuple[int, errors.StatusError | None]:
        failed = job_accounting.last_failures(job, mine).items()
        failures = {index: job_accounting.index_failures(pod) + 1 for index, pod in failed}
        if job_accounting.is_indexed(job):
            wanted = [make_pod(job, index, failures.get(index, 0)) for index in decided.indexes]
        else:
            wanted = [make_pod(job, None, 0) for _ in range(decided.create)]
        made = await create_pods(self.context, job, wanted)
        is_again = bool(failures) or job.status.failed > 0
        refused = len(wanted) - made.count if made.error is not None else 0
        job_metrics.count_creations(self.context.metrics, job, made.count, refused, is_again=is_again)
        deleted = await delete_pods(self.context, job, decided.delete)
        return made.count, made.error or deleted.error

    def _counted(self, job: Job, tally: Tally, verdict: JobCondition | None, ended: Sequence[Ended]) -> JobStatus:
        """The status with the ends noted as uncounted: they count once no finalizer shows them again."""
        held = job.status.uncounted_terminated_pods or UncountedTerminatedPods()
        failed = [one.pod.metadata.uid for one in ended if one.counts_as_failed]
        # The indexes of an Indexed Job are a set: nothing in it can be counted twice.
        is_indexed = job_accounting.is_indexed(job)
        succeeded = [one.pod.metadata.uid for one in ended if one.succeeded and not is_indexed]
        found = job.status.conditions
        if verdict is not None:
            found = conditions.set_in_place(found, verdict)
        status = replace(
            job.status,
            conditions=found,
            uncounted_terminated_pods=UncountedTerminatedPods(
                succeeded=(*held.succeeded, *succeeded), failed=(*held.failed, *failed)
            ),
        )
        if is_indexed:
            status = replace(
                status,
                succeeded=len(tally.succeeded_indexes),
                completed_indexes=job_indexes.written(tally.succeeded_indexes),
            )
            if job.spec.backoff_limit_per_index is not None:
                status = replace(status, failed_indexes=job_indexes.written(tally.failed_indexes))
        return status

    async def _report(
        self,
        original: Job,
        current: Job,
        status: JobStatus,
        tally: Tally,
        ended: Sequence[Ended],
        mine: Sequence[PodView],
        verdict: JobCondition | None,
    ) -> None:
        """Note the ends, let the pods go, count them, and when nothing is left to count say how the Job ended."""
        uncounted = status.uncounted_terminated_pods or UncountedTerminatedPods()
        noted = {*uncounted.succeeded, *uncounted.failed}
        going = {one.pod.metadata.uid for one in ended} | noted
        # Counts are added to what is there. An answer that was lost leaves the cache behind: from a Job that has
        # changed since nothing may be counted.
        version = original.metadata.resource_version
        if noted:
            held = original.status
            written = await patches.write_status(self.context.client, original, held, status, resource_version=version)
            version = version if written is None else written.metadata.resource_version
        await self._untrack([pod for pod in mine if pod.metadata.uid in going and job_accounting.is_tracked(pod)])
        final = replace(
            status,
            succeeded=status.succeeded + len(uncounted.succeeded),
            failed=status.failed + len(uncounted.failed),
            uncounted_terminated_pods=UncountedTerminatedPods(),
        )
        outcome = None
        if verdict is not None and not final.active and not final.terminating:
            outcome, final = _finished(current, final, verdict, self.context.now())
        before = status if noted else original.status
        await patches.write_status(self.context.client, original, before, final, resource_version=version)
        self._count(original, tally, ended, outcome)
        await self._say(original, final, outcome)

    def _count(self, job: Job, tally: Tally, ended: Sequence[Ended], outcome: JobCondition | None) -> None:
        metrics, before = self.context.metrics, _tally(job, ())
        job_metrics.count_ends(metrics, job, ended)
        done = len(tally.succeeded_indexes) - len(before.succeeded_indexes)
        failed = len(tally.failed_indexes) - len(before.failed_indexes)
        job_metrics.count_indexes(metrics, job, done, failed)
        if outcome is not None:
            job_metrics.count_finish(metrics, job, outcome)

    async def _untrack(self, tracked: Sequence[PodView]) -> None:
        for pod in tracked:
            metadata = pod.metadata
            kept = [one for one in metadata.finalizers if one != FINALIZER]
            changed: dict[str, object] = {"finalizers": kept or None, "uid": metadata.uid}
            changed["resourceVersion"] = metadata.resource_version
            try:
                patch = MergePatch({"metadata": changed})
                await self.context.client.patch(PodView, metadata.name, metadata.namespace, patch)
            except errors.NotFound:
                continue
            if pods.is_terminal(pod):
                self.context.metrics.inc(job_metrics.TRACKED, "delete")

    async def _say(self, job: Job, status: JobStatus, outcome: JobCondition | None) -> None:
        is_suspended = conditions.is_true(status.conditions, SUSPENDED)
        if is_suspended != conditions.is_true(job.status.conditions, SUSPENDED):
            word = "Suspended" if is_suspended else "Resumed"
            await self.context.events.event(job, "Normal", word, f"Job {word.lower()}")
        if outcome is not None and outcome.type == COMPLETE:
            await self.context.events.event(job, "Normal", "Completed", "Job completed")
        elif outcome is not None:
            await self.context.events.event(job, "Warning", outcome.reason, outcome.message)

    def _next(self, job: Job, decided: Plan) -> Result:
        delays = [decided.wait_seconds] if decided.wait_seconds else []
        deadline = job_accounting.deadline_left(job, self.context.now())
        if deadline is not None and deadline > 0:
            delays.append(deadline)
        return again_after(min(delays)) if delays else DONE


def _tally(job: Job, ended: Sequence[Ended]) -> Tally:
    uncounted = job.status.uncounted_terminated_pods or UncountedTerminatedPods()
    failed = job.status.failed + len(uncounted.failed) + sum(one.counts_as_failed for one in ended)
    if not job_accounting.is_indexed(job):
        succeeded = job.status.succeeded + len(uncounted.succeeded) + sum(one.succeeded for one in ended)
        return Tally(succeeded, failed, frozenset(), frozenset())
    completions = job.spec.completions or 0
    indexes = job_indexes.parse(job.status.completed_indexes, completions)
    indexes |= {index for one in ended if one.succeeded and (index := job_accounting.index_of(one.pod)) is not None}
    indexes = {index for index in indexes if index < completions}
    failed_indexes = job_indexes.parse(job.status.failed_indexes, completions)
    failed_indexes |= job_accounting.newly_failed_indexes(job, ended)
    return Tally(len(indexes), failed, frozenset(indexes), frozenset(failed_indexes - indexes))


def _has_enough(job: Job, tally: Tally, mine: Sequence[PodView]) -> bool:
    if job.spec.suspend:
        return False
    if job.spec.completions is None:
        # A work queue is empty when one worker has succeeded and all others have ended.
        return tally.succeeded > 0 and not any(pods.is_active(pod) for pod in mine)
    return tally.succeeded >= job.spec.completions


def _needless(job: Job, tally: Tally, active: Sequence[PodView]) -> list[PodView]:
    """Active pods of indexes that are done, out of range, or already run by another pod."""
    needless = []
    seen = set(tally.succeeded_indexes | tally.failed_indexes)
    for pod in sorted(active, key=lambda one: (not pods.is_ready(one), one.metadata.name)):
        index = job_accounting.index_of(pod)
        if index is None or index in seen or index >= (job.spec.completions or 0):
            needless.append(pod)
        else:
            seen.add(index)
    return needless


def _finished(job: Job, status: JobStatus, verdict: JobCondition, now: datetime) -> tuple[JobCondition, JobStatus]:
    type = FAILED if verdict.type == FAILURE_TARGET else COMPLETE
    outcome = _condition(type, "True", verdict.reason, verdict.message, now)
    status = replace(status, conditions=conditions.set_in_place(status.conditions, outcome), ready=0, terminating=0)
    return outcome, replace(status, completion_time=now) if type == COMPLETE else status


def _condition(type: str, status: str, reason: str, message: str, now: datetime) -> JobCondition:
    return JobCondition(
        type=type, status=status, reason=reason, message=message, last_probe_time=now, last_transition_time=now
    )


def _job_of_tracked(pod: PodView) -> list[tuple[str, str]]:
    """A tracked pod whose Job is gone is nobody's, but its name still leads to `reconcile_absence`."""
    reference = owners.controller_of(pod)
    if reference is None or reference.kind != "Job" or not job_accounting.is_tracked(pod):
        return []
    return [(pod.metadata.namespace, reference.name)]
