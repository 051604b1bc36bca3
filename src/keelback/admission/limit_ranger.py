"""LimitRanger: a namespace's limits fill in what containers leave open, and refuse too much or too little."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.api.core_v1 import (
    Container,
    LimitRange,
    LimitRangeItem,
    PersistentVolumeClaim,
    Pod,
    PodSpec,
    ResourceRequirements,
)
from keelback.api.pods import is_restartable_init
from keelback.apimachinery import quantity
from keelback.apimachinery.meta import Kind, replace, with_metadata

ANNOTATION = "kubernetes.io/limit-ranger"

_Amounts = Mapping[str, str]


class LimitRanger(AdmissionPlugin):
    """Applies every LimitRange of the namespace."""

    name = "LimitRanger"

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation, kind: Kind, subresource: str) -> bool:
        if kind is Pod.__kind__:
            return (operation, subresource) in ((Operation.CREATE, ""), (Operation.UPDATE, "resize"))
        is_write = operation in (Operation.CREATE, Operation.UPDATE)
        return kind is PersistentVolumeClaim.__kind__ and is_write and not subresource

    async def admit(self, request: AdmissionRequest) -> object:
        obj = request.obj
        if isinstance(obj, Pod) and request.operation is Operation.CREATE:
            for limit_range in await self._limit_ranges(request):
                obj = with_defaults(obj, limit_range)
        return obj

    async def validate(self, request: AdmissionRequest) -> None:
        for limit_range in await self._limit_ranges(request):
            wrong = list(violations(request.obj, limit_range))
            if wrong:
                raise request.forbidden(wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]")

    async def _limit_ranges(self, request: AdmissionRequest) -> Sequence[LimitRange]:
        found = await self._reader.list(LimitRange, request.namespace)
        return sorted(found, key=lambda one: one.metadata.name)


def with_defaults(pod: Pod, limit_range: LimitRange) -> Pod:
    """The pod with the defaults of the limit range where its containers say nothing."""
    requests, limits = _defaults(limit_range)
    if not requests and not limits:
        return pod
    notes: list[str] = []

    def fill(sort: str) -> Callable[[Container], Container]:
        return lambda container: _filled(container, sort, requests, limits, notes)

    spec = replace(
        pod.spec,
        containers=tuple(map(fill("container"), pod.spec.containers)),
        init_containers=tuple(map(fill("init container"), pod.spec.init_containers)),
    )
    if not notes:
        return pod
    annotations = {**pod.metadata.annotations, ANNOTATION: f"LimitRanger plugin set: {'; '.join(notes)}"}
    return with_metadata(replace(pod, spec=spec), annotations=annotations)


def violations(obj: object, limit_range: LimitRange) -> Iterator[str]:
    """Everything in the object that the limit range does not allow, in upstream's words."""
    for item in limit_range.spec.limits:
        if isinstance(obj, PersistentVolumeClaim) and item.type == "PersistentVolumeClaim":
            yield from _claim_violations(obj, item)
        elif isinstance(obj, Pod) and item.type == "Container":
            for container in (*obj.spec.containers, *obj.spec.init_containers):
                yield from _Usage("Container", container.resources.requests, container.resources.limits).against(item)
        elif isinstance(obj, Pod) and item.type == "Pod":
            yield from _pod_usage(obj.spec).against(item)


@dataclass(frozen=True, slots=True)
class _Usage:
    """What something asks for, to be held against one item of a limit range."""

    type: str
    requests: _Amounts
    limits: _Amounts

    def against(self, item: LimitRangeItem) -> Iterator[str]:
        for resource, least in sorted(item.min.items()):
            yield from self._below(resource, least)
        for resource, most in sorted(item.max.items()):
            yield from self._above(resource, most)
        for resource, ratio in sorted(item.max_limit_request_ratio.items()):
            yield from self._ratio(resource, ratio)

    def _below(self, resource: str, least: str) -> Iterator[str]:
        asked, limit = self.requests.get(resource), self.limits.get(resource)
        text = f"minimum {resource} usage per {self.type} is {least}"
        if asked is None:
            yield f"{text}.  No request is specified"
        elif quantity.compare(asked, least) < 0:
            yield f"{text}, but request is {asked}"
        elif limit is not None and quantity.compare(limit, least) < 0:
            yield f"{text}, but limit is {limit}"

    def _above(self, resource: str, most: str) -> Iterator[str]:
        asked, limit = self.requests.get(resource), self.limits.get(resource)
        text = f"maximum {resource} usage per {self.type} is {most}"
        if limit is None:
            yield f"{text}.  No limit is specified"
        elif quantity.compare(limit, most) > 0:
            yield f"{text}, but limit is {limit}"
        elif asked is not None and quantity.compare(asked, most) > 0:
            yield f"{text}, but request is {asked}"

    def _ratio(self, resource: str, most: str) -> Iterator[str]:
        asked = quantity.parse(self.requests.get(resource, "0"))
        limit = quantity.parse(self.limits.get(resource, "0"))
        text = f"{resource} max limit to request ratio per {self.type} is {most}"
        if not asked:
            yield f"{text}, but no request is specified or request is 0"
        elif not limit:
            yield f"{text}, but no limit is specified or limit is 0"
        elif limit.nanos * quantity.NANOS_PER_UNIT > quantity.parse(most).nanos * asked.nanos:
            yield f"{text}, but provided ratio is {limit.nanos / asked.nanos:f}"


def _claim_violations(claim: PersistentVolumeClaim, item: LimitRangeItem) -> Iterator[str]:
    asked = claim.spec.resources.requests
    for word, bounds, sign in (("minimum", item.min, -1), ("maximum", item.max, 1)):
        for resource, bound in sorted(bounds.items()):
            text = f"{word} {resource} usage per PersistentVolumeClaim is {bound}"
            if resource not in asked:
                yield f"{text}.  No request is specified"
            elif quantity.compare(asked[resource], bound) == sign:
                yield f"{text}, but request is {asked[resource]}"


def _pod_usage(spec: PodSpec) -> _Usage:
    return _Usage("Pod", _total(spec, lambda one: one.requests), _total(spec, lambda one: one.limits))


def _total(spec: PodSpec, amounts: Callable[[ResourceRequirements], _Amounts]) -> _Amounts:
    """What a pod uses at most: its containers and sidecars together, or one init container if that is more."""
    total: dict[str, quantity.Quantity] = {}
    for container in (*spec.containers, *(one for one in spec.init_containers if is_restartable_init(one))):
        for resource, amount in amounts(container.resources).items():
            total[resource] = total.get(resource, quantity.ZERO) + quantity.parse(amount)
    for container in spec.init_containers:
        for resource, amount in amounts(container.resources).items():
            total[resource] = max(total.get(resource, quantity.ZERO), quantity.parse(amount))
    return {resource: str(amount) for resource, amount in total.items()}


def _defaults(limit_range: LimitRange) -> tuple[_Amounts, _Amounts]:
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    for item in limit_range.spec.limits:
        if item.type == "Container":
            requests |= item.default_request
            limits |= item.default
    return requests, limits


def _filled(container: Container, sort: str, requests: _Amounts, limits: _Amounts, notes: list[str]) -> Container:
    resources = container.resources
    more_limits = {key: value for key, value in limits.items() if key not in resources.limits}
    more_requests = {key: value for key, value in requests.items() if key not in resources.requests}
    if not more_limits and not more_requests:
        return container
    for word, added in (("request", more_requests), ("limit", more_limits)):
        if added:
            notes.append(f"{', '.join(sorted(added))} {word} for {sort} {container.name}")
    resources = replace(
        resources,
        limits={**resources.limits, **more_limits},
        requests={**resources.requests, **more_requests},
    )
    return replace(container, resources=resources)
