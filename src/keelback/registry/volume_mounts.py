"""Where the containers of a pod may have its volumes: as directories and as block devices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from keelback.api.core_v1 import Container, EphemeralContainer, Volume, VolumeMount
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_found, not_supported, required
from keelback.registry import relative_paths

_PROPAGATIONS: Final = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE_READ_ONLY: Final = ("Disabled", "Enabled", "IfPossible")


def validate_mounts(
    container: Container | EphemeralContainer, volumes: Mapping[str, Volume], path: str
) -> Iterator[FieldError]:
    """Everything wrong with a container's volumeMounts. Upstream leaves the index out of the last four paths."""
    devices = {device.name: device.device_path for device in container.volume_devices}
    device_paths = set(devices.values())
    seen: set[str] = set()
    for index, mount in enumerate(container.volume_mounts):
        here = f"{path}[{index}]"
        if not mount.name:
            yield required(f"{here}.name")
        volume = volumes.get(mount.name)
        if volume is None:
            yield not_found(f"{here}.name", mount.name)
        if not mount.mount_path:
            yield required(f"{here}.mountPath")
        if mount.mount_path in seen:
            yield invalid(f"{here}.mountPath", mount.mount_path, "must be unique")
        seen.add(mount.mount_path)
        if mount.name in devices:
            yield invalid(f"{here}.name", mount.name, "must not already exist in volumeDevices")
        if mount.mount_path in device_paths:
            yield invalid(f"{here}.mountPath", mount.mount_path, "must not already exist as a path in volumeDevices")
        if mount.sub_path or mount.sub_path_expr:
            yield from _sub_paths(mount, path, here)
        if mount.mount_propagation is not None:
            yield from _propagation(mount.mount_propagation, container, f"{path}.mountPropagation")
        if mount.recursive_read_only is not None:
            yield from _recursive_read_only(mount, mount.recursive_read_only, f"{path}.recursiveReadOnly")


def _sub_paths(mount: VolumeMount, path: str, here: str) -> Iterator[FieldError]:
    if mount.sub_path:
        yield from relative_paths.descending(mount.sub_path, f"{path}.subPath")
    if mount.sub_path_expr:
        if mount.sub_path:
            yield invalid(f"{here}.subPathExpr", mount.sub_path_expr, "subPathExpr and subPath are mutually exclusive")
        yield from relative_paths.descending(mount.sub_path_expr, f"{path}.subPathExpr")


def _propagation(propagation: str, container: Container | EphemeralContainer, path: str) -> Iterator[FieldError]:
    if propagation not in _PROPAGATIONS:
        yield not_supported(path, propagation, _PROPAGATIONS)
    context = container.security_context
    if propagation == "Bidirectional" and (context is None or not context.privileged):
        yield forbidden(path, "Bidirectional mount propagation is available only to privileged containers")


def _recursive_read_only(mount: VolumeMount, wanted: str, path: str) -> Iterator[FieldError]:
    if wanted not in _RECURSIVE_READ_ONLY:
        yield not_supported(path, wanted, _RECURSIVE_READ_ONLY)
    elif wanted != "Disabled":
        if not mount.read_only:
            yield forbidden(path, "may only be specified when readOnly is true")
        if mount.mount_propagation not in (None, "None"):
            yield forbidden(path, "may only be specified when mountPropagation is None or not specified")


def validate_devices(
    container: Container | EphemeralContainer, volumes: Mapping[str, Volume], path: str
) -> Iterator[FieldError]:
    """Everything wrong with a container's volumeDevices: only claims can be had as devices."""
    mounts = {mount.name: mount.mount_path for mount in container.volume_mounts}
    mount_paths = set(mounts.values())
    paths: set[str] = set()
    seen: set[str] = set()
    for index, device in enumerate(container.volume_devices):
        here = f"{path}[{index}]"
        name, device_path = device.name, device.device_path
        volume = volumes.get(name)
        if not name:
            yield required(f"{here}.name")
        if name in seen:
            yield invalid(f"{here}.name", name, "must be unique")
        if volume is None:
            yield not_found(f"{here}.name", name)
        elif volume.persistent_volume_claim is None and volume.ephemeral is None:
            yield invalid(
                f"{here}.name",
                name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            )
        if not device_path:
            yield required(f"{here}.devicePath")
        if device_path in paths:
            yield invalid(f"{here}.devicePath", device_path, "must be unique")
        if ".." in device_path.split("/"):
            yield invalid(f"{here}.devicePath", device_path, "can not contain backsteps ('..')")
        else:
            paths.add(device_path)
        if name in mounts:
            yield invalid(f"{here}.name", name, "must not already exist in volumeMounts")
        if device_path in mount_paths:
            yield invalid(f"{here}.devicePath", device_path, "must not already exist as a path in volumeMounts")
        if name:
            seen.add(name)
