"""What the environment variables of a container may say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from keelback.api.core_v1 import Container, EnvFromSource, EnvVar, EnvVarSource, EphemeralContainer, ObjectFieldSelector
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required

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
_RESOURCES: Final = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_with_key = re.compile(r"(metadata\.(?:annotations|labels))\['(.*)'\]").fullmatch
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
        yield from _env_from(source, f"{path}.envFrom[{index}]")


def _value_from(variable: EnvVar, source: EnvVarSource, path: str) -> Iterator[FieldError]:
    count = 0
    if source.field_ref is not None:
        count += 1
        yield from validate_field_ref(source.field_ref, _FIELDS, f"{path}.fieldRef")
    if source.resource_field_ref is not None:
        count += 1
        resource = source.resource_field_ref.resource
        if not resource:
            yield required(f"{path}.resourceFieldRef.resource")
        elif resource not in _RESOURCES and not resource.startswith(("limits.hugepages-", "requests.hugepages-")):
            yield not_supported(f"{path}.resourceFieldRef.resource", resource, _RESOURCES)
    for field, chosen in (("configMapKeyRef", source.config_map_key_ref), ("secretKeyRef", source.secret_key_ref)):
        if chosen is None:
            continue
        count += 1
        if not chosen.name:
            yield required(f"{path}.{field}.name")
        if not chosen.key:
            yield required(f"{path}.{field}.key")
        else:
            for complaint in names.config_map_key(chosen.key):
                yield invalid(f"{path}.{field}.key", chosen.key, complaint)
    if source.file_key_ref is not None:
        count += 1
    if not count:
        yield invalid(
            path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        )
    elif variable.value:
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif count > 1:
        yield invalid(path, "", _MORE_THAN_ONE)


def validate_field_ref(selector: ObjectFieldSelector, known: tuple[str, ...], path: str) -> Iterator[FieldError]:
    """Everything wrong with a reference to a field of the pod."""
    if not selector.api_version:
        yield required(f"{path}.apiVersion")
        return
    if not selector.field_path:
        yield required(f"{path}.fieldPath")
        return
    with_key = _with_key(selector.field_path)
    if with_key is not None:
        for complaint in names.qualified_name(with_key[2].lower()):
            yield invalid(f"{path}.fieldPath", selector.field_path, complaint)
    elif selector.field_path not in (*_FIELDS, *VOLUME_FIELDS):
        yield invalid(
            f"{path}.fieldPath",
            selector.field_path,
            f"error converting fieldPath: field label not supported: {selector.field_path}",
        )
    elif selector.field_path not in known:
        yield not_supported(f"{path}.fieldPath", selector.field_path, known)


def _env_from(source: EnvFromSource, path: str) -> Iterator[FieldError]:
    if source.prefix:
        for complaint in names.relaxed_env_var_name(source.prefix):
            yield invalid(f"{path}.prefix", source.prefix, complaint)
    for field, chosen in (("configMapRef", source.config_map_ref), ("secretRef", source.secret_ref)):
        if chosen is not None and not chosen.name:
            yield required(f"{path}.{field}.name")
    if source.config_map_ref is None and source.secret_ref is None:
        yield invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
    elif source.config_map_ref is not None and source.secret_ref is not None:
        yield invalid(path, "", _MORE_THAN_ONE)
