"""What the spec of a job may say, in a job and in the template of a CronJob, and what may change in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api.batch_v1 import Job, JobSpec, PodFailurePolicy
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required, too_many
from keelback.apimachinery.meta import replace
from keelback.registry import pod_templates
from keelback.registry.workloads import IMMUTABLE, validate_counts

_ACTIONS: Final = ("Count", "FailIndex", "FailJob", "Ignore")


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
    if spec.completion_mode not in (None, "Indexed", "NonIndexed"):
        yield not_supported(f"{path}.completionMode", spec.completion_mode, ("Indexed", "NonIndexed"))
    elif spec.completion_mode == "Indexed" and spec.completions is None:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    if spec.backoff_limit_per_index is not None and spec.completion_mode != "Indexed":
        yield invalid(f"{path}.backoffLimitPerIndex", spec.backoff_limit_per_index, "requires indexed completion mode")
    yield from pod_templates.validate(spec.template, f"{path}.template")
    restart_policy = spec.template.spec.restart_policy
    where = f"{path}.template.spec.restartPolicy"
    if restart_policy not in ("Never", "OnFailure"):
        yield required(where, 'valid values: "OnFailure", "Never"')
    if spec.pod_failure_policy is not None:
        if restart_policy != "Never":
            yield invalid(where, restart_policy, 'only "Never" is supported when podFailurePolicy is specified')
        yield from _failure_policy(spec.pod_failure_policy, f"{path}.podFailurePolicy")
    replacement = spec.pod_replacement_policy
    if replacement is not None:
        allowed = ("Failed",) if spec.pod_failure_policy is not None else ("Failed", "TerminatingOrFailed")
        if replacement not in allowed:
            yield not_supported(f"{path}.podReplacementPolicy", replacement, allowed)


def _failure_policy(policy: PodFailurePolicy, path: str) -> Iterator[FieldError]:
    if len(policy.rules) > 20:
        yield too_many(f"{path}.rules", len(policy.rules), 20)
    for index, rule in enumerate(policy.rules):
        here = f"{path}.rules[{index}]"
        if not rule.action:
            yield required(f"{here}.action", f"valid values: {list(_ACTIONS)}")
        elif rule.action not in _ACTIONS:
            yield not_supported(f"{here}.action", rule.action, _ACTIONS)
        codes = rule.on_exit_codes
        if codes is not None:
            if codes.operator not in ("In", "NotIn"):
                yield not_supported(f"{here}.onExitCodes.operator", codes.operator, ("In", "NotIn"))
            if not codes.values:
                yield invalid(f"{here}.onExitCodes.values", list(codes.values), "at least one value is required")
            elif list(codes.values) != sorted(codes.values):
                yield invalid(f"{here}.onExitCodes.values", list(codes.values), "must be ordered")
            if codes.operator == "In" and 0 in codes.values:
                place = codes.values.index(0)
                yield invalid(f"{here}.onExitCodes.values[{place}]", 0, "must not be 0 for the In operator")
        if codes is None and not rule.on_pod_conditions:
            yield invalid(here, rule, "specifying one of OnExitCodes and OnPodConditions is required")
        elif codes is not None and rule.on_pod_conditions:
            yield invalid(here, rule, "specifying both OnExitCodes and OnPodConditions is not supported")


def validate_update(new: Job, old: Job) -> Iterator[FieldError]:
    """Everything that an update of a job changes and may not."""
    after, before = new.spec, old.spec
    elastic = after.completion_mode == "Indexed" and after.completions == after.parallelism
    if not elastic and after.completions != before.completions:
        yield invalid("spec.completions", after.completions, IMMUTABLE)
    for field, now, then in (
        ("selector", after.selector, before.selector),
        ("completionMode", after.completion_mode, before.completion_mode),
        ("podFailurePolicy", after.pod_failure_policy, before.pod_failure_policy),
        ("backoffLimitPerIndex", after.backoff_limit_per_index, before.backoff_limit_per_index),
        ("managedBy", after.managed_by, before.managed_by),
        ("successPolicy", after.success_policy, before.success_policy),
    ):
        if now != then:
            yield invalid(f"spec.{field}", now, IMMUTABLE)
    yield from _template_update(new, old)


def _template_update(new: Job, old: Job) -> Iterator[FieldError]:
    expected, after = old.spec.template, new.spec.template
    # While a job has not begun, whoever queues it may still say where its pods go.
    if old.spec.suspend and old.status.start_time is None:
        spec = replace(
            expected.spec,
            node_selector=after.spec.node_selector,
            affinity=after.spec.affinity,
            tolerations=after.spec.tolerations,
            scheduling_gates=after.spec.scheduling_gates,
        )
        expected = replace(expected, metadata=after.metadata, spec=spec)
    if after != expected:
        yield invalid("spec.template", after, IMMUTABLE)
