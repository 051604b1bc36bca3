"""What the volumes of a pod may say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from keelback.api.core_v1 import KeyToPath, ProjectedVolumeSource, Volume
from keelback.apimachinery import names, quantity
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required
from keelback.registry.containers import relative_path

_SOURCES: Final = tuple((one.name, one.encode_name) for one in msgspec.structs.fields(Volume) if one.name != "name")
_HOST_PATH_TYPES: Final = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_MODE: Final = "must be a number between 0 and 0777 (octal), both inclusive"


def validate(volumes: Sequence[Volume], path: str) -> Iterator[FieldError]:
    """Everything wrong with a pod's volumes."""
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        here = f"{path}[{index}]"
        if not volume.name:
            yield required(f"{here}.name")
        else:
            for complaint in names.dns1123_label(volume.name):
                yield invalid(f"{here}.name", volume.name, complaint)
            if volume.name in seen:
                yield duplicate(f"{here}.name", volume.name)
            seen.add(volume.name)
        given = [name for attribute, name in _SOURCES if getattr(volume, attribute) is not None]
        if not given:
            yield required(here, "must specify a volume type")
        for name in given[1:]:
            yield forbidden(f"{here}.{name}", "may not specify more than 1 volume type")
        yield from _source(volume, here)


def _source(volume: Volume, path: str) -> Iterator[FieldError]:
    if volume.empty_dir is not None:
        limit = volume.empty_dir.size_limit
        if limit is not None and quantity.parse(limit).nanos < 0:
            yield forbidden(f"{path}.emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity")
    if volume.host_path is not None:
        yield from _host_path(volume, path)
    if volume.secret is not None:
        if not volume.secret.secret_name:
            yield required(f"{path}.secret.secretName")
        yield from _mode(volume.secret.default_mode, f"{path}.secret.defaultMode")
        yield from _items(volume.secret.items, f"{path}.secret.items")
    if volume.config_map is not None:
        if not volume.config_map.name:
            yield required(f"{path}.configMap.name")
        yield from _mode(volume.config_map.default_mode, f"{path}.configMap.defaultMode")
        yield from _items(volume.config_map.items, f"{path}.configMap.items")
    if volume.persistent_volume_claim is not None and not volume.persistent_volume_claim.claim_name:
        yield required(f"{path}.persistentVolumeClaim.claimName")
    if volume.nfs is not None:
        if not volume.nfs.server:
            yield required(f"{path}.nfs.server")
        if not volume.nfs.path:
            yield required(f"{path}.nfs.path")
        elif not volume.nfs.path.startswith("/"):
            yield invalid(f"{path}.nfs.path", volume.nfs.path, "must be an absolute path")
    if volume.csi is not None and not volume.csi.driver:
        yield required(f"{path}.csi.driver")
    if volume.projected is not None:
        yield from _projected(volume.projected, f"{path}.projected")
    if volume.ephemeral is not None and volume.ephemeral.volume_claim_template is None:
        yield required(f"{path}.ephemeral.volumeClaimTemplate")


def _host_path(volume: Volume, path: str) -> Iterator[FieldError]:
    source = volume.host_path
    if source is None:
        return
    if not source.path:
        yield required(f"{path}.hostPath.path")
    elif ".." in source.path.split("/"):
        yield invalid(f"{path}.hostPath.path", source.path, "must not contain '..'")
    if source.type not in _HOST_PATH_TYPES:
        yield not_supported(f"{path}.hostPath.type", source.type, _HOST_PATH_TYPES[1:])


def _projected(projected: ProjectedVolumeSource, path: str) -> Iterator[FieldError]:
    yield from _mode(projected.default_mode, f"{path}.defaultMode")
    for index, source in enumerate(projected.sources):
        here = f"{path}.sources[{index}]"
        if source.secret is not None:
            if not source.secret.name:
                yield required(f"{here}.secret.name")
            yield from _items(source.secret.items, f"{here}.secret.items")
        if source.config_map is not None:
            if not source.config_map.name:
                yield required(f"{here}.configMap.name")
            yield from _items(source.config_map.items, f"{here}.configMap.items")
        token = source.service_account_token
        if token is not None:
            if token.expiration_seconds < 600:
                yield invalid(
                    f"{here}.serviceAccountToken.expirationSeconds",
                    token.expiration_seconds,
                    "may not specify a duration less than 10 minutes",
                )
            if not token.path:
                yield required(f"{here}.serviceAccountToken.path")


def _items(items: Sequence[KeyToPath], path: str) -> Iterator[FieldError]:
    for index, item in enumerate(items):
        here = f"{path}[{index}]"
        if not item.key:
            yield required(f"{here}.key")
        if not item.path:
            yield required(f"{here}.path")
        else:
            yield from relative_path(item.path, f"{here}.path")
        if item.mode is not None:
            yield from _mode(item.mode, f"{here}.mode")


def _mode(mode: int, path: str) -> Iterator[FieldError]:
    if not 0 <= mode <= 0o777:
        yield invalid(path, mode, _MODE)
