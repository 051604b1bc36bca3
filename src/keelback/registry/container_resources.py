"""What a container, or a pod as a whole, may request and be limited to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from keelback.api.core_v1 import Container, PodSpec, ResourceClaim, ResourceRequirements
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_found, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry import resource_names

_COMPUTE: Final = frozenset({"cpu", "memory"})
_HUGE_PAGES: Final = "hugepages-"
_NameRule: TypeAlias = Callable[[str, str], Iterator[FieldError]]


def validate(resources: ResourceRequirements, claims: Collection[str], path: str) -> Iterator[FieldError]:
    """Everything wrong with a container's resources; `claims` are the names of the pod's resource claims."""
    return _requirements(resources, resource_names.validate_of_container, claims, path)


def validate_of_pod(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with the resources of a pod as a whole: its containers must fit into them."""
    resources = spec.resources
    if resources is None:
        return
    if spec.os is not None and spec.os.name == "windows":
        yield forbidden(path, "may not be set for a windows pod")
        return
    if resources.claims:
        yield forbidden(f"{path}.claims", "claims may not be set for Resources at pod-level")
    yield from _requirements(replace(resources, claims=()), _of_pod, (), path)
    for name, amount in requested_together(spec).items():
        own = resources.requests.get(name)
        if own is not None and amount > quantity.parse(own):
            why = f"must be greater than or equal to aggregate container requests of {amount}"
            yield invalid(f"{path}.requests[{name}]", own, why)
    for name, amount in limited_together(spec).items():
        own = resources.limits.get(name)
        if name.startswith(_HUGE_PAGES) and own is not None and amount > quantity.parse(own):
            why = f"must be greater than or equal to aggregate container limits of {amount}"
            yield invalid(f"{path}.limits[{name}]", own, why)
    for index, container in enumerate(spec.containers):
        for name, limit in container.resources.limits.items():
            own_limit = resources.limits.get(name)
            if own_limit is not None and quantity.compare(limit, own_limit) > 0:
                yield invalid(
                    f"{path}.containers[{index}][{name}].limits",
                    limit,
                    f"must be less than or equal to pod limits of {own_limit}",
                )


def validate_overhead(overhead: Mapping[str, str], path: str) -> Iterator[FieldError]:
    """Everything wrong with what a sandbox costs beside its containers."""
    return _requirements(ResourceRequirements(limits=overhead), resource_names.validate_of_container, (), path)


def validate_amount(name: str, amount: str, path: str) -> Iterator[FieldError]:
    """Everything wrong with the amount of a resource."""
    parsed = quantity.parse(amount)
    if parsed.nanos < 0:
        yield invalid(path, amount, "must be greater than or equal to 0")
    if parsed.nanos % quantity.NANOS_PER_UNIT and resource_names.is_whole(name):
        yield invalid(path, amount, "must be an integer")


def is_overcommit_allowed(name: str) -> bool:
    """Whether a container may be given less than its limit: true of the native resources but huge pages."""
    return resource_names.is_native(name) and not name.startswith(_HUGE_PAGES)


def requested_together(spec: PodSpec) -> dict[str, quantity.Quantity]:
    """What all containers request: the main ones and sidecars together, or more if an init container takes more."""
    return _together(spec, lambda container: container.resources.requests)


def limited_together(spec: PodSpec) -> dict[str, quantity.Quantity]:
    """What all containers are limited to, reckoned in the same way."""
    return _together(spec, lambda container: container.resources.limits)


def _requirements(
    resources: ResourceRequirements, of_name: _NameRule, claims: Collection[str], path: str
) -> Iterator[FieldError]:
    limits, requests = resources.limits, resources.requests
    for name, amount in limits.items():
        yield from _named_amount(name, amount, of_name, f"{path}.limits[{name}]")
    for name, amount in requests.items():
        here = f"{path}.requests[{name}]"
        if name not in _COMPUTE:
            yield from of_name(name, here)
        yield from validate_amount(name, amount, here)
        limit = limits.get(name)
        may_differ = is_overcommit_allowed(name)
        if limit is None:
            if not may_differ:
                yield required(f"{path}.limits", "Limit must be set for non overcommitable resources")
        elif not may_differ and quantity.compare(amount, limit) != 0:
            yield invalid(f"{path}.requests", amount, f"must be equal to {name} limit of {limit}")
        elif quantity.compare(amount, limit) > 0:
            yield invalid(f"{path}.requests", amount, f"must be less than or equal to {name} limit of {limit}")
        if name.startswith(_HUGE_PAGES):
            yield from _whole_pages(name, amount, here)
    if any(name.startswith(_HUGE_PAGES) for name in (*limits, *requests)) and _COMPUTE.isdisjoint((*limits, *requests)):
        yield forbidden(path, "HugePages require cpu or memory")
    if resources.claims:
        yield from _claims(resources.claims, claims, f"{path}.claims")


def _named_amount(name: str, amount: str, of_name: _NameRule, path: str) -> Iterator[FieldError]:
    if name not in _COMPUTE:
        yield from of_name(name, path)
    yield from validate_amount(name, amount, path)
    if name.startswith(_HUGE_PAGES):
        yield from _whole_pages(name, amount, path)


def _whole_pages(name: str, amount: str, path: str) -> Iterator[FieldError]:
    try:
        size = quantity.parse(name.removeprefix(_HUGE_PAGES)).nanos
    except quantity.QuantityError:
        size = 0
    if size <= 0 or quantity.parse(amount).nanos % size:
        yield invalid(path, amount, f"{amount} is not positive integer multiple of {name}")


def _of_pod(name: str, path: str) -> Iterator[FieldError]:
    complaints = list(resource_names.validate(name, path))
    yield from complaints
    if not complaints and name not in _COMPUTE and not name.startswith(_HUGE_PAGES):
        yield not_supported(path, name, ("cpu", "hugepages-", "memory"))


def _together(spec: PodSpec, of: Callable[[Container], Mapping[str, str]]) -> dict[str, quantity.Quantity]:
    total: dict[str, quantity.Quantity] = {}
    beside: dict[str, quantity.Quantity] = {}
    peak: dict[str, quantity.Quantity] = {}
    for container in spec.containers:
        _add(total, of(container))
    for container in spec.init_containers:
        if container.restart_policy == "Always":
            _add(total, of(container))
            _add(beside, of(container))
            _raise_to(peak, beside)
        else:
            wanted = dict(beside)
            _add(wanted, of(container))
            _raise_to(peak, wanted)
    _raise_to(total, peak)
    return total


def _add(total: dict[str, quantity.Quantity], more: Mapping[str, str]) -> None:
    for name, text in more.items():
        total[name] = total.get(name, quantity.ZERO) + quantity.parse(text)


def _raise_to(total: dict[str, quantity.Quantity], least: Mapping[str, quantity.Quantity]) -> None:
    for name, amount in least.items():
        if amount > total.get(name, quantity.ZERO):
            total[name] = amount


def _claims(given: Sequence[ResourceClaim], known: Collection[str], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, claim in enumerate(given):
        here = f"{path}[{index}]"
        if not claim.name:
            yield required(here)
            continue
        if claim.name in seen:
            yield duplicate(here, claim.name)
        else:
            key = f"{claim.name}/{claim.request}" if claim.request else claim.name
            if claim.request:
                for complaint in names.dns1123_label(claim.request):
                    yield invalid(f"{here}.request", claim.request, complaint)
            if key in seen:
                yield duplicate(here, key)
            elif not claim.request and any(one.startswith(f"{claim.name}/") for one in seen):
                yield duplicate(here, claim.name)
            seen.add(key)
        if claim.name not in known:
            which = f": {', '.join(sorted(known))}" if known else " which is empty"
            missing = not_found(here, claim.name)
            detail = f"must be one of the names in pod.spec.resourceClaims{which}"
            yield FieldError(missing.field, missing.type, detail, missing.bad_value)
