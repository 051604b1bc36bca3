"""LimitRanges."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from keelback.api.core_v1 import LimitRange, LimitRangeItem
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, required
from keelback.apimachinery.meta import replace
from keelback.registry import container_resources, resource_names
from keelback.registry.cells import CREATED_AT
from keelback.registry.strategy import Strategy


class LimitRangeStrategy(Strategy[LimitRange]):
    kind = LimitRange
    checks_metadata_twice = False
    checks_metadata_as_new = True
    is_created_by_update = True
    counts_generations = False
    columns = (CREATED_AT,)

    def default(self, new: LimitRange, old: LimitRange | None = None) -> LimitRange:
        limits = tuple(_with_defaults(item) for item in new.spec.limits)
        return new if limits == new.spec.limits else replace(new, spec=replace(new.spec, limits=limits))

    def validate(self, new: LimitRange) -> Iterator[FieldError]:
        seen: set[str] = set()
        for index, item in enumerate(new.spec.limits):
            path = f"spec.limits[{index}]"
            yield from _type(item.type, f"{path}.type")
            if item.type in seen:
                yield duplicate(f"{path}.type", item.type)
            seen.add(item.type)
            yield from _names(item, path)
            for name in dict.fromkeys(
                (*item.max, *item.min, *item.default, *item.default_request, *item.max_limit_request_ratio)
            ):
                yield from _order(item, name, path)
                yield from _ratio(item, name, f"{path}.maxLimitRequestRatio[{name}]")


_TYPES: Final = ("Container", "PersistentVolumeClaim", "Pod")


def _type(kind: str, path: str) -> Iterator[FieldError]:
    complaints = names.qualified_name(kind)
    for complaint in complaints:
        yield invalid(path, kind, complaint)
    if not complaints and "/" not in kind and kind not in _TYPES:
        yield invalid(path, kind, "must be a standard limit type or fully qualified")


def _names(item: LimitRangeItem, path: str) -> Iterator[FieldError]:
    """Everything wrong with which resources are limited, and how."""
    is_of_containers = item.type in ("Container", "Pod")
    rule = resource_names.validate_of_container if is_of_containers else resource_names.validate
    for field, held in (("max", item.max), ("min", item.min)):
        for name in held:
            yield from rule(name, f"{path}.{field}[{name}]")
    for field, held in (("default", item.default), ("defaultRequest", item.default_request)):
        if item.type == "Pod":
            if held:
                yield forbidden(f"{path}.{field}", "may not be specified when `type` is 'Pod'")
            continue
        for name in held:
            yield from rule(name, f"{path}.{field}[{name}]")
    if item.type == "PersistentVolumeClaim" and "storage" not in item.min and "storage" not in item.max:
        why = "either minimum or maximum storage value is required, but neither was provided"
        yield required(f"{path}.limits", why)
    for name in item.max_limit_request_ratio:
        yield from rule(name, f"{path}.maxLimitRequestRatio[{name}]")


def _order(item: LimitRangeItem, name: str, path: str) -> Iterator[FieldError]:
    """What is less than it must be: the bounds around the default request and the default limit."""
    low, high = item.min.get(name), item.max.get(name)
    # Upstream does not look at the defaults of a pod.
    default, request = (None, None) if item.type == "Pod" else (item.default.get(name), item.default_request.get(name))
    for field, shown, lesser, greater, words in (
        ("min", low, low, high, ("min", "max")),
        ("defaultRequest", request, low, request, ("min", "default request")),
        ("defaultRequest", request, request, high, ("default request", "max")),
        ("defaultRequest", request, request, default, ("default request", "default limit")),
        ("default", low, low, default, ("min", "default")),
        ("default", high, default, high, ("default", "max")),
    ):
        if lesser is not None and greater is not None and quantity.compare(lesser, greater) > 0:
            why = f"{words[0]} value {lesser} is greater than {words[1]} value {greater}"
            yield invalid(f"{path}.{field}[{name}]", shown, why)
    if default is None or request is None or container_resources.is_overcommit_allowed(name):
        return
    if quantity.compare(default, request) != 0:
        why = f"default value {default} must equal to defaultRequest value {request} in {name}"
        yield invalid(f"{path}.defaultRequest[{name}]", request, why)


def _ratio(item: LimitRangeItem, name: str, path: str) -> Iterator[FieldError]:
    ratio, low, high = item.max_limit_request_ratio.get(name), item.min.get(name), item.max.get(name)
    if ratio is None:
        return
    given = quantity.parse(ratio).as_float()
    if given < 1:
        yield invalid(path, ratio, f"ratio {ratio} is less than 1")
    if low is not None and high is not None and quantity.parse(low).nanos > 0:
        most = quantity.parse(high).nanos / quantity.parse(low).nanos
        if given > most:
            yield invalid(path, ratio, f"ratio {ratio} is greater than max/min = {most:f}")


def _with_defaults(item: LimitRangeItem) -> LimitRangeItem:
    """For containers: the maximum is the default limit, which is the default request, for want of which the minimum."""
    if item.type != "Container":
        return item
    default = {**item.max, **item.default}
    request: dict[str, Any] = {**default, **item.min, **item.default_request}
    for name in set(default) - set(item.default_request):
        request[name] = default[name]
    if default == dict(item.default) and request == dict(item.default_request):
        return item
    return replace(item, default=default, default_request=request)
