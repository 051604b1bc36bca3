"""What pods and containers may say that only matters on Windows, and what they may not say when they are for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from keelback.api.core_v1 import Container, EphemeralContainer, PodSpec, WindowsSecurityContextOptions
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required

_MAX_SPEC_KIB: Final = 64
_MAX_DOMAIN: Final = 256
_MAX_USER: Final = 104
_LABEL: Final = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_has_control: Final = re.compile(r"[\x00-\x1f\x7f]").search
_is_netbios: Final = re.compile(r"""[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}""").fullmatch
_is_dns: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*").fullmatch
_has_bad_characters: Final = re.compile(r"""["/\\:;|=,+*?<>@\[\]]""").search
_is_dots_and_spaces: Final = re.compile(r"[. ]+").fullmatch
_NOT_ON_WINDOWS: Final = "cannot be set for a windows pod"
_NOT_ON_LINUX: Final = "windows options cannot be set for a linux pod"


def validate(options: WindowsSecurityContextOptions, path: str) -> Iterator[FieldError]:
    """Everything wrong with the windowsOptions of a security context."""
    if options.gmsa_credential_spec_name is not None:
        for complaint in names.dns1123_subdomain(options.gmsa_credential_spec_name):
            yield invalid(f"{path}.gmsaCredentialSpecName", options.gmsa_credential_spec_name, complaint)
    spec = options.gmsa_credential_spec
    if spec == "":
        yield invalid(f"{path}.gmsaCredentialSpec", spec, "gmsaCredentialSpec cannot be an empty string")
    elif spec is not None and len(spec.encode()) > _MAX_SPEC_KIB * 1024:
        yield invalid(f"{path}.gmsaCredentialSpec", spec, f"gmsaCredentialSpec size must be under {_MAX_SPEC_KIB} KiB")
    if options.run_as_user_name is not None:
        for complaint in _user_name(options.run_as_user_name):
            yield invalid(f"{path}.runAsUserName", options.run_as_user_name, complaint)


def _user_name(name: str) -> Iterator[str]:
    parts = name.split("\\")
    if not name:
        yield "runAsUserName cannot be an empty string"
        return
    if _has_control(name):
        yield "runAsUserName cannot contain control characters"
        return
    if len(parts) > 2:
        yield "runAsUserName cannot contain more than one backslash"
        return
    domain, user = parts if len(parts) == 2 else ("", name)
    if len(domain) >= _MAX_DOMAIN:
        yield f"runAsUserName's Domain length must be under {_MAX_DOMAIN} characters"
    if len(parts) == 2 and not (_is_netbios(domain) or _is_dns(domain)):
        yield "runAsUserName's Domain doesn't match the NetBios nor the DNS format"
    if not user:
        yield "runAsUserName's User cannot be empty"
    elif len(user) > _MAX_USER:
        yield f"runAsUserName's User length must not be longer than {_MAX_USER} characters"
    if _is_dots_and_spaces(user):
        yield "runAsUserName's User cannot contain only periods or spaces"
    if _has_bad_characters(user):
        yield "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]"


def validate_host_process(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with processes of the host: either all containers of a pod are such, or none."""
    of_pod = _host_process(spec.security_context)
    count = host_count = 0
    for here, container in containers(spec, path):
        count += 1
        own = _host_process(container.security_context)
        if of_pod is not None and own is not None and of_pod != own:
            yield invalid(
                f"{here}.securityContext.windowsOptions.hostProcess",
                own,
                f"pod hostProcess value must be identical if both are specified, was {str(of_pod).lower()}",
            )
        host_count += bool(of_pod if own is None else own)
    if not host_count:
        return
    if host_count != count:
        why = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        yield invalid(path, "", why)
    if not spec.host_network:
        why = "hostNetwork must be true if pod contains any hostProcess containers"
        yield invalid(f"{path}.hostNetwork", False, why)


def validate_os(spec: PodSpec, path: str) -> Iterator[FieldError]:
    """Everything wrong with the operating system a pod is for, and what it says that this system knows nothing of."""
    if spec.os is None:
        return
    match spec.os.name:
        case "":
            yield required(f"{path}.os.name")
        case "linux":
            if spec.security_context.windows_options is not None:
                yield forbidden(f"{path}.securityContext.windowsOptions", _NOT_ON_LINUX)
            for here, container in containers(spec, path):
                if container.security_context is not None and container.security_context.windows_options is not None:
                    yield forbidden(f"{here}.securityContext.windowsOptions", _NOT_ON_LINUX)
        case "windows":
            yield from _without_linux(spec, path)
        case other:
            yield not_supported(f"{path}.os", other, ("linux", "windows"))


def _without_linux(spec: PodSpec, path: str) -> Iterator[FieldError]:
    context = spec.security_context
    inside = f"{path}.securityContext"
    for where, is_set in (
        (f"{inside}.appArmorProfile", context.app_armor_profile is not None),
        (f"{inside}.seLinuxOptions", context.se_linux_options is not None),
        (f"{path}.hostUsers", spec.host_users is not None),
        (f"{path}.hostPID", spec.host_pid),
        (f"{path}.hostIPC", spec.host_ipc),
        (f"{inside}.seccompProfile", context.seccomp_profile is not None),
        (f"{inside}.fsGroup", context.fs_group is not None),
        (f"{inside}.fsGroupChangePolicy", context.fs_group_change_policy is not None),
        (f"{inside}.sysctls", bool(context.sysctls)),
        (f"{path}.shareProcessNamespace", spec.share_process_namespace is not None),
        (f"{inside}.runAsUser", context.run_as_user is not None),
        (f"{inside}.runAsGroup", context.run_as_group is not None),
        (f"{inside}.supplementalGroups", bool(context.supplemental_groups)),
        (f"{inside}.supplementalGroupsPolicy", context.supplemental_groups_policy is not None),
        (f"{inside}.seLinuxChangePolicy", context.se_linux_change_policy is not None),
    ):
        if is_set:
            yield forbidden(where, _NOT_ON_WINDOWS)
    for here, container in containers(spec, path):
        own = container.security_context
        if own is None:
            continue
        for field, value in (
            ("appArmorProfile", own.app_armor_profile),
            ("seLinuxOptions", own.se_linux_options),
            ("seccompProfile", own.seccomp_profile),
            ("capabilities", own.capabilities),
            ("readOnlyRootFilesystem", own.read_only_root_filesystem),
            ("privileged", own.privileged),
            ("allowPrivilegeEscalation", own.allow_privilege_escalation),
            ("procMount", own.proc_mount),
            ("runAsUser", own.run_as_user),
            ("runAsGroup", own.run_as_group),
        ):
            if value is not None:
                yield forbidden(f"{here}.securityContext.{field}", _NOT_ON_WINDOWS)


def containers(spec: PodSpec, path: str) -> Iterator[tuple[str, Container | EphemeralContainer]]:
    """All containers of a pod with their paths, in upstream's order."""
    for index, init in enumerate(spec.init_containers):
        yield f"{path}.initContainers[{index}]", init
    for index, main in enumerate(spec.containers):
        yield f"{path}.containers[{index}]", main
    for index, ephemeral in enumerate(spec.ephemeral_containers):
        yield f"{path}.ephemeralContainers[{index}]", ephemeral


def _host_process(context: Any) -> bool | None:
    options = None if context is None else context.windows_options
    return None if options is None else options.host_process
