"""`--runtime-config`: which group versions, and which of their resources, are served besides the default ones or less.

A key is a group version (`resource.k8s.io/v1beta2`), one of its resources (`batch/v1/cronjobs`) or all of a stage
(`api/beta`, `api/alpha`, `api/all`); the single version overrules its stage, the single resource its version. What the
server itself needs cannot be turned off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from keelback.apimachinery.kubernetes_versions import DEFAULT, KubernetesVersion
from keelback.registry import group_versions
from keelback.registry.group_versions import OPTIONAL

__all__ = ["OPTIONAL", "hidden", "parse"]


# As Go's strconv.ParseBool; a key alone is switched on.
_TRUE: Final = ("", "1", "t", "T", "true", "TRUE", "True")
_FALSE: Final = ("0", "f", "F", "false", "FALSE", "False")
_STAGES: Final = {"api/all": r".*", "api/ga": r"v\d+", "api/beta": r"v\d+beta\d+", "api/alpha": r"v\d+alpha\d+"}
_MAY_BE_OFF: Final = frozenset(
    (
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "events.k8s.io",
        "node.k8s.io",
        "policy",
        "resource.k8s.io",
        "storage.k8s.io",
    )
)
"""The groups of whose default versions the server itself needs none."""


def parse(given: Mapping[str, str], version: KubernetesVersion = DEFAULT) -> tuple[tuple[str, str], ...]:
    """The optional group versions to serve, in the order in which groups prefer them. Raises ValueError."""
    optional = group_versions.off_by_default(version)
    asked = {key: _switch(key, value) for key, value in given.items()}
    wanted = _of_stages(optional, asked)
    for key, is_on in asked.items():
        if key in _STAGES:
            if not is_on and key in ("api/all", "api/ga"):
                raise ValueError(f"{key}=false: the versions that the server itself needs cannot be turned off")
            continue
        group, one, resource = _place(key, version)
        if (group, one) not in optional:
            if not is_on and group not in _MAY_BE_OFF:
                raise ValueError(f"{key}=false: the server itself needs it")
        elif is_on:
            wanted.add((group, one))
        elif not resource:
            wanted.discard((group, one))
    return tuple(one for one in optional if one in wanted)


def hidden(given: Mapping[str, str], version: KubernetesVersion = DEFAULT) -> frozenset[tuple[str, str, str]]:
    """What is not served though it could be: group, version and plural; "" for all of a version, but what it has then.

    That is what was turned off, and what was not asked for of an optional version of which single resources were.
    Raises ValueError as `parse` does.
    """
    return frozenset(_hidden(given, version))


def is_hidden(away: frozenset[tuple[str, str, str]], group: str, version: str, plural: str) -> bool:
    """Whether a resource is among what `hidden` found."""
    if (group, version, plural) in away:
        return True
    return (group, version, "") in away and (group, version, f"+{plural}") not in away


def _hidden(given: Mapping[str, str], version: KubernetesVersion) -> Iterator[tuple[str, str, str]]:
    optional = group_versions.off_by_default(version)
    asked = {key: _switch(key, value) for key, value in given.items()}
    whole = _of_stages(optional, asked)
    places = {_place(key, version): is_on for key, is_on in asked.items() if key not in _STAGES}
    for (group, one, resource), is_on in places.items():
        if not resource:
            if not is_on:
                yield group, one, ""
            continue
        yield group, one, f"+{resource}" if is_on else resource
        is_whole = places.get((group, one, ""), (group, one) in whole)
        if is_on and (group, one) in optional and not is_whole:
            yield group, one, ""


def _of_stages(optional: tuple[tuple[str, str], ...], asked: Mapping[str, bool]) -> set[tuple[str, str]]:
    wanted = {
        (group, one)
        for key, pattern in _STAGES.items()
        for group, one in optional
        if asked.get(key) and re.fullmatch(pattern, one)
    }
    for key in ("api/beta", "api/alpha"):
        if asked.get(key) is False:
            wanted = {one for one in wanted if not re.fullmatch(_STAGES[key], one[1])}
    return wanted


def _switch(key: str, value: str) -> bool:
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    problem = f'strconv.ParseBool: parsing "{value}": invalid syntax'
    raise ValueError(f"invalid value of {key}: {value}, err: {problem}")


def _place(key: str, version: KubernetesVersion) -> tuple[str, str, str]:
    """The group, version and resource that a key names. Raises ValueError where there is no such version."""
    parts = key.split("/")
    if key in ("v1", "api/v1"):
        return "", "v1", ""
    known = group_versions.on_by_default(version).union(group_versions.off_by_default(version))
    if parts[0] not in {group for group, _ in known}:
        raise ValueError(f"unknown api groups {parts[0]}")
    if len(parts) not in (2, 3) or (parts[0], parts[1]) not in known:
        raise ValueError(f"group version {'/'.join(parts[:2])} that has not been registered")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""
