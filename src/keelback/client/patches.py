"""The four kinds of patch an API server takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypeAlias

import msgspec


class MergePatch(msgspec.Struct, frozen=True):
    """RFC 7386: what the tree names is set, null removes. The tree is anything msgspec encodes to a JSON object."""

    tree: object
    content_type: ClassVar[str] = "application/merge-patch+json"

    def body(self) -> bytes:
        """The patch as sent."""
        return msgspec.json.encode(self.tree)


class StrategicMergePatch(msgspec.Struct, frozen=True):
    """A merge that knows the merge keys of lists: built-in kinds only."""

    tree: object
    content_type: ClassVar[str] = "application/strategic-merge-patch+json"

    def body(self) -> bytes:
        """The patch as sent."""
        return msgspec.json.encode(self.tree)


class JSONPatch(msgspec.Struct, frozen=True):
    """RFC 6902: a list of operations, each `{"op": …, "path": …, "value": …}`; `test` makes it conditional."""

    operations: Sequence[Mapping[str, object]]
    content_type: ClassVar[str] = "application/json-patch+json"

    def body(self) -> bytes:
        """The patch as sent."""
        return msgspec.json.encode(self.operations)


class ApplyPatch(msgspec.Struct, frozen=True):
    """Server-side apply: the fields of the tree belong to `field_manager`; what it named before and not now goes."""

    tree: object
    field_manager: str
    force: bool = False
    content_type: ClassVar[str] = "application/apply-patch+yaml"

    def body(self) -> bytes:
        """The patch as sent; JSON is YAML."""
        return msgspec.json.encode(self.tree)


Patch: TypeAlias = MergePatch | StrategicMergePatch | JSONPatch | ApplyPatch
