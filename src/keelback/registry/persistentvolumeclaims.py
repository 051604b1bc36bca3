"""PersistentVolumeClaims: a spec that changes only to ask for more."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.core_v1 import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    TypedLocalObjectReference,
    TypedObjectReference,
)
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry import pod_specs
from keelback.registry.cells import wide
from keelback.registry.persistentvolumes import ACCESS_MODES, short_access_modes
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

_DATA_SOURCES = frozenset({("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")})
_IMMUTABLE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


def _phase(claim: PersistentVolumeClaim) -> str:
    return "Terminating" if claim.metadata.deletion_timestamp is not None else claim.status.phase


def _capacity(claim: PersistentVolumeClaim) -> str:
    return claim.status.capacity.get("storage", "0") if claim.spec.volume_name else ""


def _access_modes(claim: PersistentVolumeClaim) -> str:
    return short_access_modes(claim.status.access_modes) if claim.spec.volume_name else ""


class PersistentVolumeClaimStrategy(Strategy[PersistentVolumeClaim]):
    kind = PersistentVolumeClaim
    subresources = ("status",)
    answers_deleted_object = True
    counts_generations = False
    columns = (
        text("Status", _phase),
        text("Volume", lambda one: one.spec.volume_name),
        text("Capacity", _capacity),
        text("Access Modes", _access_modes),
        text("StorageClass", lambda one: one.spec.storage_class_name or ""),
        text("VolumeAttributesClass", lambda one: one.spec.volume_attributes_class_name or "<unset>"),
        AGE,
        wide("VolumeMode", lambda one, _now: one.spec.volume_mode or "<unset>"),
    )

    def default(self, new: PersistentVolumeClaim, old: PersistentVolumeClaim | None = None) -> PersistentVolumeClaim:
        spec = pod_specs.with_claim_spec_defaults(new.spec)
        return new if spec is new.spec else replace(new, spec=spec)

    def prepare_for_create(self, new: PersistentVolumeClaim) -> PersistentVolumeClaim:
        new = super().prepare_for_create(new)
        return replace(new, spec=_with_data_sources(new.spec))

    def prepare_for_update(self, new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> PersistentVolumeClaim:
        new = super().prepare_for_update(new, old)
        return replace(new, spec=_with_data_sources(new.spec))

    def validate(self, new: PersistentVolumeClaim) -> Iterator[FieldError]:
        yield from validate_spec(new.spec, "spec")

    def validate_update(self, new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> Iterator[FieldError]:
        yield from self.validate(new)
        before, after = old.spec, new.spec
        is_bound = old.status.phase == "Bound"
        allowed = replace(
            before,
            volume_name=before.volume_name or after.volume_name,
            storage_class_name=before.storage_class_name or after.storage_class_name,
            resources=after.resources if is_bound else before.resources,
            volume_attributes_class_name=(
                after.volume_attributes_class_name if is_bound else before.volume_attributes_class_name
            ),
        )
        if after != allowed:
            yield forbidden("spec", _IMMUTABLE)
        wanted, had = after.resources.requests.get("storage"), before.resources.requests.get("storage")
        if wanted and had and quantity.compare(wanted, had) < 0:
            floor = old.status.capacity.get("storage")
            if floor is None or quantity.compare(wanted, floor) <= 0:
                yield forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _with_data_sources(spec: PersistentVolumeClaimSpec) -> PersistentVolumeClaimSpec:
    """The spec with both names of where its data come from (upstream's NormalizeDataSources).

    `dataSource` only ever names a claim or a snapshot: what else an old client put there is dropped.
    """
    old, ref = spec.data_source, spec.data_source_ref
    if ref is not None and ref.namespace:
        return spec
    if old is not None and not _is_claim_or_snapshot(old) and ref is None:
        return replace(spec, data_source=None)
    if old is not None and ref is None:
        ref = TypedObjectReference(api_group=old.api_group, kind=old.kind, name=old.name)
        return replace(spec, data_source_ref=ref)
    if ref is not None and old is None and _is_claim_or_snapshot(ref):
        old = TypedLocalObjectReference(api_group=ref.api_group, kind=ref.kind, name=ref.name)
        return replace(spec, data_source=old)
    return spec


def _is_claim_or_snapshot(source: TypedLocalObjectReference | TypedObjectReference) -> bool:
    return (source.api_group or "", source.kind) in _DATA_SOURCES


def validate_spec(spec: PersistentVolumeClaimSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with a claim's spec, also in a template of claims."""
    if not spec.access_modes:
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    for mode in spec.access_modes:
        if mode not in ACCESS_MODES:
            yield not_supported(f"{path}.accessModes", mode, ACCESS_MODES)
    if "ReadWriteOncePod" in spec.access_modes and len(spec.access_modes) > 1:
        yield forbidden(f"{path}.accessModes", "may not use ReadWriteOncePod with other access modes")
    storage = spec.resources.requests.get("storage")
    if storage is None:
        yield required(f"{path}.resources[storage]")
    elif quantity.value(storage) <= 0:
        yield invalid(f"{path}.resources.requests.storage", storage, "must be greater than zero")
    if spec.storage_class_name:
        for complaint in names.dns1123_subdomain(spec.storage_class_name):
            yield invalid(f"{path}.storageClassName", spec.storage_class_name, complaint)
    if spec.volume_mode not in ("Block", "Filesystem"):
        yield not_supported(f"{path}.volumeMode", spec.volume_mode, ("Block", "Filesystem"))
