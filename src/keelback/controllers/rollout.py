"""The arithmetic of a Deployment's rollout: how many pods each of its replica sets should have next. Pure.

The names follow upstream's `deployment/util`; `Sizes` maps a replica set's name to the size it should get.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from keelback.api.apps_v1 import Deployment, ReplicaSet, RollingUpdateDeployment
from keelback.apimachinery.int_or_string import scaled_value

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"

Sizes: TypeAlias = Mapping[str, int]

_NEVER = datetime.min.replace(tzinfo=UTC)


def fenceposts(deployment: Deployment) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) as numbers; never both zero, for then nothing could move."""
    rolling = deployment.spec.strategy.rolling_update or RollingUpdateDeployment()
    surge = scaled_value(rolling.max_surge, deployment.spec.replicas, round_up=True)
    unavailable = scaled_value(rolling.max_unavailable, deployment.spec.replicas, round_up=False)
    return (surge, 1) if surge == 0 and unavailable == 0 else (surge, unavailable)


def max_surge(deployment: Deployment) -> int:
    """How many pods above the wanted number a rolling update may run."""
    return fenceposts(deployment)[0] if is_rolling_update(deployment) else 0


def max_unavailable(deployment: Deployment) -> int:
    """How many of the wanted pods a rolling update may be without."""
    if not is_rolling_update(deployment) or deployment.spec.replicas == 0:
        return 0
    return min(fenceposts(deployment)[1], deployment.spec.replicas)


def is_rolling_update(deployment: Deployment) -> bool:
    """Whether old pods are replaced step by step, rather than all ended first."""
    return deployment.spec.strategy.type != "Recreate"


def wanted_total(replica_sets: Sequence[ReplicaSet]) -> int:
    """How many pods the replica sets ask for together."""
    return sum(replica_set.spec.replicas for replica_set in replica_sets)


def actual_total(replica_sets: Sequence[ReplicaSet]) -> int:
    """How many pods the replica sets report together."""
    return sum(replica_set.status.replicas for replica_set in replica_sets)


def available_total(replica_sets: Sequence[ReplicaSet]) -> int:
    """How many available pods the replica sets report together."""
    return sum(replica_set.status.available_replicas for replica_set in replica_sets)


def lasting_total(replica_sets: Sequence[ReplicaSet]) -> int:
    """How many available pods are left once each replica set has as many as it asks for."""
    return sum(map(_lasting, replica_sets))


def new_size(deployment: Deployment, others_wanted: int, current: int) -> int:
    """How large the new replica set, now asking for `current`, may be while the old ones ask for `others_wanted`."""
    wanted = deployment.spec.replicas
    if not is_rolling_update(deployment):
        return wanted
    if current >= wanted:
        return wanted
    room = wanted + max_surge(deployment) - others_wanted - current
    return current + max(0, min(room, wanted - current))


def old_sizes(deployment: Deployment, new: ReplicaSet, old: Sequence[ReplicaSet]) -> Sizes:
    """The old replica sets that should shrink, and to what: first pods that never became available, then the rest.

    Leaves at least `replicas - maxUnavailable` available; new pods that are not available count as missing. Available
    pods that a replica set is about to end are not counted: upstream does, and so ends more than it may where a status
    still says what was before the last step.
    """
    sizes = {one.metadata.name: one.spec.replicas for one in old if one.spec.replicas > 0}
    if not sizes:
        return {}
    everyone = [*old, new]
    min_available = deployment.spec.replicas - max_unavailable(deployment)
    new_unavailable = new.spec.replicas - _lasting(new)
    may_go = wanted_total(everyone) - min_available - new_unavailable
    if may_go <= 0:
        return {}
    oldest_first = sorted((one for one in old if one.spec.replicas > 0), key=_created)
    for one in oldest_first:
        gone = min(may_go, one.spec.replicas - _lasting(one))
        sizes[one.metadata.name] -= gone
        may_go -= gone
    spare = lasting_total(everyone) - min_available
    for one in oldest_first:
        gone = max(0, min(spare, sizes[one.metadata.name]))
        sizes[one.metadata.name] -= gone
        spare -= gone
    return {
        one.metadata.name: sizes[one.metadata.name]
        for one in old
        if sizes.get(one.metadata.name, 0) != one.spec.replicas
    }


def scaled_sizes(deployment: Deployment, new: ReplicaSet | None, old: Sequence[ReplicaSet]) -> Sizes:
    """The sizes after the Deployment itself was scaled: in the midst of a rollout each replica set gets its share."""
    wanted = deployment.spec.replicas
    everyone = [*old, *([new] if new is not None else [])]
    active = [one for one in everyone if one.spec.replicas > 0]
    if len(active) <= 1:
        only = active[0] if active else (new or (max(old, key=_created) if old else None))
        return {} if only is None or only.spec.replicas == wanted else {only.metadata.name: wanted}
    if new is not None and _is_saturated(deployment, new):
        return {one.metadata.name: 0 for one in old if one.spec.replicas > 0}
    if not is_rolling_update(deployment):
        return {}
    return _proportional_sizes(deployment, active)


def needs_scaling(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> bool:
    """Whether the Deployment was scaled since its active replica sets were last sized."""
    for one in replica_sets:
        noted = number(one.metadata.annotations.get(DESIRED_REPLICAS))
        if one.spec.replicas > 0 and noted is not None and noted != deployment.spec.replicas:
            return True
    return False


def revision(replica_set: ReplicaSet) -> int:
    """The rollout this replica set belongs to; 0 where it has not been told."""
    return number(replica_set.metadata.annotations.get(REVISION)) or 0


def superfluous(deployment: Deployment, old: Sequence[ReplicaSet]) -> list[ReplicaSet]:
    """The replica sets beyond the history the Deployment keeps: the lowest revisions, if empty and settled."""
    alive = [one for one in old if one.metadata.deletion_timestamp is None]
    surplus = len(alive) - deployment.spec.revision_history_limit
    if surplus <= 0:
        return []
    candidates = sorted(alive, key=lambda one: (revision(one), _created(one)))[:surplus]
    return [
        one
        for one in candidates
        if one.status.replicas == 0
        and one.spec.replicas == 0
        and one.metadata.generation <= one.status.observed_generation
    ]


def number(text: str | None) -> int | None:
    """An annotation's whole number, or None."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _lasting(one: ReplicaSet) -> int:
    return min(one.spec.replicas, one.status.available_replicas)


def _is_saturated(deployment: Deployment, new: ReplicaSet) -> bool:
    wanted = deployment.spec.replicas
    noted = number(new.metadata.annotations.get(DESIRED_REPLICAS))
    return new.spec.replicas == wanted and noted == wanted and new.status.available_replicas == wanted


def _proportional_sizes(deployment: Deployment, active: Sequence[ReplicaSet]) -> Sizes:
    wanted = deployment.spec.replicas
    allowed = wanted + max_surge(deployment) if wanted > 0 else 0
    to_add = allowed - wanted_total(active)
    # The largest first; of equals the newer when growing, the older when shrinking.
    by_size = sorted(active, key=_created, reverse=to_add > 0)
    by_size.sort(key=lambda one: -one.spec.replicas)
    sizes: dict[str, int] = {}
    added = 0
    for one in by_size:
        share = _share(deployment, one, to_add, added)
        sizes[one.metadata.name] = one.spec.replicas + share
        added += share
    # What rounding left over goes to the largest.
    largest = by_size[0].metadata.name
    sizes[largest] = max(0, sizes[largest] + to_add - added)
    return sizes


def _share(deployment: Deployment, one: ReplicaSet, to_add: int, added: int) -> int:
    if to_add in (0, added):
        return 0
    if deployment.spec.replicas == 0:
        fraction = -one.spec.replicas
    else:
        before = number(one.metadata.annotations.get(MAX_REPLICAS)) or deployment.status.replicas or one.spec.replicas
        exact = one.spec.replicas * (deployment.spec.replicas + max_surge(deployment)) / before
        fraction = math.floor(exact + 0.5) - one.spec.replicas
    left = to_add - added
    return min(fraction, left) if to_add > 0 else max(fraction, left)


def _created(one: ReplicaSet) -> tuple[datetime, str]:
    return (one.metadata.creation_timestamp or _NEVER, one.metadata.name)
