"""Pod groups in the scheduler's loop: watching them, trying all pods of one together, saying what became of it."""

from __future__ import annotations

import random

from keelback.apimachinery.meta import Condition
from keelback.client import Client
from keelback.client.informer import Informer
from keelback.client.patches import StrategicMergePatch
from keelback.concurrency.clock import Clock
from keelback.scheduler import group_cycle, status_patches
from keelback.scheduler.cycle import Cycle
from keelback.scheduler.group_cycle import GroupDecision
from keelback.scheduler.metrics import SchedulerMetrics
from keelback.scheduler.observation import Observation
from keelback.scheduler.observed_types import PodGroupToPlace
from keelback.scheduler.queue import SchedulingQueue
from keelback.scheduler.queued_pod import QueuedPod
from keelback.scheduling import pod_groups


class PodGroupScheduling:
    """What the feature gate GenericWorkload adds to a scheduler."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        chance: random.Random,
        cycle: Cycle,
        observation: Observation,
        metrics: SchedulerMetrics,
    ) -> None:
        assert observation.groups is not None
        self._client, self._clock = client, clock
        self._cycle, self._observation, self._groups = cycle, observation, observation.groups
        self._metrics = metrics.of_groups()
        self.informer = Informer(client, PodGroupToPlace, clock=clock, chance=chance)
        self.informer.subscribe(observation.on_pod_group)

    def waiting(self, first: QueuedPod, queue: SchedulingQueue, now: float) -> list[QueuedPod]:
        """A pod that is to be tried, and the pods of its group that wait; nobody where it has become too small."""
        if self._groups.why_held(first.info):
            queue.put_back(first, now)
            return []
        others = queue.take(self._groups.members(pod_groups.key_of(first.info)))
        return [first, *others]

    def decide(self, waiting: list[QueuedPod], started: float) -> GroupDecision:
        """Decide for all of them."""
        decision = group_cycle.decide(self._cycle, self._observation, self._groups, waiting)
        profile = waiting[0].info.scheduler_name
        self._metrics.attempts.inc(decision.result, profile)
        self._metrics.attempt_seconds.observe(self._clock.monotonic() - started, decision.result, profile)
        return decision

    async def tell(self, decision: GroupDecision) -> None:
        """Write the group's condition. A group that was scheduled once stays so, whatever becomes of further pods."""
        namespace, name = decision.key
        group = self.informer.store.get(namespace, name)
        patch = _scheduled(group, decision, self._clock) if group is not None else None
        if patch is not None:
            await self._client.patch(PodGroupToPlace, name, namespace, patch, "status")


def _scheduled(group: PodGroupToPlace, decision: GroupDecision, clock: Clock) -> StrategicMergePatch | None:
    is_scheduled = decision.result == "scheduled"
    reason = {"scheduled": "Scheduled", "error": "SchedulerError"}.get(decision.result, "Unschedulable")
    status = "True" if is_scheduled else "False"
    old = next((one for one in group.status.conditions if one.type == "PodGroupScheduled"), Condition())
    if old.status == "True" and not is_scheduled:
        return None
    if (old.status, old.reason, old.message) == (status, reason, decision.message):
        return None
    since = old.last_transition_time if old.status == status else None
    condition = {
        "type": "PodGroupScheduled",
        "status": status,
        "reason": reason,
        "message": decision.message,
        "lastTransitionTime": status_patches.seconds(since or clock.now()),
        "observedGeneration": group.metadata.generation,
    }
    return StrategicMergePatch({"status": {"conditions": [condition]}})
