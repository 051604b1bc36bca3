"""What resources may be called: in containers, pods, quotas and limit ranges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid

HUGE_PAGES: Final = "hugepages-"
_OF_CONTAINERS: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
COUNTS: Final = frozenset(
    {
        *("configmaps", "persistentvolumeclaims", "pods", "replicationcontrollers", "resourcequotas", "secrets"),
        *("services", "services.loadbalancers", "services.nodeports"),
    }
)
_OF_QUOTAS: Final = frozenset(
    {
        *COUNTS,
        *("cpu", "memory", "ephemeral-storage", "limits.cpu", "limits.ephemeral-storage", "limits.memory"),
        *("requests.cpu", "requests.ephemeral-storage", "requests.memory", "requests.storage"),
    }
)
_STANDARD: Final = _OF_QUOTAS | {"storage"}
_WHOLE: Final = COUNTS


def validate(name: str, path: str) -> Iterator[FieldError]:
    """Everything wrong with the name of a resource anywhere."""
    complaints = names.qualified_name(name)
    for complaint in complaints:
        yield invalid(path, name, complaint)
    if not complaints and "/" not in name and not is_standard(name):
        yield invalid(path, name, "must be a standard resource type or fully qualified")


def validate_of_container(name: str, path: str) -> Iterator[FieldError]:
    """Everything wrong with the name of a resource of a container."""
    if name in _OF_CONTAINERS:
        return
    yield from validate(name, path)
    if "/" not in name:
        if not name.startswith(HUGE_PAGES):
            yield invalid(path, name, "must be a standard resource for containers")
    elif not is_native(name) and not is_extended(name):
        yield invalid(path, name, "doesn't follow extended resource name standard")


def validate_of_quota(name: str, path: str) -> Iterator[FieldError]:
    """Everything wrong with the name of a resource of a quota."""
    yield from validate(name, path)
    if "/" not in name and not is_standard_of_quota(name):
        yield invalid(path, name, "must be a standard resource for quota")


def is_standard(name: str) -> bool:
    """Whether Kubernetes gave a name without a slash its meaning."""
    return name in _STANDARD or name.startswith((HUGE_PAGES, "requests.hugepages-"))


def is_standard_of_quota(name: str) -> bool:
    """Whether a quota counts a resource of its own accord."""
    return name in _OF_QUOTAS or name.startswith((HUGE_PAGES, "requests.hugepages-"))


def is_native(name: str) -> bool:
    """Whether a resource is not one that a device plugin brings."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """Whether a resource is one that a device plugin may bring, and quotas may name with `requests.` before it."""
    if is_native(name) or name.startswith("requests."):
        return False
    return not names.qualified_name(f"requests.{name}")


def is_whole(name: str) -> bool:
    """Whether there are no fractions of a resource."""
    return name in _WHOLE or name.startswith("count/") or is_extended(name)
