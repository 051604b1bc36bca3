"""VolumeAttachments: their spec never changes."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.storage_v1 import VolumeAttachment
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry.strategy import AGE, Column, Strategy
from keelback.registry.workloads import text


class VolumeAttachmentStrategy(Strategy[VolumeAttachment]):
    kind = VolumeAttachment
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
        if not new.spec.attacher:
            yield required("spec.attacher")
        if not new.spec.node_name:
            yield required("spec.nodeName")
        if new.spec.source.persistent_volume_name is None and new.spec.source.inline_volume_spec is None:
            yield required("spec.source", "must specify exactly one of inlineVolumeSpec and persistentVolumeName")

    def validate_update(self, new: VolumeAttachment, old: VolumeAttachment) -> Iterator[FieldError]:
        yield from self.validate(new)
        if new.spec != old.spec:
            yield invalid("spec", new.spec, "field is immutable")
