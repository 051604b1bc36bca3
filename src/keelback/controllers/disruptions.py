"""The disruption controller: keeps each PodDisruptionBudget's count of how many pods may be evicted now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from keelback.api import conditions, owners, pods
from keelback.api.apps_v1 import Deployment, ReplicaSet, StatefulSet
from keelback.api.core_v1 import ReplicationController
from keelback.api.policy_v1 import PodDisruptionBudget, PodDisruptionBudgetStatus
from keelback.apimachinery import labels
from keelback.apimachinery.int_or_string import scaled_value
from keelback.apimachinery.meta import Condition, Object, OwnerReference, replace
from keelback.controllers import adoption
from keelback.controllers.observed import PodView
from keelback.controllers.scales import Scales
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.resource_mapping import ResourceMapping
from keelback.reconcile.result import DONE, Result, again_after

# An evicted pod that has not begun to go after this long is taken to have been kept after all.
_DELETION_TIMEOUT = timedelta(minutes=2)
_RETRY_SECONDS = 30.0
ALLOWED = "DisruptionAllowed"


@dataclass(frozen=True, slots=True)
class Expectation:
    """How many pods there should be, and how many of them must stay healthy."""

    expected: int
    desired_healthy: int


def expectation(budget: PodDisruptionBudget, found: int, scales: Mapping[str, int]) -> Expectation:
    """What the budget asks for; `found` pods match, `scales` are the sizes of their controllers.

    Percentages and `maxUnavailable` count what the controllers want, not what happens to run.
    """
    spec = budget.spec
    total = sum(scales.values())
    if spec.max_unavailable is not None:
        return Expectation(total, max(0, total - scaled_value(spec.max_unavailable, total, round_up=True)))
    if isinstance(spec.min_available, int):
        return Expectation(found, spec.min_available)
    if spec.min_available is not None:
        return Expectation(total, scaled_value(spec.min_available, total, round_up=True))
    return Expectation(found, 0)


def needs_scales(budget: PodDisruptionBudget) -> bool:
    """Whether the budget counts what the pods' controllers want: a plain number of pods to keep does not."""
    spec = budget.spec
    return spec.max_unavailable is not None or isinstance(spec.min_available, str)


def failed_status(budget: PodDisruptionBudget, why: str, now: datetime) -> PodDisruptionBudgetStatus:
    """The status where nobody can tell how many pods there should be: none may go."""
    condition = Condition(
        type=ALLOWED,
        status="False",
        reason="SyncFailed",
        message=why,
        observed_generation=budget.metadata.generation,
        last_transition_time=now,
    )
    return replace(
        budget.status,
        disruptions_allowed=0,
        observed_generation=budget.metadata.generation,
        conditions=conditions.set_in_place(budget.status.conditions, condition),
    )


def pending_disruptions(
    budget: PodDisruptionBudget, mine: Iterable[PodView], now: datetime
) -> tuple[dict[str, datetime], float | None]:
    """The evictions granted whose pods have not begun to go, and seconds until the first of them is given up."""
    present = {pod.metadata.name for pod in mine if not pods.is_terminating(pod)}
    kept = {
        name: since
        for name, since in budget.status.disrupted_pods.items()
        if name in present and since + _DELETION_TIMEOUT > now
    }
    if not kept:
        return kept, None
    return kept, (min(kept.values()) + _DELETION_TIMEOUT - now).total_seconds()


def compute_status(
    budget: PodDisruptionBudget,
    mine: Sequence[PodView],
    wanted: Expectation,
    disrupted: Mapping[str, datetime],
    now: datetime,
) -> PodDisruptionBudgetStatus:
    """The budget's status with so many healthy pods."""
    healthy = sum(
        pods.is_ready(pod) and not pods.is_terminating(pod) and pod.metadata.name not in disrupted for pod in mine
    )
    allowed = max(0, healthy - wanted.desired_healthy) if wanted.expected > 0 else 0
    condition = Condition(
        type=ALLOWED,
        status="True" if allowed else "False",
        reason="SufficientPods" if allowed else "InsufficientPods",
        observed_generation=budget.metadata.generation,
        last_transition_time=now,
    )
    return replace(
        budget.status,
        current_healthy=healthy,
        desired_healthy=wanted.desired_healthy,
        expected_pods=wanted.expected,
        disruptions_allowed=allowed,
        disrupted_pods=dict(disrupted),
        observed_generation=budget.metadata.generation,
        conditions=conditions.set_in_place(budget.status.conditions, condition),
    )


@dataclass(frozen=True, slots=True)
class DisruptionReconciler:
    """Counts pods, and their controllers' sizes, whenever either changes."""

    context: Context
    name: ClassVar = "disruption-controller"
    role: ClassVar = "disruption-controller"
    component: ClassVar = "controllermanager"
    kind: ClassVar = PodDisruptionBudget
    owns: ClassVar = ()
    reads: ClassVar = (ReplicationController,)
    scales: Scales = field(init=False)

    def __post_init__(self) -> None:
        client = self.context.client.client
        object.__setattr__(self, "scales", Scales(client, ResourceMapping(client, self.context.clock)))

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(PodView, "by-namespace", lambda one: [one.metadata.namespace])
        return (
            Source(PodView, self._budgets_of),
            Source(Deployment, self._all_of_namespace),
            Source(ReplicaSet, self._all_of_namespace),
            Source(StatefulSet, self._all_of_namespace),
        )

    async def reconcile(self, budget: PodDisruptionBudget) -> Result:
        selects = adoption.by_selector(budget.spec.selector)
        namespace = budget.metadata.namespace
        store = self.context.caches.store(PodView)
        mine = [
            pod
            for pod in store.by_index("by-namespace", namespace)
            if selects(pod.metadata.labels) and not pods.is_terminal(pod)
        ]
        now = self.context.now()
        try:
            scales = await self._scales(budget, mine) if needs_scales(budget) else {}
        except _NoScale as failure:
            message = f"Failed to calculate the number of expected pods: {failure}"
            await self.context.events.event(budget, "Warning", "CalculateExpectedPodCountFailed", message)
            await self._write(budget, failed_status(budget, str(failure), now))
            return again_after(_RETRY_SECONDS)
        wanted = expectation(budget, len(mine), scales)
        disrupted, left = pending_disruptions(budget, mine, now)
        status = compute_status(budget, mine, wanted, disrupted, now)
        if not mine:
            await self._say_no_pods(budget)
        # The eviction subresource lowers disruptionsAllowed by itself: a stale state must not raise it again.
        await self._write(budget, status)
        return DONE if left is None else again_after(left)

    async def _write(self, budget: PodDisruptionBudget, status: PodDisruptionBudgetStatus) -> None:
        if status != budget.status:
            await self.context.client.update(replace(budget, status=status), "status")

    async def _say_no_pods(self, budget: PodDisruptionBudget) -> None:
        if budget.status.observed_generation != budget.metadata.generation:
            await self.context.events.event(budget, "Normal", "NoPods", "No matching pods found")

    async def _scales(self, budget: PodDisruptionBudget, mine: Iterable[PodView]) -> dict[str, int]:
        """The sizes that the pods' controllers are told to have, by the uid of who is told. Raises _NoScale."""
        scales: dict[str, int] = {}
        unmanaged = False
        seen: set[str] = set()
        for pod in mine:
            reference = owners.controller_of(pod)
            if reference is None:
                unmanaged = True
                continue
            if reference.uid in seen:
                continue
            seen.add(reference.uid)
            top = self._scaled_by(pod.metadata.namespace, reference)
            if top is not None:
                scales[top.metadata.uid] = top.spec.replicas
                continue
            scale = await self.scales.of_owner(pod.metadata.namespace, reference)
            if scale is None:
                raise _NoScale(f'found no controllers for pod "{pod.metadata.name}"')
            scales[reference.uid] = scale
        if unmanaged:
            await self._say_unmanaged(budget)
        return scales

    async def _say_unmanaged(self, budget: PodDisruptionBudget) -> None:
        selector = labels.from_label_selector(budget.spec.selector)
        message = (
            f"Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. "
            "As a result, the status of the PDB cannot be calculated correctly, which may result in undefined "
            'behavior. To account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
        )
        await self.context.events.event(budget, "Warning", "UnmanagedPods", message)

    def _scaled_by(
        self, namespace: str, reference: OwnerReference
    ) -> Deployment | ReplicaSet | StatefulSet | ReplicationController | None:
        """The controller of a built-in kind that is told a size: above a ReplicaSet its Deployment."""
        caches = self.context.caches
        found: ReplicaSet | StatefulSet | ReplicationController | None
        match (owners.group_of(reference), reference.kind):
            case ("apps", "ReplicaSet"):
                found = caches.store(ReplicaSet).get(namespace, reference.name)
                above = owners.controller_of(found) if found is not None else None
                if above is not None and above.kind == "Deployment":
                    return caches.store(Deployment).get(namespace, above.name) or found
            case ("apps", "StatefulSet"):
                found = caches.store(StatefulSet).get(namespace, reference.name)
            case ("", "ReplicationController"):
                found = caches.store(ReplicationController).get(namespace, reference.name)
            case _:
                return None
        return found if found is not None and found.metadata.uid == reference.uid else None

    def _budgets_of(self, pod: PodView) -> list[tuple[str, str]]:
        return [
            (one.metadata.namespace, one.metadata.name)
            for one in self.context.caches.store(PodDisruptionBudget).list(pod.metadata.namespace)
            if adoption.by_selector(one.spec.selector)(pod.metadata.labels)
        ]

    def _all_of_namespace(self, obj: Object) -> list[tuple[str, str]]:
        store = self.context.caches.store(PodDisruptionBudget)
        return [(one.metadata.namespace, one.metadata.name) for one in store.list(obj.metadata.namespace)]


class _NoScale(Exception):
    """A pod's controller has no size that anyone could read."""
