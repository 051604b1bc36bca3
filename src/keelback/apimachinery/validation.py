"""What every object's metadata must obey, whatever its kind: on create and on update.

Validators yield every FieldError; paths begin at `metadata`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, required, too_long
from keelback.apimachinery.meta import ManagedFieldsEntry, ObjectMeta, OwnerReference
from keelback.apimachinery.names import NameValidator

TOTAL_ANNOTATIONS_MAX_BYTES: Final = 256 * 1024
FIELD_MANAGER_MAX_LENGTH: Final = 128
ORPHAN_FINALIZER: Final = "orphan"
FOREGROUND_FINALIZER: Final = "foregroundDeletion"
_STANDARD_FINALIZERS: Final = frozenset({"kubernetes", ORPHAN_FINALIZER, FOREGROUND_FINALIZER})
_IMMUTABLE: Final = "field is immutable"


def object_meta(
    meta: ObjectMeta,
    *,
    namespaced: bool,
    name_problems: NameValidator,
    path: str = "metadata",
    bare_finalizers: bool = False,
) -> Iterator[FieldError]:
    """What is wrong with the metadata of an object to be created. Finalizers without a group may be `bare_finalizers`:
    custom resources have them."""
    if meta.generate_name:
        for complaint in name_problems(meta.generate_name, is_prefix=True):
            yield invalid(f"{path}.generateName", meta.generate_name, complaint)
    if not meta.name:
        yield required(f"{path}.name", "name or generateName is required")
    else:
        for complaint in name_problems(meta.name, is_prefix=False):
            yield invalid(f"{path}.name", meta.name, complaint)
    if namespaced:
        if not meta.namespace:
            yield required(f"{path}.namespace")
        else:
            for complaint in names.dns1123_label(meta.namespace):
                yield invalid(f"{path}.namespace", meta.namespace, complaint)
    elif meta.namespace:
        yield forbidden(f"{path}.namespace", "not allowed on this type")
    if meta.generation < 0:
        yield invalid(f"{path}.generation", meta.generation, "must be greater than or equal to 0")
    yield from _free_fields(meta, path)
    if meta.finalizers:
        yield from finalizers(meta.finalizers, f"{path}.finalizers")
    if meta.managed_fields:
        yield from managed_fields(meta.managed_fields, f"{path}.managedFields")
    if not bare_finalizers:
        yield from no_bare_finalizers(meta.finalizers, f"{path}.finalizers")


def object_meta_update(new: ObjectMeta, old: ObjectMeta, path: str = "metadata") -> Iterator[FieldError]:
    """What is wrong with the metadata an object would get by an update."""
    if new.finalizers is not old.finalizers and old.deletion_timestamp is not None:
        yield from no_new_finalizers(new.finalizers, old.finalizers, f"{path}.finalizers")
    if not new.resource_version:
        yield invalid(f"{path}.resourceVersion", new.resource_version, "must be specified for an update")
    if new.generation < old.generation:
        yield invalid(f"{path}.generation", new.generation, "must not be decremented")
    if new.name != old.name:
        yield invalid(f"{path}.name", new.name, _IMMUTABLE)
    if new.namespace != old.namespace:
        yield invalid(f"{path}.namespace", new.namespace, _IMMUTABLE)
    if new.uid != old.uid:
        yield invalid(f"{path}.uid", new.uid, _IMMUTABLE)
    if new.creation_timestamp != old.creation_timestamp:
        yield invalid(f"{path}.creationTimestamp", _shown_time(new.creation_timestamp), _IMMUTABLE)
    if new.deletion_timestamp != old.deletion_timestamp:
        yield invalid(f"{path}.deletionTimestamp", _shown_time(new.deletion_timestamp), _IMMUTABLE)
    if new.deletion_grace_period_seconds != old.deletion_grace_period_seconds:
        yield invalid(f"{path}.deletionGracePeriodSeconds", new.deletion_grace_period_seconds, _IMMUTABLE)
    yield from _free_fields(new, path)
    if new.managed_fields:
        yield from managed_fields(new.managed_fields, f"{path}.managedFields")


def immutable_field(new: Any, old: Any, path: str) -> Iterator[FieldError]:
    """The complaint about a field that must stay as it was."""
    if new != old:
        yield invalid(path, new, _IMMUTABLE)


def label_map(values: Mapping[str, str], path: str) -> Iterator[FieldError]:
    """What is wrong with a map of labels."""
    for key, value in values.items():
        for complaint in names.qualified_name(key):
            yield invalid(path, key, complaint)
        for complaint in names.label_value(value):
            yield invalid(path, value, complaint)


def annotation_map(values: Mapping[str, str], path: str) -> Iterator[FieldError]:
    """What is wrong with a map of annotations; keys may have capitals, values are free but for their total size."""
    total = 0
    for key, value in values.items():
        for complaint in names.qualified_name(key.lower()):
            yield invalid(path, key, complaint)
        total += len(key) + len(value)
        if not (key.isascii() and value.isascii()):
            total += len(key.encode()) + len(value.encode()) - len(key) - len(value)
    if total > TOTAL_ANNOTATIONS_MAX_BYTES:
        yield too_long(path, TOTAL_ANNOTATIONS_MAX_BYTES)


def finalizers(values: Sequence[str], path: str) -> Iterator[FieldError]:
    """What is wrong with a list of finalizers, of custom resources too."""
    for finalizer in values:
        for complaint in names.qualified_name(finalizer):
            yield invalid(path, finalizer, complaint)
    if ORPHAN_FINALIZER in values and FOREGROUND_FINALIZER in values:
        yield invalid(
            path,
            list(values),
            f"finalizer {ORPHAN_FINALIZER} and {FOREGROUND_FINALIZER} cannot be both set",
        )


def no_bare_finalizers(values: Sequence[str], path: str) -> Iterator[FieldError]:
    """The complaints about finalizers that are neither qualified by a group nor of the standard ones."""
    for index, finalizer in enumerate(values):
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"{path}[{index}]", finalizer, why)


def finalizer_name(finalizer: str, path: str) -> Iterator[FieldError]:
    """What is wrong with one of a namespace's own finalizers."""
    for complaint in names.qualified_name(finalizer):
        yield invalid(path, finalizer, complaint)
    if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
        yield invalid(path, finalizer, "name is neither a standard finalizer name nor is it fully qualified")


def no_new_finalizers(new: Iterable[str], old: Iterable[str], path: str) -> Iterator[FieldError]:
    """The complaint about finalizers added to an object that is being deleted."""
    extra = sorted(set(new) - set(old))
    if extra:
        shown = ", ".join(f'"{one}"' for one in extra)
        yield forbidden(
            path,
            f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{shown}}}",
        )


def owner_references(references: Sequence[OwnerReference], path: str) -> Iterator[FieldError]:
    """What is wrong with a list of owners."""
    controller = ""
    for reference in references:
        # Upstream gives every reference the path of the whole list.
        yield from _owner_reference(reference, path)
        if reference.controller:
            name = f"{reference.kind}/{reference.name}"
            if controller:
                yield invalid(
                    path,
                    list(references),
                    f'Only one reference can have Controller set to true. Found "true" in references for {controller} '
                    f"and {name}",
                )
            controller = controller or name


def field_manager(manager: str, path: str) -> Iterator[FieldError]:
    """What is wrong with a field manager's name: its length, characters that cannot be printed."""
    if len(manager.encode()) > FIELD_MANAGER_MAX_LENGTH:
        yield too_long(path, FIELD_MANAGER_MAX_LENGTH)
    if not manager.isprintable():
        for index, character in enumerate(manager):
            if not character.isprintable():
                yield invalid(path, manager, f"invalid character {_code_point(character)} (at position {index})")


def managed_fields(entries: Sequence[ManagedFieldsEntry], path: str) -> Iterator[FieldError]:
    """What is wrong with managedFields as a client sent them."""
    for index, entry in enumerate(entries):
        here = f"{path}[{index}]"
        if entry.operation not in ("Apply", "Update"):
            yield invalid(f"{here}.operation", entry.operation, "must be `Apply` or `Update`")
        if entry.fields_type and entry.fields_type != "FieldsV1":
            yield invalid(f"{here}.fieldsType", entry.fields_type, "must be `FieldsV1`")
        yield from field_manager(entry.manager, f"{here}.manager")
        if len(entry.subresource) > 256:
            yield too_long(f"{here}.subresource", 256)


def _free_fields(meta: ObjectMeta, path: str) -> Iterator[FieldError]:
    if meta.labels:
        yield from label_map(meta.labels, f"{path}.labels")
    if meta.annotations:
        yield from annotation_map(meta.annotations, f"{path}.annotations")
    if meta.owner_references:
        yield from owner_references(meta.owner_references, f"{path}.ownerReferences")


def _owner_reference(reference: OwnerReference, path: str) -> Iterator[FieldError]:
    group, _, version = reference.api_version.rpartition("/")
    version = "" if "/" in group else version
    if not version:
        yield invalid(f"{path}.apiVersion", reference.api_version, "version must not be empty")
    if not reference.kind:
        yield invalid(f"{path}.kind", reference.kind, "must not be empty")
    if not reference.name:
        yield invalid(f"{path}.name", reference.name, "must not be empty")
    if not reference.uid:
        yield invalid(f"{path}.uid", reference.uid, "must not be empty")
    if (group, version, reference.kind) == ("", "v1", "Event"):
        yield invalid(path, reference, "/v1, Kind=Event is disallowed from being an owner")


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X}"


def _shown_time(instant: datetime | None) -> str | None:
    return None if instant is None else instant.strftime("%Y-%m-%dT%H:%M:%SZ")
