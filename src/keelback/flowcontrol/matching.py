"""Which FlowSchema a request matches, and which flow of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from keelback.api.flowcontrol_v1 import FlowSchema, NonResourcePolicyRule, ResourcePolicyRule, Subject
from keelback.auth.attributes import Attributes
from keelback.auth.users import UserInfo, split_service_account

_ALL = "*"


def in_order(schemas: Iterable[FlowSchema]) -> list[FlowSchema]:
    """Schemas as they are tried: by precedence, then by name."""
    return sorted(schemas, key=lambda one: (one.spec.matching_precedence, one.metadata.name))


def matches(schema: FlowSchema, attributes: Attributes) -> bool:
    """Whether one of the schema's rules is for the user and for what is asked."""
    for rules in schema.spec.rules:
        if not any(_is_subject(subject, attributes.user) for subject in rules.subjects):
            continue
        if attributes.is_resource_request:
            if any(_covers(rule, attributes) for rule in rules.resource_rules):
                return True
        elif any(_covers_path(rule, attributes) for rule in rules.non_resource_rules):
            return True
    return False


def distinguisher(schema: FlowSchema, attributes: Attributes) -> str:
    """What tells the flows of a schema apart: the user, the namespace, or nothing."""
    method = schema.spec.distinguisher_method
    if method is None:
        return ""
    return attributes.user.name if method.type == "ByUser" else attributes.namespace


def _is_subject(subject: Subject, user: UserInfo) -> bool:
    if subject.user is not None:
        return subject.user.name in (_ALL, user.name)
    if subject.group is not None:
        return subject.group.name == _ALL or subject.group.name in user.groups
    if subject.service_account is not None:
        account = split_service_account(user.name)
        if account is None or account[0] != subject.service_account.namespace:
            return False
        return subject.service_account.name in (_ALL, account[1])
    return False


def _covers(rule: ResourcePolicyRule, attributes: Attributes) -> bool:
    resource = attributes.resource
    if attributes.subresource:
        resource = f"{resource}/{attributes.subresource}"
    if not (
        _lists(rule.verbs, attributes.verb)
        and _lists(rule.resources, resource)
        and _lists(rule.api_groups, attributes.group)
    ):
        return False
    return _lists(rule.namespaces, attributes.namespace) if attributes.namespace else rule.cluster_scope


def _covers_path(rule: NonResourcePolicyRule, attributes: Attributes) -> bool:
    return _lists(rule.verbs, attributes.verb) and any(
        url in (_ALL, attributes.path) or attributes.path.startswith(url.removesuffix("*").rstrip("/") + "/")
        for url in rule.non_resource_urls
    )


def _lists(allowed: Sequence[str], one: str) -> bool:
    return one in allowed or _ALL in allowed
