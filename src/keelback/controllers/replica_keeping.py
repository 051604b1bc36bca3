"""Keeping as many pods as asked for: what replica sets and replication controllers do alike.

Claims pods, makes or deletes the difference by `replicas.plan`, reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from keelback.api import pods
from keelback.api.apps_v1 import ReplicaSet, ReplicaSetStatus
from keelback.api.core_v1 import PodTemplateSpec, ReplicationController, ReplicationControllerStatus
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.controllers import adoption, replicas
from keelback.controllers.observed import PodView
from keelback.controllers.pod_control import create_pods, delete_pods, is_namespace_terminating, pod_from_template
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.result import DONE, Result, again_after

ComputeStatus: TypeAlias = Callable[
    [replicas.Counts, errors.StatusError | None, int, datetime], ReplicaSetStatus | ReplicationControllerStatus
]


@dataclass(frozen=True, slots=True)
class Kept:
    """What an owner asks for. `related` finds the pods that its own should be spread with, only where pods must go.

    `compute_status` gets the counts, what failed, how many pods were wanted more (or, negative, fewer), and the time.
    """

    owner: ReplicaSet | ReplicationController
    replicas: int
    template: PodTemplateSpec
    min_ready_seconds: int
    selects: adoption.Selects
    compute_status: ComputeStatus
    related: Callable[[], Sequence[PodView]] = tuple


async def keep(context: Context, kept: Kept) -> Result:
    """Bring the owner's pods and status to what it asks for. Raises what kept pods from being made or deleted."""
    owner = kept.owner
    mine = await adoption.claim(context.client, owner, kept.selects, context.caches.index_by_controller(PodView))
    active = [pod for pod in mine if pods.is_active(pod)]
    attempted = kept.replicas - len(active)
    made, failure = 0, None
    if attempted and owner.metadata.deletion_timestamp is None:
        made, failure = await _adjust(context, kept, active)
    now = context.now()
    labels = dict((kept.template.metadata or ObjectMeta()).labels)
    # Those just made are there, whether the cache has shown them yet or not: the status is written once for both.
    counts = replicas.count(mine, labels, kept.min_ready_seconds, now).with_new(made)
    status = kept.compute_status(counts, failure, attempted, now)
    await patches.write_status(context.client, owner, owner.status, status)
    if failure is not None:
        raise failure
    if kept.min_ready_seconds and counts.ready != counts.available:
        left = replicas.seconds_until_available(mine, kept.min_ready_seconds, now)
        return DONE if left is None else again_after(left)
    return DONE


async def _adjust(context: Context, kept: Kept, active: list[PodView]) -> tuple[int, errors.StatusError | None]:
    """How many pods were made, and what kept others from being made or deleted."""
    related = kept.related() if len(active) > kept.replicas > 0 else ()
    decided = replicas.plan(kept.replicas, active, context.now(), related)
    wanted = [pod_from_template(kept.template, kept.owner) for _ in range(decided.create)]
    made = await create_pods(context, kept.owner, wanted)
    deleted = await delete_pods(context, kept.owner, decided.delete)
    failure = made.error or deleted.error
    return made.count, None if failure is not None and is_namespace_terminating(failure) else failure
