"""PersistentVolumeClaims: a spec that changes only to ask for more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keelback.api.core_v1 import (
    PersistentVolumeClaim,
    PersistentVolumeClaimSpec,
    TypedLocalObjectReference,
    TypedObjectReference,
)
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import replace
from keelback.registry import claim_specs, claim_updates, claim_warnings, pod_specs
from keelback.registry.cells import wide
from keelback.registry.persistentvolumes import STORAGE_CLASS_ANNOTATION, short_access_modes
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text, twice

_DATA_SOURCES = frozenset({("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")})


def _phase(claim: PersistentVolumeClaim) -> str:
    return "Terminating" if claim.metadata.deletion_timestamp is not None else claim.status.phase


def _capacity(claim: PersistentVolumeClaim) -> str:
    return claim.status.capacity.get("storage", "0") if claim.spec.volume_name else ""


def _access_modes(claim: PersistentVolumeClaim) -> str:
    return short_access_modes(claim.status.access_modes) if claim.spec.volume_name else ""


class PersistentVolumeClaimStrategy(Strategy[PersistentVolumeClaim]):
    kind = PersistentVolumeClaim
    checks_metadata_as_new = True
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
        yield from claim_specs.validate(new.spec, "spec")

    def validate_update(self, new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> Iterator[FieldError]:
        yield from twice(self.validate(new))
        yield from claim_updates.validate(new, old)

    def validate_status_update(self, new: PersistentVolumeClaim, old: PersistentVolumeClaim) -> Iterator[FieldError]:
        yield from claim_updates.validate_status(new)

    def warnings(self, new: PersistentVolumeClaim, old: PersistentVolumeClaim | None) -> Iterable[str]:
        if STORAGE_CLASS_ANNOTATION in new.metadata.annotations:
            where = f"metadata.annotations[{STORAGE_CLASS_ANNOTATION}]"
            yield f'{where}: deprecated since v1.8; use "storageClassName" attribute instead'
        yield from claim_warnings.of_spec(new.spec, "spec")


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
