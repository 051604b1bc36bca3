"""Static pods: manifests in a directory of the node, run without the API and pictured there by mirror pods.

A static pod's uid is the hash of its manifest and place: a changed manifest is another pod, the same one is adopted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from keelback.api import pods
from keelback.api.core_v1 import Node, Pod, PodStatus, Toleration
from keelback.apimachinery import yaml
from keelback.apimachinery.errors import AlreadyExists, NotFound, StatusError
from keelback.apimachinery.meta import OwnerReference, replace
from keelback.client import Client
from keelback.component.logs import logger
from keelback.kubelet.services import StatusSink

_log = logger("kubelet.static")


def read_manifests(directory: Path, node_name: str) -> dict[str, Pod]:
    """The pods of the directory's files, by uid; what is no pod is told of and passed over."""
    found: dict[str, Pod] = {}
    if not directory.is_dir():
        return found
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            pod = static_pod(path.read_bytes(), str(path), node_name)
        except (OSError, ValueError, yaml.YAMLError, msgspec.MsgspecError) as error:
            _log.warning("A manifest is not a pod that can be run", path=str(path), error=str(error))
            continue
        found[pod.metadata.uid] = pod
    return found


def static_pod(manifest: bytes, source: str, node_name: str) -> Pod:
    """The pod of one manifest. Raises ValueError."""
    tree, _ = yaml.load(manifest)
    if not isinstance(tree, dict) or tree.get("kind") != "Pod":
        raise ValueError("not a Pod")
    pod = msgspec.convert(tree, Pod, strict=False)
    if not pod.metadata.name:
        raise ValueError("a pod without a name")
    digest = hashlib.md5(manifest + source.encode() + node_name.encode(), usedforsecurity=False).hexdigest()
    annotations = {
        **pod.metadata.annotations,
        pods.CONFIG_HASH_ANNOTATION: digest,
        pods.CONFIG_SOURCE_ANNOTATION: "file",
    }
    metadata = replace(
        pod.metadata,
        name=f"{pod.metadata.name}-{node_name}",
        namespace=pod.metadata.namespace or "default",
        uid=digest,
        annotations=annotations,
    )
    # It lives and dies with its manifest: no taint evicts it.
    tolerations = (*pod.spec.tolerations, Toleration(operator="Exists", effect="NoExecute"))
    spec = replace(pod.spec, node_name=node_name, tolerations=tolerations, enable_service_links=True)
    return replace(pod, metadata=metadata, spec=spec, status=PodStatus(phase="Pending"))


def mirror_of(pod: Pod, node: Node) -> Pod:
    """The pod that pictures a static pod in the API."""
    annotations = {
        **pod.metadata.annotations,
        pods.MIRROR_ANNOTATION: pod.metadata.annotations[pods.CONFIG_HASH_ANNOTATION],
    }
    owner = OwnerReference(
        api_version="v1", kind="Node", name=node.metadata.name, uid=node.metadata.uid, controller=True
    )
    metadata = replace(pod.metadata, uid="", annotations=annotations, owner_references=(owner,))
    return replace(pod, metadata=metadata, status=PodStatus())


@dataclass(slots=True)
class _Static:
    pod: Pod
    status: PodStatus | None = None


class Mirrors:
    """Keeps mirror pods like their static pods; a `StatusSink` that puts static pods' statuses on the mirrors."""

    def __init__(self, client: Client, sink: StatusSink) -> None:
        self._client = client
        self._sink = sink
        self._static: dict[str, _Static] = {}
        self._mirrors: dict[tuple[str, str], Pod] = {}

    def set_static(self, wanted: Mapping[str, Pod]) -> None:
        """These are the static pods now."""
        self._static = {uid: self._static.get(uid, _Static(pod)) for uid, pod in wanted.items()}

    def see(self, mirror: Pod) -> None:
        """The API has this mirror pod."""
        self._mirrors[mirror.metadata.namespace, mirror.metadata.name] = mirror
        digest = mirror.metadata.annotations.get(pods.MIRROR_ANNOTATION, "")
        static = self._static.get(digest)
        if static is not None and static.status is not None:
            self._sink.write(mirror, static.status)

    def forget(self, mirror: Pod) -> None:
        """The API has it no more."""
        self._mirrors.pop((mirror.metadata.namespace, mirror.metadata.name), None)

    def write(self, pod: Pod, status: PodStatus) -> None:
        """As a `StatusSink`."""
        static = self._static.get(pod.metadata.uid)
        if not pods.is_static(pod):
            self._sink.write(pod, status)
        elif static is not None:
            static.status = status
            mirror = self._mirrors.get((pod.metadata.namespace, pod.metadata.name))
            if mirror is not None:
                self._sink.write(mirror, status)

    def remove(self, pod: Pod, status: PodStatus) -> None:
        """As a `StatusSink`."""
        if not pods.is_static(pod):
            self._sink.remove(pod, status)

    async def reconcile(self, node: Node) -> None:
        """Make the mirrors that are missing, and delete those that picture nothing."""
        for mirror in list(self._mirrors.values()):
            digest = mirror.metadata.annotations.get(pods.MIRROR_ANNOTATION, "")
            if digest not in self._static or mirror.metadata.deletion_timestamp is not None:
                await self._delete(mirror)
        for static in list(self._static.values()):
            key = (static.pod.metadata.namespace, static.pod.metadata.name)
            if key not in self._mirrors and node.metadata.uid:
                await self._create(static.pod, node)

    async def _create(self, pod: Pod, node: Node) -> None:
        try:
            self.see(await self._client.create(mirror_of(pod, node)))
        except AlreadyExists:
            _log.debug("A mirror pod exists already", pod=pods.full_name(pod))
        except (StatusError, OSError, TimeoutError) as error:
            _log.warning("Could not create a mirror pod", pod=pods.full_name(pod), error=str(error))

    async def _delete(self, mirror: Pod) -> None:
        meta = mirror.metadata
        try:
            await self._client.delete(Pod, meta.name, meta.namespace, grace_period_seconds=0, uid=meta.uid)
        except NotFound:
            self.forget(mirror)
        except (StatusError, OSError, TimeoutError) as error:
            _log.warning("Could not delete a mirror pod", pod=pods.full_name(mirror), error=str(error))
