"""What the annotations of a pod may say that Kubernetes itself gives meaning to, and whether the fields agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from keelback.api.core_v1 import AppArmorProfile, PodSpec, SeccompProfile
from keelback.apimachinery.errors import FieldError, forbidden, invalid
from keelback.apimachinery.go_text import go_quoted
from keelback.registry import relative_paths, windows_options

MIRROR: Final = "kubernetes.io/config.mirror"
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
SECCOMP_OF_POD: Final = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_OF_CONTAINER: Final = "container.seccomp.security.alpha.kubernetes.io/"
APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_MAX_INT32: Final = 2**31 - 1
_OURS: Final = (MIRROR, DELETION_COST, SECCOMP_OF_POD)


def concern(annotations: Mapping[str, str]) -> bool:
    """Whether any of the annotations is one of those looked at here."""
    return any(key in _OURS or key.startswith((SECCOMP_OF_CONTAINER, APPARMOR)) for key in annotations)


def validate(annotations: Mapping[str, str], spec: PodSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with the annotations of a pod, or of a template."""
    mirror = annotations.get(MIRROR)
    if mirror is not None and not spec.node_name:
        yield invalid(f"{path}[{MIRROR}]", mirror, "must set spec.nodeName if mirror pod annotation is set")
    cost = annotations.get(DELETION_COST)
    if cost is not None and not _is_cost(cost):
        yield invalid(f"{path}[{DELETION_COST}]", cost, "must be a 32bit integer")
    for key, value in annotations.items():
        if key == SECCOMP_OF_POD or key.startswith(SECCOMP_OF_CONTAINER):
            yield from _seccomp(value, f"{path}.{key}")
        elif key.startswith(APPARMOR):
            container = key.removeprefix(APPARMOR)
            if all(one.name != container for _, one in windows_options.containers(spec, "")):
                yield invalid(f"{path}[{key}]", container, "container not found")
            if value not in ("", "runtime/default", "unconfined") and not value.startswith("localhost/"):
                yield invalid(f"{path}[{key}]", value, f"invalid AppArmor profile name: {go_quoted(value)}")


def validate_update(new: Mapping[str, str], old: Mapping[str, str], path: str) -> Iterator[FieldError]:
    """The complaints about annotations that a pod keeps for good."""
    for key, value in old.items():
        if new.get(key) == value:
            continue
        if key.startswith(APPARMOR):
            yield forbidden(f"{path}[{key}]", "may not remove or update AppArmor annotations")
        if key == MIRROR:
            yield forbidden(f"{path}[{key}]", "may not remove or update mirror pod annotation")
    for key in new:
        if key in old:
            continue
        if key.startswith(APPARMOR):
            yield forbidden(f"{path}[{key}]", "may not add AppArmor annotations")
        if key == MIRROR:
            yield forbidden(f"{path}[{key}]", "may not add mirror pod annotation")


def validate_agreement(annotations: Mapping[str, str], spec: PodSpec, path: str) -> Iterator[FieldError]:
    """The complaints about annotations of old that say something else than their fields."""
    of_pod = spec.security_context
    if of_pod.seccomp_profile is not None and SECCOMP_OF_POD in annotations:
        yield from _seccomp_agrees(
            annotations[SECCOMP_OF_POD], of_pod.seccomp_profile, f"{path}.securityContext.seccompProfile"
        )
    for here, container in windows_options.containers(spec, path):
        own = container.security_context
        value = annotations.get(SECCOMP_OF_CONTAINER + container.name)
        if value is not None and own is not None and own.seccomp_profile is not None:
            yield from _seccomp_agrees(value, own.seccomp_profile, f"{here}.securityContext.seccompProfile")
    if spec.os is not None and spec.os.name == "windows":
        return
    for here, container in windows_options.containers(spec, path):
        own = container.security_context
        profile = of_pod.app_armor_profile if own is None or own.app_armor_profile is None else own.app_armor_profile
        value = annotations.get(APPARMOR + container.name)
        if value is not None and profile is not None:
            yield from _agrees(value, profile, "apparmor", f"{here}.securityContext.appArmorProfile")


def _is_cost(text: str) -> bool:
    if text == "" or text.startswith(("+", "-0")) or (text[0] == "0" and len(text) > 1):
        return False
    try:
        return text.strip() == text and "_" not in text and -_MAX_INT32 - 1 <= int(text) <= _MAX_INT32
    except ValueError:
        return False


def _seccomp(profile: str, path: str) -> Iterator[FieldError]:
    if profile in ("runtime/default", "docker/default", "unconfined"):
        return
    if profile.startswith("localhost/"):
        yield from relative_paths.descending(profile.removeprefix("localhost/"), path)
    else:
        yield invalid(path, profile, "must be a valid seccomp profile")


def _seccomp_agrees(value: str, profile: SeccompProfile, path: str) -> Iterator[FieldError]:
    yield from _agrees("runtime/default" if value == "docker/default" else value, profile, "seccomp", path)


def _agrees(value: str, profile: SeccompProfile | AppArmorProfile, word: str, path: str) -> Iterator[FieldError]:
    wanted = {"Unconfined": "unconfined", "RuntimeDefault": "runtime/default"}.get(profile.type)
    if profile.type == "Localhost" and value.startswith("localhost/"):
        if value.removeprefix("localhost/") != profile.localhost_profile:
            yield forbidden(f"{path}.localhostProfile", f"{word} profile in annotation and field must match")
    elif profile.type == "Localhost" or (wanted is not None and value != wanted):
        yield forbidden(f"{path}.type", f"{word} type in annotation and field must match")
