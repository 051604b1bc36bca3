"""Owner references that an object has twice: the second is dropped, and who wrote it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from keelback.apimachinery.meta import Object, OwnerReference, with_metadata

T = TypeVar("T", bound=Object)


def without_repeated(obj: T, warn: Callable[[str], None], *, is_admitted: bool = False) -> T:
    """The object with each owner once. The warning says whether admission has been at it (`is_admitted`)."""
    references = obj.metadata.owner_references
    if len(references) < 2:
        return obj
    kept: list[OwnerReference] = []
    repeated: list[str] = []
    for one in references:
        if one in kept:
            repeated.append(one.uid)
        else:
            kept.append(one)
    if not repeated:
        return obj
    when = " after mutating admission happens" if is_admitted else ""
    warn(
        f".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and "
        "may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
        f"{', '.join(repeated)}"
    )
    return with_metadata(obj, owner_references=tuple(kept))
