"""Which devices are taken, and how much of those that are shared: counted as claims are allocated and freed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keelback.api.resource_v1 import AllocationResult, DeviceRequestAllocationResult
from keelback.apimachinery import quantity
from keelback.scheduling.device_pools import PoolView
from keelback.scheduling.devices import CounterKey, DeviceId, PoolId

_LONGEST_LOG: Final = 8192
_NOTHING: Final[Mapping[str, int]] = {}


class DeviceUsage:
    """The devices of all allocated claims. Access for administrators takes nothing from anybody."""

    def __init__(self) -> None:
        self._holders: dict[DeviceId, int] = {}
        self._shares: dict[DeviceId, int] = {}
        self._consumed: dict[DeviceId, dict[str, int]] = {}
        self._log: list[PoolId] = []
        self._log_start = 0

    def take(self, allocation: AllocationResult) -> None:
        """Count an allocation in."""
        for result in allocation.devices.results:
            self._count(result, 1)

    def give_back(self, allocation: AllocationResult) -> None:
        """Count an allocation out, as it was counted in."""
        for result in allocation.devices.results:
            self._count(result, -1)

    def is_held(self, device: DeviceId) -> bool:
        """Whether a claim has the device for itself."""
        return device in self._holders

    def is_shared(self, device: DeviceId) -> bool:
        """Whether claims have parts of the device."""
        return device in self._shares

    def consumed(self, device: DeviceId) -> Mapping[str, int]:
        """How much of each capacity of a device is taken, in nanos."""
        return self._consumed.get(device, _NOTHING)

    def available(self, view: PoolView) -> dict[CounterKey, int]:
        """What is left of a pool's counters, in nanos; less than nothing where a driver has made them smaller."""
        left = dict(view.counters)
        for device in view.consumers:
            if device.id in self._holders or device.id in self._shares:
                for key, amount in device.consumes.items():
                    left[key] -= amount
        return left

    @property
    def position(self) -> int:
        """How many times a device has been taken or given back."""
        return self._log_start + len(self._log)

    def touched_since(self, position: int) -> set[PoolId] | None:
        """The pools whose devices were taken or given back after a position; None when that is too long ago to tell."""
        return set(self._log[position - self._log_start :]) if position >= self._log_start else None

    def _count(self, result: DeviceRequestAllocationResult, sign: int) -> None:
        if result.admin_access:
            return
        device = (result.driver, result.pool, result.device)
        counts = self._shares if result.share_id else self._holders
        counts[device] = counts.get(device, 0) + sign
        if not counts[device]:
            del counts[device]
        for name, amount in result.consumed_capacity.items() if result.share_id else ():
            consumed = self._consumed.setdefault(device, {})
            consumed[name] = consumed.get(name, 0) + sign * quantity.parse(amount).nanos
        if device not in self._shares:
            self._consumed.pop(device, None)
        self._touch(device[:2])

    def _touch(self, pool: PoolId) -> None:
        self._log.append(pool)
        if len(self._log) > _LONGEST_LOG:
            dropped = len(self._log) // 2
            del self._log[:dropped]
            self._log_start += dropped
