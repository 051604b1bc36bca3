"""What a path may look like that must lead downwards, inside a volume or a directory of profiles."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.apimachinery.errors import FieldError, invalid


def without_backsteps(value: str, path: str) -> Iterator[FieldError]:
    """The complaint about a path that leads upwards."""
    if ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


def descending(value: str, path: str) -> Iterator[FieldError]:
    """The complaints about a path that should lead downwards from where it is used."""
    if value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    yield from without_backsteps(value, path)


def not_reserved(value: str, path: str) -> Iterator[FieldError]:
    """The same for the files of a volume, where names that begin with two dots belong to the kubelet."""
    yield from descending(value, path)
    if value.startswith("..") and not value.startswith("../"):
        yield invalid(path, value, "must not start with '..'")
