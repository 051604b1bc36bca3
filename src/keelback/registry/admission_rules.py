"""What webhooks and admission policies say of the requests they concern: rules, selectors and match conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keelback.admission.expressions import BOOLEAN, Scope, compile_text
from keelback.api.admissionregistration_v1 import (
    MatchCondition,
    MatchResources,
    NamedRuleWithOperations,
    RuleWithOperations,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, invalid, not_supported, required, too_many
from keelback.registry import label_selectors

MATCH_POLICIES: Final = ("Equivalent", "Exact")
FAILURE_POLICIES: Final = ("Fail", "Ignore")
_OPERATIONS: Final = ("*", "CREATE", "UPDATE", "DELETE", "CONNECT")
_MUTABLE: Final = ("*", "CREATE", "UPDATE", "CONNECT")
_SCOPES: Final = ("*", "Cluster", "Namespaced")
_MOST_CONDITIONS: Final = 64


def rule_problems(rule: RuleWithOperations | NamedRuleWithOperations, path: str) -> Iterator[FieldError]:
    """Everything wrong with one rule."""
    if not rule.operations:
        yield required(f"{path}.operations")
    if len(rule.operations) > 1 and "*" in rule.operations:
        complaint = "if '*' is present, must not specify other operations"
        yield invalid(f"{path}.operations", list(rule.operations), complaint)
    for index, operation in enumerate(rule.operations):
        if operation not in _OPERATIONS:
            yield not_supported(f"{path}.operations[{index}]", operation, _OPERATIONS)
    yield from _groups_and_versions(rule, path)
    yield from _resources(rule.resources, f"{path}.resources")
    if rule.scope not in _SCOPES:
        yield not_supported(f"{path}.scope", rule.scope, _SCOPES)


def _groups_and_versions(rule: RuleWithOperations | NamedRuleWithOperations, path: str) -> Iterator[FieldError]:
    if not rule.api_groups:
        yield required(f"{path}.apiGroups")
    if len(rule.api_groups) > 1 and "*" in rule.api_groups:
        complaint = "if '*' is present, must not specify other API groups"
        yield invalid(f"{path}.apiGroups", list(rule.api_groups), complaint)
    if not rule.api_versions:
        yield required(f"{path}.apiVersions")
    if len(rule.api_versions) > 1 and "*" in rule.api_versions:
        complaint = "if '*' is present, must not specify other API versions"
        yield invalid(f"{path}.apiVersions", list(rule.api_versions), complaint)
    for index, version in enumerate(rule.api_versions):
        if not version:
            yield required(f"{path}.apiVersions[{index}]")


def _resources(given: Sequence[str], path: str) -> Iterator[FieldError]:
    if not given:
        yield required(path)
    with_all_parts: set[str] = set()
    parts_of_all: set[str] = set()
    has_plain = False
    for index, one in enumerate(given):
        if not one:
            yield required(f"{path}[{index}]")
            continue
        resource, slash, part = one.partition("/")
        if not slash:
            has_plain = one != "*"
            continue
        if resource in with_all_parts:
            yield invalid(f"{path}[{index}]", one, f"if '{resource}/*' is present, must not specify {one}")
        if part in parts_of_all:
            yield invalid(f"{path}[{index}]", one, f"if '*/{part}' is present, must not specify {one}")
        if part == "*":
            with_all_parts.add(resource)
        if resource == "*":
            parts_of_all.add(part)
    if len(given) > 1 and "*/*" in given:
        yield invalid(path, list(given), "if '*/*' is present, must not specify other resources")
    if "*" in given and has_plain:
        complaint = "if '*' is present, must not specify other resources without subresources"
        yield invalid(path, list(given), complaint)


def match_resources_problems(given: MatchResources, path: str) -> Iterator[FieldError]:
    """Everything wrong with what a policy or a binding matches."""
    if given.match_policy not in MATCH_POLICIES:
        yield not_supported(f"{path}.matchPolicy", given.match_policy, MATCH_POLICIES)
    yield from label_selectors.validate(given.namespace_selector, f"{path}.namespaceSelector")
    yield from label_selectors.validate(given.object_selector, f"{path}.objectSelector")
    for index, rule in enumerate(given.resource_rules):
        yield from _named_rule_problems(rule, f"{path}.resourceRules[{index}]")
    for index, rule in enumerate(given.exclude_resource_rules):
        yield from _named_rule_problems(rule, f"{path}.excludeResourceRules[{index}]")


def _named_rule_problems(rule: NamedRuleWithOperations, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, name in enumerate(rule.resource_names):
        for complaint in names.path_segment(name):
            yield invalid(f"{path}.resourceNames[{index}]", name, complaint)
        if name in seen:
            yield duplicate(f"{path}.resourceNames[{index}]", name)
        seen.add(name)
    yield from rule_problems(rule, path)


def match_condition_problems(
    given: Sequence[MatchCondition], path: str, *, has_params: bool = False
) -> Iterator[FieldError]:
    """Everything wrong with match conditions. They know no variables of a policy."""
    if len(given) > _MOST_CONDITIONS:
        yield too_many(path, len(given), _MOST_CONDITIONS)
    seen: set[str] = set()
    for index, condition in enumerate(given):
        here = f"{path}[{index}]"
        expression = condition.expression.strip()
        if not expression:
            yield required(f"{here}.expression")
        else:
            compiled = compile_text(expression, Scope(has_params=has_params), BOOLEAN)
            if compiled.problem:
                yield invalid(f"{here}.expression", expression, compiled.problem)
        if not condition.name:
            yield required(f"{here}.name")
            continue
        for complaint in names.qualified_name(condition.name):
            yield invalid(f"{here}.name", condition.name, complaint)
        if condition.name in seen:
            yield duplicate(f"{here}.name", condition.name)
        seen.add(condition.name)


def immutable_operations(given: MatchResources, path: str) -> Iterator[FieldError]:
    """Of a deletion nothing can be changed."""
    for rule in given.resource_rules:
        for operation in rule.operations:
            if operation not in _MUTABLE:
                yield not_supported(path, operation, _MUTABLE)
