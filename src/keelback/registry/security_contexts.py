"""What the security contexts of pods and containers may say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from keelback.api.core_v1 import AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext, Sysctl
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, duplicate, forbidden, invalid, not_supported, required, too_long
from keelback.registry import relative_paths, windows_options
from keelback.registry.internal_forms import internal

_PROFILES: Final = ("Localhost", "RuntimeDefault", "Unconfined")
_MAX_APPARMOR_PROFILE: Final = 4095
_MAX_SYSCTL: Final = 253
_SYSCTL_SEGMENT: Final = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL: Final = rf"^({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}$"
_is_sysctl: Final = re.compile(_SYSCTL[1:-1]).fullmatch
_OWN_USERS: Final = "when `hostUsers` is false"
_IPC_SYSCTLS: Final = frozenset({"kernel.sem"})
_IPC_PREFIXES: Final = ("kernel.shm", "kernel.msg", "fs.mqueue.")


def validate_of_container(context: SecurityContext, path: str, *, has_host_users: bool) -> Iterator[FieldError]:
    """Everything wrong with a container's security context."""
    yield from _ids((("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)), path)
    if context.proc_mount is not None:
        if context.proc_mount not in ("Default", "Unmasked"):
            yield not_supported(f"{path}.procMount", context.proc_mount, ("Default", "Unmasked"))
        if has_host_users and context.proc_mount == "Unmasked":
            yield invalid(f"{path}.procMount", context.proc_mount, "`hostUsers` must be false to use `Unmasked`")
    yield from _seccomp(context.seccomp_profile, f"{path}.seccompProfile")
    if context.allow_privilege_escalation is False:
        if context.privileged:
            why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            yield invalid(path, internal(context), why)
        for capability in context.capabilities.add if context.capabilities is not None else ():
            if capability == "CAP_SYS_ADMIN":
                why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
                yield invalid(path, internal(context), why)
    if context.windows_options is not None:
        yield from windows_options.validate(context.windows_options, f"{path}.windowsOptions")
    yield from _apparmor(context.app_armor_profile, f"{path}.appArmorProfile")


def validate_of_pod(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with a pod's security context, and what upstream's internal one holds of the pod's spec."""
    context = spec.security_context
    yield from _ids(
        (
            ("fsGroup", context.fs_group),
            ("runAsUser", context.run_as_user),
            ("runAsGroup", context.run_as_group),
        ),
        path,
    )
    for index, group in enumerate(context.supplemental_groups):
        for complaint in names.group_or_user_id(group):
            yield invalid(f"{path}.supplementalGroups[{index}]", group, complaint)
    if spec.share_process_namespace and spec.host_pid:
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(f"{path}.shareProcessNamespace", True, why)
    yield from _sysctls(context.sysctls, spec, f"{path}.sysctls")
    yield from _among(context.fs_group_change_policy, ("Always", "OnRootMismatch"), f"{path}.fsGroupChangePolicy")
    yield from _seccomp(context.seccomp_profile, f"{path}.seccompProfile")
    if context.windows_options is not None:
        yield from windows_options.validate(context.windows_options, f"{path}.windowsOptions")
    yield from _apparmor(context.app_armor_profile, f"{path}.appArmorProfile")
    yield from _among(context.supplemental_groups_policy, ("Merge", "Strict"), f"{path}.supplementalGroupsPolicy")
    yield from _among(context.se_linux_change_policy, ("MountOption", "Recursive"), f"{path}.seLinuxChangePolicy")


def validate_host_users(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """The complaints about a user namespace of the pod's own beside other namespaces of the host."""
    if spec.host_users is not False:
        return
    for field, is_set in (("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)):
        if is_set:
            yield forbidden(f"{path}.{field}", _OWN_USERS)
    for here, container in windows_options.containers(spec, path):
        if container.volume_devices:
            yield forbidden(f"{here}.volumeDevices", _OWN_USERS)


def is_of_no_concern(context: PodSecurityContext) -> bool:
    """Whether it says nothing at all, as that of most pods."""
    return context is _NONE or context == _NONE


_NONE: Final = PodSpec().security_context


def _ids(given: tuple[tuple[str, int | None], ...], path: str) -> Iterator[FieldError]:
    for field, number in given:
        if number is not None:
            for complaint in names.group_or_user_id(number):
                yield invalid(f"{path}.{field}", number, complaint)


def _among(value: str | None, known: tuple[str, ...], path: str) -> Iterator[FieldError]:
    if value is not None and value not in known:
        yield not_supported(path, value, known)


def _sysctls(sysctls: tuple[Sysctl, ...], spec: PodSpec, path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, sysctl in enumerate(sysctls):
        here, name = f"{path}[{index}].name", sysctl.name
        if not name:
            yield required(here)
        elif len(name) > _MAX_SYSCTL or not _is_sysctl(name):
            yield invalid(here, name, f"must have at most {_MAX_SYSCTL} characters and match regex {_SYSCTL}")
        elif name in seen:
            yield duplicate(here, name)
        seen.add(name)
        dotted = name.replace("/", ".")
        if spec.host_network and dotted.startswith("net."):
            yield invalid(here, name, "may not be specified when 'hostNetwork' is true")
        elif spec.host_ipc and (dotted in _IPC_SYSCTLS or dotted.startswith(_IPC_PREFIXES)):
            yield invalid(here, name, "may not be specified when 'hostIPC' is true")


def _seccomp(profile: SeccompProfile | None, path: str) -> Iterator[FieldError]:
    if profile is None:
        return
    if not profile.type:
        yield required(f"{path}.type", "type is required when seccompProfile is set")
    elif profile.type not in _PROFILES:
        yield not_supported(f"{path}.type", profile.type, _PROFILES)
    if profile.type == "Localhost":
        if profile.localhost_profile is None:
            yield required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
        else:
            yield from relative_paths.descending(profile.localhost_profile, f"{path}.localhostProfile")
    elif profile.localhost_profile is not None:
        why = "can only be set when seccomp type is Localhost"
        yield invalid(f"{path}.localhostProfile", internal(profile), why)


def _apparmor(profile: AppArmorProfile | None, path: str) -> Iterator[FieldError]:
    if profile is None:
        return
    name = profile.localhost_profile
    match profile.type:
        case "Localhost":
            if name is None or not name:
                yield required(f"{path}.localhostProfile", "must be set when AppArmor type is Localhost")
            elif name != name.strip():
                yield invalid(f"{path}.localhostProfile", name, "must not be padded with whitespace")
            if name is not None and len(name.encode()) > _MAX_APPARMOR_PROFILE:
                yield too_long(f"{path}.localhostProfile", _MAX_APPARMOR_PROFILE)
        case "RuntimeDefault" | "Unconfined":
            if name is not None:
                yield invalid(f"{path}.localhostProfile", name, "can only be set when AppArmor type is Localhost")
        case "":
            yield required(f"{path}.type", "type is required when appArmorProfile is set")
        case _:
            yield not_supported(f"{path}.type", profile.type, _PROFILES)
