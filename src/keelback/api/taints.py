"""What one asks of taints and tolerations: who is repelled from a node, and by what."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from keelback.api.core_v1 import Taint, Toleration

NO_SCHEDULE: Final = "NoSchedule"
PREFER_NO_SCHEDULE: Final = "PreferNoSchedule"
NO_EXECUTE: Final = "NoExecute"

HARD_EFFECTS: Final = frozenset({NO_SCHEDULE, NO_EXECUTE})
"""The effects that keep a pod away, rather than merely discourage it."""

NOT_READY: Final = "node.kubernetes.io/not-ready"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
UNSCHEDULABLE: Final = "node.kubernetes.io/unschedulable"
MEMORY_PRESSURE: Final = "node.kubernetes.io/memory-pressure"
DISK_PRESSURE: Final = "node.kubernetes.io/disk-pressure"
PID_PRESSURE: Final = "node.kubernetes.io/pid-pressure"
NETWORK_UNAVAILABLE: Final = "node.kubernetes.io/network-unavailable"
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
CONTROL_PLANE: Final = "node-role.kubernetes.io/control-plane"

_WHOLE_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)")


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether one toleration accepts one taint: an empty key, effect or operator stands for any, any and Equal."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    match toleration.operator:
        case "" | "Equal":
            return toleration.value == taint.value
        case "Exists":
            return True
        case "Lt" | "Gt":
            return _compares(toleration, taint)
        case _:
            return False


def tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    """Whether any of the tolerations accepts the taint."""
    return any(tolerates(toleration, taint) for toleration in tolerations)


def untolerated(
    taints: Iterable[Taint], tolerations: Sequence[Toleration], effects: frozenset[str] = HARD_EFFECTS
) -> Taint | None:
    """The first taint with one of `effects` that no toleration accepts, or None."""
    for taint in taints:
        if taint.effect in effects and not tolerated(taint, tolerations):
            return taint
    return None


def is_same(one: Taint, other: Taint) -> bool:
    """Whether two taints are the same one: key and effect identify a taint, its value does not."""
    return one.key == other.key and one.effect == other.effect


def has_taint(taints: Iterable[Taint], wanted: Taint) -> bool:
    """Whether a taint with the key and effect of `wanted` is there."""
    return any(is_same(taint, wanted) for taint in taints)


def with_taint(taints: Iterable[Taint], added: Taint) -> tuple[Taint, ...]:
    """The taints with `added` among them, in place of one with its key and effect."""
    return (*without_taint(taints, added), added)


def without_taint(taints: Iterable[Taint], removed: Taint) -> tuple[Taint, ...]:
    """The taints except the one with the key and effect of `removed`."""
    return tuple(taint for taint in taints if not is_same(taint, removed))


def _compares(toleration: Toleration, taint: Taint) -> bool:
    # KEP-5471: numeric operators need whole numbers on both sides; anything else does not match.
    if not (_WHOLE_NUMBER.fullmatch(toleration.value) and _WHOLE_NUMBER.fullmatch(taint.value)):
        return False
    threshold, value = int(toleration.value), int(taint.value)
    return value < threshold if toleration.operator == "Lt" else value > threshold
