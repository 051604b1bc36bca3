"""LimitRanges."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keelback.api.core_v1 import LimitRange, LimitRangeItem
from keelback.apimachinery import quantity
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid
from keelback.apimachinery.meta import replace
from keelback.registry.cells import CREATED_AT
from keelback.registry.strategy import Strategy


class LimitRangeStrategy(Strategy[LimitRange]):
    kind = LimitRange
    counts_generations = False
    columns = (CREATED_AT,)

    def default(self, new: LimitRange, old: LimitRange | None = None) -> LimitRange:
        limits = tuple(_with_defaults(item) for item in new.spec.limits)
        return new if limits == new.spec.limits else replace(new, spec=replace(new.spec, limits=limits))

    def validate(self, new: LimitRange) -> Iterator[FieldError]:
        seen: set[str] = set()
        for index, item in enumerate(new.spec.limits):
            path = f"spec.limits[{index}]"
            if item.type in seen:
                yield duplicate(f"{path}.type", item.type)
            seen.add(item.type)
            if item.type == "Pod":
                if item.default:
                    yield forbidden(f"{path}.default", "may not be specified when `type` is 'Pod'")
                if item.default_request:
                    yield forbidden(f"{path}.defaultRequest", "may not be specified when `type` is 'Pod'")
            yield from _order(item, path)


def _order(item: LimitRangeItem, path: str) -> Iterator[FieldError]:
    pairs: tuple[tuple[str, Mapping[str, str], str, Mapping[str, str]], ...] = (
        ("min", item.min, "max", item.max),
        ("min", item.min, "default request", item.default_request),
        ("default request", item.default_request, "max", item.max),
        ("default request", item.default_request, "default", item.default),
        ("min", item.min, "default", item.default),
        ("default", item.default, "max", item.max),
    )
    fields = {"min": "min", "max": "max", "default": "default", "default request": "defaultRequest"}
    for lower, low, upper, high in pairs:
        for name in sorted(set(low) & set(high)):
            if quantity.compare(low[name], high[name]) > 0:
                field = fields[lower if lower != "min" or upper == "max" else upper]
                yield invalid(
                    f"{path}.{field}[{name}]",
                    low[name] if fields[lower] == field else high[name],
                    f"{lower} value {low[name]} is greater than {upper} value {high[name]}",
                )


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
