"""What may change in a PersistentVolumeClaim: it may ask for more, once it is bound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from keelback.api.core_v1 import PersistentVolumeClaim, PersistentVolumeClaimSpec
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry import resource_names
from keelback.registry.internal_forms import difference

_STORAGE_CLASS_ANNOTATION: Final = "volume.beta.kubernetes.io/storage-class"
_IMMUTABLE: Final = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)
_RESIZE_STATUSES: Final = (
    *("ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible"),
    "NodeResizePending",
)


def validate(new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> Iterator[FieldError]:
    """Everything that an update of a claim changes and may not."""
    after, before = new.spec, old.spec
    now, then = (one.metadata.annotations.get(_STORAGE_CLASS_ANNOTATION, "") for one in (new, old))
    has_annotation = _STORAGE_CLASS_ANNOTATION in old.metadata.annotations
    is_upgrade = (
        has_annotation
        and before.storage_class_name is None
        and after.storage_class_name == then
        and (not now or now == then)
    )
    if not is_upgrade and now != then:
        yield invalid(f"metadata.annotations.{_STORAGE_CLASS_ANNOTATION}", now, "field is immutable")
    old_kept = before if before.volume_name else replace(before, volume_name=after.volume_name)
    kept = _reverted(after, before, is_bound=new.status.phase == "Bound")
    may_get_class = before.storage_class_name is None and (not has_annotation or after.storage_class_name == then)
    if after.storage_class_name is not None and may_get_class:
        kept = replace(kept, storage_class_name=None)
    if kept != old_kept:
        yield forbidden("spec", f"{_IMMUTABLE}\n{difference(old_kept, kept)}")
    yield from _size(new, old)
    if after.volume_mode != before.volume_mode:
        yield invalid("volumeMode", after.volume_mode, "field is immutable")
    attributes = after.volume_attributes_class_name
    has_class = old.status.current_volume_attributes_class_name is not None
    if has_class and attributes != before.volume_attributes_class_name and not attributes:
        what = "nil" if attributes is None else "empty string"
        why = f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
        yield forbidden("spec.volumeAttributesClassName", why)


def _reverted(
    after: PersistentVolumeClaimSpec, before: PersistentVolumeClaimSpec, *, is_bound: bool
) -> PersistentVolumeClaimSpec:
    """The new spec with what a bound claim may change as it was."""
    if not is_bound:
        return after
    changes: dict[str, Any] = {"volume_attributes_class_name": before.volume_attributes_class_name}
    if after.resources.requests and "storage" in before.resources.requests:
        requests = {**after.resources.requests, "storage": before.resources.requests["storage"]}
        changes["resources"] = replace(after.resources, requests=requests)
    return replace(after, **changes)


def _size(new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> Iterator[FieldError]:
    wanted, had = (one.spec.resources.requests.get("storage", "0") for one in (new, old))
    capacity = old.status.capacity.get("storage", "0")
    # A claim that could not grow as far as it asked may ask for less again, but not for less than it has.
    if quantity.compare(wanted, had) < 0 and quantity.compare(wanted, capacity) <= 0:
        yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def validate_status(new: PersistentVolumeClaim) -> Iterator[FieldError]:
    """Everything wrong with a claim's status."""
    status = new.status
    if not new.spec.access_modes:
        yield required("Spec.accessModes")
    for name, amount in status.capacity.items():
        yield from _amount(amount, f"status.capacity[{name}]")
    for name, state in status.allocated_resource_statuses.items():
        yield from _name(name, "status.allocatedResourceStatuses")
        if state not in _RESIZE_STATUSES:
            yield not_supported("status.allocatedResourceStatuses", name, _RESIZE_STATUSES)
    for name, amount in status.allocated_resources.items():
        complaints = list(_name(name, "status.allocatedResources"))
        yield from complaints
        if not complaints:
            yield from _amount(amount, f"status.allocatedResources[{name}]")


def _amount(amount: str, path: str) -> Iterator[FieldError]:
    if quantity.parse(amount).nanos < 0:
        yield invalid(path, quantity.value(amount), "must be a valid resource quantity")


def _name(name: str, path: str) -> Iterator[FieldError]:
    complaints = names.qualified_name(name)
    for complaint in complaints:
        yield invalid(path, name, complaint)
    if not complaints and resource_names.is_native(name) and name != "storage":
        yield not_supported(path, name, ("storage",))
