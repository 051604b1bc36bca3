"""What the security contexts of pods and containers may say."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.core_v1 import PodSecurityContext, SeccompProfile, SecurityContext
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")


def validate_of_container(context: SecurityContext, path: str) -> Iterator[FieldError]:
    """Everything wrong with a container's security context."""
    yield from _ids((("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)), path)
    if context.proc_mount is not None and context.proc_mount not in ("Default", "Unmasked"):
        yield not_supported(f"{path}.procMount", context.proc_mount, ("Default", "Unmasked"))
    if context.allow_privilege_escalation is False:
        if context.privileged:
            yield invalid(path, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
        if context.capabilities is not None and "CAP_SYS_ADMIN" in context.capabilities.add:
            yield invalid(
                path, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            )
    yield from _seccomp(context.seccomp_profile, f"{path}.seccompProfile")


def validate_of_pod(context: PodSecurityContext, path: str) -> Iterator[FieldError]:
    """Everything wrong with a pod's security context."""
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
    policy = context.fs_group_change_policy
    if policy is not None and policy not in ("Always", "OnRootMismatch"):
        yield not_supported(f"{path}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch"))
    seen: set[str] = set()
    for index, sysctl in enumerate(context.sysctls):
        if not sysctl.name:
            yield required(f"{path}.sysctls[{index}].name")
        elif sysctl.name in seen:
            yield FieldError(f"{path}.sysctls[{index}].name", "FieldValueDuplicate", "", sysctl.name)
        seen.add(sysctl.name)
    yield from _seccomp(context.seccomp_profile, f"{path}.seccompProfile")


def _ids(given: tuple[tuple[str, int | None], ...], path: str) -> Iterator[FieldError]:
    for field, number in given:
        if number is not None:
            for complaint in names.group_or_user_id(number):
                yield invalid(f"{path}.{field}", number, complaint)


def _seccomp(profile: SeccompProfile | None, path: str) -> Iterator[FieldError]:
    if profile is None:
        return
    if not profile.type:
        yield required(f"{path}.type", "type is required when seccompProfile is set")
    elif profile.type not in _PROFILES:
        yield not_supported(f"{path}.type", profile.type, _PROFILES)
    elif profile.type == "Localhost":
        if not profile.localhost_profile:
            yield required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
    elif profile.localhost_profile is not None:
        yield invalid(
            f"{path}.localhostProfile", profile.localhost_profile, "can only be set when seccomp type is Localhost"
        )
