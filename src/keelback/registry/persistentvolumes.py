"""PersistentVolumes: their source never changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from keelback.api.core_v1 import PersistentVolume, PersistentVolumeSpec
from keelback.apimachinery.errors import FieldError, forbidden, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry.cells import wide
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_SHORT_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)
ACCESS_MODES = tuple(mode for mode, _ in _SHORT_MODES)
_NO_SOURCES = frozenset(
    {
        "access_modes",
        "capacity",
        "claim_ref",
        "mount_options",
        "node_affinity",
        "persistent_volume_reclaim_policy",
        "storage_class_name",
        "volume_attributes_class_name",
        "volume_mode",
    }
)
_SOURCES = tuple(one.name for one in msgspec.structs.fields(PersistentVolumeSpec) if one.name not in _NO_SOURCES)


def short_access_modes(modes: Sequence[str]) -> str:
    """Access modes as `kubectl get` shows them."""
    return ",".join(short for mode, short in _SHORT_MODES if mode in modes)


def _claim(volume: PersistentVolume) -> str:
    claim = volume.spec.claim_ref
    return "" if claim is None else f"{claim.namespace}/{claim.name}"


class PersistentVolumeStrategy(Strategy[PersistentVolume]):
    kind = PersistentVolume
    subresources = ("status",)
    answers_deleted_object = True
    counts_generations = False
    columns = (
        text("Capacity", lambda one: one.spec.capacity.get("storage", "0")),
        text("Access Modes", lambda one: short_access_modes(one.spec.access_modes)),
        text("Reclaim Policy", lambda one: one.spec.persistent_volume_reclaim_policy),
        text(
            "Status",
            lambda one: "Terminating" if one.metadata.deletion_timestamp is not None else one.status.phase,
        ),
        text("Claim", _claim),
        text("StorageClass", lambda one: one.spec.storage_class_name),
        text("VolumeAttributesClass", lambda one: one.spec.volume_attributes_class_name or "<unset>"),
        text("Reason", lambda one: one.status.reason),
        AGE,
        wide("VolumeMode", lambda one, _now: one.spec.volume_mode or "<unset>"),
    )

    def prepare_for_create(self, new: PersistentVolume) -> PersistentVolume:
        new = super().prepare_for_create(new)
        return replace(new, status=replace(new.status, last_phase_transition_time=new.metadata.creation_timestamp))

    def prepare_for_status_update(self, new: PersistentVolume, old: PersistentVolume) -> PersistentVolume:
        return replace(new, spec=old.spec)

    def validate(self, new: PersistentVolume) -> Iterator[FieldError]:
        spec = new.spec
        if not spec.access_modes:
            yield required("spec.accessModes")
        for mode in spec.access_modes:
            if mode not in ACCESS_MODES:
                yield not_supported("spec.accessModes", mode, ACCESS_MODES)
        if not spec.capacity:
            yield required("spec.capacity")
        elif set(spec.capacity) != {"storage"}:
            yield not_supported("spec.capacity", dict(spec.capacity), ("storage",))
        given = [name for name in _SOURCES if getattr(spec, name) is not None]
        if not given:
            yield required("spec", "must specify a volume type")
        for name in given[1:]:
            yield forbidden(f"spec.{_wire_name(name)}", "may not specify more than 1 volume type")
        if spec.local is not None and (spec.node_affinity is None or spec.node_affinity.required is None):
            yield required("spec.nodeAffinity", "Local volume requires node affinity")

    def validate_update(self, new: PersistentVolume, old: PersistentVolume) -> Iterator[FieldError]:
        yield from self.validate(new)
        if _source(new.spec) != _source(old.spec):
            yield forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation")
        if new.spec.volume_mode != old.spec.volume_mode:
            yield FieldError("spec.volumeMode", "FieldValueInvalid", "field is immutable", new.spec.volume_mode)


def _source(spec: PersistentVolumeSpec) -> list[Any]:
    return [getattr(spec, name) for name in _SOURCES]


def _wire_name(attribute: str) -> str:
    return next(one.encode_name for one in msgspec.structs.fields(PersistentVolumeSpec) if one.name == attribute)
