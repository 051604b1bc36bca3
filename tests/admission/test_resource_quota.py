from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import pytest

from keelback.admission.limited_resources import LimitedResource
from keelback.admission.plugin import AdmissionChain, AdmissionRequest, Operation
from keelback.admission.resource_quota import ResourceQuotaPlugin
from keelback.api.core_v1 import (
    Container,
    Pod,
    PodSpec,
    ResourceQuota,
    ResourceQuotaSpec,
    ResourceQuotaStatus,
    ResourceRequirements,
    ScopedResourceSelectorRequirement,
    ScopeSelector,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta, replace, with_metadata

T = TypeVar("T", bound=Object)


class Joe:
    name = "joe"
    uid = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


class Quotas:
    """A store of quotas with versions, and a cache that never learns of later writes."""

    def __init__(self, *quotas: ResourceQuota) -> None:
        self.cached = quotas
        self.stored = {quota.metadata.name: quota for quota in quotas}
        self.disturbances = 0

    async def get(self, kind: type[T], name: str, namespace: str = "") -> T:
        raise NotImplementedError

    async def list(self, kind: type[T], namespace: str = "") -> Sequence[T]:
        return [quota for quota in self.cached if isinstance(quota, kind)]

    async def read_quota(self, namespace: str, name: str) -> ResourceQuota:
        quota = self.stored[name]
        await asyncio.sleep(0)
        return quota

    async def write_quota_status(self, quota: ResourceQuota) -> None:
        name = quota.metadata.name
        version = self.stored[name].metadata.resource_version
        if self.disturbances or version != quota.metadata.resource_version:
            self.disturbances -= 1
            raise errors.Conflict.of(ResourceQuota.__kind__, name)
        self.stored[name] = with_metadata(quota, resource_version=str(int(version) + 1))


def _quota(hard: dict[str, str], used: dict[str, str] | None = None) -> ResourceQuota:
    known = dict.fromkeys(hard, "0") if used is None else used
    return ResourceQuota(
        metadata=ObjectMeta(name="q", namespace="x", resource_version="1"),
        spec=ResourceQuotaSpec(hard=hard),
        status=ResourceQuotaStatus(hard=hard if used is None or used else {}, used=known),
    )


def _create(*, dry_run: bool = False, **requests: str) -> AdmissionRequest:
    resources = ResourceRequirements(requests=requests, limits=requests)
    pod = Pod(
        metadata=ObjectMeta(name="a", namespace="x"),
        spec=PodSpec(containers=(Container(name="c", resources=resources),)),
    )
    return AdmissionRequest(
        operation=Operation.CREATE,
        kind=Pod.__kind__,
        user=Joe(),
        namespace="x",
        name="a",
        obj=pod,
        dry_run=dry_run,
    )


async def _ask(
    quotas: Quotas, *requests: AdmissionRequest, limited: Sequence[LimitedResource] = ()
) -> list[BaseException | None]:
    chain = AdmissionChain([ResourceQuotaPlugin(quotas, quotas, FixedClock(), limited)])
    return await asyncio.gather(*(chain.validate(request) for request in requests), return_exceptions=True)


def _refusal(quotas: Quotas, request: AdmissionRequest) -> str:
    (refused,) = asyncio.run(_ask(quotas, request))
    assert isinstance(refused, errors.Forbidden)
    return refused.message


def test_usage_rises_with_the_create() -> None:
    quotas = Quotas(_quota({"pods": "2", "requests.cpu": "1"}))
    assert asyncio.run(_ask(quotas, _create(cpu="300m"))) == [None]
    assert quotas.stored["q"].status.used == {"pods": "1", "requests.cpu": "300m"}


def test_a_refusal_names_only_what_is_exceeded() -> None:
    quotas = Quotas(
        _quota(
            {"limits.memory": "1Gi", "requests.cpu": "1", "pods": "10"},
            {"limits.memory": "512Mi", "requests.cpu": "600m", "pods": "1"},
        )
    )
    assert _refusal(quotas, _create(cpu="600m", memory="612Mi")) == (
        'pods "a" is forbidden: exceeded quota: q, requested: limits.memory=612Mi,requests.cpu=600m,'
        " used: limits.memory=512Mi,requests.cpu=600m, limited: limits.memory=1Gi,requests.cpu=1"
    )
    assert quotas.stored["q"].status.used["pods"] == "1"


def test_containers_must_say_what_a_quota_counts() -> None:
    quotas = Quotas(_quota({"limits.memory": "1Gi", "requests.cpu": "1"}))
    assert _refusal(quotas, _create()) == (
        'pods "a" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c'
    )


def test_a_quota_that_nobody_has_counted_yet_refuses() -> None:
    quotas = Quotas(_quota({"pods": "1"}, {}))
    assert _refusal(quotas, _create()) == 'pods "a" is forbidden: status unknown for quota: q, resources: pods'


def test_a_dry_run_is_checked_and_not_counted() -> None:
    quotas = Quotas(_quota({"pods": "1"}))
    assert asyncio.run(_ask(quotas, _create(dry_run=True))) == [None]
    assert quotas.stored["q"].status.used == {"pods": "0"}
    full = Quotas(_quota({"pods": "1"}, {"pods": "1"}))
    assert "exceeded quota" in _refusal(full, _create(dry_run=True))


@pytest.mark.parametrize("count", [1, 5, 12])
def test_a_burst_never_exceeds_the_quota(count: int) -> None:
    quotas = Quotas(_quota({"pods": "5"}))
    answers = asyncio.run(_ask(quotas, *(_create() for _ in range(count))))
    assert sum(answer is None for answer in answers) == min(count, 5)
    assert quotas.stored["q"].status.used == {"pods": str(min(count, 5))}


def test_another_servers_write_is_counted_with() -> None:
    quotas = Quotas(_quota({"pods": "2"}))
    quotas.disturbances = 3
    assert asyncio.run(_ask(quotas, _create())) == [None]
    assert quotas.stored["q"].status.used == {"pods": "1"}


def test_what_is_limited_wants_a_quota() -> None:
    scope = ScopedResourceSelectorRequirement(scope_name="PriorityClass", operator="In", values=("vital",))
    pods = LimitedResource(resource="pods", match_contains=("requests.cpu",), match_scopes=(scope,))

    def told(request: AdmissionRequest, *quotas: ResourceQuota) -> list[str]:
        found = asyncio.run(_ask(Quotas(*quotas), request, limited=(pods,)))
        return [one.message if isinstance(one, errors.Forbidden) else str(one) for one in found]

    asking, plain = _create(cpu="1"), _create()
    vital = plain.with_object(replace(plain.obj, spec=replace(plain.obj.spec, priority_class_name="vital")))
    covering = _quota({"pods": "5"})
    scoped = replace(covering, spec=replace(covering.spec, scope_selector=ScopeSelector(match_expressions=(scope,))))
    assert told(plain) == ["None"]
    assert told(asking) == ['pods "a" is forbidden: insufficient quota to consume: requests.cpu']
    assert told(asking, _quota({"requests.cpu": "2"})) == ["None"]
    assert told(vital, covering) == [
        'pods "a" is forbidden: insufficient quota to match these scopes: [{PriorityClass In [vital]}]'
    ]
    assert told(vital, scoped) == ["None"]
