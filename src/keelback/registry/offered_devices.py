"""What a slice may say of one of its devices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from keelback.api.resource_v1 import Counter, Device, DeviceAttribute, DeviceCounterConsumption
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_found, required, too_long, too_many
from keelback.registry import device_rules, resource_names
from keelback.registry.placement import validate_node_selector

_MOST_VALUES: Final = 32
_MOST_LISTED_VALUES: Final = 48
_LONGEST_TEXT: Final = 64
_MOST_TAINTS: Final = 16
_MOST_COUNTERS: Final = 32
_MOST_CONSUMPTIONS: Final = 2
_LONGEST_NAME: Final = 63 + 1 + 32
_NUMBER: Final = r"(0|[1-9]\d*)"
_PRE_RELEASE: Final = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_BUILD: Final = "[0-9a-zA-Z-]+"
_is_version: Final = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE_RELEASE}(\.{_PRE_RELEASE})*)?(\+{_BUILD}(\.{_BUILD})*)?", re.ASCII
).fullmatch
_SET_IN_SPEC: Final = "`perDeviceNodeSelection` is set to true in the ResourceSlice spec"


def is_elaborate(device: Device) -> bool:
    """Whether it says so much that a slice may have fewer devices."""
    return bool(device.taints or device.consumes_counters) or any(
        one.bools or one.ints or one.strings or one.versions for one in device.attributes.values()
    )


def validate(device: Device, before: Device | None, path: str, *, has_own_nodes: bool) -> Iterator[FieldError]:
    """Everything wrong with a device. Taints that it had before stay; `has_own_nodes` is what the slice says."""
    yield from device_rules.label(device.name, f"{path}.name")
    yield from _numbers(device, path)
    for name in sorted(device.attributes):
        yield from device_rules.attribute_name(name, f"{path}.attributes")
        yield from _attribute(device.attributes[name], f"{path}.attributes[{_shown(name)}]")
    for name in sorted(device.capacity):
        yield from device_rules.attribute_name(name, f"{path}.capacity")
        if device.capacity[name].request_policy is not None and not device.allow_multiple_allocations:
            here = f"{path}.capacity[{_shown(name)}].requestPolicy"
            yield forbidden(here, "allowMultipleAllocations must be true")
    if before is None or before.taints != device.taints:
        yield from device_rules.each(device.taints, f"{path}.taints", device_rules.taint, _MOST_TAINTS)
    yield from device_rules.each_once(
        device.consumes_counters,
        f"{path}.consumesCounters",
        _consumption,
        lambda one: one.counter_set,
        _MOST_CONSUMPTIONS,
    )
    yield from _own_nodes(device, path) if has_own_nodes else _no_own_nodes(device, path)
    yield from device_rules.binding_conditions(device.binding_conditions, device.binding_failure_conditions, path)
    yield from _mappings(device, f"{path}.nodeAllocatableResourceMappings")


def counters(given: Mapping[str, Counter], path: str) -> Iterator[FieldError]:
    """Everything wrong with the names of what is counted. Any quantity is right."""
    if not given:
        yield required(path)
    elif len(given) > _MOST_COUNTERS:
        yield too_many(path, len(given), _MOST_COUNTERS)
    else:
        for name in sorted(given):
            yield from device_rules.label(name, path)


def _numbers(device: Device, path: str) -> Iterator[FieldError]:
    count = len(device.attributes) + len(device.capacity)
    if count > _MOST_VALUES:
        yield invalid(path, count, f"the total number of attributes and capacities must not exceed {_MOST_VALUES}")
    values = sum(
        len(one.bools) + len(one.ints) + len(one.strings) + len(one.versions) or 1 for one in device.attributes.values()
    )
    if values > _MOST_LISTED_VALUES:
        yield invalid(path, values, f"the total number of attribute values must not exceed {_MOST_LISTED_VALUES}")


def _shown(name: str) -> str:
    """A name in a path: of one that is too long, its ends."""
    if len(name) <= _LONGEST_NAME:
        return name
    kept = _LONGEST_NAME - len("...")
    return f"{name[: (kept + 1) // 2]}...{name[len(name) - kept // 2 :]}"


def _attribute(attribute: DeviceAttribute, path: str) -> Iterator[FieldError]:
    if attribute.string is not None:
        yield from _text(attribute.string, f"{path}.string")
    if attribute.version is not None:
        yield from _version(attribute.version, f"{path}.version")
    for index, value in enumerate(attribute.strings):
        yield from _text(value, f"{path}.strings[{index}]")
    for index, value in enumerate(attribute.versions):
        yield from _version(value, f"{path}.versions[{index}]")
    scalars = (attribute.bool_, attribute.int_, attribute.string, attribute.version)
    lists = (attribute.bools, attribute.ints, attribute.strings, attribute.versions)
    given = sum(one is not None for one in scalars) + sum(bool(one) for one in lists)
    if given != 1:
        yield invalid(path, attribute if given else "", "exactly one value must be specified")


def _text(value: str, path: str) -> Iterator[FieldError]:
    if len(value.encode()) > _LONGEST_TEXT:
        yield too_long(path, _LONGEST_TEXT)


def _version(value: str, path: str) -> Iterator[FieldError]:
    if not _is_version(value):
        yield invalid(path, value, "must be a string compatible with semver.org spec 2.0.0")
    yield from _text(value, path)


def _consumption(one: DeviceCounterConsumption, path: str) -> Iterator[FieldError]:
    yield from device_rules.given_label(one.counter_set, f"{path}.counterSet")
    yield from counters(one.counters, f"{path}.counters")


def _own_nodes(device: Device, path: str) -> Iterator[FieldError]:
    for complaint in names.dns1123_subdomain(device.node_name) if device.node_name else ():
        yield invalid(f"{path}.nodeName", device.node_name, complaint)
    if device.node_selector is not None:
        yield from validate_node_selector(device.node_selector, f"{path}.nodeSelector")
    if device.all_nodes is False:
        yield invalid(f"{path}.allNodes", False, "must be either unset or set to true")
    choices = {
        "nodeName": device.node_name,
        "nodeSelector": device.node_selector is not None,
        "allNodes": device.all_nodes,
    }
    given = [f"`{field}`" for field, choice in choices.items() if choice]
    one_of = f"exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when {_SET_IN_SPEC}"
    if not given:
        yield required(path, one_of)
    elif len(given) > 1:
        yield invalid(path, f"{{{', '.join(given)}}}", one_of)


def _no_own_nodes(device: Device, path: str) -> Iterator[FieldError]:
    if device.node_name or device.node_selector is not None or device.all_nodes is not None:
        yield invalid(path, None, f"`nodeName`, `nodeSelector` and `allNodes` can only be set if {_SET_IN_SPEC}")


def _mappings(device: Device, path: str) -> Iterator[FieldError]:
    for name, mapping in sorted(device.node_allocatable_resource_mappings.items()):
        here = f"{path}[{name}]"
        if not resource_names.is_native(name):
            yield invalid(here, name, "must be a node allocatable resource name")
        multiplier, key = mapping.allocation_multiplier, mapping.capacity_key
        if multiplier is None and not key:
            yield invalid(here, "", "at least one of allocationMultiplier or capacityKey must be set")
        if multiplier is not None and quantity.parse(multiplier).nanos <= 0:
            yield invalid(f"{here}.allocationMultiplier", multiplier, "must be positive")
        if key and key not in device.capacity:
            yield not_found(f"{here}.capacityKey", key)
