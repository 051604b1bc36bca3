"""ResourceQuota: nothing is stored that would take a namespace over its quota; what is stored is counted at once.

Usage is written by compare-and-swap before the object is stored. If storing then fails, the quota controller's next
full count corrects it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from keelback.admission import limited_resources
from keelback.admission.limited_resources import LimitedResource
from keelback.admission.plugin import AdmissionPlugin, AdmissionRequest, Operation, Reader
from keelback.api.core_v1 import Pod, ResourceQuota
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, replace
from keelback.apimachinery.quantity import ZERO
from keelback.concurrency.clock import Clock
from keelback.quota import amounts
from keelback.quota.amounts import Amounts
from keelback.quota.scopes import matches
from keelback.quota.usage import unspecified, usage

_ATTEMPTS = 10
# Which subresources change what is counted.
_COUNTED_SUBRESOURCES = frozenset({"pods/resize"})


class QuotaStatus(Protocol):
    """Where usage is kept: reads must be of the store itself, for the cache may not have the last write yet."""

    async def read_quota(self, namespace: str, name: str) -> ResourceQuota:
        """The quota as stored. Raises NotFound."""
        ...

    async def write_quota_status(self, quota: ResourceQuota) -> None:
        """Store its status. Raises Conflict when it has changed since it was read."""
        ...


class ResourceQuotaPlugin(AdmissionPlugin):
    """Checks and counts. Stands last, so that only what everyone else lets pass is counted."""

    name = "ResourceQuota"
    operations = frozenset({Operation.CREATE, Operation.UPDATE})

    def __init__(
        self, reader: Reader, status: QuotaStatus, clock: Clock, limited: Sequence[LimitedResource] = ()
    ) -> None:
        """What is `limited` may only be made where a quota covers it."""
        self._limited = limited
        self._reader = reader
        self._status = status
        self._clock = clock
        # One writer at a time per namespace: between servers, compare-and-swap decides.
        self._locks: dict[str, asyncio.Lock] = {}

    def handles(self, operation: Operation, kind: Kind, subresource: str) -> bool:
        if subresource and f"{kind.plural}/{subresource}" not in _COUNTED_SUBRESOURCES:
            return False
        return operation in self.operations and kind.namespaced

    async def validate(self, request: AdmissionRequest) -> None:
        if request.obj is None:
            return
        quotas = await self._reader.list(ResourceQuota, request.namespace)
        if self._limited and request.operation is Operation.CREATE:
            used = usage(request.kind, request.obj, self._clock.now())
            for problem in limited_resources.problems(self._limited, request, quotas, used):
                raise request.forbidden(problem)
        if not quotas:
            return
        delta = self._delta(request)
        names = [
            quota.metadata.name
            for quota in sorted(quotas, key=lambda one: one.metadata.name)
            if self._is_concerned(quota, request, delta)
        ]
        if not names:
            return
        async with self._locks.setdefault(request.namespace, asyncio.Lock()):
            for name in names:
                await self._charge(request, name, delta)

    def _delta(self, request: AdmissionRequest) -> Amounts:
        now = self._clock.now()
        new = usage(request.kind, request.obj, now)
        if request.operation is Operation.UPDATE:
            new = amounts.subtract(new, usage(request.kind, request.old_obj, now))
        return {name: amount for name, amount in new.items() if amount > ZERO}

    def _is_concerned(self, quota: ResourceQuota, request: AdmissionRequest, delta: Amounts) -> bool:
        if not matches(quota, request.obj):
            return False
        if isinstance(request.obj, Pod) and request.operation is Operation.CREATE:
            _check_specified(quota, request, request.obj)
        return any(name in quota.spec.hard for name in delta)

    async def _charge(self, request: AdmissionRequest, name: str, delta: Amounts) -> None:
        for _ in range(_ATTEMPTS):
            try:
                quota = await self._status.read_quota(request.namespace, name)
            except errors.NotFound:
                return
            charged = charge(quota, request, delta)
            if request.dry_run or charged is quota:
                return
            try:
                await self._status.write_quota_status(charged)
            except errors.Conflict:
                continue
            return
        raise request.forbidden(f"exceeded the attempts to charge quota: {name}")


def charge(quota: ResourceQuota, request: AdmissionRequest, delta: Amounts) -> ResourceQuota:
    """The quota with the usage added. Raises Forbidden if it does not fit."""
    hard = amounts.parse(quota.status.hard)
    asked = amounts.masked(delta, quota.spec.hard)
    if not asked:
        return quota
    used = amounts.parse(quota.status.used)
    unknown = sorted(name for name in asked if name not in hard or name not in used)
    if unknown:
        raise request.forbidden(f"status unknown for quota: {quota.metadata.name}, resources: {','.join(unknown)}")
    total = amounts.add(used, asked)
    over = amounts.exceeding(amounts.masked(total, asked), hard)
    if over:
        raise request.forbidden(
            f"exceeded quota: {quota.metadata.name}, requested: {_shown(asked, over)},"
            f" used: {_shown(used, over)}, limited: {_shown(hard, over)}"
        )
    return replace(quota, status=replace(quota.status, used=amounts.written(total)))


def _check_specified(quota: ResourceQuota, request: AdmissionRequest, pod: Pod) -> None:
    missing = unspecified(quota.spec.hard, pod)
    if missing:
        listed = "; ".join(f"{resource} for: {','.join(names)}" for resource, names in missing.items())
        raise request.forbidden(f"failed quota: {quota.metadata.name}: must specify {listed}")


def _shown(values: Amounts, names: Sequence[str]) -> str:
    return amounts.printed(amounts.masked(values, names))
