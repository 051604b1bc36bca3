"""What one asks of owner references."""

from __future__ import annotations

from collections.abc import Sequence

from keelback.apimachinery.meta import Kind, Object, OwnerReference


def controller_of(obj: Object) -> OwnerReference | None:
    """The reference to the one owner that manages the object, if it has one."""
    for reference in obj.metadata.owner_references:
        if reference.controller:
            return reference
    return None


def is_controlled_by(obj: Object, owner: Object) -> bool:
    """Whether this very owner, not a namesake, manages the object."""
    reference = controller_of(obj)
    return reference is not None and reference.uid == owner.metadata.uid


def names_kind(reference: OwnerReference, kind: Kind) -> bool:
    """Whether the reference is to an object of this kind, in whatever version."""
    return reference.kind == kind.kind and group_of(reference) == kind.group


def group_of(reference: OwnerReference) -> str:
    """The API group of the owner; empty for the core group."""
    group, slash, _ = reference.api_version.partition("/")
    return group if slash else ""


def controller_reference(owner: Object) -> OwnerReference:
    """A reference that makes `owner` the manager, and its foreground deletion wait for the object."""
    kind = owner.__kind__
    return OwnerReference(
        api_version=kind.api_version,
        kind=kind.kind,
        name=owner.metadata.name,
        uid=owner.metadata.uid,
        controller=True,
        block_owner_deletion=True,
    )


def without(references: Sequence[OwnerReference], uid: str) -> tuple[OwnerReference, ...]:
    """The references but for that to `uid`."""
    return tuple(reference for reference in references if reference.uid != uid)
