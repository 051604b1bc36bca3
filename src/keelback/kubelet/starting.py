"""Starting things: a pod's sandbox, and in it a container with its image, variables, mounts and post-start hook."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keelback.api.core_v1 import EphemeralContainer, Pod, Secret
from keelback.apimachinery.errors import StatusError
from keelback.cri.runtime import ContainerRuntimeError
from keelback.cri.values import ContainerConfig, Image, Mount
from keelback.kubelet import environment as environments
from keelback.kubelet.environment import ConfigError, Surroundings
from keelback.kubelet.expansion import UnknownVariable, expand_strictly
from keelback.kubelet.images import ImageProblem
from keelback.kubelet.network_files import MAX_KERNEL_HOSTNAME, hosts_file, kernel_hostname, too_much_dns
from keelback.kubelet.observed import PodRuntime, is_running
from keelback.kubelet.plan import AnyContainer, Start
from keelback.kubelet.pod_config import Unconfigurable, container_config, log_path, sandbox_config, volume_mount
from keelback.kubelet.probing import Answer, probe
from keelback.kubelet.services import NodeServices, PodReferences, Recorder
from keelback.volume.protocol import VolumeError


class StartProblem(Exception):
    """A container could not be started: the reason it waits, and the text."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class SandboxProblem(Exception):
    """The sandbox could not be made."""


async def make_sandbox(pod: Pod, attempt: int, node: NodeServices) -> None:
    """Make the pod's cgroup, log directory and sandbox. Raises SandboxProblem."""
    meta = pod.metadata
    directory = node.config.pod_log_directory(meta.namespace, meta.name, meta.uid)
    if pod.spec.host_users is False and not pod.spec.host_network:
        raise SandboxProblem("user namespaces are not supported by the container runtime of this node")
    name = kernel_hostname(pod, node.config.node_name, node.config.cluster_domain)
    if len(name) > MAX_KERNEL_HOSTNAME and not pod.spec.host_network:
        raise SandboxProblem(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {name} is too long "
            f"({MAX_KERNEL_HOSTNAME} characters is the max, {len(name)} characters requested)"
        )
    _report_dns(pod, node)
    try:
        handler = ""
        if pod.spec.runtime_class_name:
            handler = await node.references.runtime_handler(pod.spec.runtime_class_name)
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(node.cgroups.set_up, pod)
        config = sandbox_config(pod, attempt, node.config, node.resolv_conf)
        await node.runtime.run_pod_sandbox(config, handler)
    except (ContainerRuntimeError, StatusError, OSError, TimeoutError) as error:
        raise SandboxProblem(str(error)) from error


async def pull_secrets(pod: Pod, references: PodReferences, recorder: Recorder) -> list[Secret]:
    """The secrets that the pod's images may be pulled with; those that cannot be had are told of and left out."""
    found = []
    for reference in pod.spec.image_pull_secrets:
        try:
            found.append(await references.secret(pod.metadata.namespace, reference.name))
        except (StatusError, OSError, TimeoutError):
            message = (
                f"Unable to retrieve some image pull secrets ({reference.name}); "
                "attempting to pull the image may not succeed."
            )
            recorder.event(pod, "Warning", "FailedToRetrieveImagePullSecret", message)
    return found


def _report_dns(pod: Pod, node: NodeServices) -> None:
    config = node.config
    for message in too_much_dns(pod, config.cluster_dns, config.cluster_domain, node.resolv_conf):
        node.recorder.event(pod, "Warning", "DNSConfigForming", message)


@dataclass(frozen=True, slots=True)
class Starter:
    """Starts the containers of one pod. `volumes` says where each volume's contents are."""

    pod: Pod
    node: NodeServices
    observed: PodRuntime
    volumes: Mapping[str, Path]

    async def start(self, start: Start, container: AnyContainer) -> str:
        """Create and start one container; its id. Raises StartProblem."""
        image = await self._image(container)
        try:
            variables = await self._environment(container)
            mounts = await self._mounts(container, start.attempt, variables)
            config = container_config(
                container,
                self.pod,
                start.attempt,
                self.node.config,
                image=image,
                environment=variables,
                mounts=mounts,
                memory_capacity_bytes=self.node.memory_capacity_bytes,
                target_id=self._target(container),
            )
        except (ConfigError, Unconfigurable, VolumeError, UnknownVariable, OSError, ValueError) as error:
            self._event("Warning", "Failed", f"Error: {error}", container)
            raise StartProblem("CreateContainerConfigError", str(error)) from error
        container_id = await self._create(config.name, container, start.attempt, config)
        self._event("Normal", "Created", "Container created", container)
        try:
            await self.node.runtime.start_container(container_id)
        except ContainerRuntimeError as error:
            self._event("Warning", "Failed", f"Error: {error}", container)
            raise StartProblem("RunContainerError", str(error)) from error
        self._event("Normal", "Started", "Container started", container)
        await asyncio.to_thread(self._link_log, container.name, start.attempt, container_id)
        return container_id

    async def post_start(self, container: AnyContainer, container_id: str) -> Answer:
        """Run the post-start hook, if there is one."""
        hook = container.lifecycle.post_start if container.lifecycle is not None else None
        if hook is None:
            return Answer(True)
        if hook.sleep is not None:
            await self.node.clock.sleep(hook.sleep.seconds)
            return Answer(True)
        ip = self.observed.ip_of(self.pod, self.node.config.node_ips)
        try:
            return await probe(hook, container, self.pod, container_id, ip, self.node.runtime, 600.0)
        except ValueError as error:
            return Answer(False, str(error))

    # Parts

    async def _image(self, container: AnyContainer) -> Image:
        async def report(kind: str, reason: str, message: str) -> None:
            self._event(kind, reason, message, container)

        try:
            return await self.node.images.ensure(
                self.pod.metadata.uid,
                container.image,
                container.image_pull_policy,
                await pull_secrets(self.pod, self.node.references, self.node.recorder),
                report,
                sandbox_config(self.pod, 0, self.node.config, self.node.resolv_conf),
            )
        except ImageProblem as error:
            self._event("Warning", "Failed", f"Error: {error.reason}", container)
            raise StartProblem(error.reason, error.message) from error

    async def _environment(self, container: AnyContainer) -> dict[str, str]:
        sandbox = self.observed.sandbox
        node_ips = self.node.config.node_ips
        pod_ips = node_ips if self.pod.spec.host_network else (sandbox.ips if sandbox is not None else ())
        surroundings = Surroundings(
            tuple(self.node.services()), tuple(pod_ips), node_ips, self.node.allocatable(), self.volumes
        )
        try:
            return await environments.environment(container, self.pod, self.node.references, surroundings)
        except (StatusError, OSError, TimeoutError) as error:
            raise ConfigError(str(error)) from error

    def _target(self, container: AnyContainer) -> str:
        if not isinstance(container, EphemeralContainer) or not container.target_container_name:
            return ""
        status = self.observed.latest_in_sandbox(container.target_container_name)
        if status is None or not is_running(status):
            raise Unconfigurable(f"unable to find target container {container.target_container_name!r}")
        return status.container.id

    async def _create(self, name: str, container: AnyContainer, attempt: int, config: ContainerConfig) -> str:
        sandbox = self.observed.sandbox
        assert sandbox is not None
        meta = self.pod.metadata
        directory = self.node.config.pod_log_directory(meta.namespace, meta.name, meta.uid) / name
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
        own = sandbox_config(self.pod, sandbox.sandbox.attempt, self.node.config, self.node.resolv_conf)
        try:
            return await self.node.runtime.create_container(sandbox.sandbox.id, config, own)
        except ContainerRuntimeError as error:
            self._event("Warning", "Failed", f"Error: {error}", container)
            raise StartProblem("CreateContainerError", str(error)) from error

    async def _mounts(self, container: AnyContainer, attempt: int, variables: Mapping[str, str]) -> list[Mount]:
        mounts = []
        for index, mount in enumerate(container.volume_mounts):
            contents = self.volumes.get(mount.name)
            if contents is None:
                raise VolumeError(f"cannot find volume {mount.name!r} to mount into container {container.name!r}")
            sub_path = expand_strictly(mount.sub_path_expr, variables) if mount.sub_path_expr else mount.sub_path
            if sub_path:
                contents = await asyncio.to_thread(
                    self.node.volumes.sub_path, self.pod, mount.name, contents, sub_path, container.name, index
                )
            mounts.append(volume_mount(mount, contents, self.pod))
        taken = {mount.container_path for mount in mounts}
        if "/etc/hosts" not in taken:
            mounts.append(Mount("/etc/hosts", str(await asyncio.to_thread(self._write_hosts))))
        if container.termination_message_path and container.termination_message_path not in taken:
            path = await asyncio.to_thread(self._termination_file, container.name)
            mounts.append(Mount(container.termination_message_path, str(path)))
        return mounts

    def _write_hosts(self) -> Path:
        sandbox = self.observed.sandbox
        config = self.node.config
        directory = self.node.volumes.pod_directory(self.pod.metadata.uid)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "etc-hosts"
        node_hosts = ""
        if self.pod.spec.host_network and config.hosts.exists():
            node_hosts = config.hosts.read_text()
        ips = sandbox.ips if sandbox is not None else ()
        path.write_text(hosts_file(self.pod, ips, config.node_name, config.cluster_domain, node_hosts))
        path.chmod(0o644)
        return path

    def _termination_file(self, name: str) -> Path:
        directory = self.node.volumes.pod_directory(self.pod.metadata.uid) / "containers" / name
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / secrets.token_hex(4)
        path.touch()
        # Containers of any user may write it, as upstream.
        path.chmod(0o666)
        return path

    def _link_log(self, name: str, attempt: int, container_id: str) -> None:
        meta, config = self.pod.metadata, self.node.config
        target = config.pod_log_directory(meta.namespace, meta.name, meta.uid) / log_path(name, attempt)
        config.container_logs.mkdir(parents=True, exist_ok=True)
        link = config.container_logs / f"{meta.name}_{meta.namespace}_{name}-{container_id}.log"
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    def _event(self, kind: str, reason: str, message: str, container: AnyContainer) -> None:
        self.node.recorder.event(self.pod, kind, reason, message, container=field_path(self.pod, container.name))


def field_path(pod: Pod, name: str) -> str:
    """How an event says which container it speaks of."""
    if any(one.name == name for one in pod.spec.init_containers):
        return f"spec.initContainers{{{name}}}"
    if any(one.name == name for one in pod.spec.ephemeral_containers):
        return f"spec.ephemeralContainers{{{name}}}"
    return f"spec.containers{{{name}}}"
