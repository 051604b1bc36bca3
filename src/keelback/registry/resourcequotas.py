"""ResourceQuotas."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from keelback.api.core_v1 import ResourceQuota
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry import container_resources, resource_names
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_SCOPES = (
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
)


_COMPUTE: Final = frozenset(
    {
        *("cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"),
    }
)
_WITHOUT_VALUES: Final = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")
_MUST_EXIST: Final = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, "
    "ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
)


def _usage(quota: ResourceQuota, *, of_limits: bool) -> str:
    return ", ".join(
        f"{name}: {quota.status.used.get(name, '0')}/{hard}"
        for name, hard in sorted(quota.status.hard.items())
        if name.startswith("limits") is of_limits
    )


class ResourceQuotaStrategy(Strategy[ResourceQuota]):
    kind = ResourceQuota
    subresources = ("status",)
    counts_generations = False
    answers_deleted_object = True
    columns = (
        text("Request", lambda one: _usage(one, of_limits=False)),
        text("Limit", lambda one: _usage(one, of_limits=True)),
        AGE,
    )

    def validate(self, new: ResourceQuota) -> Iterator[FieldError]:
        yield from _amounts(new.spec.hard, "spec.hard")
        yield from _scopes(new)
        yield from _selector(new)

    def validate_update(self, new: ResourceQuota, old: ResourceQuota) -> Iterator[FieldError]:
        yield from self.validate(new)
        if set(new.spec.scopes) != set(old.spec.scopes):
            yield invalid("spec.scopes", list(new.spec.scopes) or None, "field is immutable")

    def validate_status_update(self, new: ResourceQuota, old: ResourceQuota) -> Iterator[FieldError]:
        yield from _amounts(new.status.hard, "status.hard")
        yield from _amounts(new.status.used, "status.used")


def _amounts(amounts: Mapping[str, str], path: str) -> Iterator[FieldError]:
    for name, amount in amounts.items():
        here = f"{path}[{name}]"
        yield from resource_names.validate_of_quota(name, here)
        yield from container_resources.validate_amount(name, amount, here)


def _is_valid_for(scope: str, name: str) -> bool:
    """Whether a quota that counts only what has a scope can count a resource at all."""
    if scope not in _SCOPES:
        return True
    if scope == "VolumeAttributesClass":
        return name in ("persistentvolumeclaims", "requests.storage")
    if scope == "BestEffort":
        return name == "pods"
    return name == "pods" or name in _COMPUTE


def _scopes(quota: ResourceQuota) -> Iterator[FieldError]:
    scopes = list(quota.spec.scopes)
    for scope in scopes:
        if scope not in _SCOPES:
            yield invalid("spec.scopes", scopes, "unsupported scope")
        for name in sorted(quota.spec.hard):
            if resource_names.is_standard_of_quota(name) and not _is_valid_for(scope, name):
                yield invalid("spec.scopes", scopes, "unsupported scope applied to resource")
    yield from _conflicts(set(scopes), quota)


def _selector(quota: ResourceQuota) -> Iterator[FieldError]:
    selector = quota.spec.scope_selector
    if selector is None:
        return
    path = "spec.scopeSelector.matchExpressions"
    for requirement in selector.match_expressions:
        scope, operator, values = requirement.scope_name, requirement.operator, requirement.values
        if scope not in _SCOPES:
            yield invalid(f"{path}.scopeName", scope, "unsupported scope")
        for name in sorted(quota.spec.hard):
            if resource_names.is_standard_of_quota(name) and not _is_valid_for(scope, name):
                yield invalid(path, internal(selector), "unsupported scope applied to resource")
        if scope in _WITHOUT_VALUES and operator != "Exists":
            yield invalid(f"{path}.operator", operator, _MUST_EXIST)
        if operator in ("In", "NotIn"):
            if not values:
                why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                yield required(f"{path}.values", why)
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                yield invalid(f"{path}.values", list(values), why)
        else:
            yield invalid(f"{path}.operator", operator, "not a valid selector operator")
    yield from _conflicts({one.scope_name for one in selector.match_expressions}, quota)


def _conflicts(scopes: set[str], quota: ResourceQuota) -> Iterator[FieldError]:
    for pair in (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")):
        if scopes.issuperset(pair):
            yield invalid("spec.scopes", list(quota.spec.scopes) or None, "conflicting scopes")
