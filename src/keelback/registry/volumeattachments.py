"""VolumeAttachments: their spec never changes."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.storage_v1 import VolumeAttachment, VolumeAttachmentSource
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, required, too_long
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text

_LONGEST_DRIVER = 63
_LONGEST_MESSAGE = 1024


class VolumeAttachmentStrategy(Strategy[VolumeAttachment]):
    kind = VolumeAttachment
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
        spec = new.spec
        if not spec.attacher:
            yield required("spec.attacher")
        elif len(spec.attacher) > _LONGEST_DRIVER:
            yield too_long("spec.attacher", _LONGEST_DRIVER)
        else:
            for complaint in names.dns1123_subdomain(spec.attacher.lower()):
                yield invalid("spec.attacher", spec.attacher, complaint)
        yield from _source(spec.source, "spec.source")
        if not spec.node_name:
            yield required("spec.nodeName")
        else:
            for complaint in names.dns1123_subdomain(spec.node_name):
                yield invalid("spec.nodeName", spec.node_name, complaint)

    def validate_update(self, new: VolumeAttachment, old: VolumeAttachment) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.spec != old.spec:
            yield invalid("spec", new.spec, "field is immutable")

    def validate_status_update(self, new: VolumeAttachment, old: VolumeAttachment) -> Iterator[FieldError]:
        for path, error in (("attachError", new.status.attach_error), ("detachError", new.status.detach_error)):
            if error is not None and len(error.message.encode()) > _LONGEST_MESSAGE:
                yield too_long(f"status.{path}.message", _LONGEST_MESSAGE)


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
    else:
        for complaint in names.dns1123_subdomain(name):
            yield invalid(f"{path}.persistentVolumeName", name, complaint)
