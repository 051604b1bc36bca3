"""Which webhooks a request concerns: their rules, their selectors, and what is exempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from keelback.admission.plugin import AdmissionRequest
from keelback.api.admissionregistration_v1 import MatchCondition, RuleWithOperations, WebhookClientConfig
from keelback.api.core_v1 import Namespace
from keelback.apimachinery import labels
from keelback.apimachinery.meta import LabelSelector, Object

_OWN_GROUP = "admissionregistration.k8s.io"


class Webhook(Protocol):
    """What mutating and validating webhooks have in common."""

    @property
    def name(self) -> str: ...
    @property
    def rules(self) -> Sequence[RuleWithOperations]: ...
    @property
    def client_config(self) -> WebhookClientConfig: ...
    @property
    def failure_policy(self) -> str: ...
    @property
    def match_policy(self) -> str: ...
    @property
    def match_conditions(self) -> Sequence[MatchCondition]: ...
    @property
    def namespace_selector(self) -> LabelSelector: ...
    @property
    def object_selector(self) -> LabelSelector: ...
    @property
    def side_effects(self) -> str: ...
    @property
    def timeout_seconds(self) -> int: ...


def is_exempt(request: AdmissionRequest) -> bool:
    """Webhooks and policies themselves are never sent to webhooks: a bad one could not be removed."""
    return request.kind.group == _OWN_GROUP


def matches_rules(webhook: Webhook, request: AdmissionRequest) -> bool:
    """Whether some rule names the operation, the resource and its scope."""
    is_exact = webhook.match_policy == "Exact"
    return any(_matches_rule(rule, request, is_exact=is_exact) for rule in webhook.rules)


def matches_objects(webhook: Webhook, request: AdmissionRequest) -> bool:
    """Whether the object selector selects the new object or the old one."""
    selector = labels.from_label_selector(webhook.object_selector)
    if selector.is_everything:
        return True
    return any(obj is not None and selector.matches(object_labels(obj)) for obj in (request.obj, request.old_obj))


def needs_namespace(webhook: Webhook, request: AdmissionRequest) -> bool:
    """Whether the labels of the request's namespace must be looked up."""
    if labels.from_label_selector(webhook.namespace_selector).is_everything:
        return False
    return request.kind.namespaced or request.kind is Namespace.__kind__


def matches_namespace(webhook: Webhook, namespace_labels: Mapping[str, str]) -> bool:
    """Whether the namespace selector selects a namespace with these labels."""
    return labels.from_label_selector(webhook.namespace_selector).matches(namespace_labels)


def object_labels(obj: Any) -> Mapping[str, str]:
    """The labels of a typed object or of a custom resource's tree."""
    if isinstance(obj, Object):
        return obj.metadata.labels
    if isinstance(obj, Mapping):
        metadata = obj.get("metadata")
        found = metadata.get("labels") if isinstance(metadata, Mapping) else None
        return found if isinstance(found, Mapping) else {}
    return {}


def _matches_rule(rule: RuleWithOperations, request: AdmissionRequest, *, is_exact: bool) -> bool:
    kind = request.kind
    if "*" not in rule.operations and request.operation.value not in rule.operations:
        return False
    if "*" not in rule.api_groups and kind.group not in rule.api_groups:
        return False
    # An equivalent version of the resource counts too, unless the webhook wants it exactly.
    if is_exact and "*" not in rule.api_versions and kind.version not in rule.api_versions:
        return False
    is_namespaced = kind.namespaced or kind is Namespace.__kind__
    if rule.scope == "Namespaced" and not (kind.namespaced and request.namespace):
        return False
    if rule.scope == "Cluster" and is_namespaced and kind is not Namespace.__kind__:
        return False
    return any(_matches_resource(pattern, kind.plural, request.subresource) for pattern in rule.resources)


def _matches_resource(pattern: str, resource: str, subresource: str) -> bool:
    wanted, _, wanted_subresource = pattern.partition("/")
    return wanted in ("*", resource) and (wanted_subresource == subresource or wanted_subresource == "*")
