"""Which objects a node has business with: what the pods on it refer to. Fed every change of pods and volumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, TypeAlias

from keelback.api.core_v1 import (
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    LocalObjectReference,
    PersistentVolume,
    Pod,
    PodResourceClaim,
    PodResourceClaimStatus,
    Volume,
)
from keelback.api.pods import MIRROR_ANNOTATION
from keelback.api.resource_v1 import ResourceSlice
from keelback.api.storage_v1 import VolumeAttachment
from keelback.apimachinery.meta import ManagedFieldsEntry, Object, ObjectMeta, Value, named, narrow, written

Reference: TypeAlias = tuple[str, str, str]
"""Resource, namespace and name of an object."""


class ReferringVariable(Value):
    """Where a variable's value comes from."""

    value_from: EnvVarSource | None = None


class ReferringContainer(Value):
    """Where a container's environment comes from."""

    env: tuple[ReferringVariable, ...] = ()
    env_from: tuple[EnvFromSource, ...] = ()


class ReferringPodSpec(Value):
    """What of a pod's spec names other objects, and its node."""

    node_name: str = ""
    service_account_name: str = ""
    image_pull_secrets: tuple[LocalObjectReference, ...] = ()
    init_containers: tuple[ReferringContainer, ...] = ()
    containers: tuple[ReferringContainer, ...] = ()
    ephemeral_containers: tuple[ReferringContainer, ...] = ()
    volumes: tuple[Volume, ...] = ()
    resource_claims: tuple[PodResourceClaim, ...] = ()


class ReferringPodStatus(Value):
    """The claims that were made for a pod."""

    resource_claim_statuses: tuple[PodResourceClaimStatus, ...] = ()


class ReferringPodMeta(ObjectMeta):
    """Metadata without what is longest in it, and names no other object."""

    # No field on the wire has these names, so nothing is ever decoded into them.
    managed_fields: tuple[ManagedFieldsEntry, ...] = named("-", ())
    labels: Mapping[str, str] = named("--", {})


@narrow(Pod)
class ReferringPod(Object):
    """A pod as the graph sees it: a server that starts looks at each of its pods."""

    metadata: ReferringPodMeta = written(ReferringPodMeta())
    spec: ReferringPodSpec = written(ReferringPodSpec())
    status: ReferringPodStatus = written(ReferringPodStatus())


class NodeGraph:
    """From objects to the nodes whose pods refer to them."""

    def __init__(self) -> None:
        self._pods: dict[tuple[str, str], tuple[str, frozenset[Reference]]] = {}
        # How many pods of each node refer to the object.
        self._referrers: dict[Reference, dict[str, int]] = {}
        self._claims: dict[str, tuple[str, str]] = {}
        self._volume_secrets: dict[str, frozenset[Reference]] = {}
        self._secret_volumes: dict[Reference, set[str]] = {}
        self._attachments: dict[str, str] = {}
        self._slices: dict[str, str] = {}

    def put_pod(self, pod: Pod | ReferringPod) -> None:
        """Take in a new or changed pod."""
        key = (pod.metadata.namespace, pod.metadata.name)
        node = pod.spec.node_name
        if not node:
            self.remove_pod(*key)
            return
        references = frozenset(pod_references(pod))
        if key in self._pods:
            if self._pods[key] == (node, references):
                return
            self.remove_pod(*key)
        self._pods[key] = (node, references)
        for reference in references:
            nodes = self._referrers.setdefault(reference, {})
            nodes[node] = nodes.get(node, 0) + 1

    def remove_pod(self, namespace: str, name: str) -> None:
        """Forget a deleted pod."""
        known = self._pods.pop((namespace, name), None)
        if known is None:
            return
        node, references = known
        for reference in references:
            nodes = self._referrers[reference]
            nodes[node] -= 1
            if not nodes[node]:
                del nodes[node]
            if not nodes:
                del self._referrers[reference]

    def put_persistent_volume(self, volume: PersistentVolume) -> None:
        """Take in a new or changed volume."""
        name = volume.metadata.name
        self.remove_persistent_volume(name)
        claim = volume.spec.claim_ref
        if claim is None:
            return
        self._claims[name] = (claim.namespace, claim.name)
        secrets = self._volume_secrets[name] = frozenset(_persistent_volume_secrets(volume))
        for secret in secrets:
            self._secret_volumes.setdefault(secret, set()).add(name)

    def remove_persistent_volume(self, name: str) -> None:
        """Forget a deleted volume."""
        self._claims.pop(name, None)
        for secret in self._volume_secrets.pop(name, frozenset()):
            volumes = self._secret_volumes[secret]
            volumes.discard(name)
            if not volumes:
                del self._secret_volumes[secret]

    def put_volume_attachment(self, attachment: VolumeAttachment) -> None:
        """Take in a new or changed attachment."""
        self._attachments[attachment.metadata.name] = attachment.spec.node_name

    def remove_volume_attachment(self, name: str) -> None:
        """Forget a deleted attachment."""
        self._attachments.pop(name, None)

    def put_resource_slice(self, resource_slice: ResourceSlice) -> None:
        """Take in a new or changed slice."""
        self._slices[resource_slice.metadata.name] = resource_slice.spec.node_name or ""

    def remove_resource_slice(self, name: str) -> None:
        """Forget a deleted slice."""
        self._slices.pop(name, None)

    def is_related(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether the node has business with the object."""
        if resource == "volumeattachments":
            return self._attachments.get(name) == node
        if resource == "resourceslices":
            return self._slices.get(name) == node
        if resource == "pods":
            return self._pods.get((namespace, name), ("", None))[0] == node
        if resource == "persistentvolumes":
            claim = self._claims.get(name)
            return claim is not None and self._refers(node, ("persistentvolumeclaims", *claim))
        reference = (resource, namespace, name)
        if self._refers(node, reference):
            return True
        return any(
            self.is_related(node, "persistentvolumes", "", volume) for volume in self._secret_volumes.get(reference, ())
        )

    def _refers(self, node: str, reference: Reference) -> bool:
        return node in self._referrers.get(reference, ())


def pod_references(pod: Pod | ReferringPod) -> Iterator[Reference]:
    """Everything a kubelet must read to run the pod. Mirror pods refer to nothing: a kubelet could invent them."""
    if MIRROR_ANNOTATION in pod.metadata.annotations:
        return
    namespace, spec = pod.metadata.namespace, pod.spec
    if spec.service_account_name:
        yield ("serviceaccounts", namespace, spec.service_account_name)
    for pull_secret in spec.image_pull_secrets:
        yield ("secrets", namespace, pull_secret.name)
    for containers in (spec.init_containers, spec.containers, spec.ephemeral_containers):
        for container in containers:
            yield from _container_references(container, namespace)
    for volume in spec.volumes:
        yield from _volume_references(volume, pod)
    for claim in spec.resource_claims:
        if claim.resource_claim_name:
            yield ("resourceclaims", namespace, claim.resource_claim_name)
    for status in pod.status.resource_claim_statuses:
        if status.resource_claim_name:
            yield ("resourceclaims", namespace, status.resource_claim_name)


class _Container(Protocol):
    @property
    def env(self) -> tuple[EnvVar, ...] | tuple[ReferringVariable, ...]: ...
    @property
    def env_from(self) -> tuple[EnvFromSource, ...]: ...


def _container_references(container: _Container, namespace: str) -> Iterator[Reference]:
    for variable in container.env:
        source = variable.value_from
        if source is None:
            continue
        if source.secret_key_ref is not None:
            yield ("secrets", namespace, source.secret_key_ref.name)
        if source.config_map_key_ref is not None:
            yield ("configmaps", namespace, source.config_map_key_ref.name)
    for group in container.env_from:
        if group.secret_ref is not None:
            yield ("secrets", namespace, group.secret_ref.name)
        if group.config_map_ref is not None:
            yield ("configmaps", namespace, group.config_map_ref.name)


def _volume_references(volume: Volume, pod: Pod | ReferringPod) -> Iterator[Reference]:
    namespace = pod.metadata.namespace
    if volume.secret is not None:
        yield ("secrets", namespace, volume.secret.secret_name)
    if volume.config_map is not None:
        yield ("configmaps", namespace, volume.config_map.name)
    if volume.persistent_volume_claim is not None:
        yield ("persistentvolumeclaims", namespace, volume.persistent_volume_claim.claim_name)
    if volume.ephemeral is not None:
        yield ("persistentvolumeclaims", namespace, f"{pod.metadata.name}-{volume.name}")
    if volume.csi is not None and volume.csi.node_publish_secret_ref is not None:
        yield ("secrets", namespace, volume.csi.node_publish_secret_ref.name)
    for source in volume.projected.sources if volume.projected is not None else ():
        if source.secret is not None:
            yield ("secrets", namespace, source.secret.name)
        if source.config_map is not None:
            yield ("configmaps", namespace, source.config_map.name)


def _persistent_volume_secrets(volume: PersistentVolume) -> Iterator[Reference]:
    csi = volume.spec.csi
    if csi is None:
        return
    for secret in (csi.node_publish_secret_ref, csi.node_stage_secret_ref, csi.node_expand_secret_ref):
        if secret is not None:
            yield ("secrets", secret.namespace, secret.name)
