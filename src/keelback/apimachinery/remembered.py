"""What a pure function made of frozen values, found again by which values they are, not by what they say.

For what many objects share: of ten thousand pods of one template, the spec is one value, and is judged once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

V = TypeVar("V")
R = TypeVar("R")

_KEPT: Final = 64


def remembered(function: Callable[[V], R]) -> Callable[[V], R]:
    """The function, which knows what it made of the last values it saw. What it makes must be frozen too, and follow
    from the value alone."""
    # Each value is held with its result: as long as it is, no other has its identity.
    known: dict[int, tuple[V, R]] = {}

    def recalled(value: V) -> R:
        found = known.get(id(value))
        if found is None:
            found = (value, function(value))
            if len(known) >= _KEPT:
                known.pop(next(iter(known)), None)
            known[id(value)] = found
        return found[1]

    return recalled
