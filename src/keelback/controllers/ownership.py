"""The graph of who owns whom, and what the garbage collector should do about an object. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from keelback.apimachinery.meta import Kind, Object, ObjectMeta, OwnerReference

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Node:
    """One object, as far as ownership goes."""

    uid: str
    kind: Kind
    namespace: str
    name: str
    owners: tuple[OwnerReference, ...] = ()
    is_deleting: bool = False
    is_deleting_dependents: bool = False
    is_orphaning: bool = False

    @classmethod
    def of(cls, kind: Kind, obj: Object) -> Node:
        metadata: ObjectMeta = obj.metadata
        is_deleting = metadata.deletion_timestamp is not None
        return cls(
            uid=metadata.uid,
            kind=kind,
            namespace=metadata.namespace,
            name=metadata.name,
            owners=tuple(metadata.owner_references),
            is_deleting=is_deleting,
            is_deleting_dependents=is_deleting and FOREGROUND in metadata.finalizers,
            is_orphaning=is_deleting and ORPHAN in metadata.finalizers,
        )

    def reference_to(self, uid: str) -> OwnerReference | None:
        """Its reference to that owner."""
        return next((one for one in self.owners if one.uid == uid), None)


class Work(enum.Enum):
    """What to look at an object for."""

    DELETE = "delete"
    ORPHAN = "orphan"


@dataclass(slots=True)
class Graph:
    """Objects by uid, and dependents by the uid of their owner, which may itself be absent."""

    nodes: dict[str, Node] = field(default_factory=dict)
    _dependents: dict[str, dict[str, Node]] = field(default_factory=dict)

    def dependents(self, uid: str) -> list[Node]:
        """The objects that name this owner."""
        return list(self._dependents.get(uid, {}).values())

    def blocking_dependents(self, uid: str) -> list[Node]:
        """The dependents that a foreground deletion of this owner waits for."""
        return [
            one
            for one in self.dependents(uid)
            if (reference := one.reference_to(uid)) is not None and reference.block_owner_deletion
        ]

    def put(self, node: Node) -> list[tuple[Work, str]]:
        """Take in an object's new state; what follows from it."""
        old = self.nodes.get(node.uid)
        self.nodes[node.uid] = node
        self._move(node.uid, old.owners if old else (), node)
        work: list[tuple[Work, str]] = []
        if node.is_orphaning and not (old and old.is_orphaning):
            work.append((Work.ORPHAN, node.uid))
        if node.is_deleting_dependents and not (old and old.is_deleting_dependents):
            work.append((Work.DELETE, node.uid))
            work.extend((Work.DELETE, one.uid) for one in self.dependents(node.uid))
        if (old is None or old.owners != node.owners) and not self.is_settled(node):
            work.append((Work.DELETE, node.uid))
        if old is not None:
            work.extend(self._owners_freed(old, node))
        return work

    def remove(self, uid: str) -> list[tuple[Work, str]]:
        """Take in that an object is gone; what follows from it."""
        old = self.nodes.pop(uid, None)
        work = [(Work.DELETE, one.uid) for one in self.dependents(uid)]
        if old is not None:
            self._move(uid, old.owners, None)
            for reference in old.owners:
                owner = self.nodes.get(reference.uid)
                if owner is not None and owner.is_deleting_dependents:
                    work.append((Work.DELETE, owner.uid))
        return work

    def is_settled(self, node: Node) -> bool:
        """Whether all its owners are known to be there to stay, so that nobody need be asked about them."""
        for reference in node.owners:
            owner = self.nodes.get(reference.uid)
            # An owner in foreground deletion takes latecomers with it; one elsewhere or of another name is none.
            if owner is None or owner.is_deleting_dependents or owner.name != reference.name:
                return False
            if owner.namespace not in ("", node.namespace):
                return False
        return True

    def absent_owners(self) -> Iterator[str]:
        """The dependents of owners that no watch has shown: once all have been listed, these must be looked into."""
        for uid, dependents in self._dependents.items():
            if uid not in self.nodes:
                yield from dependents

    def _owners_freed(self, old: Node, new: Node) -> Iterable[tuple[Work, str]]:
        """Owners that were waiting for this dependent and need no longer."""
        for reference in old.owners:
            now = new.reference_to(reference.uid)
            was_blocking = bool(reference.block_owner_deletion)
            if now is None or (was_blocking and not now.block_owner_deletion):
                owner = self.nodes.get(reference.uid)
                if owner is not None and owner.is_deleting_dependents:
                    yield Work.DELETE, owner.uid

    def _move(self, uid: str, before: tuple[OwnerReference, ...], node: Node | None) -> None:
        after = {one.uid for one in node.owners} if node else set()
        for reference in before:
            if reference.uid not in after:
                held = self._dependents.get(reference.uid)
                if held is not None:
                    held.pop(uid, None)
                    if not held:
                        del self._dependents[reference.uid]
        if node is not None:
            for owner in after:
                self._dependents.setdefault(owner, {})[uid] = node


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about an object: let it be, drop references to owners, or delete it."""

    drop: tuple[str, ...] = ()
    delete: str = ""
    """The propagation policy to delete with; empty to keep the object."""
    unblock: bool = False
    """Whether its own references must stop blocking first, because it stands in a circle of foreground deletions."""


def judge(
    solid: Iterable[str],
    dangling: Iterable[str],
    waiting: Iterable[str],
    node: Node,
    graph: Graph,
    finalizers: Iterable[str],
) -> Verdict:
    """Decide about an object by its owners' uids: there to stay, gone, or waiting in foreground deletion."""
    gone, leaving = tuple(dangling), tuple(waiting)
    if tuple(solid):
        return Verdict(drop=(*gone, *leaving))
    if not gone and not leaving:
        return Verdict()
    dependents = graph.dependents(node.uid)
    if leaving and dependents:
        return Verdict(delete="Foreground", unblock=any(one.is_deleting_dependents for one in dependents))
    held = set(finalizers)
    if ORPHAN in held:
        return Verdict(delete="Orphan")
    return Verdict(delete="Foreground" if FOREGROUND in held else "Background")
