"""`--runtime-config`: which group versions are served besides those that always are.

A key is a group version (`resource.k8s.io/v1beta2`) or all of a stage (`api/beta`, `api/alpha`, `api/all`); the
single version overrules its stage. Group versions that are on by default cannot be turned off here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from keelback.apimachinery.kubernetes_versions import DEFAULT, KubernetesVersion
from keelback.registry import group_versions
from keelback.registry.group_versions import OPTIONAL

__all__ = ["OPTIONAL", "parse"]


# As Go's strconv.ParseBool; a key alone is switched on.
_TRUE: Final = ("", "1", "t", "T", "true", "TRUE", "True")
_FALSE: Final = ("0", "f", "F", "false", "FALSE", "False")
_STAGES: Final = {"api/all": r".*", "api/ga": r"v\d+", "api/beta": r"v\d+beta\d+", "api/alpha": r"v\d+alpha\d+"}


def parse(given: Mapping[str, str], version: KubernetesVersion = DEFAULT) -> tuple[tuple[str, str], ...]:
    """The optional group versions to serve, in the order in which groups prefer them. Raises ValueError."""
    optional = group_versions.off_by_default(version)
    asked = {key: _switch(key, value) for key, value in given.items()}
    wanted = {
        (group, one)
        for key, pattern in _STAGES.items()
        for group, one in optional
        if asked.get(key) and re.fullmatch(pattern, one)
    }
    for key in ("api/beta", "api/alpha"):
        if asked.get(key) is False:
            wanted = {one for one in wanted if not re.fullmatch(_STAGES[key], one[1])}
    for key, is_on in asked.items():
        if key in _STAGES:
            if not is_on and key in ("api/all", "api/ga"):
                raise ValueError(f"{key}=false: the versions that are served by default cannot be turned off")
            continue
        place = _place(key, version)
        if place not in optional:
            if not is_on:
                raise ValueError(f"{key}=false: what is served by default cannot be turned off")
        elif is_on:
            wanted.add(place)
        else:
            wanted.discard(place)
    return tuple(one for one in optional if one in wanted)


def _switch(key: str, value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    problem = f'strconv.ParseBool: parsing "{value}": invalid syntax'
    raise ValueError(f"invalid value of {key}: {value}, err: {problem}")


def _place(key: str, version: KubernetesVersion) -> tuple[str, str]:
    """The group and version that a key names. Raises ValueError where there is none."""
    parts = key.split("/")
    if key in ("v1", "api/v1"):
        return "", "v1"
    known = group_versions.on_by_default(version).union(group_versions.off_by_default(version))
    if parts[0] not in {group for group, _ in known}:
        raise ValueError(f"unknown api groups {parts[0]}")
    if len(parts) == 3:
        raise ValueError(f"{key}: single resources cannot be switched, only whole group versions")
    if len(parts) != 2 or (parts[0], parts[1]) not in known:
        raise ValueError(f"group version {key} that has not been registered")
    return parts[0], parts[1]
