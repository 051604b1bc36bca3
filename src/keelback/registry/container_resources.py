"""What a container may request and be limited to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api.core_v1 import ResourceRequirements
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, forbidden, invalid, required

_STANDARD: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_HUGE_PAGES: Final = "hugepages-"


def validate(resources: ResourceRequirements, path: str) -> Iterator[FieldError]:
    """Everything wrong with a container's resources."""
    for name, amount in resources.limits.items():
        yield from validate_amount(name, amount, f"{path}.limits[{name}]")
    for name, amount in resources.requests.items():
        yield from validate_amount(name, amount, f"{path}.requests[{name}]")
        limit = resources.limits.get(name)
        may_differ = is_overcommit_allowed(name)
        if limit is None:
            if not may_differ:
                yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif quantity.compare(amount, limit) > 0 and may_differ:
            yield invalid(f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limit}")
        elif not may_differ and quantity.compare(amount, limit) != 0:
            yield invalid(f"{path}.requests", amount, f"must be equal to {name} limit of {limit}")
    given = {*resources.limits, *resources.requests}
    if any(name.startswith(_HUGE_PAGES) for name in given) and not given & {"cpu", "memory"}:
        yield forbidden(path, "HugePages require cpu or memory")


def validate_amount(name: str, amount: str, path: str) -> Iterator[FieldError]:
    """Everything wrong with a resource's name and its amount."""
    if name not in _STANDARD:
        yield from _resource_name(name, path)
    parsed = quantity.parse(amount)
    if parsed.nanos < 0:
        yield invalid(path, amount, "must be greater than or equal to 0")
    if parsed.nanos % quantity.NANOS_PER_UNIT and _is_whole(name):
        yield invalid(path, amount, "must be an integer")


def is_overcommit_allowed(name: str) -> bool:
    """Whether a container may be given less than its limit: true of the native resources but huge pages."""
    return _is_native(name) and not name.startswith(_HUGE_PAGES)


def _resource_name(name: str, path: str) -> Iterator[FieldError]:
    for complaint in names.qualified_name(name):
        yield invalid(path, name, complaint)
    if "/" not in name:
        if not name.startswith(_HUGE_PAGES):
            yield invalid(path, name, "must be a standard resource for containers")
    elif not _is_native(name) and name.startswith("requests."):
        yield invalid(path, name, "doesn't follow extended resource name standard")


def _is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def _is_whole(name: str) -> bool:
    return name not in _STANDARD and (name in ("pods", "services") or not _is_native(name))
