"""The podgroup-protection controller: a PodGroup is not gone while pods of it run. https://kep.k8s.io/4671"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from keelback.api import pods
from keelback.api.scheduling_v1alpha2 import PodGroup
from keelback.apimachinery import errors
from keelback.client import Change, MergePatch
from keelback.controllers.observed import PodView
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

FINALIZER = "scheduling.k8s.io/podgroup-protection"


def plan(held: Sequence[str], *, is_deleting: bool, is_used: bool) -> tuple[str, ...]:
    """The finalizers a group should have: protected from its first pod until it is both deleted and not used."""
    if is_deleting and not is_used:
        return tuple(one for one in held if one != FINALIZER)
    if is_used and not is_deleting and FINALIZER not in held:
        return (*held, FINALIZER)
    return tuple(held)


@dataclass(frozen=True, slots=True)
class PodGroupProtectionReconciler:
    """Looks at a group when it changes, and when a pod of it comes, ends or goes."""

    context: Context
    name: ClassVar = "podgroup-protection-controller"
    role: ClassVar = "podgroup-protection-controller"
    component: ClassVar = "podgroup-protection-controller"
    kind: ClassVar = PodGroup
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        self.context.caches.index(PodView, "by-pod-group", _group_keys)
        return (Source(PodView, _group_keys, _matters),)

    async def reconcile(self, group: PodGroup) -> Result:
        metadata = group.metadata
        store = self.context.caches.store(PodView)
        members = store.by_index("by-pod-group", (metadata.namespace, metadata.name))
        is_used = any(not pods.is_terminal(pod) for pod in members)
        wanted = plan(metadata.finalizers, is_deleting=metadata.deletion_timestamp is not None, is_used=is_used)
        if wanted == tuple(metadata.finalizers):
            return DONE
        changed = {"finalizers": list(wanted) or None, "resourceVersion": metadata.resource_version}
        try:
            patch = MergePatch({"metadata": changed})
            await self.context.client.patch(PodGroup, metadata.name, metadata.namespace, patch)
        except errors.NotFound:
            return DONE
        return DONE


def _matters(change: Change[PodView]) -> bool:
    return change.old is None or change.new is None or pods.is_terminal(change.old) != pods.is_terminal(change.new)


def _group_keys(pod: PodView) -> list[tuple[str, str]]:
    group = pod.spec.scheduling_group
    return [(pod.metadata.namespace, group.pod_group_name)] if group is not None and group.pod_group_name else []
