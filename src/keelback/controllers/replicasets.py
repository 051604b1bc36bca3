"""The replicaset controller: keeps as many pods as a ReplicaSet asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from keelback.api import conditions, owners, pods
from keelback.api.apps_v1 import ReplicaSet, ReplicaSetCondition, ReplicaSetStatus
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta, replace
from keelback.controllers import adoption, replicas
from keelback.controllers.observed import PodView
from keelback.controllers.pod_control import create_pods, delete_pods, is_namespace_terminating, pod_from_template
from keelback.reconcile import caches, patches
from keelback.reconcile.context import Context
from keelback.reconcile.result import DONE, Result, again_after

plan = replicas.plan


def compute_status(
    replica_set: ReplicaSet, counts: replicas.Counts, failure: errors.StatusError | None, attempted: int, now: datetime
) -> ReplicaSetStatus:
    """The status that these counts make; `attempted` is how many pods were wanted more (or, negative, fewer)."""
    status = replica_set.status
    found = status.conditions
    if failure is None:
        found = conditions.without(found, "ReplicaFailure")
    elif conditions.find(found, "ReplicaFailure") is None:
        found = conditions.changed_to(
            found,
            ReplicaSetCondition(
                type="ReplicaFailure",
                status="True",
                reason="FailedCreate" if attempted > 0 else "FailedDelete",
                message=str(failure),
                last_transition_time=now,
            ),
        )
    return replace(
        status,
        replicas=counts.replicas,
        fully_labeled_replicas=counts.fully_labeled,
        ready_replicas=counts.ready,
        available_replicas=counts.available,
        terminating_replicas=counts.terminating,
        observed_generation=replica_set.metadata.generation,
        conditions=found,
    )


@dataclass(frozen=True, slots=True)
class ReplicaSetReconciler:
    """Claims pods, makes or deletes the difference, reports."""

    context: Context
    name: ClassVar = "replicaset-controller"
    role: ClassVar = "replicaset-controller"
    component: ClassVar = "replicaset-controller"
    kind: ClassVar = ReplicaSet
    owns: ClassVar = (PodView,)

    def may_adopt(self, replica_set: ReplicaSet, pod: Object) -> bool:
        return adoption.by_selector(replica_set.spec.selector)(pod.metadata.labels)

    async def reconcile(self, replica_set: ReplicaSet) -> Result:
        store = self.context.caches.index_by_controller(PodView)
        selects = adoption.by_selector(replica_set.spec.selector)
        mine = await adoption.claim(self.context.client, replica_set, selects, store)
        active = [pod for pod in mine if pods.is_active(pod)]
        attempted = replica_set.spec.replicas - len(active)
        failure = None
        if attempted and replica_set.metadata.deletion_timestamp is None:
            failure = await self._adjust(replica_set, active)
        return await self._report(replica_set, mine, failure, attempted)

    async def _adjust(self, replica_set: ReplicaSet, active: list[PodView]) -> errors.StatusError | None:
        related = self._related(replica_set) if len(active) > replica_set.spec.replicas > 0 else ()
        decided = plan(replica_set.spec.replicas, active, self.context.now(), related)
        wanted = [pod_from_template(replica_set.spec.template, replica_set) for _ in range(decided.create)]
        made = await create_pods(self.context, replica_set, wanted)
        deleted = await delete_pods(self.context, replica_set, decided.delete)
        failure = made.error or deleted.error
        return None if failure is not None and is_namespace_terminating(failure) else failure

    def _related(self, replica_set: ReplicaSet) -> list[PodView]:
        """The pods of all replica sets that the same Deployment manages: they should spread over nodes together."""
        rollout = owners.controller_of(replica_set)
        if rollout is None:
            return []
        store = self.context.caches.index_by_controller(PodView)
        siblings = [
            sibling
            for sibling in self.context.caches.store(ReplicaSet).list(replica_set.metadata.namespace)
            if (reference := owners.controller_of(sibling)) is not None and reference.uid == rollout.uid
        ]
        return [pod for sibling in siblings for pod in caches.controlled_by(store, sibling)]

    async def _report(
        self, replica_set: ReplicaSet, mine: list[PodView], failure: errors.StatusError | None, attempted: int
    ) -> Result:
        now = self.context.now()
        spec = replica_set.spec
        labels = dict((spec.template.metadata or ObjectMeta()).labels)
        counts = replicas.count(mine, labels, spec.min_ready_seconds, now)
        status = compute_status(replica_set, counts, failure, attempted, now)
        await patches.write_status(self.context.client, replica_set, replica_set.status, status)
        if failure is not None:
            raise failure
        if spec.min_ready_seconds and counts.ready != counts.available:
            left = replicas.seconds_until_available(mine, spec.min_ready_seconds, now)
            return DONE if left is None else again_after(left)
        return DONE
