"""Which requests a webhook or a policy concerns: rules, equivalent versions, selectors, and what is exempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from keelback.admission.plugin import AdmissionRequest, Operation, Reader
from keelback.admission.resources import Resources
from keelback.api.admissionregistration_v1 import MatchResources
from keelback.api.core_v1 import Namespace
from keelback.apimachinery import labels
from keelback.apimachinery.meta import Kind, LabelSelector, Object, narrow

_OWN_GROUP = "admissionregistration.k8s.io"
_NOT_FOR_POLICIES = frozenset({_OWN_GROUP, "authentication.k8s.io", "authorization.k8s.io"})


class Rule(Protocol):
    """What a webhook's rules and a policy's have in common."""

    @property
    def operations(self) -> Sequence[str]: ...
    @property
    def api_groups(self) -> Sequence[str]: ...
    @property
    def api_versions(self) -> Sequence[str]: ...
    @property
    def resources(self) -> Sequence[str]: ...
    @property
    def scope(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Criteria:
    """What is asked of a request. No rules at all means every resource."""

    rules: Sequence[Rule]
    excluded: Sequence[Rule]
    takes_equivalents: bool
    namespaces: labels.Selector
    objects: labels.Selector


def criteria_of(given: MatchResources | None) -> Criteria | None:
    """What a policy or a binding asks. None, where nothing is given, is met by every request."""
    if given is None:
        return None
    return Criteria(
        given.resource_rules,
        given.exclude_resource_rules,
        given.match_policy != "Exact",
        labels.from_label_selector(given.namespace_selector),
        labels.from_label_selector(given.object_selector),
    )


def criteria(
    rules: Sequence[Rule], match_policy: str, namespace_selector: LabelSelector, object_selector: LabelSelector
) -> Criteria:
    """What a webhook asks. Without rules it is never called."""
    return Criteria(
        rules,
        (),
        match_policy != "Exact",
        labels.from_label_selector(namespace_selector),
        labels.from_label_selector(object_selector),
    )


@narrow(Namespace)
class _NamespaceLabels(Object):
    """A namespace, of which only the labels are of interest."""


class Matcher:
    """Finds out whether criteria are met, and by which version of the resource."""

    def __init__(self, reader: Reader, resources: Resources) -> None:
        self._reader = reader
        self._resources = resources

    async def matched(self, asked: Criteria, request: AdmissionRequest, *, needs_rules: bool = False) -> Kind | None:
        """The version of the request's resource that the criteria name; None if they are not met.

        Raises NotFound for a request in a namespace that does not exist.
        """
        if asked.excluded and self._named(asked.excluded, asked, request) is not None:
            return None
        if not asked.rules and not needs_rules:
            found: Kind | None = request.kind
        else:
            found = self._named(asked.rules, asked, request)
        if found is None or not _selects_object(asked.objects, request):
            return None
        if asked.namespaces.is_everything or not _is_in_namespace(request):
            return found
        return found if asked.namespaces.matches(await self._namespace_labels(request)) else None

    def _named(self, rules: Sequence[Rule], asked: Criteria, request: AdmissionRequest) -> Kind | None:
        kind = request.kind
        if any(_matches(rule, kind, request) for rule in rules):
            return kind
        if not asked.takes_equivalents:
            return None
        others = self._resources.equivalents(kind)
        if not others:
            return None
        return next((other for rule in rules for other in others if _matches(rule, other, request)), None)

    async def _namespace_labels(self, request: AdmissionRequest) -> Mapping[str, str]:
        if request.kind is Namespace.__kind__ and not request.subresource and request.operation != Operation.DELETE:
            return object_labels(request.obj) or {}
        name = request.namespace or request.name
        return (await self._reader.get(_NamespaceLabels, name)).metadata.labels


def is_exempt(request: AdmissionRequest) -> bool:
    """Webhooks and policies themselves are never sent to webhooks and policies: a bad one could not be removed."""
    return request.kind.group == _OWN_GROUP


def is_exempt_from_policies(request: AdmissionRequest) -> bool:
    """Policies do not see reviews either: what components ask of each other must not be broken by an expression."""
    return request.kind.group in _NOT_FOR_POLICIES


def object_labels(obj: Any) -> Mapping[str, str] | None:
    """The labels of an object; None of what has no metadata."""
    return obj.metadata.labels if isinstance(obj, Object) else None


def _is_in_namespace(request: AdmissionRequest) -> bool:
    return bool(request.namespace) or request.kind is Namespace.__kind__


def _selects_object(selector: labels.Selector, request: AdmissionRequest) -> bool:
    if selector.is_everything:
        return True
    both = (object_labels(request.obj), object_labels(request.old_obj))
    return any(one is not None and selector.matches(one) for one in both)


def _matches(rule: Rule, kind: Kind, request: AdmissionRequest) -> bool:
    if "*" not in rule.operations and request.operation.value not in rule.operations:
        return False
    if "*" not in rule.api_groups and kind.group not in rule.api_groups:
        return False
    if "*" not in rule.api_versions and kind.version not in rule.api_versions:
        return False
    is_namespaced = kind is not Namespace.__kind__ and bool(request.namespace)
    if rule.scope == "Namespaced" and not is_namespaced:
        return False
    if rule.scope == "Cluster" and is_namespaced:
        return False
    names = getattr(rule, "resource_names", ())
    if names and request.name not in names:
        return False
    return any(_matches_resource(pattern, kind.plural, request.subresource) for pattern in rule.resources)


def _matches_resource(pattern: str, resource: str, subresource: str) -> bool:
    wanted, _, wanted_subresource = pattern.partition("/")
    return wanted in ("*", resource) and (wanted_subresource == subresource or wanted_subresource == "*")
