"""What a PersistentVolume may say, and what may change in it: its source never does."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from keelback.api.core_v1 import NodeSelectorRequirement, PersistentVolume, PersistentVolumeSpec, VolumeNodeAffinity
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry import placement, volume_sources
from keelback.registry.claim_specs import VOLUME_MODES, validate_access_modes
from keelback.registry.internal_forms import difference, internal

_SOURCES: Final = (
    *("host_path", "gce_persistent_disk", "aws_elastic_block_store", "glusterfs", "flocker", "nfs", "rbd", "quobyte"),
    *("cephfs", "iscsi", "cinder", "fc", "flex_volume", "azure_file", "vsphere_volume", "photon_persistent_disk"),
    *("portworx_volume", "azure_disk", "scale_io", "local", "storageos", "csi"),
)
"""The sources in the order in which upstream looks at them."""
_MOUNTABLE: Final = frozenset(_SOURCES) - {"csi", "flex_volume", "host_path", "local"}
MOUNT_OPTIONS_ANNOTATION: Final = "volume.beta.kubernetes.io/mount-options"
_WIRE_NAMES: Final = {one.name: one.encode_name for one in msgspec.structs.fields(PersistentVolumeSpec)} | {
    "cephfs": "cephFS"
}
_RECLAIM_POLICIES: Final = ("Delete", "Recycle", "Retain")
_SUCCESSORS: Final = {
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
}


def validate(volume: PersistentVolume) -> Iterator[FieldError]:
    """Everything wrong with a PersistentVolume."""
    spec = volume.spec
    if not spec.access_modes:
        yield required("spec.accessModes")
    yield from validate_access_modes(spec.access_modes, "spec.accessModes")
    if not spec.capacity:
        yield required("spec.capacity")
    if set(spec.capacity) != {"storage"}:
        yield not_supported("spec.capacity", dict(spec.capacity) or None, ("storage",))
    for name, amount in spec.capacity.items():
        parsed = quantity.parse(amount)
        if parsed.value < 0:
            yield invalid(f"spec.capacity[{name}]", parsed.value, "must be a valid resource quantity")
        if parsed.nanos <= 0:
            yield invalid(f"spec.capacity[{name}]", amount, "must be greater than zero")
    policy = spec.persistent_volume_reclaim_policy
    if policy and policy not in _RECLAIM_POLICIES:
        yield not_supported("spec.persistentVolumeReclaimPolicy", policy, _RECLAIM_POLICIES)
    if spec.node_affinity is not None:
        if spec.node_affinity.required is None:
            yield required("spec.nodeAffinity.required", "must specify required node constraints")
        else:
            yield from placement.validate_node_selector(spec.node_affinity.required, "spec.nodeAffinity.required")
    yield from _source(spec, volume.metadata.name)
    if spec.host_path is not None and policy == "Recycle" and posixpath.normpath(spec.host_path.path) == "/":
        why = "may not be 'recycle' for a hostPath mount of '/'"
        yield forbidden("spec.persistentVolumeReclaimPolicy", why)
    yield from _classes(spec)


def _source(spec: PersistentVolumeSpec, name: str) -> Iterator[FieldError]:
    chosen = ""
    for attribute in _SOURCES:
        source = getattr(spec, attribute)
        if source is None:
            continue
        if chosen and attribute != "flex_volume":
            yield forbidden(f"spec.{_WIRE_NAMES[attribute]}", "may not specify more than 1 volume type")
            continue
        # Upstream overlooks that a FlexVolume is one too many.
        chosen = attribute
        yield from volume_sources.validate(attribute, source, "spec")
        if attribute == "iscsi":
            portal = source.target_portal
            yield from volume_sources.validate_iscsi_name(source, name, "spec.iscsi.targetportal", portal)
        if attribute == "local" and spec.node_affinity is None:
            yield required("spec.nodeAffinity", "Local volume requires node affinity")
    if not chosen:
        yield required("spec", "must specify a volume type")


def validate_mount_options(volume: PersistentVolume) -> Iterator[FieldError]:
    """The complaint about options, in the annotation of old, for volumes that are not mounted by a driver."""
    if MOUNT_OPTIONS_ANNOTATION not in volume.metadata.annotations:
        return
    if all(getattr(volume.spec, attribute) is None for attribute in _MOUNTABLE):
        why = "may not specify mount options for this volume type"
        yield forbidden(f"metadata.annotations.{MOUNT_OPTIONS_ANNOTATION}", why)


def _classes(spec: PersistentVolumeSpec) -> Iterator[FieldError]:
    for complaint in names.dns1123_subdomain(spec.storage_class_name) if spec.storage_class_name else ():
        yield invalid("spec.storageClassName", spec.storage_class_name, complaint)
    if spec.volume_mode not in VOLUME_MODES:
        yield not_supported("spec.volumeMode", spec.volume_mode, VOLUME_MODES)
    attributes = spec.volume_attributes_class_name
    if attributes is None:
        return
    if not attributes:
        yield required("spec.volumeAttributesClassName", "an empty string is disallowed")
    else:
        for complaint in names.dns1123_subdomain(attributes):
            yield invalid("spec.volumeAttributesClassName", attributes, complaint)
    if spec.csi is None:
        yield required("spec.csi", "has to be specified when using volumeAttributesClassName")


def validate_update(new: PersistentVolume, old: PersistentVolume) -> Iterator[FieldError]:
    """Everything that an update of a volume changes and may not."""
    after, before = new.spec, old.spec
    now, then = _sources(after), _sources(before)
    has_no_secret = before.csi is not None and before.csi.controller_expand_secret_ref is None
    if has_no_secret and after.csi is not None:
        # Volumes made before they could grow may still be given what that takes.
        now["csi"] = replace(after.csi, controller_expand_secret_ref=None)
    if now != then:
        shown = difference(_shown(then), _shown(now))
        why = f"spec.persistentvolumesource is immutable after creation\n{shown}"
        yield forbidden("spec.persistentvolumesource", why)
    if after.volume_mode != before.volume_mode:
        yield invalid("volumeMode", after.volume_mode, "field is immutable")
    if before.node_affinity is not None and not _is_same_affinity(after.node_affinity, before.node_affinity):
        why = "field is immutable, except for updating from beta label to GA"
        yield invalid("nodeAffinity", internal(after.node_affinity), why)
    if before.volume_attributes_class_name is not None and after.volume_attributes_class_name is None:
        yield forbidden("spec.volumeAttributesClassName", "update from non-nil value to nil is forbidden")


def _sources(spec: PersistentVolumeSpec) -> dict[str, Any]:
    return {name: getattr(spec, name) for name in _SOURCES}


def _shown(sources: dict[str, Any]) -> dict[str, Any]:
    return {_WIRE_NAMES[name][:1].upper() + _WIRE_NAMES[name][1:]: internal(one) for name, one in sources.items()}


def _is_same_affinity(new: VolumeNodeAffinity | None, old: VolumeNodeAffinity) -> bool:
    if new is None or new.required is None or old.required is None:
        return new == old
    after, before = new.required.node_selector_terms, old.required.node_selector_terms
    return len(after) == len(before) and all(
        a.match_fields == b.match_fields
        and len(a.match_expressions) == len(b.match_expressions)
        and all(map(_is_same_requirement, a.match_expressions, b.match_expressions))
        for a, b in zip(after, before, strict=True)
    )


def _is_same_requirement(new: NodeSelectorRequirement, old: NodeSelectorRequirement) -> bool:
    return new == old or new == replace(old, key=_SUCCESSORS.get(old.key, old.key))
