"""Devices as an allocation sees them: what a ResourceSlice offers, compiled once."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from keelback.api.core_v1 import NodeSelector
from keelback.api.resource_v1 import Device as OfferedDevice
from keelback.api.resource_v1 import DeviceAttribute, DeviceTaint, DeviceToleration, ResourceSlice, ResourceSliceSpec
from keelback.api.resource_v1alpha3 import DeviceTaintRule
from keelback.apimachinery import quantity
from keelback.cel.values import Value
from keelback.scheduling import consumable_capacity, device_selectors, device_taint_rules
from keelback.scheduling.consumable_capacity import Capacity
from keelback.scheduling.device_selectors import SelectorError

PoolId: TypeAlias = tuple[str, str]
"""Driver and pool."""
DeviceId: TypeAlias = tuple[str, str, str]
"""Driver, pool and device."""
CounterKey: TypeAlias = tuple[str, str]
"""Counter set and counter."""

_KEEPS_OFF: Final = ("NoSchedule", "NoExecute")


@dataclass(frozen=True, slots=True)
class Place:
    """The nodes that can reach something: one by its name, those of a selector, or all of them."""

    node_name: str = ""
    selector: NodeSelector | None = None
    everywhere: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """One device. Compared by identity: a slice that is published anew has new ones."""

    id: DeviceId
    place: Place
    attributes: Mapping[str, DeviceAttribute] = field(default_factory=dict)
    capacity: Mapping[str, Capacity] = field(default_factory=dict)
    is_shared: bool = False
    """It can be allocated many times, each time a part of its capacity."""
    consumes: Mapping[CounterKey, int] = field(default_factory=dict)
    """What its allocation takes of its pool's counters, in nanos."""
    taints: tuple[DeviceTaint, ...] = ()
    """Those that keep claims off."""
    binding_conditions: tuple[str, ...] = ()
    binding_failure_conditions: tuple[str, ...] = ()
    binds_to_node: bool = False
    described: Value | SelectorError = None
    """What selectors see, or why they cannot."""
    twin: Hashable = None
    """Equal for devices that no request of any claim can tell apart."""

    @property
    def pool(self) -> PoolId:
        return self.id[:2]


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One ResourceSlice."""

    name: str
    pool: PoolId
    generation: int
    slices_in_pool: int
    place: Place | None
    """None where each device has its own."""
    devices: tuple[Device, ...]
    counters: tuple[tuple[str, Mapping[str, int]], ...]
    """Counter sets that devices of the pool share, in nanos."""


def compile_slice(offered: ResourceSlice, rules: Collection[DeviceTaintRule] = ()) -> Slice:
    """What allocation reads of a slice, whose devices rules may taint besides their driver."""
    spec = offered.spec
    pool = (spec.driver, spec.pool.name)
    place = None if spec.per_device_node_selection else _place(spec)
    rules = [rule for rule in rules if device_taint_rules.may_concern(rule, *pool)]
    return Slice(
        name=offered.metadata.name,
        pool=pool,
        generation=spec.pool.generation,
        slices_in_pool=spec.pool.resource_slice_count,
        place=place,
        devices=tuple(
            _device(one, pool, place or _place(one), device_taint_rules.taints(rules, *pool, one.name))
            for one in spec.devices
        ),
        counters=tuple(
            (counters.name, {name: quantity.parse(one.value).nanos for name, one in counters.counters.items()})
            for counters in spec.shared_counters
        ),
    )


def attribute(device: Device, name: str) -> tuple[str, object] | None:
    """The type and value of an attribute by its full name, which may be one that the device's driver left short."""
    found = device.attributes.get(name)
    if found is None:
        domain, _, identifier = name.partition("/")
        found = device.attributes.get(identifier) if domain == device.id[0] else None
    if found is None:
        return None
    # Versions have one way to be written: as texts they are equal or not.
    for kind, value in (
        ("string", found.string),
        ("int", found.int_),
        ("bool", found.bool_),
        ("version", found.version),
    ):
        if value is not None:
            return kind, value
    return None


def tolerates(toleration: DeviceToleration, taint: DeviceTaint) -> bool:
    """Whether the toleration is for this taint; an empty effect or key (with Exists) is for all."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and toleration.value == taint.value


def _place(given: ResourceSliceSpec | OfferedDevice) -> Place:
    return Place(given.node_name or "", given.node_selector, bool(given.all_nodes))


def _device(offered: OfferedDevice, pool: PoolId, place: Place, by_rule: tuple[DeviceTaint, ...]) -> Device:
    is_shared = bool(offered.allow_multiple_allocations)
    try:
        described: Value | SelectorError = device_selectors.described(
            pool[0], offered.attributes, offered.capacity, is_shared
        )
    except SelectorError as error:
        described = error
    capacity = {name: consumable_capacity.compile_capacity(one) for name, one in offered.capacity.items()}
    consumes = {
        (consumption.counter_set, name): quantity.parse(one.value).nanos
        for consumption in offered.consumes_counters
        for name, one in consumption.counters.items()
    }
    taints = tuple(taint for taint in (*offered.taints, *by_rule) if taint.effect in _KEEPS_OFF)
    return Device(
        id=(*pool, offered.name),
        place=place,
        attributes=offered.attributes,
        capacity=capacity,
        is_shared=is_shared,
        consumes=consumes,
        taints=taints,
        binding_conditions=offered.binding_conditions,
        binding_failure_conditions=offered.binding_failure_conditions,
        binds_to_node=bool(offered.binds_to_node),
        described=described,
        twin=(
            pool if consumes else pool[0],
            frozenset(offered.attributes.items()),
            frozenset(offered.capacity.items()),
            is_shared,
            frozenset(consumes.items()),
            frozenset((taint.key, taint.value, taint.effect) for taint in taints),
        ),
    )
