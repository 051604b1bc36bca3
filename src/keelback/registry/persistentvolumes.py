"""PersistentVolumes: their source never changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from keelback.api.core_v1 import PersistentVolume
from keelback.apimachinery import quantity
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import replace
from keelback.registry import node_label_warnings, persistentvolume_specs
from keelback.registry.cells import wide
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import text

STORAGE_CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
_SHORT_MODES = (
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
)


def short_access_modes(modes: Sequence[str]) -> str:
    """Access modes as `kubectl get` shows them."""
    return ",".join(short for mode, short in _SHORT_MODES if mode in modes)


def _claim(volume: PersistentVolume) -> str:
    claim = volume.spec.claim_ref
    return "" if claim is None else f"{claim.namespace}/{claim.name}"


class PersistentVolumeStrategy(Strategy[PersistentVolume]):
    kind = PersistentVolume
    checks_metadata_as_new = True
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
        yield from persistentvolume_specs.validate(new)
        yield from persistentvolume_specs.validate_mount_options(new)

    def validate_update(self, new: PersistentVolume, old: PersistentVolume) -> Iterator[FieldError]:
        yield from self.validate(new)
        yield from persistentvolume_specs.validate(new)
        yield from persistentvolume_specs.validate_update(new, old)

    def warnings(self, new: PersistentVolume, old: PersistentVolume | None) -> Iterable[str]:
        yield from _warnings(new)


def _warnings(volume: PersistentVolume) -> Iterator[str]:
    spec = volume.spec
    if STORAGE_CLASS_ANNOTATION in volume.metadata.annotations:
        where = f"metadata.annotations[{STORAGE_CLASS_ANNOTATION}]"
        yield f'{where}: deprecated since v1.8; use "storageClassName" attribute instead'
    if spec.persistent_volume_reclaim_policy == "Recycle":
        yield (
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
            "approach is to use dynamic provisioning."
        )
    wanted = spec.node_affinity.required if spec.node_affinity is not None else None
    for index, term in enumerate(wanted.node_selector_terms if wanted is not None else ()):
        yield from node_label_warnings.of_node_term(term, f"spec.nodeAffinity.required.nodeSelectorTerms[{index}]")
    for attribute, name, message in _DEPRECATED:
        if getattr(spec, attribute) is not None:
            yield f"spec.{name}: {message}"
    storage = spec.capacity.get("storage")
    if storage is not None and quantity.parse(storage).milli_value % 1000:
        yield f'spec.capacity[storage]: fractional byte value "{storage}" is invalid, must be an integer'


_DEPRECATED = (
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photon_persistent_disk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scale_io", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
)
