"""What the status of a claim may say: who has it, which devices it got, and what their drivers tell of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Final

import msgspec

from keelback.api.resource_v1 import (
    AllocatedDeviceStatus,
    AllocationResult,
    DeviceAllocationConfiguration,
    DeviceRequestAllocationResult,
    NetworkDeviceData,
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimStatus,
)
from keelback.apimachinery import addresses
from keelback.apimachinery.errors import (
    FieldError,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from keelback.apimachinery.go_text import go_quoted
from keelback.apimachinery.meta import replace
from keelback.registry import condition_lists, device_claims, device_rules
from keelback.registry.placement import validate_node_selector
from keelback.registry.volume_sources import validate_driver

_MOST_CONSUMERS: Final = 256
_MOST_CONDITIONS: Final = 8
_MOST_ADDRESSES: Final = 16
_SOURCES: Final = ("FromClaim", "FromClass")
_IMMUTABLE: Final = "field is immutable"


def without_lost_devices(new: ResourceClaimStatus, old: ResourceClaimStatus) -> ResourceClaimStatus:
    """The status without what drivers tell of devices that were allocated and no longer are."""
    lost = _allocated(old) - _allocated(new)
    if not lost:
        return new
    return replace(new, devices=tuple(one for one in new.devices if _identity(one) not in lost))


def _allocated(status: ResourceClaimStatus) -> frozenset[str]:
    return (
        frozenset(map(_identity, status.allocation.devices.results)) if status.allocation is not None else frozenset()
    )


def validate(new: ResourceClaim, old: ResourceClaim) -> Iterator[FieldError]:
    """Everything wrong with an update of a claim's status."""
    status, before = new.status, old.status
    yield from device_rules.each_once(
        status.reserved_for, "status.reservedFor", _consumer, lambda one: one.uid, _MOST_CONSUMERS
    )
    yield from _devices(status.devices, _allocated(status), "status.devices")
    if status.reserved_for and status.allocation is None:
        yield forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
    elif new.metadata.deletion_timestamp is not None and any(
        one not in before.reserved_for for one in status.reserved_for
    ):
        why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        yield forbidden("status.reservedFor", why)
    if status.allocation is None:
        return
    if before.allocation is None:
        known = device_claims.request_names(new.spec.devices)
        yield from _allocation(status.allocation, known, "status.allocation")
    elif status.allocation != before.allocation:
        yield invalid("status.allocation", status.allocation, _IMMUTABLE)


def _consumer(consumer: ResourceClaimConsumerReference, path: str) -> Iterator[FieldError]:
    if not consumer.resource:
        yield required(f"{path}.resource")
    if not consumer.name:
        yield required(f"{path}.name")
    if not consumer.uid:
        yield required(f"{path}.uid")


def _allocation(allocation: AllocationResult, known: frozenset[str], path: str) -> Iterator[FieldError]:
    def result(one: DeviceRequestAllocationResult, here: str) -> Iterator[FieldError]:
        yield from _result(one, known, here)

    def configuration(one: DeviceAllocationConfiguration, here: str) -> Iterator[FieldError]:
        if not one.source:
            yield required(f"{here}.source")
        elif one.source not in _SOURCES:
            yield not_supported(f"{here}.source", one.source, _SOURCES)
        yield from device_claims.references(one.requests, known, f"{here}.requests")
        yield from device_rules.opaque(one.opaque, f"{here}.opaque")

    devices = allocation.devices
    yield from device_rules.each(devices.results, f"{path}.devices.results", result)
    # As many as the class and the claim may have together.
    yield from device_rules.each(devices.config, f"{path}.devices.config", configuration, 2 * device_rules.MOST)
    if allocation.node_selector is not None:
        yield from validate_node_selector(allocation.node_selector, f"{path}.nodeSelector")


def _result(result: DeviceRequestAllocationResult, known: frozenset[str], path: str) -> Iterator[FieldError]:
    yield from device_claims.reference(result.request, known, f"{path}.request")
    yield from validate_driver(result.driver, f"{path}.driver")
    yield from device_rules.pool_name(result.pool, f"{path}.pool")
    yield from device_rules.label(result.device, f"{path}.device")
    yield from device_rules.binding_conditions(result.binding_conditions, result.binding_failure_conditions, path)
    for index, toleration in enumerate(result.tolerations):
        yield from device_rules.toleration(toleration, f"{path}.tolerations[{index}]")
    if result.share_id:
        yield from device_rules.share_id(result.share_id, f"{path}.shareID")


def _devices(devices: tuple[AllocatedDeviceStatus, ...], allocated: frozenset[str], path: str) -> Iterator[FieldError]:
    for index, device in enumerate(devices):
        yield from _device(device, allocated, f"{path}[{index}]")
    seen: set[str] = set()
    for index, device in enumerate(devices):
        identity = _identity(device)
        if identity in seen:
            yield duplicate(f"{path}[{index}]", _unquoted(identity))
        seen.add(identity)


def _identity(device: AllocatedDeviceStatus | DeviceRequestAllocationResult) -> str:
    share = f"/{device.share_id}" if device.share_id else ""
    return f"{device.driver}/{device.pool}/{device.device}{share}"


def _unquoted(identity: str) -> msgspec.Raw:
    """A value that says itself how it is written stands in messages without quotes."""
    return msgspec.Raw(identity.encode())


def _device(device: AllocatedDeviceStatus, allocated: frozenset[str], path: str) -> Iterator[FieldError]:
    yield from validate_driver(device.driver, f"{path}.driver")
    yield from device_rules.pool_name(device.pool, f"{path}.pool")
    yield from device_rules.label(device.device, f"{path}.device")
    if device.share_id:
        yield from device_rules.share_id(device.share_id, f"{path}.shareID")
    identity = _identity(device)
    if identity not in allocated:
        yield invalid(path, _unquoted(identity), "must be an allocated device in the claim")
    if len(device.conditions) > _MOST_CONDITIONS:
        yield too_many(f"{path}.conditions", len(device.conditions), _MOST_CONDITIONS)
    yield from condition_lists.validate(device.conditions, f"{path}.conditions")
    if bytes(device.data):
        yield from device_rules.json_object(device.data, f"{path}.data")
    if device.network_data is not None:
        yield from _network(device.network_data, f"{path}.networkData")


def _network(data: NetworkDeviceData, path: str) -> Iterator[FieldError]:
    for field, value, longest in (
        ("interfaceName", data.interface_name, 256),
        ("hardwareAddress", data.hardware_address, 128),
    ):
        if len(value.encode()) > longest:
            yield too_long(f"{path}.{field}", longest)
    yield from device_rules.each_once(data.ips, f"{path}.ips", _interface_address, str, _MOST_ADDRESSES)


def _interface_address(value: str, path: str) -> Iterator[FieldError]:
    network, address = addresses.subnet(value), addresses.parsed(value.partition("/")[0])
    if network is None or address is None:
        yield invalid(path, value, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)")
        return
    canonical = str(ipaddress.ip_interface((address, network.prefixlen)))
    if value != canonical:
        yield invalid(path, value, f"must be in canonical form ({go_quoted(canonical)})")
