"""Changing the resources of a running container in place, where its resizePolicy does not ask for a restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keelback.api.core_v1 import Container, Pod, ResourceRequirements
from keelback.cri.runtime import LinuxResources
from keelback.kubelet.cgroups import container_resources
from keelback.kubelet.observed import PodRuntime, is_running


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
