"""When a device was tainted: from then on the seconds count for which claims tolerate it. None said means now."""

from __future__ import annotations

from datetime import datetime

from keelback.api.resource_v1 import DeviceTaint, ResourceSlice
from keelback.api.resource_v1alpha3 import DeviceTaintRule
from keelback.apimachinery.meta import replace


def of_slice(new: ResourceSlice, now: datetime | None) -> ResourceSlice:
    """The slice with the time on each taint."""
    if now is None or all(taint.time_added is not None for device in new.spec.devices for taint in device.taints):
        return new
    devices = tuple(
        replace(device, taints=tuple(_timed(taint, now) for taint in device.taints)) if device.taints else device
        for device in new.spec.devices
    )
    return replace(new, spec=replace(new.spec, devices=devices))


def of_rule(new: DeviceTaintRule, now: datetime | None) -> DeviceTaintRule:
    """The rule with the time on its taint."""
    if now is None or new.spec.taint.time_added is not None:
        return new
    return replace(new, spec=replace(new.spec, taint=_timed(new.spec.taint, now)))


def _timed(taint: DeviceTaint, now: datetime) -> DeviceTaint:
    return taint if taint.time_added is not None else replace(taint, time_added=now.replace(microsecond=0))
