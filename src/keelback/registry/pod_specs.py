"""The defaults of a pod's spec that depend on other fields, for pods and for the templates of workloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from keelback.api.core_v1 import (
    Container,
    EmptyDirVolumeSource,
    EphemeralContainer,
    PersistentVolumeClaimSpec,
    PodSpec,
    PodTemplateSpec,
    Volume,
)
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.registry import container_resources, image_names

_C = TypeVar("_C", Container, EphemeralContainer)
_VOLUME_SOURCES = tuple(one.name for one in msgspec.structs.fields(Volume) if one.name != "name")


def with_template_defaults(template: PodTemplateSpec) -> PodTemplateSpec:
    """A template with the defaults its containers and volumes get."""
    spec = with_shared_defaults(template.spec)
    if template.metadata is None:
        return replace(template, metadata=ObjectMeta(), spec=spec)
    return template if spec is template.spec else replace(template, spec=spec)


def with_shared_defaults(spec: PodSpec, **changes: Any) -> PodSpec:
    """A spec with the defaults that pods and templates share; `changes` are made along with them."""
    if any(not one.image_pull_policy for one in spec.containers):
        changes["containers"] = tuple(_with_pull_policy(one) for one in changes.get("containers", spec.containers))
    if any(not one.image_pull_policy for one in spec.init_containers):
        inits = changes.get("init_containers", spec.init_containers)
        changes["init_containers"] = tuple(_with_pull_policy(one) for one in inits)
    if any(not one.image_pull_policy for one in spec.ephemeral_containers):
        changes["ephemeral_containers"] = tuple(_with_pull_policy(one) for one in spec.ephemeral_containers)
    if spec.volumes:
        volumes = tuple(_with_source(one) for one in spec.volumes)
        if any(new is not old for new, old in zip(volumes, spec.volumes, strict=True)):
            changes["volumes"] = volumes
    if spec.service_account_name != spec.service_account:
        # The deprecated field and its successor always say the same; the successor wins.
        account = spec.service_account_name or spec.service_account
        changes |= {"service_account_name": account, "service_account": account}
    return replace(spec, **changes) if changes else spec


def with_pod_defaults(spec: PodSpec) -> PodSpec:
    """A pod's spec with all its defaults: a template gets fewer, so that its hash stays what it is."""
    changes: dict[str, Any] = {}
    if spec.enable_service_links is None:
        changes["enable_service_links"] = True
    for field in ("containers", "init_containers"):
        old: Sequence[Container] = getattr(spec, field)
        new = tuple(_with_pod_container_defaults(one, spec.host_network) for one in old)
        if any(after is not before for after, before in zip(new, old, strict=True)):
            changes[field] = new
    made = with_shared_defaults(spec, **changes)
    return made if made.resources is None else _with_pod_resources(made)


def _with_pod_resources(spec: PodSpec) -> PodSpec:
    """Requests of the pod as a whole: what its containers request together, else its limits (KEP-2837)."""
    resources = spec.resources
    if resources is None or not (resources.limits or resources.requests):
        return spec
    limits, requests = dict(resources.limits), dict(resources.requests)
    for name, amount in container_resources.limited_together(spec).items():
        if name.startswith("hugepages-") and name not in requests:
            limits.setdefault(name, str(amount))
    if limits:
        for name, amount in container_resources.requested_together(spec).items():
            if name in ("cpu", "memory"):
                requests.setdefault(name, str(amount))
        for name, text in limits.items():
            requests.setdefault(name, text)
    if limits == resources.limits and requests == resources.requests:
        return spec
    return replace(spec, resources=replace(resources, limits=limits, requests=requests))


def pull_policy(image: str) -> str:
    """Always for the tag `latest` or neither tag nor digest, else IfNotPresent: for what is no name, too."""
    return "Always" if image_names.tag(image) == "latest" else "IfNotPresent"


def _with_pull_policy(container: _C) -> _C:
    if container.image_pull_policy:
        return container
    return replace(container, image_pull_policy=pull_policy(container.image))


def _with_pod_container_defaults(container: Container, host_network: bool) -> Container:
    changes: dict[str, Any] = {}
    resources = container.resources
    if resources.limits:
        requests = _requests_from_limits(resources.requests, resources.limits)
        if requests is not resources.requests:
            changes["resources"] = replace(resources, requests=requests)
    if host_network and any(not port.host_port for port in container.ports):
        changes["ports"] = tuple(
            port if port.host_port else replace(port, host_port=port.container_port) for port in container.ports
        )
    return replace(container, **changes) if changes else container


def _requests_from_limits(requests: Mapping[str, str], limits: Mapping[str, str]) -> Mapping[str, str]:
    missing = {name: value for name, value in limits.items() if name not in requests}
    return {**requests, **missing} if missing else requests


def _with_source(volume: Volume) -> Volume:
    for source in _VOLUME_SOURCES:
        if getattr(volume, source) is not None:
            return _with_image_defaults(_with_claim_defaults(volume))
    return replace(volume, empty_dir=EmptyDirVolumeSource())


def _with_image_defaults(volume: Volume) -> Volume:
    image = volume.image
    if image is None or image.pull_policy:
        return volume
    policy = pull_policy(image.reference) if image.reference else "IfNotPresent"
    return replace(volume, image=replace(image, pull_policy=policy))


def _with_claim_defaults(volume: Volume) -> Volume:
    template = volume.ephemeral.volume_claim_template if volume.ephemeral else None
    if volume.ephemeral is None or template is None or template.metadata is not None:
        return volume
    return replace(
        volume,
        ephemeral=replace(volume.ephemeral, volume_claim_template=replace(template, metadata=ObjectMeta())),
    )


def with_claim_spec_defaults(spec: PersistentVolumeClaimSpec) -> PersistentVolumeClaimSpec:
    """A claim whose data source and its successor say the same, and whose requests follow its limits."""
    changes: dict[str, Any] = {}
    requests = _requests_from_limits(spec.resources.requests, spec.resources.limits)
    if requests is not spec.resources.requests:
        changes["resources"] = replace(spec.resources, requests=requests)
    return replace(spec, **changes) if changes else spec
