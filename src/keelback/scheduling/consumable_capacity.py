"""How much of a device's capacity a request takes (KEP-5075): what it asks for, rounded up to what the device gives.

Amounts are quantities: exact, and written as they were read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keelback.api.resource_v1 import CapacityRequestPolicy, DeviceCapacity
from keelback.apimachinery import quantity
from keelback.apimachinery.quantity import Format, Quantity

Amounts = Mapping[str, Quantity]


@dataclass(frozen=True, slots=True)
class ValidRange:
    """From `least` to `most` (None: without end), in steps from the least if there is a step."""

    least: Quantity
    most: Quantity | None
    step: Quantity | None


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a device has of something, and which parts of it can be asked for."""

    value: Quantity
    default: Quantity | None = None
    valid_values: tuple[Quantity, ...] = ()
    valid_range: ValidRange | None = None
    has_policy: bool = False


def compile_capacity(given: DeviceCapacity) -> Capacity:
    """A capacity as its slice says it."""
    value, policy = quantity.parse(given.value), given.request_policy
    if policy is None:
        return Capacity(value)
    return Capacity(
        value, _parsed(policy.default), tuple(map(quantity.parse, policy.valid_values)), _range(policy), has_policy=True
    )


def consumed(capacity: Mapping[str, Capacity], wanted: Amounts) -> dict[str, Quantity] | None:
    """What a request takes of each capacity; None where it asks for one that is not there or not to be had so."""
    if not wanted.keys() <= capacity.keys():
        return None
    found = {}
    for name, one in capacity.items():
        amount = _taken(one, wanted.get(name))
        if not _is_allowed(one, amount):
            return None
        found[name] = amount
    return found


def _taken(capacity: Capacity, wanted: Quantity | None) -> Quantity:
    if wanted is None:
        return capacity.value if capacity.default is None else capacity.default
    if capacity.valid_range is not None:
        return _rounded_up(wanted, capacity.valid_range)
    return next((value for value in capacity.valid_values if wanted <= value), wanted)


def _rounded_up(wanted: Quantity, valid: ValidRange) -> Quantity:
    if wanted < valid.least:
        return valid.least
    if valid.step is None or not valid.step.value:
        return wanted
    # Whole numbers, as upstream: a step is no fraction.
    steps = -(-(wanted.value - valid.least.value) // valid.step.value)
    return quantity.of(valid.least.value + steps * valid.step.value, Format.BINARY_SI)


def _is_allowed(capacity: Capacity, amount: Quantity) -> bool:
    if not capacity.has_policy or amount == capacity.default:
        return True
    valid = capacity.valid_range
    if valid is not None:
        if valid.most is not None and amount > valid.most:
            return False
        if valid.step is None or not valid.step.value:
            return True
        return (amount.value - valid.least.value) % valid.step.value == 0
    return not capacity.valid_values or amount in capacity.valid_values


def _range(policy: CapacityRequestPolicy) -> ValidRange | None:
    given = policy.valid_range
    if given is None:
        return None
    return ValidRange(quantity.parse(given.min), _parsed(given.max), _parsed(given.step))


def _parsed(text: str | None) -> Quantity | None:
    return None if text is None else quantity.parse(text)
