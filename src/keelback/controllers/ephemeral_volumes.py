"""The ephemeral-volume controller: makes the claim of each `ephemeral` volume, which lives and goes with its pod."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from keelback.api import owners
from keelback.api.core_v1 import PersistentVolumeClaim, Pod
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta
from keelback.client import Change
from keelback.controllers.observed import PodView
from keelback.controllers.pod_control import is_namespace_terminating
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import Count
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result


def wanted_claims(pod: Pod) -> list[PersistentVolumeClaim]:
    """The claims of the pod's ephemeral volumes: owned by the pod, so that they are collected after it."""
    found = []
    for volume in pod.spec.volumes:
        if volume.ephemeral is None or volume.ephemeral.volume_claim_template is None:
            continue
        template = volume.ephemeral.volume_claim_template
        meta = template.metadata or ObjectMeta()
        found.append(
            PersistentVolumeClaim(
                metadata=ObjectMeta(
                    name=f"{pod.metadata.name}-{volume.name}",
                    namespace=pod.metadata.namespace,
                    labels=meta.labels,
                    annotations=meta.annotations,
                    owner_references=(owners.controller_reference(pod),),
                ),
                spec=template.spec,
            )
        )
    return found


CREATED = Count("ephemeral_volume_controller_create_total", "Number of PersistenVolumeClaims creation requests")
NOT_CREATED = Count(
    "ephemeral_volume_controller_create_failures_total", "Number of PersistentVolumeClaim creation requests"
)


@dataclass(frozen=True, slots=True)
class EphemeralVolumeReconciler:
    """Looks at pods that have such volumes; asks for the whole pod only then."""

    context: Context
    name: ClassVar = "ephemeral-volume-controller"
    role: ClassVar = "ephemeral-volume-controller"
    component: ClassVar = "ephemeral_volume"
    kind: ClassVar = PodView
    owns: ClassVar = ()

    def sources(self) -> Sequence[Source]:
        return (Source(PersistentVolumeClaim, _pod_of, lambda change: change.new is None),)

    def is_relevant(self, change: Change[Any]) -> bool:
        pod = change.new
        return pod is not None and any(volume.ephemeral is not None for volume in pod.spec.volumes)

    async def reconcile(self, view: PodView) -> Result:
        if view.metadata.deletion_timestamp is not None:
            return DONE
        store = self.context.caches.store(PersistentVolumeClaim)
        namespace = view.metadata.namespace
        names = [f"{view.metadata.name}-{one.name}" for one in view.spec.volumes if one.ephemeral is not None]
        if all(store.get(namespace, name) is not None for name in names):
            return DONE
        try:
            pod = await self.context.client.get(Pod, view.metadata.name, namespace)
        except errors.NotFound:
            return DONE
        for claim in wanted_claims(pod):
            self.context.metrics.inc(CREATED)
            try:
                await self.context.client.create(claim)
            except errors.AlreadyExists:
                continue
            except errors.StatusError as error:
                self.context.metrics.inc(NOT_CREATED)
                if is_namespace_terminating(error):
                    return DONE
                message = f"ephemeral volume controller: failed to create PVC {claim.metadata.name}: {error}"
                await self.context.events.event(view, "Warning", "FailedBinding", message)
                raise
        return DONE


def _pod_of(claim: PersistentVolumeClaim) -> list[tuple[str, str]]:
    reference = owners.controller_of(claim)
    return [(claim.metadata.namespace, reference.name)] if reference is not None and reference.kind == "Pod" else []
