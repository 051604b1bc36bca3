"""Changing the resources of a running container in place, where its resizePolicy does not ask for a restart."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from keelback.api import pods
from keelback.api.core_v1 import Container, Pod, ResourceRequirements
from keelback.component.logs import logger
from keelback.cri.values import LinuxResources
from keelback.kubelet.cgroups import container_resources
from keelback.kubelet.killing import kill_by_id
from keelback.kubelet.observed import PodRuntime, is_running
from keelback.kubelet.services import NodeServices

_log = logger("kubelet.resizing")


@dataclass(frozen=True, slots=True)
class Resize:
    """One container whose limits are not what the spec says. `restart`: it must be started anew for it."""

    name: str
    container_id: str
    resources: LinuxResources
    restart: bool = False


def plan_resizes(
    pod: Pod,
    observed: PodRuntime,
    given: Mapping[str, ResourceRequirements],
    memory_capacity_bytes: int,
) -> tuple[Resize, ...]:
    """The containers to resize. `given` is what each running container, by id, was last given."""
    found = []
    for one in (*pod.spec.init_containers, *pod.spec.containers):
        status = observed.latest_in_sandbox(one.name)
        if status is None or not is_running(status):
            continue
        before = given.get(status.container.id)
        if before is None or before == one.resources:
            continue
        wanted = container_resources(one.resources, pod, memory_capacity_bytes)
        found.append(Resize(one.name, status.container.id, wanted, _needs_restart(one, before)))
    return tuple(found)


def _needs_restart(one: Container, before: ResourceRequirements) -> bool:
    policies = {policy.resource_name: policy.restart_policy for policy in one.resize_policy}
    return any(
        policies.get(name) == "RestartContainer"
        and (before.limits.get(name), before.requests.get(name))
        != (one.resources.limits.get(name), one.resources.requests.get(name))
        for name in ("cpu", "memory")
    )


class PodResizer:
    """Carries resizes out. `given` is what each container, by id, was last given."""

    def __init__(self, node: NodeServices) -> None:
        self.given: dict[str, ResourceRequirements] = {}
        self._node = node

    async def resize(self, pod: Pod, observed: PodRuntime, grace_seconds: float) -> bool:
        """Whether anything was resized, or stopped in order to be."""
        for one in observed.running:
            # What is found running was made for this spec: its generation has been seen before.
            container = pods.container(pod.spec, one.container.name)
            if container is not None:
                self.given.setdefault(one.container.id, container.resources)
        resizes = plan_resizes(pod, observed, self.given, self._node.memory_capacity_bytes)
        if not resizes:
            return False
        await self._resize_pod(pod)
        for resize in resizes:
            container = pods.container(pod.spec, resize.name)
            assert container is not None
            if resize.restart:
                message = f"Container {resize.name} resize requires restart"
                await kill_by_id(pod, observed, resize.container_id, message, grace_seconds, self._node)
            else:
                await self._node.runtime.update_container_resources(resize.container_id, resize.resources)
            self.given[resize.container_id] = container.resources
        await self._resize_pod(pod)
        return True

    async def _resize_pod(self, pod: Pod) -> None:
        try:
            await asyncio.to_thread(self._node.cgroups.set_up, pod)
        except OSError as error:
            # A limit below the present use is refused; it is tried again once the containers are smaller.
            _log.debug("Could not resize a pod's cgroup", pod=pods.full_name(pod), error=str(error))
