"""The types that resource/v1beta2 has and resource/v1 has not: shape, defaults and merge keys."""

from __future__ import annotations

from typing import Annotated

from keelback.api.resource_v1 import DeviceTaint
from keelback.apimachinery.meta import Condition, ListMap, Object, Value, kind, written


class DeviceTaintSelector(Value):
    device: str | None = None
    driver: str | None = None
    pool: str | None = None


class DeviceTaintRuleSpec(Value):
    device_selector: DeviceTaintSelector | None = None
    taint: DeviceTaint = written(DeviceTaint())


class DeviceTaintRuleStatus(Value):
    conditions: Annotated[tuple[Condition, ...], ListMap("type", merge_key="type")] = ()


@kind("resource.k8s.io/v1beta2", "devicetaintrules", namespaced=False)
class DeviceTaintRule(Object):
    spec: DeviceTaintRuleSpec = written(DeviceTaintRuleSpec())
    status: DeviceTaintRuleStatus = written(DeviceTaintRuleStatus())
