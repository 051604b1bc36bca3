"""The status of DeviceTaintRules: how many pods each has still to evict, or would if its effect were NoExecute.

Part of the device-taint-eviction controller. https://kep.k8s.io/5055
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from keelback.api import conditions
from keelback.api.resource_v1 import ResourceClaim, ResourceSlice
from keelback.api.resource_v1alpha3 import DeviceTaintRule
from keelback.apimachinery.meta import Condition, replace
from keelback.client import Change
from keelback.controllers import tainted_devices
from keelback.controllers.observed import PodView
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Key, Source
from keelback.reconcile.result import DONE, Result, again_after
from keelback.scheduling.device_taint_rules import selects

IN_PROGRESS = "EvictionInProgress"
_PERIOD = timedelta(seconds=10)
"""The shortest time between two changes of a status while pods are being evicted."""


@dataclass(frozen=True, slots=True)
class Affected:
    """What a rule is about: devices that are offered, devices that claims have, pods that use those and where."""

    offered: int = 0
    allocated: int = 0
    pods: int = 0
    namespaces: int = 0


def plan(rule: DeviceTaintRule, affected: Affected, evicted: int) -> Condition:
    """The condition, but for the time of its change."""
    match rule.spec.taint.effect:
        case "NoExecute" if affected.pods:
            status, reason = "True", "PodsPendingEviction"
            verb = "needs" if affected.pods == 1 else "need"
            message = f"{_pods(affected.pods)} {verb} to be evicted in {_namespaces(affected.namespaces)}."
        case "NoExecute":
            status, reason, message = "False", "Completed" if evicted else "NotStarted", ""
        case "None":
            status, reason = "False", "NoEffect"
            message = (
                f"{_counted(affected.offered, 'published device')} selected. "
                f"{_counted(affected.allocated, 'allocated device')} selected. "
                f"{_pods(affected.pods)} would be evicted in {_namespaces(affected.namespaces)} "
                "if the effect was NoExecute. This information will not be updated again. "
                "Recreate the DeviceTaintRule to trigger an update."
            )
        case _:
            status, reason, message = "False", "OtherEffect", "Eviction only happens for the NoExecute effect."
    if evicted:
        message = f"{message} {_pods(evicted)} evicted since starting the controller.".lstrip()
    return Condition(
        type=IN_PROGRESS,
        status=status,
        reason=reason,
        message=message,
        observed_generation=rule.metadata.generation,
    )


def affected_by(
    rule: DeviceTaintRule,
    claims: Iterable[ResourceClaim],
    slices: Iterable[ResourceSlice],
    running: Iterable[PodView],
    now: datetime,
) -> Affected:
    """Count. Where a rule has no effect, what it would do with NoExecute."""
    executing = replace(rule, spec=replace(rule.spec, taint=replace(rule.spec.taint, effect="NoExecute")))
    uids = {pod.metadata.uid for pod in running if pod.metadata.deletion_timestamp is None}
    allocated, users = 0, set[tuple[str, str]]()
    for claim in claims:
        if claim.status.allocation is None:
            continue
        allocated += sum(
            selects(rule, one.driver, one.pool, one.device) for one in claim.status.allocation.devices.results
        )
        # Toleration for some time is no toleration: a pod that will have to go is one to evict.
        if tainted_devices.eviction(claim, (), (executing,), now) is not None:
            users |= {(claim.metadata.namespace, one.uid) for one in claim.status.reserved_for if one.uid in uids}
    offered = sum(
        selects(rule, one.spec.driver, one.spec.pool.name, device.name)
        for one in tainted_devices.newest_slices(slices)
        for device in one.spec.devices
    )
    return Affected(offered, allocated, len(users), len({namespace for namespace, _ in users}))


@dataclass(frozen=True, slots=True)
class DeviceTaintRuleReconciler:
    """Looks at a rule when it changes, and every ten seconds while there is something to evict."""

    context: Context
    evicted: Counter[str]
    name: ClassVar = "device-taint-eviction-controller"
    role: ClassVar = "device-taint-eviction-controller"
    component: ClassVar = "device-taint-eviction"
    kind: ClassVar = DeviceTaintRule
    owns: ClassVar = ()
    reads: ClassVar = (ResourceSlice,)

    def sources(self) -> Sequence[Source]:
        return (Source(ResourceClaim, self._rules_of, _matters), Source(PodView, self._rules_over, _goes))

    async def reconcile(self, rule: DeviceTaintRule) -> Result:
        now, caches = self.context.now(), self.context.caches
        held = conditions.find(rule.status.conditions, IN_PROGRESS)
        is_current = held is not None and held.observed_generation == rule.metadata.generation
        if held is not None and is_current and held.last_transition_time is not None:
            left = held.last_transition_time + _PERIOD - now
            if rule.spec.taint.effect == "None":
                return DONE
            if left > timedelta(0):
                return again_after(left.total_seconds())
        affected = affected_by(
            rule,
            caches.store(ResourceClaim).list(),
            caches.store(ResourceSlice).list(),
            caches.store(PodView).list(),
            now,
        )
        wanted = plan(rule, affected, self.evicted[rule.metadata.uid])
        if held is None or replace(held, last_transition_time=None) != wanted:
            others = tuple(one for one in rule.status.conditions if one.type != IN_PROGRESS)
            status = replace(rule.status, conditions=(*others, replace(wanted, last_transition_time=now)))
            await patches.write_status(self.context.client, rule, rule.status, status)
        return again_after(_PERIOD.total_seconds()) if affected.pods and wanted.status == "True" else DONE

    def _rules_of(self, claim: ResourceClaim) -> list[Key]:
        allocation = claim.status.allocation
        return [
            ("", rule.metadata.name)
            for rule in self.context.caches.store(DeviceTaintRule).list()
            if allocation is not None
            and any(selects(rule, one.driver, one.pool, one.device) for one in allocation.devices.results)
        ]

    def _rules_over(self, pod: PodView) -> list[Key]:
        held = {one.resource_claim_name for one in pod.status.resource_claim_statuses}
        held |= {one.resource_claim_name for one in pod.spec.resource_claims}
        store = self.context.caches.store(ResourceClaim)
        claims = [store.get(pod.metadata.namespace, name) for name in held if name]
        return [key for claim in claims if claim is not None for key in self._rules_of(claim)]


def _goes(change: Change[PodView]) -> bool:
    """Whether a pod with devices is being deleted: most others never matter."""
    pod = change.object
    return bool(pod.spec.resource_claims) and (change.new is None or pod.metadata.deletion_timestamp is not None)


def _matters(change: Change[ResourceClaim]) -> bool:
    return change.old is None or change.new is None or change.old.status != change.new.status


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _pods(count: int) -> str:
    return _counted(count, "pod")


def _namespaces(count: int) -> str:
    return "1 namespace" if count == 1 else f"{count} different namespaces"
