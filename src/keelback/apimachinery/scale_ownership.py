"""Who owns the replicas, seen through the scale subresource: a Scale has managedFields drawn from its parent's."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from keelback.apimachinery import field_set
from keelback.apimachinery.field_set import FieldSet
from keelback.apimachinery.managed_fields import Managed, ManagerID, Managers

SCALE_API_VERSION: Final = "autoscaling/v1"
REPLICAS: Final = field_set.of(("spec", "replicas"))
"""Where Scale has the replicas, and where all built-in kinds have them."""


def to_scale(parent: Managers, replicas: FieldSet = REPLICAS) -> Managers:
    """The managers of a Scale: those of its parent that own the replicas (`replicas` is their path in the parent)."""
    owners = (one for one in parent.values() if field_set.intersection(one.fields, replicas))
    seen = [replace(one, api_version=SCALE_API_VERSION, fields=REPLICAS) for one in owners]
    return {one.id: one for one in seen}


def to_parent(parent: Managers, scale: Managers, api_version: str, replicas: FieldSet = REPLICAS) -> Managers:
    """The parent's managers after a write to its Scale, of which `scale` are the managers now.

    As upstream, who came to own the replicas this way gets no time.
    """
    owners = {_who(one): one for one in scale.values()}
    kept: dict[ManagerID, Managed] = {}
    for identifier, one in parent.items():
        if not field_set.intersection(one.fields, replicas) or owners.pop(_who(one), None) is not None:
            kept[identifier] = one
        else:
            fields = field_set.difference(one.fields, replicas)
            if fields:
                kept[identifier] = replace(one, fields=fields)
    for one in owners.values():
        gained = replace(one, api_version=api_version, fields=replicas, time="")
        kept[gained.id] = gained
    return kept


def _who(one: Managed) -> tuple[str, str, str]:
    """A manager whatever the version it wrote in."""
    return one.manager, one.operation, one.subresource
