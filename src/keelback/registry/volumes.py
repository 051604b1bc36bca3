"""What the volumes of a pod may say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from keelback.api.core_v1 import EphemeralVolumeSource, Volume
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, required
from keelback.apimachinery.meta import ObjectMeta
from keelback.apimachinery.validation import annotation_map, label_map
from keelback.registry import claim_specs, projected_volumes, volume_files, volume_sources
from keelback.registry.containers import validate_pull_policy

_ORDER: Final = (
    *("empty_dir", "host_path", "git_repo", "gce_persistent_disk", "aws_elastic_block_store", "secret", "nfs"),
    *("iscsi", "glusterfs", "flocker", "persistent_volume_claim", "rbd", "cinder", "cephfs", "quobyte"),
    *("downward_api", "fc", "flex_volume", "config_map", "azure_file", "vsphere_volume", "photon_persistent_disk"),
    *("portworx_volume", "azure_disk", "storageos", "projected", "scale_io", "csi", "ephemeral", "image"),
)
"""The sources in the order in which upstream looks at them."""
_WIRE_NAMES: Final = {one.name: one.encode_name for one in msgspec.structs.fields(Volume)}
_SAID_TWICE: Final = {"cephfs": "cephFS", "downward_api": "downwarAPI"}
"""What upstream calls a second source where that is not its wire name."""
_TEMPLATE_FIELDS: Final = ("annotations", "labels")


def validate(
    volumes: Sequence[Volume], metadata: ObjectMeta | None, path: str, sound: dict[str, Volume]
) -> Iterator[FieldError]:
    """Everything wrong with a pod's volumes. Those with nothing wrong are put into `sound`, for mounts to find them.

    `metadata` is the pod's own; a template has none, so that the names of the claims it makes are not known yet.
    """
    pod_name = metadata.name if metadata is not None else ""
    made = {f"{pod_name}-{one.name}" for one in volumes if one.ephemeral is not None} if pod_name else set()
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        found = list(_source(volume, here, pod_name))
        if not volume.name:
            found.append(required(f"{here}.name"))
        else:
            found.extend(invalid(f"{here}.name", volume.name, one) for one in names.dns1123_label(volume.name))
        if volume.name in sound:
            found.append(duplicate(f"{here}.name", volume.name))
        if found:
            yield from found
        else:
            sound[volume.name] = volume
        claim = volume.persistent_volume_claim
        if claim is not None and claim.claim_name in made:
            why = "must not reference a PVC that gets created for an ephemeral volume"
            yield invalid(f"{here}.persistentVolumeClaim.claimName", claim.claim_name, why)


def _source(volume: Volume, path: str, pod_name: str) -> Iterator[FieldError]:
    chosen = ""
    for attribute in _ORDER:
        source = getattr(volume, attribute)
        if source is None:
            continue
        if chosen:
            name = _SAID_TWICE.get(attribute, _WIRE_NAMES[attribute])
            yield forbidden(f"{path}.{name}", "may not specify more than 1 volume type")
        else:
            chosen = attribute
            yield from _chosen(volume, attribute, path, pod_name)
        if attribute == "iscsi":
            yield from volume_sources.validate_iscsi_name(source, volume.name, f"{path}.name", volume.name)
    if not chosen:
        yield required(path, "must specify a volume type")


def _chosen(volume: Volume, attribute: str, path: str, pod_name: str) -> Iterator[FieldError]:
    here = f"{path}.{_WIRE_NAMES[attribute]}"
    match attribute:
        case "empty_dir":
            limit = volume.empty_dir.size_limit if volume.empty_dir is not None else None
            if limit is not None and quantity.parse(limit).nanos < 0:
                yield forbidden(f"{here}.sizeLimit", "SizeLimit field must be a valid resource quantity")
        case "secret" if volume.secret is not None:
            if not volume.secret.secret_name:
                yield required(f"{here}.secretName")
            yield from volume_files.validate_mode(volume.secret.default_mode, f"{here}.defaultMode")
            yield from volume_files.validate_items(volume.secret.items, f"{here}.items")
        case "config_map" if volume.config_map is not None:
            if not volume.config_map.name:
                yield required(f"{here}.name")
            yield from volume_files.validate_mode(volume.config_map.default_mode, f"{here}.defaultMode")
            yield from volume_files.validate_items(volume.config_map.items, f"{here}.items")
        case "downward_api" if volume.downward_api is not None:
            yield from volume_files.validate_mode(volume.downward_api.default_mode, f"{here}.defaultMode")
            for file in volume.downward_api.items:
                yield from volume_files.validate_file(file, here)
        case "persistent_volume_claim" if volume.persistent_volume_claim is not None:
            if not volume.persistent_volume_claim.claim_name:
                yield required(f"{here}.claimName")
        case "projected" if volume.projected is not None:
            yield from projected_volumes.validate(volume.projected, here)
        case "ephemeral" if volume.ephemeral is not None:
            yield from _ephemeral(volume.ephemeral, here)
            claim = f"{pod_name}-{volume.name}"
            if pod_name and volume.name:
                for complaint in names.dns1123_subdomain(claim):
                    yield invalid(f"{path}.name", volume.name, f'PVC name "{claim}": {complaint}')
        case "image" if volume.image is not None:
            # Templates may leave the reference to whoever makes the pods.
            if pod_name and not volume.image.reference:
                yield required(f"{here}.reference")
            yield from validate_pull_policy(volume.image.pull_policy, f"{here}.pullPolicy")
        case _:
            yield from volume_sources.validate(attribute, getattr(volume, attribute), path)


def _ephemeral(source: EphemeralVolumeSource, path: str) -> Iterator[FieldError]:
    template = source.volume_claim_template
    here = f"{path}.volumeClaimTemplate"
    if template is None:
        yield required(here)
        return
    metadata = template.metadata or ObjectMeta()
    yield from annotation_map(metadata.annotations, f"{here}.metadata.annotations")
    yield from label_map(metadata.labels, f"{here}.metadata.labels")
    for field in msgspec.structs.fields(ObjectMeta):
        if field.name not in _TEMPLATE_FIELDS and getattr(metadata, field.name):
            yield forbidden(f"{here}.metadata.{field.encode_name}", "cannot be set")
    yield from claim_specs.validate(template.spec, f"{here}.spec")
