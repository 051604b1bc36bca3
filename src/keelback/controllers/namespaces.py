"""The namespace controller: empties a namespace that is being deleted, pods first, and then lets it go.

Whatever the server has is deleted, custom resources too; conditions say what is still in the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from keelback.api import conditions
from keelback.api.core_v1 import Namespace, NamespaceCondition, NamespaceStatus, Pod
from keelback.apimachinery import errors
from keelback.apimachinery.meta import replace
from keelback.controllers.observed import PodView
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.discovery import Metadata, ResourceKind, discover, metadata_type
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result, again_after

FINALIZER = "kubernetes"

# A pod whose grace period is not known is asked about again after this long.
_POD_ESTIMATE_SECONDS = 15
_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Remaining:
    """What one resource still has in the namespace after its deletion was asked for."""

    resource: str
    count: int
    finalizers: tuple[str, ...] = ()


@dataclass(slots=True)
class Progress:
    """What became of an attempt to empty a namespace."""

    remaining: list[Remaining] = field(default_factory=list)
    discovery_errors: list[str] = field(default_factory=list)
    content_errors: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.remaining or self.discovery_errors or self.content_errors)


def conditions_of(progress: Progress, now: datetime) -> tuple[NamespaceCondition, ...]:
    """The five conditions of a namespace under deletion, in upstream's words."""
    discovery = ", ".join(sorted(progress.discovery_errors))
    content = ", ".join(sorted(progress.content_errors))
    left = sorted(f"{one.resource} has {one.count} resource instances" for one in progress.remaining if one.count)
    held: dict[str, int] = {}
    for one in progress.remaining:
        for finalizer in one.finalizers:
            held[finalizer] = held.get(finalizer, 0) + 1
    finalizers = sorted(f"{name} in {count} resource instances" for name, count in held.items())

    def condition(type: str, bad: str, bad_reason: str, good_reason: str, good: str) -> NamespaceCondition:
        status, reason, message = ("True", bad_reason, bad) if bad else ("False", good_reason, good)
        return NamespaceCondition(type=type, status=status, reason=reason, message=message, last_transition_time=now)

    return (
        condition(
            "NamespaceDeletionDiscoveryFailure",
            f"Discovery failed for some groups, {len(progress.discovery_errors)} failing: unable to retrieve the "
            f"complete list of server APIs: {discovery}" * bool(discovery),
            "DiscoveryFailed",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            "",
            "GroupVersionParsingFailed",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        condition(
            "NamespaceDeletionContentFailure",
            f"Failed to delete all resource types, {len(progress.content_errors)} remaining: {content}" * bool(content),
            "ContentDeletionFailed",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        condition(
            "NamespaceContentRemaining",
            f"Some resources are remaining: {', '.join(left)}" * bool(left),
            "SomeResourcesRemain",
            "ContentRemoved",
            "All content successfully removed",
        ),
        condition(
            "NamespaceFinalizersRemaining",
            f"Some content in the namespace has finalizers remaining: {', '.join(finalizers)}" * bool(finalizers),
            "SomeFinalizersRemain",
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    )


def with_conditions(status: NamespaceStatus, found: Iterable[NamespaceCondition]) -> NamespaceStatus:
    """The status with these conditions; one that says the same keeps its time of transition."""
    held: Sequence[NamespaceCondition] = status.conditions
    for condition in found:
        held = conditions.set_in_place(held, condition)
    return replace(status, conditions=tuple(held), phase="Terminating")


@dataclass(frozen=True, slots=True)
class NamespaceReconciler:
    """Deletes, counts what is left, and comes back until nothing is."""

    context: Context
    name: ClassVar = "namespace-controller"
    role: ClassVar = "namespace-controller"
    component: ClassVar = "namespace-controller"
    kind: ClassVar = Namespace
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        # The rest waits for the pods: when one is gone it is worth looking again.
        return (Source(PodView, lambda pod: [("", pod.metadata.namespace)], lambda change: change.new is None),)

    async def reconcile(self, namespace: Namespace) -> Result:
        if namespace.metadata.deletion_timestamp is None or FINALIZER not in namespace.spec.finalizers:
            return DONE
        client = self.context.client
        if namespace.status.phase != "Terminating":
            await patches.write_status(
                client, namespace, namespace.status, replace(namespace.status, phase="Terminating")
            )
        progress = await self._empty(namespace.metadata.name)
        if not progress.is_empty:
            # An empty namespace goes at once: nobody would read its conditions.
            status = with_conditions(namespace.status, conditions_of(progress, self.context.now()))
            await patches.write_status(client, namespace, namespace.status, status)
            return again_after(_POLL_SECONDS)
        await self._finalize(namespace)
        return DONE

    async def _empty(self, namespace: str) -> Progress:
        progress = Progress()
        try:
            discovered = await discover(self.context.client.client)
        except errors.StatusError as error:
            progress.discovery_errors.append(str(error))
            return progress
        progress.discovery_errors.extend(
            f"{group_version}: stale GroupVersion discovery: {group_version}" for group_version in discovered.stale
        )
        wanted = [one for one in discovered.resources if one.kind.namespaced and {"delete", "list"} <= one.verbs]
        # KEP-5080: pods go first, so that nothing that guards them (a NetworkPolicy, say) is gone while they run.
        is_pod = Pod.__kind__.resource.__eq__
        for phase in (True, False):
            for resource in wanted:
                if is_pod(resource.kind.resource) is phase:
                    await self._empty_resource(resource, namespace, progress)
            if progress.remaining:
                break
        return progress

    async def _empty_resource(self, resource: ResourceKind, namespace: str, progress: Progress) -> None:
        cls = metadata_type(resource.kind)
        try:
            listed = await self.context.client.list(cls, namespace)
            if not listed.items:
                return
            if any(one.metadata.deletion_timestamp is None for one in listed.items):
                await self._delete_all(resource, cls, namespace, listed.items)
                listed = await self.context.client.list(cls, namespace)
        except (errors.NotFound, errors.MethodNotSupported):
            return  # the resource itself has gone
        except errors.StatusError as error:
            progress.content_errors.append(f"{resource.kind.resource}: {error}")
            return
        if listed.items:
            finalizers = tuple(name for one in listed.items for name in one.metadata.finalizers)
            # Upstream writes the dot even where the group is empty, as for `pods.`.
            name = f"{resource.kind.plural}.{resource.kind.group}"
            progress.remaining.append(Remaining(name, len(listed.items), finalizers))

    async def _delete_all(
        self, resource: ResourceKind, cls: type[Metadata], namespace: str, items: Sequence[Metadata]
    ) -> None:
        if "deletecollection" in resource.verbs:
            await self.context.client.delete_collection(cls, namespace)
            return
        for one in items:
            await self.context.client.delete(cls, one.metadata.name, namespace, propagation_policy="Background")

    async def _finalize(self, namespace: Namespace) -> None:
        fresh = await self.context.client.get(Namespace, namespace.metadata.name)
        kept = tuple(one for one in fresh.spec.finalizers if one != FINALIZER)
        if fresh.metadata.uid != namespace.metadata.uid or kept == fresh.spec.finalizers:
            return
        try:
            await self.context.client.update(replace(fresh, spec=replace(fresh.spec, finalizers=kept)), "finalize")
        except errors.NotFound:
            return
