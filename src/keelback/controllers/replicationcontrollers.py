"""The replicationcontroller controller: the replica set's policy for the older kind, whose selector is a plain map."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from keelback.api.core_v1 import (
    PodTemplateSpec,
    ReplicationController,
    ReplicationControllerCondition,
    ReplicationControllerStatus,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, replace
from keelback.controllers import adoption, replicas
from keelback.controllers.observed import PodView
from keelback.controllers.replica_keeping import Kept, keep
from keelback.reconcile.context import Context
from keelback.reconcile.result import Result

plan = replicas.plan


def compute_status(
    controller: ReplicationController,
    counts: replicas.Counts,
    failure: errors.StatusError | None,
    attempted: int,
    now: datetime,
) -> ReplicationControllerStatus:
    """The status that these counts make; `attempted` is how many pods were wanted more (or, negative, fewer)."""
    return replace(
        controller.status,
        replicas=counts.replicas,
        fully_labeled_replicas=counts.fully_labeled,
        ready_replicas=counts.ready,
        available_replicas=counts.available,
        observed_generation=controller.metadata.generation,
        conditions=replicas.failure_conditions(
            controller.status.conditions, ReplicationControllerCondition, failure, attempted, now
        ),
    )


@dataclass(frozen=True, slots=True)
class ReplicationControllerReconciler:
    """Claims pods, makes or deletes the difference, reports."""

    context: Context
    name: ClassVar = "replicationcontroller-controller"
    role: ClassVar = "replication-controller"
    component: ClassVar = "replication-controller"
    kind: ClassVar = ReplicationController
    owns: ClassVar = (PodView,)

    def may_adopt(self, controller: ReplicationController, pod: Object) -> bool:
        return _selects(controller)(pod.metadata.labels)

    async def reconcile(self, controller: ReplicationController) -> Result:
        spec = controller.spec
        kept = Kept(
            owner=controller,
            replicas=spec.replicas,
            template=spec.template or PodTemplateSpec(),
            min_ready_seconds=spec.min_ready_seconds,
            selects=_selects(controller),
            compute_status=lambda *seen: compute_status(controller, *seen),
        )
        return await keep(self.context, kept)


def _selects(controller: ReplicationController) -> adoption.Selects:
    if not controller.spec.selector:
        return lambda labels: False
    return adoption.by_labels(controller.spec.selector)
