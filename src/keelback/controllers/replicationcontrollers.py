"""The replicationcontroller controller: the replica set's policy for the older kind, whose selector is a plain map."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from keelback.api import conditions, pods
from keelback.api.core_v1 import (
    PodTemplateSpec,
    ReplicationController,
    ReplicationControllerCondition,
    ReplicationControllerStatus,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta, replace
from keelback.controllers import adoption, replicas
from keelback.controllers.observed import PodView
from keelback.controllers.pod_control import create_pods, delete_pods, is_namespace_terminating, pod_from_template
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.result import DONE, Result, again_after

plan = replicas.plan


def compute_status(
    controller: ReplicationController,
    counts: replicas.Counts,
    failure: errors.StatusError | None,
    attempted: int,
    now: datetime,
) -> ReplicationControllerStatus:
    """The status that these counts make; `attempted` is how many pods were wanted more (or, negative, fewer)."""
    found = controller.status.conditions
    if failure is None:
        found = conditions.without(found, "ReplicaFailure")
    elif conditions.find(found, "ReplicaFailure") is None:
        found = conditions.changed_to(
            found,
            ReplicationControllerCondition(
                type="ReplicaFailure",
                status="True",
                reason="FailedCreate" if attempted > 0 else "FailedDelete",
                message=str(failure),
                last_transition_time=now,
            ),
        )
    return replace(
        controller.status,
        replicas=counts.replicas,
        fully_labeled_replicas=counts.fully_labeled,
        ready_replicas=counts.ready,
        available_replicas=counts.available,
        observed_generation=controller.metadata.generation,
        conditions=found,
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
        store = self.context.caches.index_by_controller(PodView)
        mine = await adoption.claim(self.context.client, controller, _selects(controller), store)
        active = [pod for pod in mine if pods.is_active(pod)]
        attempted = controller.spec.replicas - len(active)
        failure = None
        if attempted and controller.metadata.deletion_timestamp is None:
            failure = await self._adjust(controller, active)
        return await self._report(controller, mine, failure, attempted)

    async def _adjust(self, controller: ReplicationController, active: list[PodView]) -> errors.StatusError | None:
        decided = plan(controller.spec.replicas, active, self.context.now())
        template = controller.spec.template or PodTemplateSpec()
        wanted = [pod_from_template(template, controller) for _ in range(decided.create)]
        made = await create_pods(self.context, controller, wanted)
        deleted = await delete_pods(self.context, controller, decided.delete)
        failure = made.error or deleted.error
        return None if failure is not None and is_namespace_terminating(failure) else failure

    async def _report(
        self,
        controller: ReplicationController,
        mine: list[PodView],
        failure: errors.StatusError | None,
        attempted: int,
    ) -> Result:
        now = self.context.now()
        spec = controller.spec
        template = spec.template or PodTemplateSpec()
        labels = dict((template.metadata or ObjectMeta()).labels)
        counts = replicas.count(mine, labels, spec.min_ready_seconds, now)
        status = compute_status(controller, counts, failure, attempted, now)
        await patches.write_status(self.context.client, controller, controller.status, status)
        if failure is not None:
            raise failure
        if spec.min_ready_seconds and counts.ready != counts.available:
            left = replicas.seconds_until_available(mine, spec.min_ready_seconds, now)
            return DONE if left is None else again_after(left)
        return DONE


def _selects(controller: ReplicationController) -> adoption.Selects:
    if not controller.spec.selector:
        return lambda labels: False
    return adoption.by_labels(controller.spec.selector)
