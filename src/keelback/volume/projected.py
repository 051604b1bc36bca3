"""projected volumes: several sources in one directory, the service-account token among them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from keelback.api import pods
from keelback.api.core_v1 import Pod, ServiceAccountTokenProjection, Volume, VolumeProjection
from keelback.concurrency.clock import Clock
from keelback.volume import config_map, downward_api, secret
from keelback.volume.atomic_writer import File
from keelback.volume.mounts import Mounter
from keelback.volume.protocol import NodeFacts, Reader, TokenRequest, Tokens, VolumeError
from keelback.volume.written import show


@dataclass(frozen=True, slots=True)
class ProjectedVolume:
    reader: Reader
    tokens: Tokens
    node: NodeFacts
    mounter: Mounter
    clock: Clock
    name: str = "kubernetes.io/projected"

    def handles(self, volume: Volume) -> bool:
        return volume.projected is not None

    async def set_up(self, volume: Volume, pod: Pod, path: Path) -> Path:
        projected = volume.projected
        assert projected is not None
        files: dict[str, File] = {}
        for source in projected.sources:
            files.update(await self._files(source, projected.default_mode, pod))
        return await show(files, pod, path, self.mounter, self.clock, in_memory=True)

    async def _files(self, source: VolumeProjection, mode: int, pod: Pod) -> dict[str, File]:
        namespace = pod.metadata.namespace
        if source.config_map is not None:
            one = source.config_map
            return await config_map.projected_files(
                self.reader, namespace, one.name, one.items, mode, optional=bool(one.optional)
            )
        if source.secret is not None:
            other = source.secret
            return await secret.projected_files(
                self.reader, namespace, other.name, other.items, mode, optional=bool(other.optional)
            )
        if source.downward_api is not None:
            return downward_api.projected_files(source.downward_api.items, mode, pod, self.node)
        if source.service_account_token is not None:
            return await self._token(source.service_account_token, mode, pod)
        raise VolumeError("projected volume has a source that this node does not support")

    async def _token(self, source: ServiceAccountTokenProjection, mode: int, pod: Pod) -> dict[str, File]:
        token = await self.tokens.token(
            TokenRequest(
                namespace=pod.metadata.namespace,
                service_account=pod.spec.service_account_name or "default",
                pod_name=pod.metadata.name,
                pod_uid=pod.metadata.uid,
                audience=source.audience,
                expiration_seconds=source.expiration_seconds,
            )
        )
        file = File(token.encode(), mode)
        if pod.spec.security_context.fs_group is not None:
            # The group is given the right to read it afterwards.
            return {source.path: replace(file, mode=0o600)}
        owner = _common_user(pod)
        return {source.path: file if owner is None else replace(file, mode=0o600, uid=owner)}


def _common_user(pod: Pod) -> int | None:
    """The user that all containers are told to run as, if it is one."""
    default = pod.spec.security_context.run_as_user
    users = {
        default
        if one.security_context is None or one.security_context.run_as_user is None
        else one.security_context.run_as_user
        for one in pods.all_containers(pod.spec)
    }
    return users.pop() if len(users) == 1 else None
