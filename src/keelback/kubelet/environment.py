"""A container's environment variables: the services around it, envFrom, env with its references, and $(VAR) in them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from keelback.api import pods
from keelback.api.core_v1 import (
    ConfigMap,
    EnvVar,
    EnvVarSource,
    FileKeySelector,
    Pod,
    Secret,
    Service,
)
from keelback.apimachinery.errors import NotFound
from keelback.kubelet import env_file
from keelback.kubelet.expansion import expand
from keelback.kubelet.plan import AnyContainer
from keelback.volume.downward_api import DownwardError, field_value, resource_value
from keelback.volume.pod_volumes import read_within
from keelback.volume.protocol import VolumeError


class ConfigError(Exception):
    """The container cannot be configured as its spec asks; its text goes into CreateContainerConfigError."""


class References(Protocol):
    """Where the ConfigMaps and Secrets of a pod come from. Raises NotFound for what does not exist."""

    async def config_map(self, namespace: str, name: str) -> ConfigMap: ...
    async def secret(self, namespace: str, name: str) -> Secret: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What variables may speak of beside the pod itself."""

    services: tuple[Service, ...] = ()
    pod_ips: tuple[str, ...] = ()
    host_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, str] | None = None
    volumes: Mapping[str, Path] = field(default_factory=dict)
    """Where the contents of the pod's volumes are, by name."""


async def environment(
    container: AnyContainer, pod: Pod, references: References, surroundings: Surroundings
) -> dict[str, str]:
    """The variables in order of precedence: what the container names beats envFrom, which beats the services."""
    result: dict[str, str] = {}
    for prefix, values in await _env_from(container, pod, references):
        for name, value in values.items():
            result[prefix + name] = value
    enabled = pod.spec.enable_service_links is not False
    services = service_variables(pod.metadata.namespace, surroundings.services, links=enabled)
    known = {**services, **result}
    named: dict[str, str] = {}
    for variable in container.env:
        told = await _value(variable, container, pod, references, surroundings, {**known, **named})
        if told is not None:
            named[variable.name] = told
    return {**services, **result, **named}


async def _env_from(container: AnyContainer, pod: Pod, references: References) -> list[tuple[str, Mapping[str, str]]]:
    found: list[tuple[str, Mapping[str, str]]] = []
    namespace = pod.metadata.namespace
    for source in container.env_from:
        if source.config_map_ref is not None:
            config_map = await _config_map(
                references, namespace, source.config_map_ref.name, optional=bool(source.config_map_ref.optional)
            )
            if config_map is not None:
                found.append((source.prefix, config_map.data))
        if source.secret_ref is not None:
            secret = await _secret(
                references, namespace, source.secret_ref.name, optional=bool(source.secret_ref.optional)
            )
            if secret is not None:
                found.append((source.prefix, {key: _text(value) for key, value in secret.data.items()}))
    return found


async def _value(
    variable: EnvVar,
    container: AnyContainer,
    pod: Pod,
    references: References,
    surroundings: Surroundings,
    known: Mapping[str, str],
) -> str | None:
    """The variable's value, or None where an optional reference leads nowhere."""
    if variable.value_from is None:
        return expand(variable.value, known)
    return await _referenced(variable.value_from, container, pod, references, surroundings)


async def _referenced(
    source: EnvVarSource, container: AnyContainer, pod: Pod, references: References, surroundings: Surroundings
) -> str | None:
    namespace = pod.metadata.namespace
    try:
        if source.field_ref is not None:
            return _field(source.field_ref.field_path, pod, surroundings)
        if source.resource_field_ref is not None:
            selector = source.resource_field_ref
            of: AnyContainer | None = container
            if selector.container_name:
                of = pods.container(pod.spec, selector.container_name)
            if of is None:
                raise ConfigError(f"container {selector.container_name} not found")
            return resource_value(selector.resource, selector.divisor, of.resources, surroundings.allocatable or {})
    except DownwardError as error:
        raise ConfigError(str(error)) from error
    if source.config_map_key_ref is not None:
        key = source.config_map_key_ref
        config_map = await _config_map(references, namespace, key.name, optional=bool(key.optional))
        if config_map is None:
            return None
        if key.key not in config_map.data:
            if key.optional:
                return None
            raise ConfigError(f"couldn't find key {key.key} in ConfigMap {namespace}/{key.name}")
        return config_map.data[key.key]
    if source.secret_key_ref is not None:
        secret_key = source.secret_key_ref
        secret = await _secret(references, namespace, secret_key.name, optional=bool(secret_key.optional))
        if secret is None:
            return None
        if secret_key.key not in secret.data:
            if secret_key.optional:
                return None
            raise ConfigError(f"couldn't find key {secret_key.key} in Secret {namespace}/{secret_key.name}")
        return _text(secret.data[secret_key.key])
    if source.file_key_ref is not None:
        return await asyncio.to_thread(_of_file, source.file_key_ref, surroundings.volumes)
    return ""


def _of_file(selector: FileKeySelector, volumes: Mapping[str, Path]) -> str | None:
    contents = volumes.get(selector.volume_name)
    if contents is None:
        raise ConfigError(f"cannot find the volume {selector.volume_name!r} referenced by FileKeyRef".replace("'", '"'))
    try:
        found = env_file.parse(read_within(contents, selector.path).decode())
    except FileNotFoundError as error:
        if selector.optional:
            return None
        raise ConfigError(f"environment variable file {selector.path!r} not found".replace("'", '"')) from error
    except (OSError, ValueError, VolumeError) as error:
        raise ConfigError(f"couldn't parse env file: {error}") from error
    if selector.key not in found and not selector.optional:
        raise ConfigError(f"environment variable key {selector.key!r} not found in file".replace("'", '"'))
    return found.get(selector.key)


def _field(path: str, pod: Pod, surroundings: Surroundings) -> str:
    match path:
        case "status.hostIP":
            return surroundings.host_ips[0] if surroundings.host_ips else ""
        case "status.hostIPs":
            return ",".join(surroundings.host_ips)
        case "status.podIP":
            return surroundings.pod_ips[0] if surroundings.pod_ips else ""
        case "status.podIPs":
            return ",".join(surroundings.pod_ips)
        case "spec.nodeName":
            return pod.spec.node_name
        case "spec.serviceAccountName":
            return pod.spec.service_account_name
        case _:
            return field_value(path, pod)


async def _config_map(references: References, namespace: str, name: str, *, optional: bool) -> ConfigMap | None:
    try:
        return await references.config_map(namespace, name)
    except NotFound as error:
        if optional:
            return None
        raise ConfigError(f'configmap "{name}" not found') from error


async def _secret(references: References, namespace: str, name: str, *, optional: bool) -> Secret | None:
    try:
        return await references.secret(namespace, name)
    except NotFound as error:
        if optional:
            return None
        raise ConfigError(f'secret "{name}" not found') from error


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


# Services


def service_variables(namespace: str, services: Iterable[Service], *, links: bool) -> dict[str, str]:
    """`{NAME}_SERVICE_HOST` and the Docker links of the namespace's services, and of default/kubernetes always."""
    result: dict[str, str] = {}
    chosen: dict[str, Service] = {}
    for service in services:
        meta = service.metadata
        if service.spec.cluster_ip in ("", "None"):
            continue
        is_master = meta.namespace == "default" and meta.name == "kubernetes"
        if is_master:
            chosen.setdefault(meta.name, service)
        elif meta.namespace == namespace and links:
            chosen[meta.name] = service
    for service in chosen.values():
        result.update(_of_service(service))
    return result


def _of_service(service: Service) -> dict[str, str]:
    if not service.spec.ports:
        return {}
    name = _variable_name(service.metadata.name)
    host = service.spec.cluster_ip
    first = service.spec.ports[0]
    result = {f"{name}_SERVICE_HOST": host, f"{name}_SERVICE_PORT": str(first.port)}
    for port in service.spec.ports:
        if port.name:
            result[f"{name}_SERVICE_PORT_{_variable_name(port.name)}"] = str(port.port)
    bracketed = f"[{host}]" if ":" in host else host
    for index, port in enumerate(service.spec.ports):
        protocol = port.protocol or "TCP"
        url = f"{protocol.lower()}://{bracketed}:{port.port}"
        if index == 0:
            result[f"{name}_PORT"] = url
        prefix = f"{name}_PORT_{port.port}_{protocol.upper()}"
        result[prefix] = url
        result[f"{prefix}_PROTO"] = protocol.lower()
        result[f"{prefix}_PORT"] = str(port.port)
        result[f"{prefix}_ADDR"] = host
    return result


def _variable_name(name: str) -> str:
    return re.sub(r"[-.]", "_", name).upper()
