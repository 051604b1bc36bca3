"""FlowSchemas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keelback.api import conditions
from keelback.api.flowcontrol_v1 import (
    FlowSchema,
    FlowSchemaCondition,
    PolicyRulesWithSubjects,
    PriorityLevelConfigurationCondition,
    ResourcePolicyRule,
    Subject,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry import bootstrap_flow_control
from keelback.registry.cells import NONE
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number, text

_LAST: Final = 10000
_METHODS: Final = ("ByNamespace", "ByUser")
_SUBJECTS: Final = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}
_VERBS: Final = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
)


def _missing(schema: FlowSchema) -> str:
    dangling = conditions.find(schema.status.conditions, "Dangling")
    return "?" if dangling is None else dangling.status


class FlowSchemaStrategy(Strategy[FlowSchema]):
    kind = FlowSchema
    keeps_metadata_in_status = True
    checks_metadata_twice = False
    checks_metadata_as_new = True
    subresources = ("status",)
    sorts_rows = True
    columns = (
        text("PriorityLevel", lambda one: one.spec.priority_level_configuration.name),
        number("MatchingPrecedence", lambda one: one.spec.matching_precedence),
        text(
            "DistinguisherMethod",
            lambda one: NONE if one.spec.distinguisher_method is None else one.spec.distinguisher_method.type,
        ),
        AGE,
        text("MissingPL", _missing),
    )

    def row_order(self, obj: FlowSchema) -> tuple[int, str]:
        """As they are tried, like upstream's printer."""
        return obj.spec.matching_precedence, obj.metadata.name

    def default(self, new: FlowSchema, old: FlowSchema | None = None) -> FlowSchema:
        return new if new.spec.matching_precedence else replace(new, spec=replace(new.spec, matching_precedence=1000))

    def validate(self, new: FlowSchema) -> Iterator[FieldError]:
        spec, name = new.spec, new.metadata.name
        precedence = spec.matching_precedence
        if precedence <= 0:
            yield invalid("spec.matchingPrecedence", precedence, "must be a positive value")
        if precedence > _LAST:
            yield invalid("spec.matchingPrecedence", precedence, f"must not be greater than {_LAST}")
        if precedence == 1 and name != "exempt":
            problem = "only the schema named 'exempt' may have matchingPrecedence 1"
            yield invalid("spec.matchingPrecedence", precedence, problem)
        if spec.distinguisher_method is not None and spec.distinguisher_method.type not in _METHODS:
            # Upstream shows all of it.
            yield not_supported("spec.distinguisherMethod.type", internal(spec.distinguisher_method), _METHODS)
        level = spec.priority_level_configuration.name
        if not level:
            yield required("spec.priorityLevelConfiguration.name", "must reference a priority level")
        else:
            for complaint in names.dns1123_subdomain(level):
                yield invalid("spec.priorityLevelConfiguration.name", level, complaint)
        for index, rules in enumerate(spec.rules):
            yield from _rules(rules, f"spec.rules[{index}]")
        mandatory = bootstrap_flow_control.mandatory_schema(name)
        if mandatory is not None and spec != mandatory.spec:
            yield invalid("spec", internal(spec), f"spec of '{name}' must equal the fixed value")
        yield from validate_conditions(new.status.conditions)

    def validate_status_update(self, new: FlowSchema, old: FlowSchema) -> Iterator[FieldError]:
        yield from validate_conditions(new.status.conditions)


def validate_conditions(
    given: Sequence[FlowSchemaCondition | PriorityLevelConfigurationCondition],
) -> Iterator[FieldError]:
    """Everything wrong with the conditions of a schema, or of a level."""
    seen: set[str] = set()
    for index, one in enumerate(given):
        path = f"status.conditions[{index}].type"
        if one.type in seen:
            yield duplicate(path, one.type)
        seen.add(one.type)
        if not one.type:
            yield required(path, "must not be empty")


def _rules(rules: PolicyRulesWithSubjects, path: str) -> Iterator[FieldError]:
    if not rules.subjects:
        yield required(f"{path}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(rules.subjects):
        yield from _subject(subject, f"{path}.subjects[{index}]")
    if not rules.resource_rules and not rules.non_resource_rules:
        yield required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, resource in enumerate(rules.resource_rules):
        yield from _resource_rule(resource, f"{path}.resourceRules[{index}]")
    for index, other in enumerate(rules.non_resource_rules):
        here = f"{path}.nonResourceRules[{index}]"
        yield from _verbs(other.verbs, f"{here}.verbs")
        urls = other.non_resource_urls
        yield from _listed(
            urls, f"{here}.nonResourceURLs", "nonResourceURLs must contain at least one value", "non-resource URLs"
        )
        if "*" not in urls:
            for place, url in enumerate(urls):
                yield from _url(url, f"{here}.nonResourceURLs[{place}]")


def _subject(subject: Subject, path: str) -> Iterator[FieldError]:
    held = {"ServiceAccount": subject.service_account, "User": subject.user, "Group": subject.group}
    if subject.kind not in held:
        yield not_supported(f"{path}.kind", subject.kind, tuple(held))
        return
    own = _SUBJECTS[subject.kind]
    if held[subject.kind] is None:
        yield required(f"{path}.{own}", f"{own} is required when subject kind is '{subject.kind}'")
    elif subject.kind == "ServiceAccount" and subject.service_account is not None:
        account = subject.service_account
        if not account.name:
            yield required(f"{path}.serviceAccount.name")
        elif account.name != "*":
            for complaint in names.dns1123_subdomain(account.name):
                yield invalid(f"{path}.serviceAccount.name", account.name, complaint)
        if not account.namespace:
            yield required(f"{path}.serviceAccount.namespace", "must specify namespace for service account")
        else:
            for complaint in names.dns1123_label(account.namespace):
                yield invalid(f"{path}.serviceAccount.namespace", account.namespace, complaint)
    elif not getattr(held[subject.kind], "name", ""):
        yield required(f"{path}.{own}.name")
    for kind, field in _SUBJECTS.items():
        if kind != subject.kind and held[kind] is not None:
            yield forbidden(f"{path}.{field}", f"{field} is forbidden when subject kind is not '{kind}'")


def _resource_rule(rule: ResourcePolicyRule, path: str) -> Iterator[FieldError]:
    yield from _verbs(rule.verbs, f"{path}.verbs")
    yield from _listed(
        rule.api_groups, f"{path}.apiGroups", "resource rules must supply at least one api group", "api groups"
    )
    yield from _listed(
        rule.resources, f"{path}.resources", "resource rules must supply at least one resource", "resources"
    )
    if rule.namespaces or not rule.cluster_scope:
        missing = "resource rules that are not cluster scoped must supply at least one namespace"
        yield from _listed(rule.namespaces, f"{path}.namespaces", missing, "namespaces")
    if "*" not in rule.namespaces:
        for index, namespace in enumerate(rule.namespaces):
            for complaint in names.dns1123_label(namespace):
                why = f"each member of this list must be '*' or a DNS-1123 label; {complaint}"
                yield invalid(f"{path}.namespaces[{index}]", namespace, why)


def _verbs(verbs: Sequence[str], path: str) -> Iterator[FieldError]:
    yield from _listed(verbs, path, "verbs must contain at least one value", "verbs")
    if "*" not in verbs and any(one not in _VERBS for one in verbs):
        yield not_supported(path, list(verbs), _VERBS)


def _listed(values: Sequence[str], path: str, missing: str, what: str) -> Iterator[FieldError]:
    if not values:
        yield required(path, missing)
    elif "*" in values and len(values) > 1:
        yield invalid(path, list(values), f"if '*' is present, must not specify other {what}")


def _url(url: str, path: str) -> Iterator[FieldError]:
    if url == "/":
        return
    for is_wrong, why in (
        (not url, "must not be empty"),
        (not url.startswith("/"), "must start with slash"),
        (" " in url, "must not contain white-space"),
        ("//" in url, "must not contain double slash"),
        ("*" in url and (url.count("*") > 1 or not url.endswith("/*")), "wildcard can only do suffix matching"),
    ):
        if is_wrong:
            yield invalid(path, url, why)
            return
