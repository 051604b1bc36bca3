"""What may be used only where a quota covers it, as ResourceQuota is told by its file (ResourceQuotaConfiguration)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from keelback.admission.plugin import AdmissionRequest
from keelback.api.core_v1 import ResourceQuota, ScopedResourceSelectorRequirement
from keelback.apimachinery import configuration_files
from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.meta import Value
from keelback.quota import scopes

_GROUPS = ("resourcequota.admission.k8s.io", ("v1", "v1beta1", "v1alpha1"))
_KINDS = {
    _GROUPS[0]: "Configuration",
    "apiserver.config.k8s.io": "ResourceQuotaConfiguration",
}


class LimitedResource(Value):
    """A resource, and of it what wants a quota: what has one of the texts in its quota's names, or is of the scopes."""

    api_group: str = ""
    resource: str = ""
    match_contains: tuple[str, ...] = ()
    match_scopes: tuple[ScopedResourceSelectorRequirement, ...] = ()


class _Configuration(Value):
    limited_resources: tuple[LimitedResource, ...] = ()


def read(text: str) -> tuple[LimitedResource, ...]:
    """What the plugin's file says. Raises ConfigurationError."""
    group, versions = _GROUPS if _GROUPS[0] in text else ("apiserver.config.k8s.io", ("v1",))
    found = configuration_files.read(text, _Configuration, _KINDS[group], group, versions).limited_resources
    for index, one in enumerate(found):
        if not one.resource:
            raise ConfigurationError(f"limitedResources[{index}].resource: Required value")
    return found


def problems(
    limited: Sequence[LimitedResource],
    request: AdmissionRequest,
    quotas: Sequence[ResourceQuota],
    used: Mapping[str, object],
) -> Iterator[str]:
    """Why an object may not be, of which no quota covers what is limited. `used` is what it uses, by quotas' names."""
    obj = request.obj
    own = [one for one in limited if (one.api_group, one.resource) == (request.kind.group, request.kind.plural)]
    if not own:
        return
    names = {name for name in used for one in own if any(part in name for part in one.match_contains)}
    covered = {name for quota in quotas if scopes.matches(quota, obj) for name in quota.status.hard}
    if names - covered:
        yield f"insufficient quota to consume: {','.join(sorted(names - covered))}"
    wanted = [selector for one in own for selector in one.match_scopes if scopes.selects(selector, obj)]
    known = {one.scope_name for quota in quotas for one in scopes.selectors(quota) if scopes.selects(one, obj)}
    uncovered = [one for one in wanted if one.scope_name not in known]
    if uncovered:
        shown = " ".join(f"{{{one.scope_name} {one.operator} [{' '.join(one.values)}]}}" for one in uncovered)
        yield f"insufficient quota to match these scopes: [{shown}]"
