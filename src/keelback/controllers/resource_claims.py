"""The resourceclaim controller: makes the claims of pods that name a template, and frees claims nobody uses any more.

https://kep.k8s.io/4381
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from keelback.api import owners, pods
from keelback.api.core_v1 import Pod, PodResourceClaimStatus
from keelback.api.resource_v1 import ResourceClaim, ResourceClaimConsumerReference, ResourceClaimTemplate
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import Change, MergePatch, StrategicMergePatch
from keelback.controllers.observed import PodView
from keelback.controllers.pod_control import is_namespace_terminating
from keelback.reconcile import caches, patches
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Count, Level
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result

POD_CLAIM_NAME = "resource.kubernetes.io/pod-claim-name"
FINALIZER = "resource.kubernetes.io/delete-protection"


CREATES = Count(
    "resourceclaim_controller_creates_total",
    "Number of ResourceClaims creation requests, categorized by creation status and admin access",
    ("status", "admin_access"),
)
CLAIMS = Level(
    "resourceclaim_controller_resource_claims",
    "Number of ResourceClaims, categorized by allocation status, admin access, and source. Source can be "
    "'resource_claim_template' (created from a template), 'extended_resource' (extended resources), or empty (manually "
    "created by a user).",
    ("allocated", "admin_access", "source"),
)
_EXTENDED = "resource.kubernetes.io/extended-resource-claim"


def is_done(pod: PodView) -> bool:
    """Whether the pod will never use its claims (again): it has ended, or was deleted before it ran anywhere."""
    return pods.is_terminal(pod) or (pods.is_terminating(pod) and not pod.spec.node_name)


def claim_for(pod: PodView, name: str, template: ResourceClaimTemplate) -> ResourceClaim:
    """The claim that a pod's entry of this name gets from the template: owned by the pod, and gone with it."""
    meta = template.spec.metadata or ObjectMeta()
    return ResourceClaim(
        metadata=ObjectMeta(
            generate_name=f"{pod.metadata.name}-{name}-"[:242],
            namespace=pod.metadata.namespace,
            labels=meta.labels,
            annotations={**meta.annotations, POD_CLAIM_NAME: name},
            owner_references=(owners.controller_reference(pod),),
        ),
        spec=template.spec.spec,
    )


def still_reserved(
    claim: ResourceClaim, pod_of: Callable[[str], PodView | None]
) -> tuple[ResourceClaimConsumerReference, ...]:
    """The consumers that may still use the claim; what is no pod is left alone. `pod_of` knows pods by their names."""

    def may_use(consumer: ResourceClaimConsumerReference) -> bool:
        if consumer.api_group or consumer.resource != "pods":
            return True
        pod = pod_of(consumer.name)
        return pod is not None and pod.metadata.uid == consumer.uid and not is_done(pod)

    return tuple(filter(may_use, claim.status.reserved_for))


@dataclass(frozen=True, slots=True)
class PodClaimsReconciler:
    """Makes the claims that pods with templates need, and says in their status which they are."""

    context: Context
    name: ClassVar = "resourceclaim-controller"
    role: ClassVar = "resource-claim-controller"
    component: ClassVar = "resource_claim"
    kind: ClassVar = PodView
    owns: ClassVar = (ResourceClaim,)
    reads: ClassVar = (ResourceClaimTemplate,)

    def sources(self) -> Sequence[Source]:
        self.context.caches.index_by_controller(ResourceClaim)
        self.context.caches.index(PodView, "by-claim-template", _template_keys)
        return (Source(ResourceClaimTemplate, self._waiting_pods, lambda change: change.old is None),)

    def is_relevant(self, change: Change[Any]) -> bool:
        pod = change.new
        return pod is not None and any(one.resource_claim_template_name for one in pod.spec.resource_claims)

    async def reconcile(self, pod: PodView) -> Result:
        if is_done(pod) or pods.is_terminating(pod):
            return DONE
        known = {one.name: one.resource_claim_name for one in pod.status.resource_claim_statuses}
        store = self.context.caches.store(ResourceClaim)
        made: dict[str, str] = {}
        for entry in pod.spec.resource_claims:
            template = entry.resource_claim_template_name
            if not template:
                continue
            held = known.get(entry.name)
            if held and store.get(pod.metadata.namespace, held) is not None:
                continue
            found = await self._claim(pod, entry.name, template)
            if found is None:
                return DONE
            made[entry.name] = found
        if any(known.get(name) != claim for name, claim in made.items()):
            await self._say(pod, {**{one: held or "" for one, held in known.items()}, **made})
        return DONE

    async def _claim(self, pod: PodView, name: str, template_name: str) -> str | None:
        """The name of the entry's claim: one that was made before, or a new one. None where there can be none now."""
        namespace = pod.metadata.namespace
        for claim in caches.controlled_by(self.context.caches.index_by_controller(ResourceClaim), pod):
            is_meant = claim.metadata.annotations.get(POD_CLAIM_NAME) == name
            if is_meant and claim.metadata.deletion_timestamp is None:
                return claim.metadata.name
        template = self.context.caches.store(ResourceClaimTemplate).get(namespace, template_name)
        event = self.context.events.event
        if template is None:
            message = f'PodResourceClaim {name}: resource claim template "{template_name}": not found'
            await event(pod, "Warning", "FailedResourceClaimCreation", message)
            return None
        wanted = claim_for(pod, name, template)
        try:
            claim = await self.context.client.create(wanted)
        except errors.StatusError as error:
            self.context.metrics.inc(CREATES, "failure", _flag(_has_admin_access(wanted)))
            if is_namespace_terminating(error):
                return None
            await event(pod, "Warning", "FailedResourceClaimCreation", f"PodResourceClaim {name}: {error}")
            raise
        self.context.metrics.inc(CREATES, "success", _flag(_has_admin_access(wanted)))
        return claim.metadata.name

    async def _say(self, pod: PodView, claims: dict[str, str]) -> None:
        statuses = [
            patches.tree(PodResourceClaimStatus(name=name, resource_claim_name=claim or None))
            for name, claim in claims.items()
        ]
        metadata = {"uid": pod.metadata.uid}
        patch = StrategicMergePatch({"metadata": metadata, "status": {"resourceClaimStatuses": statuses}})
        await self.context.client.patch(Pod, pod.metadata.name, pod.metadata.namespace, patch, "status")

    def _waiting_pods(self, template: ResourceClaimTemplate) -> list[tuple[str, str]]:
        key = (template.metadata.namespace, template.metadata.name)
        users = self.context.caches.store(PodView).by_index("by-claim-template", key)
        return [(pod.metadata.namespace, pod.metadata.name) for pod in users]


@dataclass(frozen=True, slots=True)
class ClaimUseReconciler:
    """Forgets consumers that are gone, frees what nobody has reserved, and deletes what was made for a pod that ended.

    The second half of upstream's controller: its objects are claims.
    """

    context: Context
    name: ClassVar = "resourceclaim-controller"
    role: ClassVar = "resource-claim-controller"
    component: ClassVar = "resource_claim"
    kind: ClassVar = ResourceClaim
    owns: ClassVar = ()
    reads: ClassVar = (PodView,)

    def __post_init__(self) -> None:
        self.context.metrics.at_collection(CLAIMS, self._levels)

    def sources(self) -> Sequence[Source]:
        return (Source(PodView, _claims_of, _ended),)

    async def reconcile(self, claim: ResourceClaim) -> Result:
        staying = still_reserved(claim, lambda name: self._pod(claim, name))
        if len(staying) != len(claim.status.reserved_for):
            staying = await self._confirmed(claim, staying)
        try:
            # A finalizer without a user is one that the scheduler is about to name, unless the claim is to go.
            is_to_go = claim.metadata.deletion_timestamp is not None and FINALIZER in claim.metadata.finalizers
            if len(staying) != len(claim.status.reserved_for) or (not staying and is_to_go):
                claim = await self._release(claim, staying)
            if not staying:
                await self._delete_after_pod(claim)
        except errors.NotFound:
            pass
        return DONE

    def _levels(self) -> dict[tuple[str, ...], float]:
        return dict(Counter(map(_labels, self.context.caches.store(ResourceClaim).list())))

    def _pod(self, claim: ResourceClaim, name: str) -> PodView | None:
        return self.context.caches.store(PodView).get(claim.metadata.namespace, name)

    async def _confirmed(
        self, claim: ResourceClaim, staying: tuple[ResourceClaimConsumerReference, ...]
    ) -> tuple[ResourceClaimConsumerReference, ...]:
        """A pod that the cache has not seen may be new: only the server knows that one is gone."""
        kept = {one.uid for one in staying}
        for one in claim.status.reserved_for:
            if one.uid in kept:
                continue
            try:
                pod = await self.context.client.get(PodView, one.name, claim.metadata.namespace)
            except errors.NotFound:
                continue
            if pod.metadata.uid == one.uid and not is_done(pod):
                kept.add(one.uid)
        return tuple(one for one in claim.status.reserved_for if one.uid in kept)

    async def _release(
        self, claim: ResourceClaim, staying: tuple[ResourceClaimConsumerReference, ...]
    ) -> ResourceClaim:
        client, metadata = self.context.client, claim.metadata
        # Others reserve in the same list: a version keeps their entries from being lost.
        status: dict[str, object] = {"reservedFor": [patches.tree(one) for one in staying] or None}
        if not staying and claim.status.allocation is not None:
            status |= {"allocation": None, "devices": None}
        if staying != claim.status.reserved_for or "allocation" in status:
            patch = MergePatch({"metadata": {"resourceVersion": metadata.resource_version}, "status": status})
            claim = await client.patch(ResourceClaim, metadata.name, metadata.namespace, patch, "status")
        if not staying and FINALIZER in claim.metadata.finalizers:
            left = [one for one in claim.metadata.finalizers if one != FINALIZER]
            changed = {"finalizers": left or None, "resourceVersion": claim.metadata.resource_version}
            patch = MergePatch({"metadata": changed})
            claim = await client.patch(ResourceClaim, metadata.name, metadata.namespace, patch)
        return claim

    async def _delete_after_pod(self, claim: ResourceClaim) -> None:
        """A claim made for a pod that has ended holds nothing that anyone will come back for."""
        owner = owners.controller_of(claim)
        if owner is None or owner.kind != "Pod" or claim.metadata.deletion_timestamp is not None:
            return
        pod = self._pod(claim, owner.name)
        if pod is not None and pod.metadata.uid == owner.uid and is_done(pod):
            metadata = claim.metadata
            await self.context.client.delete(ResourceClaim, metadata.name, metadata.namespace, uid=metadata.uid)


def _labels(claim: ResourceClaim) -> tuple[str, ...]:
    annotations = claim.metadata.annotations
    source = "resource_claim_template" if POD_CLAIM_NAME in annotations else ""
    if annotations.get(_EXTENDED) == "true":
        source = "extended_resource"
    return _flag(claim.status.allocation is not None), _flag(_has_admin_access(claim)), source


def _has_admin_access(claim: ResourceClaim) -> bool:
    return any(one.exactly is not None and one.exactly.admin_access for one in claim.spec.devices.requests)


def _flag(value: bool) -> str:
    return "true" if value else "false"


def _template_keys(pod: PodView) -> list[tuple[str, str]]:
    names = {one.resource_claim_template_name for one in pod.spec.resource_claims}
    return [(pod.metadata.namespace, name) for name in names if name]


def _claims_of(pod: PodView) -> list[tuple[str, str]]:
    named = {one.resource_claim_name for one in pod.spec.resource_claims}
    named |= {one.resource_claim_name for one in pod.status.resource_claim_statuses}
    if pod.status.extended_resource_claim_status is not None:
        named.add(pod.status.extended_resource_claim_status.resource_claim_name)
    return [(pod.metadata.namespace, name) for name in named if name]


def _ended(change: Change[PodView]) -> bool:
    return change.new is None or is_done(change.new)
