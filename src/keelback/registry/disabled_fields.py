"""Fields of pods whose feature gates are off by default: they are dropped as if they had not been sent.

ContainerStopSignals, GenericWorkload, ClusterTrustBundleProjection, PodCertificateRequest, DRANodeAllocatableResources.
"""

from __future__ import annotations

from typing import Any, TypeVar

from keelback.api.core_v1 import Container, EphemeralContainer, PodSpec, PodStatus, PodTemplateSpec, Volume
from keelback.apimachinery.meta import replace

_C = TypeVar("_C", Container, EphemeralContainer)


def dropped(spec: PodSpec) -> PodSpec:
    """A spec without them; the same object when it has none."""
    changes: dict[str, Any] = {}
    if spec.scheduling_group is not None:
        changes["scheduling_group"] = None
    if any(_has_stop_signal(one) for one in spec.containers):
        changes["containers"] = tuple(map(_without_stop_signal, spec.containers))
    if any(_has_stop_signal(one) for one in spec.init_containers):
        changes["init_containers"] = tuple(map(_without_stop_signal, spec.init_containers))
    if any(_has_stop_signal(one) for one in spec.ephemeral_containers):
        changes["ephemeral_containers"] = tuple(map(_without_stop_signal, spec.ephemeral_containers))
    if any(one.projected is not None for one in spec.volumes):
        volumes = tuple(map(_without_certificates, spec.volumes))
        if any(new is not old for new, old in zip(volumes, spec.volumes, strict=True)):
            changes["volumes"] = volumes
    return replace(spec, **changes) if changes else spec


def dropped_from_template(template: PodTemplateSpec) -> PodTemplateSpec:
    """A template without them."""
    spec = dropped(template.spec)
    return template if spec is template.spec else replace(template, spec=spec)


def dropped_from_status(status: PodStatus) -> PodStatus:
    """A status without them."""
    changes: dict[str, Any] = {}
    if status.node_allocatable_resource_claim_statuses:
        changes["node_allocatable_resource_claim_statuses"] = ()
    for field in ("container_statuses", "init_container_statuses", "ephemeral_container_statuses"):
        held = getattr(status, field)
        if any(one.stop_signal is not None for one in held):
            changes[field] = tuple(replace(one, stop_signal=None) for one in held)
    return replace(status, **changes) if changes else status


def _has_stop_signal(container: Container | EphemeralContainer) -> bool:
    return container.lifecycle is not None and container.lifecycle.stop_signal is not None


def _without_stop_signal(container: _C) -> _C:
    if container.lifecycle is None or container.lifecycle.stop_signal is None:
        return container
    return replace(container, lifecycle=replace(container.lifecycle, stop_signal=None))


def _without_certificates(volume: Volume) -> Volume:
    projected = volume.projected
    if projected is None or all(
        one.cluster_trust_bundle is None and one.pod_certificate is None for one in projected.sources
    ):
        return volume
    sources = tuple(replace(one, cluster_trust_bundle=None, pod_certificate=None) for one in projected.sources)
    return replace(volume, projected=replace(projected, sources=sources))
