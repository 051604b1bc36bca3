"""Claims for devices in a snapshot: made, allocated and freed as controllers and bindings would have it."""

from __future__ import annotations

from keelback.api.core_v1 import PodResourceClaimStatus
from keelback.api.resource_v1 import ResourceClaim, ResourceClaimConsumerReference
from keelback.apimachinery.meta import ObjectMeta, OwnerReference, replace
from keelback.scheduler.cycle import Assigned
from keelback.scheduler.snapshot import Snapshot
from keelback.scheduling.pod_to_place import PodToPlace


def make(snapshot: Snapshot, pod: PodToPlace) -> PodToPlace:
    """Make the claims that a waiting pod needs of templates; the pod, as its status then is."""
    metadata = pod.metadata
    known = {one.name for one in pod.status.resource_claim_statuses}
    made = []
    for entry in pod.spec.resource_claims:
        template = snapshot.templates.get((metadata.namespace, entry.resource_claim_template_name or ""))
        if entry.name in known or template is None:
            continue
        name = f"{metadata.name}-{entry.name}"
        owner = OwnerReference(api_version="v1", kind="Pod", name=metadata.name, uid=metadata.uid, controller=True)
        snapshot.put(
            ResourceClaim(
                metadata=ObjectMeta(
                    name=name,
                    namespace=metadata.namespace,
                    uid=f"{metadata.uid}/{entry.name}",
                    owner_references=(owner,),
                ),
                spec=template.spec.spec,
            )
        )
        made.append(PodResourceClaimStatus(name=entry.name, resource_claim_name=name))
    if not made:
        return pod
    statuses = (*pod.status.resource_claim_statuses, *made)
    pod = replace(pod, status=replace(pod.status, resource_claim_statuses=statuses))
    snapshot.put(pod)
    return pod


def settle(snapshot: Snapshot, assigned: Assigned) -> None:
    """Have the claims of a placed pod say what it took, so that others may share them."""
    if assigned.devices is None:
        return
    metadata = assigned.queued.pod.metadata
    user = ResourceClaimConsumerReference(resource="pods", name=metadata.name, uid=metadata.uid)
    for one in assigned.devices.claims:
        claim = snapshot.observation.devices.claim(one.key)
        if claim is not None:
            status = replace(claim.status, reserved_for=(*claim.status.reserved_for, user))
            if one.allocation is not None:
                status = replace(status, allocation=one.allocation)
            snapshot.put(replace(claim, status=status))


def free(snapshot: Snapshot, pod: PodToPlace) -> None:
    """Have the claims of a pod that is gone name it no more, and give back the devices that nobody else uses."""
    info, uid = snapshot.observation.shapes.of(pod), pod.metadata.uid
    for one in info.devices.claims if info.devices is not None else ():
        claim = snapshot.observation.devices.claim((info.namespace, one.claim or ""))
        if claim is None or not any(user.uid == uid for user in claim.status.reserved_for):
            continue
        left = tuple(user for user in claim.status.reserved_for if user.uid != uid)
        allocation = claim.status.allocation if left else None
        snapshot.put(replace(claim, status=replace(claim.status, reserved_for=left, allocation=allocation)))
