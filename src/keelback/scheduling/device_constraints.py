"""What must hold among the devices of one claim: all share an attribute's value, or no two do."""

from __future__ import annotations

from keelback.api.resource_v1 import DeviceConstraint
from keelback.scheduling import devices
from keelback.scheduling.devices import Device


class Constraint:
    """One constraint, and the values of the devices chosen so far: once broken, no further device mends it."""

    __slots__ = ("_attribute", "_is_distinct", "_requests", "_values")

    def __init__(self, given: DeviceConstraint) -> None:
        self._requests = frozenset(given.requests)
        self._is_distinct = bool(given.distinct_attribute)
        self._attribute = given.distinct_attribute or given.match_attribute
        self._values: list[tuple[str, object]] = []

    def add(self, request: str, device: Device) -> bool:
        """Count a device in, if it may join those that are there. `request` may be `request/subrequest`."""
        if not self._is_for(request):
            return True
        value = devices.attribute(device, self._attribute)
        if value is None:
            return False
        if self._is_distinct:
            if value in self._values:
                return False
        elif self._values and self._values[0] != value:
            return False
        self._values.append(value)
        return True

    def remove(self, request: str, device: Device) -> None:
        """Count the device out that was the last to be added."""
        if self._is_for(request):
            self._values.pop()

    def _is_for(self, request: str) -> bool:
        return not self._requests or request in self._requests or request.partition("/")[0] in self._requests
