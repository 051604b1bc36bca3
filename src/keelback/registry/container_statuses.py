"""What the statuses of a pod's containers may say: no container comes back that has ended for good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from keelback.api import pods
from keelback.api.core_v1 import Container, ContainerStatus, LinuxContainerUser, Pod, ResourceStatus
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported

_FIELDS: Final = ("container_statuses", "init_container_statuses", "ephemeral_container_statuses")
_WIRE: Final = {
    "container_statuses": "containerStatuses",
    "init_container_statuses": "initContainerStatuses",
    "ephemeral_container_statuses": "ephemeralContainerStatuses",
}
_HEALTHS: Final = ("Healthy", "Unhealthy", "Unknown")


def validate_transitions(new: Pod, old: Pod) -> Iterator[FieldError]:
    """The complaints about containers that have ended for good and are said to be alive again."""
    spec = old.spec
    rules = [rule for one in pods.all_containers(spec) for rule in one.restart_policy_rules]
    may_all_restart = any(rule.action == "RestartAllContainers" for rule in rules)
    for field, containers in zip(_FIELDS, (spec.containers, spec.init_containers, ()), strict=True):
        if may_all_restart and field != "ephemeral_container_statuses":
            continue
        now = {one.name: one for one in reversed(getattr(new.status, field))}
        for index, before in enumerate(getattr(old.status, field)):
            ended, after = before.state.terminated, now.get(before.name)
            if ended is None or after is None or after.state.terminated is not None:
                continue
            container = next((one for one in containers if one.name == before.name), None)
            policy = "Never" if container is None else pods.restart_policy(container, spec, ended.exit_code)
            if policy != "Always" and (policy != "OnFailure" or ended.exit_code == 0):
                path = f"status.{_WIRE[field]}[{index}].state"
                yield forbidden(path, "may not be transitioned to non-terminated state")


def validate(pod: Pod) -> Iterator[FieldError]:
    """Everything else wrong with the statuses: the users that processes run as, and the health of devices."""
    is_for_windows = pod.spec.os is not None and pod.spec.os.name == "windows"
    for field in _FIELDS:
        for index, status in enumerate(getattr(pod.status, field)):
            linux = status.user.linux if status.user is not None else None
            path = f"status.{_WIRE[field]}[{index}].linux"
            if linux is not None and is_for_windows:
                yield forbidden(path, "cannot be set for a windows pod")
            elif linux is not None:
                yield from _linux_user(linux, path)
    status = pod.status
    if status.container_statuses:
        yield from _devices(status.container_statuses, pod.spec.containers, "status.containerStatuses")
    if status.init_container_statuses:
        yield from _devices(status.init_container_statuses, pod.spec.init_containers, "status.initContainerStatuses")
    for index, one in enumerate(status.ephemeral_container_statuses):
        if one.allocated_resources_status:
            here = f"status.ephemeralContainerStatuses[{index}].allocatedResourcesStatus"
            yield forbidden(here, "must not be specified in container status")


def _linux_user(user: LinuxContainerUser, path: str) -> Iterator[FieldError]:
    for field, number in (("uid", user.uid), ("gid", user.gid)):
        for complaint in names.group_or_user_id(number):
            yield invalid(f"{path}.{field}", number, complaint)
    for index, group in enumerate(user.supplemental_groups):
        for complaint in names.group_or_user_id(group):
            yield invalid(f"{path}.supplementalGroups[{index}]", group, complaint)


def _devices(statuses: Sequence[ContainerStatus], containers: Sequence[Container], path: str) -> Iterator[FieldError]:
    by_name = {one.name: one for one in containers}
    for index, status in enumerate(statuses):
        for place, resource in enumerate(status.allocated_resources_status):
            here = f"{path}[{index}].allocatedResourcesStatus[{place}]"
            container = by_name.get(status.name)
            # Statuses of containers the pod does not have are let through everywhere.
            if container is not None and resource.name not in _device_names(container):
                yield invalid(f"{here}.name", resource.name, "must match one of the container's resource requests")
            yield from _health(resource, f"{here}.resources")


def _device_names(container: Container) -> set[str]:
    resources = container.resources
    claims = {f"claim:{one.name}/{one.request}" if one.request else f"claim:{one.name}" for one in resources.claims}
    return {*resources.requests, *resources.limits, *claims}


def _health(resource: ResourceStatus, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, one in enumerate(resource.resources):
        if one.health not in _HEALTHS:
            yield not_supported(f"{path}[{index}].health", one.health, _HEALTHS)
        if one.resource_id in seen:
            yield duplicate(f"{path}[{index}].resourceID", one.resource_id)
        seen.add(one.resource_id)
