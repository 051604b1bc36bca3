"""The replicaset controller: keeps as many pods as a ReplicaSet asks for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from keelback.api import owners
from keelback.api.apps_v1 import ReplicaSet, ReplicaSetCondition, ReplicaSetStatus
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, replace
from keelback.controllers import adoption, replicas
from keelback.controllers.observed import PodView
from keelback.controllers.replica_keeping import Kept, keep
from keelback.reconcile import caches
from keelback.reconcile.context import Context
from keelback.reconcile.result import Result

plan = replicas.plan


def compute_status(
    replica_set: ReplicaSet, counts: replicas.Counts, failure: errors.StatusError | None, attempted: int, now: datetime
) -> ReplicaSetStatus:
    """The status that these counts make; `attempted` is how many pods were wanted more (or, negative, fewer)."""
    status = replica_set.status
    return replace(
        status,
        replicas=counts.replicas,
        fully_labeled_replicas=counts.fully_labeled,
        ready_replicas=counts.ready,
        available_replicas=counts.available,
        terminating_replicas=counts.terminating,
        observed_generation=replica_set.metadata.generation,
        conditions=replicas.failure_conditions(status.conditions, ReplicaSetCondition, failure, attempted, now),
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
        spec = replica_set.spec
        kept = Kept(
            owner=replica_set,
            replicas=spec.replicas,
            template=spec.template,
            min_ready_seconds=spec.min_ready_seconds,
            selects=adoption.by_selector(spec.selector),
            related=lambda: self._related(replica_set),
            compute_status=lambda *seen: compute_status(replica_set, *seen),
        )
        return await keep(self.context, kept)

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
