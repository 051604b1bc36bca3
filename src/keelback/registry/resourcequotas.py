"""ResourceQuotas."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.core_v1 import ResourceQuota
from keelback.apimachinery import quantity
from keelback.apimachinery.errors import FieldError, invalid
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


_ONE = 10**9
_COUNTS = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
        "services.loadbalancers",
        "services.nodeports",
    }
)
_AMOUNTS = frozenset(
    {
        *("cpu", "memory", "ephemeral-storage", "storage"),
        *("requests.cpu", "requests.memory", "requests.storage", "requests.ephemeral-storage"),
        *("limits.cpu", "limits.memory", "limits.ephemeral-storage"),
    }
)


def _is_standard(name: str) -> bool:
    """Whether a name without a slash is one that quotas know."""
    return name in _COUNTS or name in _AMOUNTS or name.startswith(("hugepages-", "requests.hugepages-"))


def _is_count(name: str) -> bool:
    return name in _COUNTS or name.startswith("count/")


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
        for name, amount in new.spec.hard.items():
            path = f"spec.hard[{name}]"
            if quantity.parse(amount).nanos < 0:
                yield invalid(path, amount, "must be greater than or equal to 0")
            if "/" not in name and not _is_standard(name):
                yield invalid(path, name, "must be a standard resource type or fully qualified")
                yield invalid(path, name, "must be a standard resource for quota")
            elif _is_count(name) and quantity.parse(amount).nanos % _ONE:
                yield invalid(path, amount, "must be an integer")
        for scope in new.spec.scopes:
            if scope not in _SCOPES:
                yield invalid("spec.scopes", list(new.spec.scopes), "unsupported scope")

    def validate_update(self, new: ResourceQuota, old: ResourceQuota) -> Iterator[FieldError]:
        yield from self.validate(new)
        if set(new.spec.scopes) != set(old.spec.scopes):
            yield invalid("spec.scopes", list(new.spec.scopes), "field is immutable")
