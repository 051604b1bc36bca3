"""Which objects are a controller's own: those it manages and still selects, and orphans it selects and takes over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import msgspec

from keelback.api import owners
from keelback.apimachinery import errors, labels
from keelback.apimachinery.meta import LabelSelector, Object
from keelback.client import Store, StrategicMergePatch
from keelback.reconcile import caches
from keelback.reconcile.writer import Writer

T = TypeVar("T", bound=Object)

Selects: TypeAlias = Callable[[Mapping[str, str]], bool]


@dataclass(frozen=True, slots=True)
class Claims(Generic[T]):
    """What to do about each candidate; those named nowhere are none of the owner's business."""

    owned: tuple[T, ...] = ()
    adopt: tuple[T, ...] = ()
    release: tuple[T, ...] = ()


def by_selector(selector: LabelSelector | None) -> Selects:
    """Whether labels match; a missing selector matches nothing, an empty one everything."""
    return labels.from_label_selector(selector).matches


def by_labels(wanted: Mapping[str, str]) -> Selects:
    """Whether labels contain all of `wanted`."""
    items = wanted.items()
    return lambda held: all(held.get(key) == value for key, value in items)


def plan_claims(owner: Object, selects: Selects, candidates: Iterable[T]) -> Claims[T]:
    """Decide about each candidate. An owner that is being deleted keeps what it has, and takes and lets go nothing."""
    going = owner.metadata.deletion_timestamp is not None
    owned: list[T] = []
    adopt: list[T] = []
    release: list[T] = []
    for candidate in candidates:
        reference = owners.controller_of(candidate)
        matches = selects(candidate.metadata.labels)
        if reference is not None:
            if reference.uid != owner.metadata.uid:
                continue
            if matches:
                owned.append(candidate)
            elif not going:
                release.append(candidate)
        elif matches and not going and candidate.metadata.deletion_timestamp is None:
            adopt.append(candidate)
    return Claims(tuple(owned), tuple(adopt), tuple(release))


async def claim(
    client: Writer, owner: Object, selects: Selects, store: Store[T], extra_finalizers: tuple[str, ...] = ()
) -> list[T]:
    """Decide about all objects of the owner's namespace, carry it out, and return what is the owner's now.

    What is taken over gets `extra_finalizers`, and what is let go loses them.
    """
    metadata = owner.metadata
    candidates = [*caches.controlled_by(store, owner), *caches.orphans(store, metadata.namespace)]
    claims = plan_claims(owner, selects, candidates)
    claimed = list(claims.owned)
    for candidate in claims.release:
        await _release(client, owner, candidate, extra_finalizers)
    if claims.adopt and await _may_adopt(client, owner):
        for candidate in claims.adopt:
            adopted = await _adopt(client, owner, candidate, extra_finalizers)
            if adopted is not None:
                claimed.append(adopted)
    return claimed


async def _may_adopt(client: Writer, owner: Object) -> bool:
    # The cache may not know yet that the owner is being deleted: adopting then would undo the orphaning of its objects.
    try:
        fresh = await client.get(type(owner), owner.metadata.name, owner.metadata.namespace)
    except errors.NotFound:
        return False
    return fresh.metadata.uid == owner.metadata.uid and fresh.metadata.deletion_timestamp is None


async def _adopt(client: Writer, owner: Object, candidate: T, extra_finalizers: tuple[str, ...]) -> T | None:
    reference = msgspec.to_builtins(owners.controller_reference(owner))
    metadata: dict[str, object] = {"ownerReferences": [reference], "uid": candidate.metadata.uid}
    if extra_finalizers:
        metadata["finalizers"] = list(extra_finalizers)
    patch = StrategicMergePatch({"metadata": metadata})
    try:
        return await client.patch(type(candidate), candidate.metadata.name, candidate.metadata.namespace, patch)
    except (errors.NotFound, errors.Conflict, errors.Invalid):
        return None  # gone, a namesake, or taken over by another controller meanwhile


async def _release(client: Writer, owner: Object, candidate: Object, extra_finalizers: tuple[str, ...]) -> None:
    references = [{"$patch": "delete", "uid": owner.metadata.uid}]
    metadata: dict[str, object] = {"ownerReferences": references, "uid": candidate.metadata.uid}
    if extra_finalizers:
        metadata["$deleteFromPrimitiveList/finalizers"] = list(extra_finalizers)
    patch = StrategicMergePatch({"metadata": metadata})
    try:
        await client.patch(type(candidate), candidate.metadata.name, candidate.metadata.namespace, patch)
    except (errors.NotFound, errors.Conflict, errors.Invalid):
        return  # gone or a namesake: nothing left to let go
