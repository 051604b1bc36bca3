"""VolumeAttachments: their spec never changes."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.storage_v1 import VolumeAttachment, VolumeAttachmentSource
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, required, too_long
from keelback.registry import volume_sources
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text

_LARGEST_METADATA = 256 * 1024
_LONGEST_MESSAGE = 1024


class VolumeAttachmentStrategy(Strategy[VolumeAttachment]):
    kind = VolumeAttachment
    keeps_metadata_in_status = True
    needs_resource_version_to_update = True
    checks_metadata_twice = False
    checks_metadata_as_new = True
    subresources = ("status",)
    answers_deleted_object = True
    counts_generations = False
    columns = (
        text("Attacher", lambda one: one.spec.attacher),
        text("PV", lambda one: one.spec.source.persistent_volume_name or ""),
        text("Node", lambda one: one.spec.node_name),
        Column("Attached", lambda one, _now: one.status.attached, type="boolean"),
        AGE,
    )

    def validate(self, new: VolumeAttachment) -> Iterator[FieldError]:
        yield from _of_every_version(new)
        yield from volume_sources.validate_driver(new.spec.attacher, "spec.attacher")
        name = new.spec.source.persistent_volume_name
        for complaint in names.dns1123_subdomain(name) if name is not None else ():
            yield invalid("spec.source.persistentVolumeName", name, complaint)

    def validate_update(self, new: VolumeAttachment, old: VolumeAttachment) -> Iterator[FieldError]:
        yield from _of_every_version(new)
        if new.spec != old.spec:
            yield invalid("spec", internal(new.spec), "field is immutable")

    def validate_status_update(self, new: VolumeAttachment, old: VolumeAttachment) -> Iterator[FieldError]:
        yield from self.validate_update(new, old)


def _of_every_version(one: VolumeAttachment) -> Iterator[FieldError]:
    """What v1 shares with the versions before it: updates are let off the rest."""
    if not one.spec.attacher:
        yield required("spec.attacher")
    yield from _source(one.spec.source, "spec.source")
    for complaint in names.dns1123_subdomain(one.spec.node_name):
        yield invalid("spec.nodeName", one.spec.node_name, complaint)
    metadata = one.status.attachment_metadata
    if sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items()) > _LARGEST_METADATA:
        yield too_long("status.attachmentMetadata", _LARGEST_METADATA)
    for path, error in (("attachError", one.status.attach_error), ("detachError", one.status.detach_error)):
        if error is not None and len(error.message.encode()) > _LONGEST_MESSAGE:
            # Upstream names another limit than the one it has.
            yield too_long(f"status.{path}.message", _LARGEST_METADATA)
        if error is not None and error.error_code is not None and error.error_code < 0:
            yield invalid(f"status.{path}.errorCode", error.error_code, names.inclusive_range_error(0, 2**31 - 1))


def _source(source: VolumeAttachmentSource, path: str) -> Iterator[FieldError]:
    one_of = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    name = source.persistent_volume_name
    if name is None:
        if source.inline_volume_spec is None:
            yield required(path, one_of)
    elif source.inline_volume_spec is not None:
        yield forbidden(path, one_of)
    elif not name:
        yield required(f"{path}.persistentVolumeName", "must specify non empty persistentVolumeName")
