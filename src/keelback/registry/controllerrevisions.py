"""ControllerRevisions: what they hold never changes."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from keelback.api.apps_v1 import ControllerRevision
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.registry.cells import NONE
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number, text


def _controller(revision: ControllerRevision) -> str:
    owner = next((one for one in revision.metadata.owner_references if one.controller), None)
    if owner is None:
        return NONE
    group = owner.api_version.rpartition("/")[0]
    return f"{owner.kind.lower()}.{group}/{owner.name}" if group else f"{owner.kind.lower()}/{owner.name}"


def _tree(revision: ControllerRevision) -> object:
    return msgspec.json.decode(revision.data) if bytes(revision.data) else None


class ControllerRevisionStrategy(Strategy[ControllerRevision]):
    kind = ControllerRevision
    checks_metadata_as_new = True
    counts_generations = False
    columns = (text("Controller", _controller), number("Revision", lambda one: one.revision), AGE)

    def validate(self, new: ControllerRevision) -> Iterator[FieldError]:
        yield from _revision(new)
        if bytes(new.data) in (b"", b"null"):
            yield required("data", "data is mandatory")
        elif not isinstance(_tree(new), dict):
            yield required("data", "data must be a valid JSON object")

    def validate_update(self, new: ControllerRevision, old: ControllerRevision) -> Iterator[FieldError]:
        yield from _revision(new)
        # A patch writes an object's fields in another order: what counts is what they say.
        if bytes(new.data) != bytes(old.data) and _tree(new) != _tree(old):
            yield invalid("data", new.data, "field is immutable")


def _revision(one: ControllerRevision) -> Iterator[FieldError]:
    if one.revision < 0:
        yield invalid("revision", one.revision, "must be greater than or equal to 0")
