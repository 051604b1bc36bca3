"""What the spec of a job may say, in a job and in the template of a CronJob, and what may change in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from keelback.api import conditions
from keelback.api.batch_v1 import Job, JobSpec
from keelback.api.core_v1 import Affinity, Container
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required, too_long
from keelback.apimachinery.meta import replace
from keelback.registry import job_policies, pod_templates
from keelback.registry.internal_forms import internal
from keelback.registry.workloads import IMMUTABLE, validate_counts

_MAX_PARALLELISM: Final = 100_000
_MANY_COMPLETIONS: Final = 100_000
_MAX_PARALLELISM_OF_MANY: Final = 10_000
_MAX_MANAGED_BY: Final = 63


def validate(spec: JobSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with a job's spec but its selector."""
    yield from validate_counts(
        (f"{path}.parallelism", spec.parallelism),
        (f"{path}.completions", spec.completions),
        (f"{path}.activeDeadlineSeconds", spec.active_deadline_seconds),
        (f"{path}.backoffLimit", spec.backoff_limit),
        (f"{path}.ttlSecondsAfterFinished", spec.ttl_seconds_after_finished),
        (f"{path}.backoffLimitPerIndex", spec.backoff_limit_per_index),
        (f"{path}.maxFailedIndexes", spec.max_failed_indexes),
    )
    if spec.max_failed_indexes is not None and spec.backoff_limit_per_index is None:
        yield required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if spec.managed_by is not None:
        yield from _managed_by(spec.managed_by, f"{path}.managedBy")
    if spec.completion_mode not in (None, "Indexed", "NonIndexed"):
        supported = ("NonIndexed", "Indexed")
        yield not_supported(f"{path}.completionMode", spec.completion_mode, supported, in_given_order=True)
    if spec.completion_mode == "Indexed":
        yield from _indexed(spec, path)
    elif spec.completion_mode in (None, "NonIndexed"):
        for field, value in (
            ("backoffLimitPerIndex", spec.backoff_limit_per_index),
            ("maxFailedIndexes", spec.max_failed_indexes),
        ):
            if value is not None:
                yield invalid(f"{path}.{field}", value, "requires indexed completion mode")
    yield from job_policies.validate_failures(spec, f"{path}.podFailurePolicy")
    if spec.success_policy is not None and spec.completion_mode != "Indexed":
        yield invalid(f"{path}.successPolicy", internal(spec.success_policy), "requires indexed completion mode")
    else:
        yield from job_policies.validate_success(spec, f"{path}.successPolicy")
    yield from _replacement(spec, f"{path}.podReplacementPolicy")
    yield from pod_templates.validate(spec.template, f"{path}.template")
    yield from _restart_policy(spec, f"{path}.template.spec.restartPolicy")


def _managed_by(name: str, path: str) -> Iterator[FieldError]:
    host, _, rest = name.partition("/")
    if not name:
        yield required(path)
    elif not host or not rest:
        yield invalid(path, name, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        for complaint in names.dns1123_subdomain(host):
            yield invalid(path, host, complaint)
        for complaint in names.url_path(rest):
            yield invalid(path, rest, complaint)
    if len(name.encode()) > _MAX_MANAGED_BY:
        yield too_long(path, _MAX_MANAGED_BY)


def _indexed(spec: JobSpec, path: str) -> Iterator[FieldError]:
    completions, parallelism, failed = spec.completions, spec.parallelism, spec.max_failed_indexes
    if completions is None:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    if parallelism is not None and parallelism > _MAX_PARALLELISM:
        why = f"must be less than or equal to {_MAX_PARALLELISM} when completion mode is Indexed"
        yield invalid(f"{path}.parallelism", parallelism, why)
    if failed is not None and completions is not None and failed > completions:
        yield invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")
    if failed is not None and failed > _MAX_PARALLELISM:
        yield invalid(f"{path}.maxFailedIndexes", failed, f"must be less than or equal to {_MAX_PARALLELISM}")
    if completions is None or completions <= _MANY_COMPLETIONS or spec.backoff_limit_per_index is None:
        return
    limit = (
        f"must be less than or equal to {_MAX_PARALLELISM_OF_MANY} when completions are above {_MANY_COMPLETIONS} and "
        "used with backoff limit per index"
    )
    if failed is None:
        why = f"must be specified when completions is above {_MANY_COMPLETIONS}"
        yield required(f"{path}.maxFailedIndexes", why)
    if parallelism is not None and parallelism > _MAX_PARALLELISM_OF_MANY:
        yield invalid(f"{path}.parallelism", parallelism, limit)
    if failed is not None and failed > _MAX_PARALLELISM_OF_MANY:
        yield invalid(f"{path}.maxFailedIndexes", failed, limit)


def _replacement(spec: JobSpec, path: str) -> Iterator[FieldError]:
    policy = spec.pod_replacement_policy
    allowed = ("Failed",) if spec.pod_failure_policy is not None else ("Failed", "TerminatingOrFailed")
    if policy is not None and policy not in allowed:
        yield not_supported(path, policy, allowed)


def _restart_policy(spec: JobSpec, path: str) -> Iterator[FieldError]:
    policy = spec.template.spec.restart_policy
    if policy in ("", "Always"):
        yield required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in ("Never", "OnFailure"):
        yield not_supported(path, policy, ("OnFailure", "Never"), in_given_order=True)
    elif spec.pod_failure_policy is not None and policy != "Never":
        yield invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


def validate_update(new: Job, old: Job) -> Iterator[FieldError]:
    """Everything that an update of a job changes and may not."""
    after, before = new.spec, old.spec
    if after.completions != before.completions:
        if after.completion_mode != "Indexed":
            yield invalid("spec.completions", after.completions, IMMUTABLE)
        elif after.completions is not None and after.completions != after.parallelism:
            why = "can only be modified in tandem with spec.parallelism"
            yield invalid("spec.completions", after.completions, why)
    if after.selector != before.selector:
        yield invalid("spec.selector", after.selector, IMMUTABLE)
    yield from _template_update(new, old)
    for field, now, then in (
        ("completionMode", after.completion_mode, before.completion_mode),
        ("podFailurePolicy", after.pod_failure_policy, before.pod_failure_policy),
        ("backoffLimitPerIndex", after.backoff_limit_per_index, before.backoff_limit_per_index),
        ("managedBy", after.managed_by, before.managed_by),
        ("successPolicy", after.success_policy, before.success_policy),
    ):
        if now != then:
            yield invalid(f"spec.{field}", internal(now), IMMUTABLE)


def _template_update(new: Job, old: Job) -> Iterator[FieldError]:
    before, after = old.spec.template, new.spec.template
    if after == before:
        return
    if not _is_at_rest(old):
        yield invalid("spec.template", internal(after), IMMUTABLE)
        return
    # While none of its pods run, whoever queues a job may still say where they go, and with what (KEP-2926, KEP-5440).
    changes: dict[str, Any] = {
        "node_selector": after.spec.node_selector,
        "affinity": _with_node_affinity_of(before.spec.affinity, after.spec.affinity),
        "tolerations": after.spec.tolerations,
        "scheduling_gates": after.spec.scheduling_gates,
    }
    for field in ("containers", "init_containers"):
        now, then = getattr(after.spec, field), getattr(before.spec, field)
        if len(now) == len(then):
            changes[field] = tuple(map(_with_resources_of, then, now))
    if after.spec != replace(before.spec, **changes):
        yield invalid("spec.template.spec", internal(after.spec), IMMUTABLE)


def _is_at_rest(job: Job) -> bool:
    status = job.status
    is_suspended = status.start_time is None or conditions.is_true(status.conditions, "Suspended")
    return job.spec.suspend is True and status.active == 0 and is_suspended


def _with_node_affinity_of(before: Affinity | None, after: Affinity | None) -> Affinity | None:
    if after is None:
        if before is None or (before.pod_affinity is None and before.pod_anti_affinity is None):
            return None
        return replace(before, node_affinity=None)
    return replace(before or Affinity(), node_affinity=after.node_affinity)


def _with_resources_of(before: Container, after: Container) -> Container:
    return replace(before, resources=after.resources) if before.name == after.name else before
