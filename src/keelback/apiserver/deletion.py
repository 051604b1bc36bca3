"""What a DELETE makes of an object: gone at once, or marked until its grace is over and its finalizers are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, Object, ObjectMeta, StatusDetails, with_metadata
from keelback.apimachinery.validation import FOREGROUND_FINALIZER, ORPHAN_FINALIZER
from keelback.registry.strategy import Strategy

T = TypeVar("T", bound=Object)


@dataclass(frozen=True, slots=True)
class Deletion:
    """The options of a delete (meta/v1 DeleteOptions); None is what nobody asked for."""

    grace_period_seconds: int | None = None
    propagation_policy: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    orphan_dependents: bool | None = None

    def check_preconditions(self, kind: Kind, before: ObjectMeta) -> None:
        """Raises Conflict where the object is another than the one meant, or of another version."""
        if self.uid is not None and self.uid != before.uid:
            raise _not_the_one_meant(
                kind,
                before.name,
                f"the UID in the precondition ({self.uid}) does not match the UID in record ({before.uid}). "
                "The object might have been deleted and then recreated",
            )
        if self.resource_version is not None and self.resource_version != before.resource_version:
            raise _not_the_one_meant(
                kind,
                before.name,
                f"the ResourceVersion in the precondition ({self.resource_version}) does not match the "
                f"ResourceVersion in record ({before.resource_version}). The object might have been modified",
            )

    def finalizers(self, before: tuple[str, ...], *, orphans_by_default: bool) -> tuple[str, ...]:
        """The object's finalizers with the garbage collector's, as the propagation policy asks."""
        policy = self.propagation_policy
        if policy is None and self.orphan_dependents is not None:
            policy = "Orphan" if self.orphan_dependents else "Background"
        if policy is None:
            if ORPHAN_FINALIZER in before or FOREGROUND_FINALIZER in before:
                return before
            policy = "Orphan" if orphans_by_default else "Background"
        kept = tuple(one for one in before if one not in (ORPHAN_FINALIZER, FOREGROUND_FINALIZER))
        if policy == "Orphan":
            return (*kept, ORPHAN_FINALIZER)
        if policy == "Foreground":
            return (*kept, FOREGROUND_FINALIZER)
        return kept


def marked(old: T, options: Deletion, strategy: Strategy[T], now: datetime) -> T | None:
    """The object while its deletion waits; None when nothing has to be waited for.

    Asked again, a deletion may only shorten the grace (rest.BeforeDelete).
    """
    before = old.metadata
    finalizers = options.finalizers(before.finalizers, orphans_by_default=strategy.orphans_by_default)
    grace = max(0, strategy.graceful_deletion_seconds(old, options.grace_period_seconds))
    if before.deletion_timestamp is not None:
        left = before.deletion_grace_period_seconds or 0
        if grace >= left:
            return old if finalizers == before.finalizers else with_metadata(old, finalizers=finalizers)
        started = before.deletion_timestamp - timedelta(seconds=left)
        return with_metadata(
            old,
            deletion_timestamp=started + timedelta(seconds=grace),
            deletion_grace_period_seconds=grace,
            finalizers=finalizers,
        )
    unmarked = with_metadata(old, finalizers=finalizers)
    if grace == 0 and not strategy.is_held(unmarked):
        return None
    return strategy.prepare_for_deletion(
        with_metadata(
            unmarked,
            deletion_timestamp=now.replace(microsecond=0) + timedelta(seconds=grace),
            deletion_grace_period_seconds=grace,
            generation=before.generation + 1 if before.generation else 0,
        )
    )


def is_finished(obj: T, strategy: Strategy[T]) -> bool:
    """Whether a deleted object has nothing left to wait for."""
    if obj.metadata.deletion_timestamp is None or strategy.is_held(obj):
        return False
    return not obj.metadata.deletion_grace_period_seconds


def _not_the_one_meant(kind: Kind, name: str, problem: str) -> errors.Conflict:
    subject = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = StatusDetails(name=name, group=kind.group, kind=kind.kind)
    return errors.Conflict(f'Operation cannot be fulfilled on {subject} "{name}": {problem}', details=details)
