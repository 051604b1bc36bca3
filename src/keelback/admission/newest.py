"""Which of several defaults counts: the one made last, and by name among those made at once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from keelback.admission.plugin import ObjectT

_BEGINNING = datetime.min.replace(tzinfo=UTC)


def newest(candidates: Iterable[ObjectT]) -> ObjectT | None:
    """The object made last; None if there is none."""
    ordered = sorted(candidates, key=lambda one: one.metadata.name)
    # max keeps the first of equals: the smallest name.
    return max(ordered, key=lambda one: one.metadata.creation_timestamp or _BEGINNING, default=None)
