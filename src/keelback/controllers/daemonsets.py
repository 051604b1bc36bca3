"""The daemonset controller: one pod on every node that should have one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from keelback.api import pods
from keelback.api.apps_v1 import ControllerRevision, DaemonSet, DaemonSetStatus
from keelback.api.core_v1 import Pod
from keelback.apimachinery.meta import LabelSelector, Object, ObjectMeta, replace
from keelback.client import Change
from keelback.concurrency.backoff import Backoff
from keelback.controllers import adoption, daemon_placement, revisions
from keelback.controllers.daemon_placement import Plan
from keelback.controllers.observed import NodeView, PodView
from keelback.controllers.pod_control import Outcome, create_pods, delete_pods, pod_from_template
from keelback.controllers.revisions import HASH_LABEL, History
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result, again_after, soonest

TEMPLATE_GENERATION = "pod-template-generation"
_DEPRECATED_GENERATION = "deprecated.daemonset.template.generation"
_BURST = 250
_BACKOFF = Backoff(initial_seconds=1.0, cap_seconds=900.0)


def compute_status(
    daemon_set: DaemonSet,
    all_nodes: Sequence[NodeView],
    by_node: Mapping[str, Sequence[PodView]],
    current_hash: str,
    now: datetime,
) -> DaemonSetStatus:
    """What the status says of nodes and their pods."""
    desired = scheduled = misscheduled = ready = updated = available = 0
    for node in all_nodes:
        mine = by_node.get(node.metadata.name, ())
        if not daemon_placement.should_run(daemon_set, node)[0]:
            misscheduled += bool(mine)
            continue
        desired += 1
        if not mine:
            continue
        scheduled += 1
        best = max(mine, key=lambda pod: (pods.is_ready(pod), daemon_placement.is_current(pod, current_hash)))
        ready += pods.is_ready(best)
        available += pods.is_available(best, daemon_set.spec.min_ready_seconds, now)
        updated += any(daemon_placement.is_current(pod, current_hash) for pod in mine)
    return replace(
        daemon_set.status,
        observed_generation=daemon_set.metadata.generation,
        desired_number_scheduled=desired,
        current_number_scheduled=scheduled,
        number_misscheduled=misscheduled,
        number_ready=ready,
        updated_number_scheduled=updated,
        number_available=available,
        number_unavailable=desired - available,
    )


def make_pod(daemon_set: DaemonSet, node_name: str, current_hash: str) -> Pod:
    """The daemon of one node."""
    generation = daemon_set.metadata.annotations.get(_DEPRECATED_GENERATION, str(daemon_set.metadata.generation))
    labels = {HASH_LABEL: current_hash, TEMPLATE_GENERATION: generation}
    pod = pod_from_template(daemon_set.spec.template, daemon_set, labels=labels)
    return replace(pod, spec=daemon_placement.pinned(pod.spec, node_name))


class FailureMemory:
    """How often a daemon has failed on a node lately: a pod that a kubelet refuses must not be replaced without end."""

    def __init__(self) -> None:
        self._failures: dict[tuple[str, str], tuple[int, float]] = {}

    def seconds_left(self, uid: str, node: str, now: float) -> float:
        """How long the failed pod must still stay; not positive where it may go."""
        count, last = self._failures.get((uid, node), (0, 0.0))
        return 0.0 if count == 0 else last + _BACKOFF.delay(count) - now

    def note(self, uid: str, node: str, now: float) -> None:
        """A failed pod was removed. One failure long after another begins a new count."""
        oldest = now - 2 * _BACKOFF.cap_seconds
        self._failures = {key: entry for key, entry in self._failures.items() if entry[1] > oldest}
        count, _ = self._failures.get((uid, node), (0, now))
        self._failures[uid, node] = (count + 1, now)


@dataclass(frozen=True, slots=True)
class DaemonSetReconciler:
    """Observes nodes and pods, makes and deletes, updates what is old, reports."""

    context: Context
    name: ClassVar = "daemonset-controller"
    role: ClassVar = "daemon-set-controller"
    component: ClassVar = "daemonset-controller"
    kind: ClassVar = DaemonSet
    owns: ClassVar = (PodView,)
    reads: ClassVar = (ControllerRevision, NodeView)
    _failures: FailureMemory = field(default_factory=FailureMemory, init=False)

    def may_adopt(self, daemon_set: DaemonSet, pod: Object) -> bool:
        return adoption.by_selector(daemon_set.spec.selector)(pod.metadata.labels)

    def sources(self) -> Sequence[Source]:
        return (Source(NodeView, self._all_keys, _placement_changed),)

    async def reconcile(self, daemon_set: DaemonSet) -> Result:
        if daemon_set.spec.selector == LabelSelector():
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            await self.context.events.event(daemon_set, "Warning", "SelectingAll", message)
            return DONE
        if daemon_set.metadata.deletion_timestamp is not None:
            return DONE
        selects = adoption.by_selector(daemon_set.spec.selector)
        labels = dict((daemon_set.spec.template.metadata or ObjectMeta()).labels)
        count = daemon_set.status.collision_count
        try:
            history = await revisions.sync(self.context, daemon_set, daemon_set.spec.template, labels, selects, count)
        except revisions.Collision:
            status = replace(daemon_set.status, collision_count=(count or 0) + 1)
            await patches.write_status(self.context.client, daemon_set, daemon_set.status, status)
            return again_after(0)
        store = self.context.caches.index_by_controller(PodView)
        mine = await adoption.claim(self.context.client, daemon_set, selects, store)
        by_node: dict[str, list[PodView]] = {}
        for pod in mine:
            by_node.setdefault(daemon_placement.node_of(pod), []).append(pod)
        all_nodes = self.context.caches.store(NodeView).list()
        outcome, wait = await self._manage(daemon_set, all_nodes, by_node, history)
        live = frozenset(pod.metadata.labels.get(HASH_LABEL, "") for pod in mine)
        await revisions.clean_up(self.context, history, live, daemon_set.spec.revision_history_limit)
        now = self.context.now()
        status = compute_status(daemon_set, all_nodes, by_node, history.hash, now)
        await patches.write_status(self.context.client, daemon_set, daemon_set.status, status)
        if outcome.error is not None:
            raise outcome.error
        ripens = daemon_set.spec.min_ready_seconds and status.number_ready != status.number_available
        return soonest(again_after(daemon_set.spec.min_ready_seconds) if ripens else DONE, wait)

    async def _manage(
        self,
        daemon_set: DaemonSet,
        all_nodes: Sequence[NodeView],
        by_node: Mapping[str, Sequence[PodView]],
        history: History,
    ) -> tuple[Outcome, Result]:
        now = self.context.now()
        decided = daemon_placement.plan(daemon_set, all_nodes, by_node, history.hash, now)
        if not (decided.create or decided.delete or decided.failed) and (
            daemon_set.spec.update_strategy.type == "RollingUpdate"
        ):
            decided = daemon_placement.rolling_update(daemon_set, all_nodes, by_node, history.hash, now)
        decided.failed, wait = self._due(daemon_set, decided.failed)
        return await self._carry_out(daemon_set, decided, history), wait

    def _due(self, daemon_set: DaemonSet, failed: Sequence[PodView]) -> tuple[list[PodView], Result]:
        """The failed pods to remove now, and when to look at the others."""
        uid, now = daemon_set.metadata.uid, self.context.clock.monotonic()
        due = []
        wait = DONE
        for pod in failed:
            left = self._failures.seconds_left(uid, pod.spec.node_name, now)
            if left > 0:
                wait = soonest(wait, again_after(left))
            else:
                self._failures.note(uid, pod.spec.node_name, now)
                due.append(pod)
        return due, wait

    async def _carry_out(self, daemon_set: DaemonSet, decided: Plan, history: History) -> Outcome:
        for pod in decided.failed:
            where = f"{pod.metadata.namespace}/{pod.metadata.name} on node {pod.spec.node_name}"
            message = f"Found failed daemon pod {where}, will try to kill it"
            await self.context.events.event(daemon_set, "Warning", "FailedDaemonPod", message)
        for pod in (one for one in decided.delete if one.status.phase == "Succeeded"):
            where = f"{pod.metadata.namespace}/{pod.metadata.name} on node {pod.spec.node_name}"
            message = f"Found succeeded daemon pod {where}, will try to delete it"
            await self.context.events.event(daemon_set, "Normal", "SucceededDaemonPod", message)
        wanted = [make_pod(daemon_set, name, history.hash) for name in decided.create[:_BURST]]
        made = await create_pods(self.context, daemon_set, wanted)
        deleted = await delete_pods(self.context, daemon_set, [*decided.failed, *decided.delete][:_BURST])
        return Outcome(made.count + deleted.count, made.error or deleted.error)

    def _all_keys(self, node: NodeView) -> list[tuple[str, str]]:
        store = self.context.caches.store(DaemonSet)
        return [(one.metadata.namespace, one.metadata.name) for one in store.list()]


def _placement_changed(change: Change[NodeView]) -> bool:
    old, new = change.old, change.new
    if old is None or new is None:
        return True
    return old.metadata.labels != new.metadata.labels or old.spec.taints != new.spec.taints
