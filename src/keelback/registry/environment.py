"""What the environment variables of a container may say, and the references to fields that volumes share with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from keelback.api.core_v1 import (
    Container,
    EnvFromSource,
    EnvVar,
    EnvVarSource,
    EphemeralContainer,
    FileKeySelector,
    ObjectFieldSelector,
    PodSpec,
    ResourceFieldSelector,
    Volume,
)
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_found, not_supported, required
from keelback.registry import relative_paths, windows_options

_FIELDS: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS: Final = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_CONVERTIBLE: Final = frozenset(
    {*_FIELDS, *VOLUME_FIELDS, "spec.host", "spec.restartPolicy", "spec.schedulerName", "status.phase"}
)
_RESOURCES: Final = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES: Final = ("limits.hugepages-", "requests.hugepages-")
_OF_BYTES: Final = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_subscripted = re.compile(r"(.+?)\['(.*)'\]").fullmatch
_MORE_THAN_ONE: Final = "may not have more than one field specified at a time"


def validate(container: Container | EphemeralContainer, path: str) -> Iterator[FieldError]:
    """Everything wrong with `env` and `envFrom`."""
    for index, variable in enumerate(container.env):
        here = f"{path}.env[{index}]"
        if not variable.name:
            yield required(f"{here}.name")
        else:
            for complaint in names.relaxed_env_var_name(variable.name):
                yield invalid(f"{here}.name", variable.name, complaint)
        if variable.value_from is not None:
            yield from _value_from(variable, variable.value_from, f"{here}.valueFrom")
    for index, source in enumerate(container.env_from):
        # Upstream reports the choice of a source at the list, not at its element.
        yield from _env_from(source, f"{path}.envFrom[{index}]", f"{path}.envFrom")


def validate_files(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """The complaints about variables whose files are in no volume where a container could have left them."""
    volumes: dict[str, Volume] | None = None
    for here, container in windows_options.containers(spec, path):
        for index, variable in enumerate(container.env):
            selector = variable.value_from.file_key_ref if variable.value_from is not None else None
            if selector is None:
                continue
            volumes = volumes or {one.name: one for one in spec.volumes}
            volume, where = volumes.get(selector.volume_name), f"{here}.env[{index}].valueFrom.fileKeyRef.volumeName"
            if volume is None:
                yield not_found(where, selector.volume_name)
            elif volume.empty_dir is None:
                yield invalid(where, selector.volume_name, "referenced volume must be of type emptyDir")


def _value_from(variable: EnvVar, source: EnvVarSource, path: str) -> Iterator[FieldError]:
    count = 0
    if source.field_ref is not None:
        count += 1
        yield from validate_field_ref(source.field_ref, _FIELDS, f"{path}.fieldRef")
    if source.resource_field_ref is not None:
        count += 1
        yield from validate_resource_field_ref(
            source.resource_field_ref, f"{path}.resourceFieldRef", needs_container=False
        )
    for field, chosen in (("configMapKeyRef", source.config_map_key_ref), ("secretKeyRef", source.secret_key_ref)):
        if chosen is None:
            continue
        count += 1
        for complaint in names.name_is_dns_subdomain(chosen.name):
            yield invalid(f"{path}.{field}.name", chosen.name, complaint)
        if not chosen.key:
            yield required(f"{path}.{field}.key")
        else:
            for complaint in names.config_map_key(chosen.key):
                yield invalid(f"{path}.{field}.key", chosen.key, complaint)
    if source.file_key_ref is not None:
        count += 1
        yield from _file_key(source.file_key_ref, f"{path}.fileKeyRef")
    if not count:
        yield invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        )
    elif variable.value:
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif count > 1:
        yield invalid(path, "", _MORE_THAN_ONE)


def _file_key(selector: FileKeySelector, path: str) -> Iterator[FieldError]:
    if not selector.key:
        yield required(f"{path}.key")
    else:
        for complaint in names.relaxed_env_var_name(selector.key):
            yield invalid(f"{path}.key", selector.key, complaint)
    if not selector.volume_name:
        yield required(f"{path}.volumeName")
    else:
        for complaint in names.dns1123_label(selector.volume_name):
            yield invalid(f"{path}.volumeName", selector.volume_name, complaint)
    if not selector.path:
        yield required(f"{path}.path")
    else:
        yield from relative_paths.without_backsteps(selector.path, f"{path}.path")


def validate_field_ref(selector: ObjectFieldSelector, known: tuple[str, ...], path: str) -> Iterator[FieldError]:
    """Everything wrong with a reference to a field of the pod."""
    field_path = selector.field_path
    if not selector.api_version:
        yield required(f"{path}.apiVersion")
        return
    if not field_path:
        yield required(f"{path}.fieldPath")
        return
    subscripted = _subscripted(field_path)
    stem = field_path if subscripted is None else subscripted[1]
    why = ""
    if selector.api_version != "v1":
        why = f"unsupported pod version: {selector.api_version}"
    elif subscripted is not None and stem not in ("metadata.annotations", "metadata.labels"):
        why = f"field label does not support subscript: {field_path}"
    elif stem not in _CONVERTIBLE:
        why = f"field label not supported: {field_path}"
    if why:
        yield invalid(f"{path}.fieldPath", field_path, f"error converting fieldPath: {why}")
    elif subscripted is None:
        # The name it had before v1 is still understood.
        stem = "spec.nodeName" if stem == "spec.host" else stem
        if stem not in known:
            yield not_supported(f"{path}.fieldPath", stem, known)
    else:
        key = subscripted[2].lower() if stem == "metadata.annotations" else subscripted[2]
        for complaint in names.qualified_name(key):
            yield invalid(path, key, complaint)


def validate_resource_field_ref(
    selector: ResourceFieldSelector, path: str, *, needs_container: bool
) -> Iterator[FieldError]:
    """Everything wrong with a reference to a container's resources; volumes must name the container."""
    resource = selector.resource
    if needs_container and not selector.container_name:
        yield required(f"{path}.containerName")
    elif not resource:
        yield required(f"{path}.resource")
    elif resource not in _RESOURCES and not resource.startswith(_HUGE_PAGES):
        yield not_supported(f"{path}.resource", resource, _RESOURCES)
    if selector.divisor in ("", "0"):
        return
    if resource.endswith(".cpu"):
        if selector.divisor not in ("1", "1m"):
            message = "only divisor's values 1m and 1 are supported with the cpu resource"
            yield invalid(f"{path}.divisor", resource, message)
        return
    kind = next((word for end, word in _DIVISIBLE if end in resource), None)
    if kind is not None and selector.divisor not in _OF_BYTES:
        message = f"only divisor's values {', '.join(_OF_BYTES)} are supported with the {kind} resource"
        yield invalid(f"{path}.divisor", resource, message)


_DIVISIBLE: Final = (
    (".memory", "memory"),
    (".ephemeral-storage", "local ephemeral storage"),
    (".hugepages-", "hugepages"),
)


def _env_from(source: EnvFromSource, path: str, list_path: str) -> Iterator[FieldError]:
    if source.prefix:
        for complaint in names.relaxed_env_var_name(source.prefix):
            yield invalid(f"{path}.prefix", source.prefix, complaint)
    for field, chosen in (("configMapRef", source.config_map_ref), ("secretRef", source.secret_ref)):
        if chosen is None:
            continue
        if not chosen.name:
            yield required(f"{path}.{field}.name")
        else:
            for complaint in names.name_is_dns_subdomain(chosen.name, is_prefix=True):
                yield invalid(f"{path}.{field}.name", chosen.name, complaint)
    if source.config_map_ref is None and source.secret_ref is None:
        yield invalid(list_path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif source.config_map_ref is not None and source.secret_ref is not None:
        yield invalid(list_path, "", _MORE_THAN_ONE)
