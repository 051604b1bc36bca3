"""What the containers of a pod may say: main, init and ephemeral ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, TypeAlias

from keelback.api.core_v1 import Container, ContainerPort, EphemeralContainer, VolumeMount
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_found, not_supported, required
from keelback.registry import container_resources, environment, probes, security_contexts

AnyContainer: TypeAlias = Container | EphemeralContainer

PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_MESSAGE_POLICIES: Final = ("FallbackToLogsOnError", "File")
_PROPAGATIONS: Final = ("Bidirectional", "HostToContainer", "None")


def validate_containers(
    containers: Sequence[Container], volumes: Collection[str], path: str, taken: set[str], *, host_network: bool
) -> Iterator[FieldError]:
    """Everything wrong with a pod's containers. Their names are added to `taken`."""
    if not containers:
        yield required(path)
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        yield from _common(container, volumes, here, host_network)
        if container.name in taken:
            yield duplicate(f"{here}.name", container.name)
        taken.add(container.name)
        yield from probes.validate_all(container, here)
    yield from _host_port_conflicts(containers, path)


def validate_init_containers(
    containers: Sequence[Container], volumes: Collection[str], path: str, taken: set[str], *, host_network: bool
) -> Iterator[FieldError]:
    """Everything wrong with a pod's init containers: only sidecars may have probes and hooks."""
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        yield from _common(container, volumes, here, host_network)
        if container.name in taken:
            yield duplicate(f"{here}.name", container.name)
        taken.add(container.name)
        policy = container.restart_policy
        if policy is not None and policy != "Always" and not container.restart_policy_rules:
            yield not_supported(f"{here}.restartPolicy", policy, ("Always",))
        if policy == "Always":
            yield from probes.validate_all(container, here)
            continue
        for field, given in (
            ("lifecycle", container.lifecycle),
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
        ):
            if given is not None:
                yield forbidden(f"{here}.{field}", "may not be set for init containers without restartPolicy=Always")


def validate_ephemeral_containers(
    containers: Sequence[EphemeralContainer], volumes: Collection[str], path: str, taken: set[str], targets: set[str]
) -> Iterator[FieldError]:
    """Everything wrong with a pod's ephemeral containers: they take no ports, probes, hooks or resources."""
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        yield from _common(container, volumes, here, host_network=False)
        if container.name in taken:
            yield duplicate(f"{here}.name", container.name)
        taken.add(container.name)
        if container.target_container_name and container.target_container_name not in targets:
            yield not_found(f"{here}.targetContainerName", container.target_container_name)
        resources = container.resources
        for field, given in (
            ("ports", container.ports),
            ("livenessProbe", container.liveness_probe),
            ("readinessProbe", container.readiness_probe),
            ("startupProbe", container.startup_probe),
            ("lifecycle", container.lifecycle),
            ("resources", resources.limits or resources.requests or resources.claims),
        ):
            if given:
                yield forbidden(f"{here}.{field}", "cannot be set for an Ephemeral Container")


def _common(container: AnyContainer, volumes: Collection[str], path: str, host_network: bool) -> Iterator[FieldError]:
    if not container.name:
        yield required(f"{path}.name")
    else:
        for complaint in names.dns1123_label(container.name):
            yield invalid(f"{path}.name", container.name, complaint)
    image = container.image
    if not image:
        yield required(f"{path}.image")
    elif image[0].isspace() or image[-1].isspace():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    policy = container.termination_message_policy
    if not policy:
        yield required(f"{path}.terminationMessagePolicy")
    elif policy not in _MESSAGE_POLICIES:
        yield not_supported(f"{path}.terminationMessagePolicy", policy, _MESSAGE_POLICIES)
    if container.ports:
        yield from _ports(container.ports, f"{path}.ports", host_network)
    if container.env or container.env_from:
        yield from environment.validate(container, path)
    if container.volume_mounts:
        yield from _mounts(container, volumes, path)
    if container.volume_devices:
        yield from _devices(container, volumes, path)
    if not container.image_pull_policy:
        yield required(f"{path}.imagePullPolicy")
    elif container.image_pull_policy not in PULL_POLICIES:
        yield not_supported(f"{path}.imagePullPolicy", container.image_pull_policy, PULL_POLICIES)
    resources = container.resources
    if resources.requests or resources.limits:
        yield from container_resources.validate(resources, f"{path}.resources")
    if container.security_context is not None:
        yield from security_contexts.validate_of_container(container.security_context, f"{path}.securityContext")


def _ports(ports: Sequence[ContainerPort], path: str, host_network: bool) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{path}[{index}]"
        if port.name:
            complaints = names.port_name(port.name)
            for complaint in complaints:
                yield invalid(f"{here}.name", port.name, complaint)
            if not complaints and port.name in seen:
                yield duplicate(f"{here}.name", port.name)
            seen.add(port.name)
        if not port.container_port:
            yield required(f"{here}.containerPort")
        else:
            for complaint in names.port_number(port.container_port):
                yield invalid(f"{here}.containerPort", port.container_port, complaint)
        if port.host_port:
            for complaint in names.port_number(port.host_port):
                yield invalid(f"{here}.hostPort", port.host_port, complaint)
        if host_network and port.host_port and port.host_port != port.container_port:
            yield invalid(f"{here}.hostPort", port.host_port, "must match `containerPort` when `hostNetwork` is true")
        if not port.protocol:
            yield required(f"{here}.protocol")
        elif port.protocol not in PROTOCOLS:
            yield not_supported(f"{here}.protocol", port.protocol, PROTOCOLS)


def _host_port_conflicts(containers: Sequence[Container], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, container in enumerate(containers):
        for place, port in enumerate(container.ports):
            if not port.host_port:
                continue
            key = f"{port.protocol}/{port.host_ip}/{port.host_port}"
            if key in seen:
                yield duplicate(f"{path}[{index}].ports[{place}].hostPort", key)
            seen.add(key)


def _mounts(container: AnyContainer, volumes: Collection[str], path: str) -> Iterator[FieldError]:
    devices = {device.name for device in container.volume_devices}
    seen: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        here = f"{path}.volumeMounts[{index}]"
        if not mount.name:
            yield required(f"{here}.name")
        if mount.name not in volumes:
            yield not_found(f"{here}.name", mount.name)
        if not mount.mount_path:
            yield required(f"{here}.mountPath")
        if mount.mount_path in seen:
            yield invalid(f"{here}.mountPath", mount.mount_path, "must be unique")
        seen.add(mount.mount_path)
        if mount.name in devices:
            yield invalid(f"{here}.name", mount.name, "must not already exist in volumeDevices")
        yield from _sub_paths(mount, here)
        propagation = mount.mount_propagation
        if propagation is not None and propagation not in _PROPAGATIONS:
            yield not_supported(f"{here}.mountPropagation", propagation, _PROPAGATIONS)
        elif propagation == "Bidirectional":
            context = container.security_context
            if context is None or not context.privileged:
                yield forbidden(
                    f"{here}.mountPropagation",
                    "Bidirectional mount propagation is available only to privileged containers",
                )


def _sub_paths(mount: VolumeMount, path: str) -> Iterator[FieldError]:
    if mount.sub_path:
        yield from relative_path(mount.sub_path, f"{path}.subPath")
    if mount.sub_path_expr:
        if mount.sub_path:
            yield invalid(f"{path}.subPathExpr", mount.sub_path_expr, "subPathExpr and subPath are mutually exclusive")
        yield from relative_path(mount.sub_path_expr, f"{path}.subPathExpr")


def relative_path(value: str, path: str) -> Iterator[FieldError]:
    """The complaints about a path that should lead downwards."""
    if value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    if ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


def _devices(container: AnyContainer, volumes: Collection[str], path: str) -> Iterator[FieldError]:
    paths: set[str] = set()
    seen: set[str] = set()
    for index, device in enumerate(container.volume_devices):
        here = f"{path}.volumeDevices[{index}]"
        if not device.name:
            yield required(f"{here}.name")
        if device.name in seen:
            yield invalid(f"{here}.name", device.name, "must be unique")
        seen.add(device.name)
        if device.name not in volumes:
            yield not_found(f"{here}.name", device.name)
        if not device.device_path:
            yield required(f"{here}.devicePath")
        if device.device_path in paths:
            yield invalid(f"{here}.devicePath", device.device_path, "must be unique")
        paths.add(device.device_path)
