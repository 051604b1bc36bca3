"""What the spec of a PersistentVolumeClaim may say: of a claim, and in templates of claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api.core_v1 import PersistentVolumeClaimSpec, TypedLocalObjectReference, TypedObjectReference
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.registry import label_selectors

ACCESS_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES: Final = ("Block", "Filesystem")


def validate(spec: PersistentVolumeClaimSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with a claim's spec."""
    if not spec.access_modes:
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    yield from label_selectors.validate(spec.selector, f"{path}.selector")
    yield from validate_access_modes(spec.access_modes, f"{path}.accessModes")
    storage = spec.resources.requests.get("storage")
    if storage is None:
        yield required(f"{path}.resources[storage]")
    elif quantity.parse(storage).nanos <= 0:
        yield invalid(f"{path}.resources[storage]", storage, "must be greater than zero")
    if spec.storage_class_name:
        for complaint in names.dns1123_subdomain(spec.storage_class_name):
            yield invalid(f"{path}.storageClassName", spec.storage_class_name, complaint)
    if spec.volume_mode not in VOLUME_MODES:
        yield not_supported(f"{path}.volumeMode", spec.volume_mode, VOLUME_MODES)
    yield from _data_sources(spec, path)
    if spec.volume_attributes_class_name:
        for complaint in names.dns1123_subdomain(spec.volume_attributes_class_name):
            yield invalid(f"{path}.volumeAttributesClassName", spec.volume_attributes_class_name, complaint)


def validate_access_modes(modes: tuple[str, ...], path: str) -> Iterator[FieldError]:
    """Everything wrong with the access modes of a claim or volume: the one for a single pod stands alone."""
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield not_supported(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and any(mode in ACCESS_MODES[:3] for mode in modes):
        yield forbidden(path, "may not use ReadWriteOncePod with other access modes")


def _data_sources(spec: PersistentVolumeClaimSpec, path: str) -> Iterator[FieldError]:
    source, ref = spec.data_source, spec.data_source_ref
    if source is not None:
        yield from _data_source(source, f"{path}.dataSource")
    if ref is None:
        return
    yield from _data_source(ref, f"{path}.dataSourceRef")
    if ref.namespace:
        for complaint in names.dns1123_label(ref.namespace):
            yield invalid(f"{path}.dataSourceRef.namespace", ref.namespace, complaint)
        if source is not None:
            # Upstream prints the path itself, a value without exported fields.
            yield invalid(path, {}, "may not be specified when dataSourceRef.namespace is specified")
    elif source is not None and (source.api_group, source.kind, source.name) != (ref.api_group, ref.kind, ref.name):
        yield invalid(path, {}, "must match dataSourceRef")


def _data_source(source: TypedLocalObjectReference | TypedObjectReference, path: str) -> Iterator[FieldError]:
    if not source.name:
        yield required(f"{path}.name")
    if not source.kind:
        yield required(f"{path}.kind")
    if not source.api_group:
        if source.kind != "PersistentVolumeClaim":
            why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
            yield invalid(path, source.kind, why)
    else:
        for complaint in names.dns1123_subdomain(source.api_group):
            yield invalid(f"{path}.apiGroup", source.api_group, complaint)
