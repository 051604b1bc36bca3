"""PriorityClasses: their value never changes."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.scheduling_v1 import PriorityClass
from keelback.apimachinery.errors import FieldError, forbidden, not_supported
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import number, text

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
_POLICIES = ("Never", "PreemptLowerPriority")


class PriorityClassStrategy(Strategy[PriorityClass]):
    kind = PriorityClass
    columns = (
        number("Value", lambda one: one.value),
        Column("Global-Default", lambda one, _now: one.global_default, type="boolean"),
        AGE,
        text("PreemptionPolicy", lambda one: one.preemption_policy),
    )

    def spec_changed(self, new: PriorityClass, old: PriorityClass) -> bool:
        return False

    def why_not_delete(self, name: str) -> str:
        return "this is a system priority class and cannot be deleted" if name in SYSTEM_CLASSES else ""

    def validate(self, new: PriorityClass) -> Iterator[FieldError]:
        name = new.metadata.name
        if name.startswith("system-"):
            if SYSTEM_CLASSES.get(name) != new.value or new.global_default:
                yield forbidden(
                    "metadata.name",
                    "priority class names with 'system-' prefix are reserved for system use only. error: "
                    + _system_complaint(new),
                )
        elif new.value > HIGHEST_USER_PRIORITY:
            yield forbidden("value", f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}")
        if new.preemption_policy not in _POLICIES:
            yield not_supported("preemptionPolicy", new.preemption_policy, _POLICIES)

    def validate_update(self, new: PriorityClass, old: PriorityClass) -> Iterator[FieldError]:
        if new.value != old.value:
            yield forbidden("value", "may not be changed in an update.")
        if new.preemption_policy != old.preemption_policy:
            yield FieldError("preemptionPolicy", "FieldValueInvalid", "field is immutable", new.preemption_policy)


def _system_complaint(new: PriorityClass) -> str:
    name = new.metadata.name
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if new.global_default:
        return f"globalDefault of {name} must be false"
    return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
