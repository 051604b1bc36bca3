"""ResourceSlices: the devices that a driver offers in a pool, and the nodes that can reach them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from keelback.api.resource_v1 import CounterSet, Device, ResourcePool, ResourceSlice, ResourceSliceSpec
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry import device_rules, device_taint_times, offered_devices
from keelback.registry.placement import validate_node_selector
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.volume_sources import validate_driver
from keelback.registry.workloads import text

_IMMUTABLE = "field is immutable"
_MOST_DEVICES = 128
_MOST_ELABORATE_DEVICES = 64
_MOST_COUNTER_SETS = 8


class ResourceSliceStrategy(Strategy[ResourceSlice]):
    kind = ResourceSlice
    answers_deleted_object = True
    columns = (
        text("Node", lambda one: one.spec.node_name or ("<all>" if one.spec.all_nodes else "<unset>")),
        text("Driver", lambda one: one.spec.driver),
        text("Pool", lambda one: one.spec.pool.name),
        AGE,
    )

    def prepare_for_create(self, new: ResourceSlice) -> ResourceSlice:
        return device_taint_times.of_slice(super().prepare_for_create(new), new.metadata.creation_timestamp)

    def with_times(self, new: ResourceSlice, old: ResourceSlice, now: datetime) -> ResourceSlice:
        return device_taint_times.of_slice(new, now)

    def validate(self, new: ResourceSlice) -> Iterator[FieldError]:
        yield from _spec(new.spec, None)

    def validate_update(self, new: ResourceSlice, old: ResourceSlice) -> Iterator[FieldError]:
        yield from _spec(new.spec, old.spec)


def _spec(spec: ResourceSliceSpec, before: ResourceSliceSpec | None) -> Iterator[FieldError]:
    yield from validate_driver(spec.driver, "spec.driver")
    yield from _pool(spec.pool, "spec.pool")
    if before is not None:
        yield from _kept(spec, before)
    yield from _nodes(spec)
    if spec.shared_counters and spec.devices:
        yield invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed")
    old_devices = {one.name: one for one in before.devices} if before is not None else {}

    def device(one: Device, path: str) -> Iterator[FieldError]:
        has_own_nodes = bool(spec.per_device_node_selection)
        yield from offered_devices.validate(one, old_devices.get(one.name), path, has_own_nodes=has_own_nodes)

    most = _MOST_ELABORATE_DEVICES if any(map(offered_devices.is_elaborate, spec.devices)) else _MOST_DEVICES
    yield from device_rules.each_once(spec.devices, "spec.devices", device, lambda one: one.name, most)
    yield from device_rules.each_once(
        spec.shared_counters, "spec.sharedCounters", _counter_set, lambda one: one.name, _MOST_COUNTER_SETS
    )


def _pool(pool: ResourcePool, path: str) -> Iterator[FieldError]:
    yield from device_rules.pool_name(pool.name, f"{path}.name")
    if pool.resource_slice_count <= 0:
        yield invalid(f"{path}.resourceSliceCount", pool.resource_slice_count, "must be greater than zero")
    if pool.generation < 0:
        yield invalid(f"{path}.generation", pool.generation, "must be greater than or equal to zero")


def _kept(spec: ResourceSliceSpec, before: ResourceSliceSpec) -> Iterator[FieldError]:
    for field, value, old in (
        ("pool.name", spec.pool.name, before.pool.name),
        ("driver", spec.driver, before.driver),
        ("nodeName", spec.node_name, before.node_name),
    ):
        if value != old:
            yield invalid(f"spec.{field}", value, _IMMUTABLE)


def _nodes(spec: ResourceSliceSpec) -> Iterator[FieldError]:
    if spec.node_name:
        for complaint in names.dns1123_subdomain(spec.node_name):
            yield invalid("spec.nodeName", spec.node_name, complaint)
    elif spec.node_name is not None:
        yield invalid("spec.nodeName", "", "must be either unset or set to a non-empty string")
    selector = spec.node_selector
    if selector is not None:
        yield from validate_node_selector(selector, "spec.nodeSelector")
        if len(selector.node_selector_terms) != 1:
            terms = selector.node_selector_terms or None
            yield invalid("spec.nodeSelector.nodeSelectorTerms", terms, "must have exactly one node selector term")
    for field, flag in (("allNodes", spec.all_nodes), ("perDeviceNodeSelection", spec.per_device_node_selection)):
        if flag is False:
            yield invalid(f"spec.{field}", False, "must be either unset or set to true")
    choices = {
        "nodeName": spec.node_name,
        "nodeSelector": selector is not None,
        "allNodes": spec.all_nodes,
        "perDeviceNodeSelection": spec.per_device_node_selection,
    }
    one_of = f"exactly one of {', '.join(f'`{one}`' for one in choices)} is required"
    given = [f"`{field}`" for field, choice in choices.items() if choice]
    if not given:
        yield required("spec", one_of)
    elif len(given) > 1:
        yield invalid("spec", f"{{{', '.join(given)}}}", f"{one_of}, but multiple fields are set")


def _counter_set(counters: CounterSet, path: str) -> Iterator[FieldError]:
    yield from device_rules.given_label(counters.name, f"{path}.name")
    yield from offered_devices.counters(counters.counters, f"{path}.counters")
