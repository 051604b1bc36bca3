"""What a volume may say that projects several sources into one directory.

Trust bundles and certificates are not looked at: their gates are off, so that they are dropped before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keelback.api.core_v1 import ProjectedVolumeSource, ServiceAccountTokenProjection
from keelback.apimachinery.errors import FieldError, forbidden, invalid, required
from keelback.registry import relative_paths, volume_files

_MIN_EXPIRATION: Final = 600
_MAX_EXPIRATION: Final = 1 << 32


def validate(projected: ProjectedVolumeSource, path: str) -> Iterator[FieldError]:
    """Everything wrong with a projected volume."""
    yield from volume_files.validate_mode(projected.default_mode, f"{path}.defaultMode")
    taken: set[str] = set()

    def conflict(file: str, shown: str) -> Iterator[FieldError]:
        if file and file in taken:
            yield invalid(path, shown, "conflicting duplicate paths")
        taken.add(file)

    for index, source in enumerate(projected.sources):
        here = f"{path}.sources[{index}]"
        for field, chosen in (("secret", source.secret), ("configMap", source.config_map)):
            if chosen is None:
                continue
            if not chosen.name:
                yield required(f"{here}.{field}.name")
            for place, item in enumerate(chosen.items):
                yield from volume_files.validate_item(item, f"{here}.{field}.items[{place}]")
                yield from conflict(item.path, chosen.name)
        if source.downward_api is not None:
            for file in source.downward_api.items:
                yield from volume_files.validate_file(file, f"{here}.downwardAPI")
                yield from conflict(file.path, file.path)
        token = source.service_account_token
        if token is not None:
            yield from _token(token, path, here)
        given = (source.secret, source.config_map, source.downward_api, token)
        if sum(one is not None for one in given) > 1:
            yield forbidden(here, "may not specify more than 1 volume type per source")


def _token(token: ServiceAccountTokenProjection, path: str, here: str) -> Iterator[FieldError]:
    at, seconds = f"{here}.serviceAccountToken.expirationSeconds", token.expiration_seconds
    if seconds < _MIN_EXPIRATION:
        yield invalid(at, seconds, "may not specify a duration less than 10 minutes")
    if seconds > _MAX_EXPIRATION:
        yield invalid(at, seconds, "may not specify a duration larger than 2^32 seconds")
    # Upstream reports the path of a token at the volume.
    if not token.path:
        yield required(f"{path}.path")
    else:
        yield from relative_paths.not_reserved(token.path, f"{path}.path")
