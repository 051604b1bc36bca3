"""What may be said of the files that ConfigMaps, Secrets and fields of the pod become in a volume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from keelback.api.core_v1 import DownwardAPIVolumeFile, KeyToPath
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry import environment, relative_paths


def validate_mode(mode: int, path: str) -> Iterator[FieldError]:
    """The complaint about permissions beyond those of a file."""
    if not 0 <= mode <= 0o777:
        yield invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive")


def validate_items(items: Sequence[KeyToPath], path: str) -> Iterator[FieldError]:
    """Everything wrong with the choice of keys of a ConfigMap or Secret."""
    for index, item in enumerate(items):
        yield from validate_item(item, f"{path}[{index}]")


def validate_item(item: KeyToPath, path: str) -> Iterator[FieldError]:
    """Everything wrong with one key's file."""
    if not item.key:
        yield required(f"{path}.key")
    if not item.path:
        yield required(f"{path}.path")
    yield from relative_paths.not_reserved(item.path, f"{path}.path")
    if item.mode is not None:
        yield from validate_mode(item.mode, f"{path}.mode")


def validate_file(file: DownwardAPIVolumeFile, path: str) -> Iterator[FieldError]:
    """Everything wrong with a file that holds a field of the pod; upstream does not say which file."""
    if not file.path:
        yield required(f"{path}.path")
    yield from relative_paths.not_reserved(file.path, f"{path}.path")
    if file.field_ref is not None:
        yield from environment.validate_field_ref(file.field_ref, environment.VOLUME_FIELDS, f"{path}.fieldRef")
        if file.resource_field_ref is not None:
            yield invalid(path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif file.resource_field_ref is not None:
        yield from environment.validate_resource_field_ref(
            file.resource_field_ref, f"{path}.resourceFieldRef", needs_container=True
        )
    else:
        yield required(path, "one of fieldRef and resourceFieldRef is required")
    if file.mode is not None:
        yield from validate_mode(file.mode, f"{path}.mode")
