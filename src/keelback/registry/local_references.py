"""References to an object by kind and name, of any group: what backends and parameters of Ingresses hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, required


class LocalReference(Protocol):
    """A group that may be left out, a kind and a name."""

    @property
    def api_group(self) -> str | None: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...


def problems(reference: LocalReference, path: str) -> Iterator[FieldError]:
    """Everything wrong with a reference."""
    if reference.api_group is not None:
        for complaint in names.dns1123_subdomain(reference.api_group):
            yield invalid(f"{path}.apiGroup", reference.api_group, complaint)
    for field, value in (("kind", reference.kind), ("name", reference.name)):
        if not value:
            yield required(f"{path}.{field}", f"{field} is required")
        else:
            for complaint in names.path_segment(value):
                yield invalid(f"{path}.{field}", value, complaint)
