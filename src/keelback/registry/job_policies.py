"""What a job may say of which failures count, and of when it has succeeded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api import job_indexes
from keelback.api.batch_v1 import (
    JobSpec,
    PodFailurePolicyOnExitCodesRequirement,
    PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
    SuccessPolicyRule,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import (
    OMITTED,
    FieldError,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)

_ACTIONS: Final = ("Count", "FailIndex", "FailJob", "Ignore")
_STATUSES: Final = ("False", "True", "Unknown")
_MAX_RULES: Final = 20
_MAX_PATTERNS: Final = 20
_MAX_EXIT_CODES: Final = 255
_MAX_INDEXES_LENGTH: Final = 64 * 1024


def validate_failures(spec: JobSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with a podFailurePolicy."""
    policy = spec.pod_failure_policy
    if policy is None:
        return
    if len(policy.rules) > _MAX_RULES:
        yield too_many(f"{path}.rules", len(policy.rules), _MAX_RULES)
    pod = spec.template.spec
    containers = {one.name for one in (*pod.containers, *pod.init_containers)}
    for index, rule in enumerate(policy.rules):
        yield from _failure_rule(rule, spec, containers, f"{path}.rules[{index}]")


def _failure_rule(rule: PodFailurePolicyRule, spec: JobSpec, containers: set[str], path: str) -> Iterator[FieldError]:
    if not rule.action:
        yield required(f"{path}.action", _valid(_ACTIONS))
    elif rule.action == "FailIndex":
        if spec.backoff_limit_per_index is None:
            yield invalid(f"{path}.action", rule.action, "requires the backoffLimitPerIndex to be set")
    elif rule.action not in _ACTIONS:
        yield not_supported(f"{path}.action", rule.action, _ACTIONS)
    if rule.on_exit_codes is not None:
        yield from _exit_codes(rule.on_exit_codes, containers, f"{path}.onExitCodes")
    if rule.on_pod_conditions:
        yield from _conditions(rule.on_pod_conditions, f"{path}.onPodConditions")
    if rule.on_exit_codes is not None and rule.on_pod_conditions:
        yield invalid(path, OMITTED, "specifying both OnExitCodes and OnPodConditions is not supported")
    if rule.on_exit_codes is None and not rule.on_pod_conditions:
        yield invalid(path, OMITTED, "specifying one of OnExitCodes and OnPodConditions is required")


def _conditions(patterns: tuple[PodFailurePolicyOnPodConditionsPattern, ...], path: str) -> Iterator[FieldError]:
    if len(patterns) > _MAX_PATTERNS:
        yield too_many(path, len(patterns), _MAX_PATTERNS)
    for index, pattern in enumerate(patterns):
        here = f"{path}[{index}]"
        for complaint in names.qualified_name(pattern.type):
            yield invalid(f"{here}.type", pattern.type, complaint)
        if not pattern.status:
            yield required(f"{here}.status", _valid(_STATUSES))
        elif pattern.status not in _STATUSES:
            yield not_supported(f"{here}.status", pattern.status, _STATUSES)


def _exit_codes(codes: PodFailurePolicyOnExitCodesRequirement, containers: set[str], path: str) -> Iterator[FieldError]:
    if not codes.operator:
        yield required(f"{path}.operator", _valid(("In", "NotIn")))
    elif codes.operator not in ("In", "NotIn"):
        yield not_supported(f"{path}.operator", codes.operator, ("In", "NotIn"))
    if codes.container_name and codes.container_name not in containers:
        why = "must be one of the container or initContainer names in the pod template"
        yield invalid(f"{path}.containerName", codes.container_name, why)
    values = list(codes.values)
    if not values:
        yield invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > _MAX_EXIT_CODES:
        yield too_many(f"{path}.values", len(values), _MAX_EXIT_CODES)
    for index, value in enumerate(values):
        if codes.operator == "In" and value == 0:
            yield invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator")
        if value in values[:index]:
            yield duplicate(f"{path}.values[{index}]", value)
    if values != sorted(values):
        yield invalid(f"{path}.values", values, "must be ordered")


def validate_success(spec: JobSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with a successPolicy, of a job whose pods have indexes."""
    policy = spec.success_policy
    if policy is None:
        return
    if not policy.rules:
        why = "at least one rules must be specified when the successPolicy is specified"
        yield required(f"{path}.rules", why)
    if len(policy.rules) > _MAX_RULES:
        yield too_many(f"{path}.rules", len(policy.rules), _MAX_RULES)
    for index, rule in enumerate(policy.rules):
        yield from _success_rule(rule, spec.completions or 0, f"{path}.rules[{index}]")


def _success_rule(rule: SuccessPolicyRule, completions: int, path: str) -> Iterator[FieldError]:
    count, indexes = rule.succeeded_count, rule.succeeded_indexes
    if count is None and indexes is None:
        yield required(path, "at least one of succeededCount or succeededIndexes must be specified")
    total = 0
    if indexes is not None:
        if len(indexes) > _MAX_INDEXES_LENGTH:
            yield too_long(f"{path}.succeededIndexes", _MAX_INDEXES_LENGTH)
        try:
            total = job_indexes.count(indexes, completions)
        except job_indexes.IndexesError as error:
            yield invalid(f"{path}.succeededIndexes", indexes, f"error parsing succeededIndexes: {error}")
    if count is None:
        return
    if count < 0:
        yield invalid(f"{path}.succeededCount", count, "must be greater than or equal to 0")
    if count > completions:
        why = f"must be less than or equal to {completions} (the number of specified completions)"
        yield invalid(f"{path}.succeededCount", count, why)
    if indexes is not None and count > total:
        why = f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        yield invalid(f"{path}.succeededCount", count, why)


def _valid(values: tuple[str, ...]) -> str:
    """A list as Go's %q prints it."""
    return "valid values: [" + " ".join(f'"{one}"' for one in values) + "]"
