"""The controllers crash at one of their writes, at each in turn, and come back: does all come to the same state?"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from keelback.testing import crash_tour
from keelback.testing.cluster import Cluster
from keelback.testing.convergence_rules import broken_at_rest, broken_on_the_way
from keelback.testing.faults import Asked, CrashPoint

_AGENT: Final = "kube-controller-manager"
_NODES: Final = 3


@dataclass(frozen=True, slots=True)
class Played:
    """What a cluster has come to, what it broke, and what its controllers have written up to there."""

    facts: dict[str, Any]
    broken: tuple[str, ...]
    writes: tuple[Asked, ...]


def play(write: int = 0, *, is_carried_out: bool = False) -> Played:
    """Carry out the tour, with a crash at that write of the controllers; 0 is none."""
    point = CrashPoint(_AGENT, write, is_carried_out)
    with Cluster(
        nodes=_NODES, controller_settings=crash_tour.SETTINGS, optional_versions=crash_tour.VERSIONS
    ) as cluster:
        recording = cluster.record()
        cluster.crash_at("controller-manager", point)
        crash_tour.carry_out(cluster)
        held = {key: json.loads(value) for _, _, key, value in map(json.loads, cluster.history().splitlines())}
        # Some claims are never bound here, for want of a driver: those are facts.
        at_rest = [one for one in broken_at_rest(held) if not one.startswith(("persistentvolumeclaims/", "a quota"))]
        return Played(crash_tour.facts(cluster), (*broken_on_the_way(recording), *at_rest), tuple(point.writes))


def firsts(writes: Iterable[Asked]) -> list[int]:
    """Of each kind of write that each controller does, the number of the first; several controllers are one account
    at nodes, so there of each node."""
    found: dict[tuple[str, str, str, str], int] = {}
    for number, one in enumerate(writes, 1):
        found.setdefault((one.client, one.verb, one.resource, one.name if one.resource == "nodes" else ""), number)
    return list(found.values())


def differences(calm: Played, crashed: Played) -> list[str]:
    """What a crash has changed, one a line."""
    changed = [key for key in calm.facts if calm.facts[key] != crashed.facts[key]]
    found = [f"{key}: {crashed.facts[key]} after the crash, {calm.facts[key]} without" for key in changed]
    return [*crashed.broken, *found]
