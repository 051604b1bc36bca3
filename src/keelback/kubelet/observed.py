"""What the runtime has of a pod, as one value, and how it is read.

The labels on sandboxes and containers are the only memory: a restarted kubelet finds its pods by them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from keelback.api.core_v1 import Pod
from keelback.cri.runtime import ContainerRuntime, NotFound
from keelback.cri.values import ContainerState, ContainerStatus, PodSandboxStatus, SandboxState

POD_NAME_LABEL = "io.kubernetes.pod.name"
POD_NAMESPACE_LABEL = "io.kubernetes.pod.namespace"
POD_UID_LABEL = "io.kubernetes.pod.uid"
CONTAINER_NAME_LABEL = "io.kubernetes.container.name"

HASH_ANNOTATION = "io.kubernetes.container.hash"
RESTART_COUNT_ANNOTATION = "io.kubernetes.container.restartCount"
TERMINATION_PATH_ANNOTATION = "io.kubernetes.container.terminationMessagePath"
TERMINATION_POLICY_ANNOTATION = "io.kubernetes.container.terminationMessagePolicy"
GRACE_ANNOTATION = "io.kubernetes.pod.terminationGracePeriod"
PRE_STOP_ANNOTATION = "io.kubernetes.container.preStopHandler"

MAX_TERMINATION_MESSAGE_BYTES = 4096
MAX_LOG_MESSAGE_LINES = 80
MAX_LOG_MESSAGE_BYTES = 2048


@dataclass(frozen=True, slots=True)
class PodRuntime:
    """The sandboxes and containers of one pod, each newest first."""

    uid: str
    sandboxes: tuple[PodSandboxStatus, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()

    @property
    def sandbox(self) -> PodSandboxStatus | None:
        """The newest sandbox, in whatever state."""
        return self.sandboxes[0] if self.sandboxes else None

    def ip_of(self, pod: Pod, node_ips: Sequence[str]) -> str:
        """Where the pod is asked how it is: on the network of the node a sandbox has no address of its own."""
        if pod.spec.host_network:
            return node_ips[0]
        sandbox = self.sandbox
        return sandbox.ips[0] if sandbox is not None and sandbox.ips else pod.status.pod_ip

    def latest(self, name: str) -> ContainerStatus | None:
        """The newest container of that name."""
        return next((one for one in self.containers if one.container.name == name), None)

    def latest_in_sandbox(self, name: str) -> ContainerStatus | None:
        """The newest container of that name in the newest sandbox: an earlier sandbox's containers are history."""
        sandbox = self.sandbox
        if sandbox is None:
            return None
        return next(
            (
                one
                for one in self.containers
                if one.container.name == name and one.container.sandbox_id == sandbox.sandbox.id
            ),
            None,
        )

    def history(self, name: str) -> tuple[ContainerStatus, ...]:
        """All containers of that name, newest first."""
        return tuple(one for one in self.containers if one.container.name == name)

    @property
    def running(self) -> tuple[ContainerStatus, ...]:
        """The containers that run, or may run."""
        return tuple(
            one
            for one in self.containers
            if one.container.state in (ContainerState.RUNNING, ContainerState.CREATED, ContainerState.UNKNOWN)
        )

    @property
    def is_gone(self) -> bool:
        """Whether nothing of it holds processes or addresses any more."""
        return not self.running and all(one.sandbox.state != SandboxState.READY for one in self.sandboxes)


def is_running(status: ContainerStatus | None) -> bool:
    """Whether there is such a container and it runs."""
    return status is not None and status.container.state == ContainerState.RUNNING


def instant(nanoseconds: int) -> datetime | None:
    """The runtime's instant as a time, or None where it is 0."""
    return None if nanoseconds <= 0 else datetime.fromtimestamp(nanoseconds / 1e9, UTC)


class Observer:
    """Reads pods from the runtime; what can no longer change is asked for once."""

    def __init__(self, runtime: ContainerRuntime) -> None:
        self._runtime = runtime
        self._ended: dict[str, ContainerStatus] = {}

    async def observe(self, uid: str) -> PodRuntime:
        """The pod as the runtime has it now."""
        labels = {POD_UID_LABEL: uid}
        sandboxes, containers = await asyncio.gather(
            self._runtime.list_pod_sandboxes(labels=labels), self._runtime.list_containers(labels=labels)
        )
        sandbox_statuses = [await self._sandbox_status(one.id) for one in sandboxes]
        statuses = [await self._container_status(one.id, one.state) for one in containers]
        return PodRuntime(
            uid=uid,
            sandboxes=tuple(
                sorted(
                    (one for one in sandbox_statuses if one is not None),
                    key=lambda one: one.sandbox.created_at,
                    reverse=True,
                )
            ),
            containers=tuple(
                sorted(
                    (one for one in statuses if one is not None),
                    key=lambda one: (one.container.created_at, one.container.attempt),
                    reverse=True,
                )
            ),
        )

    def forget(self, container_id: str) -> None:
        """The container is removed."""
        self._ended.pop(container_id, None)

    async def _sandbox_status(self, sandbox_id: str) -> PodSandboxStatus | None:
        try:
            return await self._runtime.pod_sandbox_status(sandbox_id)
        except NotFound:
            return None

    async def _container_status(self, container_id: str, state: ContainerState) -> ContainerStatus | None:
        known = self._ended.get(container_id)
        if known is not None and state == ContainerState.EXITED:
            return known
        try:
            status = await self._runtime.container_status(container_id)
        except NotFound:
            return None
        if status.container.state == ContainerState.EXITED:
            self._ended[container_id] = status
        return status


def pod_labels(name: str, namespace: str, uid: str) -> Mapping[str, str]:
    """The labels by which a pod's sandbox is found again."""
    return {POD_NAME_LABEL: name, POD_NAMESPACE_LABEL: namespace, POD_UID_LABEL: uid}
