"""What many objects of a cache have in common is held once, and what no controller reads is not held at all.

Pods of one template have the same labels, owner and tolerations: a quarter of what a cached pod takes.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from operator import attrgetter
from typing import Any, Final

from msgspec.structs import force_setattr

from keelback.apimachinery.meta import Object

_POD_SPEC = ("dns_policy", "node_selector", "overhead", "restart_policy", "scheduler_name", "security_context")
_PLACES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "Node": {"status": ("allocatable",)},
    "Pod": {"spec": ("tolerations",)},
    "ReplicaSet": {
        "spec.selector": ("match_labels",),
        "spec.template.metadata": ("annotations", "labels"),
        "spec.template.spec": _POD_SPEC,
    },
}
"""Beside the metadata: where else objects of a kind say the same as others, as the path of a value and its fields."""
_MOST_PARTS: Final = 8192
"""How many parts are known at once. When there are more, others will be: what is held stays with its holders."""


class SharedParts:
    """Goes over each object once, before anybody has seen it."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}
        self._places: dict[type[Object], tuple[tuple[Callable[[Any], Any], tuple[str, ...]], ...]] = {}

    def settle(self, obj: Object) -> None:
        """Give the object what others already hold; as upstream's informers do, drop its `managedFields`."""
        metadata = obj.metadata
        if metadata.managed_fields:
            force_setattr(metadata, "managed_fields", ())
        if len(self._known) > _MOST_PARTS:
            self._known.clear()
        if metadata.owner_references:
            self._share(metadata, "owner_references", metadata.owner_references)
        self._share(metadata, "labels", metadata.labels)
        if not metadata.annotations:
            self._share(metadata, "annotations", metadata.annotations)
        places = self._places.get(type(obj))
        if places is None:
            places = self._places[type(obj)] = _places_in(obj)
        for holder_of, fields in places:
            holder = holder_of(obj)
            if holder is not None:
                for field in fields:
                    self._share(holder, field, getattr(holder, field))

    def _share(self, holder: Any, field: str, part: Any) -> None:
        if isinstance(part, dict):
            # The order of labels is nothing that anybody may rely on, but it goes on the wire: it is part of the key.
            known = self._known.setdefault((dict, *part.items()), part)
        else:
            known = self._known.setdefault(part, part)
        if known is not part:
            force_setattr(holder, field, known)


def _places_in(obj: Object) -> tuple[tuple[Callable[[Any], Any], tuple[str, ...]], ...]:
    """The places of a kind, as far as this type of it, which may be a narrow one, has them."""
    found = []
    for path, fields in _PLACES.get(obj.kind, {}).items():
        try:
            holder = attrgetter(path)(obj)
        except AttributeError:
            continue
        found.append((attrgetter(path), tuple(field for field in fields if holder is None or hasattr(holder, field))))
    return tuple(found)
