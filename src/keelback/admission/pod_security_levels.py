"""The Pod Security Standards: what the levels baseline and restricted forbid, each check with upstream's words.

Pure: a pod's metadata and spec in, violations out. A standard is that of a minor version of Kubernetes: later ones
have more checks, and allow what turned out to do no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from keelback.api.core_v1 import Container, EphemeralContainer, PodSecurityContext, PodSpec, SecurityContext, Volume
from keelback.apimachinery.meta import ObjectMeta

PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"
LEVELS = (PRIVILEGED, BASELINE, RESTRICTED)

AnyContainer = Container | EphemeralContainer
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Violation:
    """One check a pod fails: in short, and what exactly."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Check = Callable[[ObjectMeta, PodSpec, int], Iterator[Violation]]
_LATEST = 1 << 16
_EVER = _LATEST + 1
_KNOWS_WINDOWS = 25
"""The version since which pods of Windows are not held to what only Linux has."""

_BASELINE_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    }
)
# Since which minor version each is allowed.
_SELINUX_TYPES = {"": 0, "container_t": 0, "container_init_t": 0, "container_kvm_t": 0, "container_engine_t": 31}
_SYSCTLS = {
    "kernel.shm_rmid_forced": 0,
    "net.ipv4.ip_local_port_range": 0,
    "net.ipv4.tcp_syncookies": 0,
    "net.ipv4.ping_group_range": 0,
    "net.ipv4.ip_unprivileged_port_start": 0,
    "net.ipv4.ip_local_reserved_ports": 27,
    "net.ipv4.tcp_keepalive_time": 29,
    "net.ipv4.tcp_fin_timeout": 29,
    "net.ipv4.tcp_keepalive_intvl": 29,
    "net.ipv4.tcp_keepalive_probes": 29,
    "net.ipv4.tcp_rmem": 32,
    "net.ipv4.tcp_wmem": 32,
}
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_RESTRICTED_VOLUMES = frozenset(
    {
        "config_map",
        "csi",
        "downward_api",
        "empty_dir",
        "ephemeral",
        "persistent_volume_claim",
        "projected",
        "secret",
    }
)


def evaluate(level: str, metadata: ObjectMeta, spec: PodSpec, version: str = "latest") -> list[Violation]:
    """What the level forbids about the pod as of a version (`v1.30`); empty if it is allowed."""
    checks = _CHECKS[level]
    if not checks:
        return []
    minor = _LATEST if version == "latest" else int(version.partition(".")[2])
    return [
        violation
        for check, since, until in checks
        if since <= minor < until
        for violation in check(metadata, spec, minor)
    ]


def _app_armor(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    where, values = _settings(
        spec,
        lambda context: context.app_armor_profile.type if context.app_armor_profile is not None else None,
        lambda value: value not in ("RuntimeDefault", "Localhost"),
    )
    annotations = [
        f"{key}={_quote([value])}"
        for key, value in sorted(metadata.annotations.items())
        if key.startswith(_APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    ]
    setters = [where] if where else []
    if annotations:
        setters.append(_plural("annotation", annotations))
    if setters:
        bad = [*values, *annotations]
        yield Violation(
            _plural("forbidden AppArmor profile", bad),
            f"{' and '.join(setters)} must not set AppArmor profile type to {_quote(bad)}",
        )


def _baseline_capabilities(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    names, capabilities = _added_capabilities(spec, _BASELINE_CAPABILITIES)
    if names:
        yield Violation("non-default capabilities", _must_not_add(names, capabilities))


def _host_namespaces(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    used = [
        f"{name}=true"
        for name, is_used in (
            ("hostNetwork", spec.host_network),
            ("hostPID", spec.host_pid),
            ("hostIPC", spec.host_ipc),
        )
        if is_used
    ]
    if used:
        yield Violation("host namespaces", ", ".join(used))


def _host_path_volumes(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    names = [volume.name for volume in spec.volumes if volume.host_path is not None]
    if names:
        yield Violation("hostPath volumes", f"{_plural('volume', names)} {_quote(names)}")


def _host_ports(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    names: list[str] = []
    ports: set[int] = set()
    for container in _containers(spec):
        bad = [port.host_port for port in container.ports if port.host_port]
        if bad:
            names.append(container.name)
            ports.update(bad)
    if names:
        uses = "uses" if len(names) == 1 else "use"
        shown = ", ".join(str(port) for port in sorted(ports))
        yield Violation(
            "hostPort", f"{_plural('container', names)} {_quote(names)} {uses} {_plural('hostPort', ports)} {shown}"
        )


def _host_probes(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    names: list[str] = []
    hosts: set[str] = set()
    for container in _containers(spec):
        bad = {host for host in _hosts(container) if host}
        if bad:
            names.append(container.name)
            hosts |= bad
    if names:
        uses = "uses" if len(names) == 1 else "use"
        yield Violation(
            "probe or lifecycle host",
            f"{_plural('container', names)} {_quote(names)} {uses} probe or lifecycle"
            f" {_plural('host', hosts)} {_quote(sorted(hosts))}",
        )


def _hosts(container: AnyContainer) -> Iterator[str]:
    lifecycle = container.lifecycle
    handlers = [container.liveness_probe, container.readiness_probe, container.startup_probe]
    for probe in handlers:
        if probe is not None and probe.http_get is not None:
            yield probe.http_get.host
        if probe is not None and probe.tcp_socket is not None:
            yield probe.tcp_socket.host
    for handler in (lifecycle.post_start, lifecycle.pre_stop) if lifecycle is not None else ():
        if handler is not None and handler.http_get is not None:
            yield handler.http_get.host
        if handler is not None and handler.tcp_socket is not None:
            yield handler.tcp_socket.host


def _privileged(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    names = _names(spec, lambda context: bool(context.privileged))
    if names:
        yield Violation(
            "privileged", f"{_plural('container', names)} {_quote(names)} must not set securityContext.privileged=true"
        )


def _proc_mount(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    values: set[str] = set()
    names: list[str] = []
    for container in _containers(spec):
        context = container.security_context
        if context is not None and context.proc_mount not in (None, "", "Default"):
            names.append(container.name)
            values.add(str(context.proc_mount))
    if names:
        yield Violation(
            "procMount",
            f"{_plural('container', names)} {_quote(names)} must not set securityContext.procMount to"
            f" {_quote(sorted(values))}",
        )


def _selinux(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    setters: list[str] = []
    types: list[str] = []
    parts: set[str] = set()

    def is_bad(context: SecurityContext | PodSecurityContext | None) -> bool:
        options = context.se_linux_options if context is not None else None
        if options is None:
            return False
        is_known = _SELINUX_TYPES.get(options.type, _EVER) <= minor
        if not is_known and options.type not in types:
            types.append(options.type)
        parts.update(name for name, value in (("user", options.user), ("role", options.role)) if value)
        return not is_known or bool(options.user or options.role)

    if is_bad(spec.security_context):
        setters.append("pod")
    containers = [container.name for container in _containers(spec) if is_bad(container.security_context)]
    if containers:
        setters.append(f"{_plural('container', containers)} {_quote(containers)}")
    if not setters:
        return
    details = [f"{_plural('type', types)} {_quote(types)}"] if types else []
    details += [f"{part} may not be set" for part in ("user", "role") if part in parts]
    yield Violation(
        "seLinuxOptions",
        f"{' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(details)}",
    )


def _baseline_seccomp(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    where, values = _settings(spec, _seccomp, lambda value: value == "Unconfined")
    if where:
        yield Violation(
            "seccompProfile", f"{where} must not set securityContext.seccompProfile.type to {_quote(values)}"
        )


def _sysctls(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    used = spec.security_context.sysctls if spec.security_context is not None else ()
    bad = [sysctl.name for sysctl in used if _SYSCTLS.get(sysctl.name, _EVER) > minor]
    if bad:
        yield Violation("forbidden sysctls", ", ".join(bad))


def _windows_host_process(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    pod_options = spec.security_context.windows_options if spec.security_context is not None else None
    setters = ["pod"] if pod_options is not None and pod_options.host_process else []
    names = _names(
        spec, lambda context: context.windows_options is not None and bool(context.windows_options.host_process)
    )
    if names:
        setters.append(f"{_plural('container', names)} {_quote(names)}")
    if setters:
        yield Violation(
            "hostProcess", f"{' and '.join(setters)} must not set securityContext.windowsOptions.hostProcess=true"
        )


def _privilege_escalation(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    if minor >= _KNOWS_WINDOWS and _is_windows(spec):
        return
    names = [
        container.name
        for container in _containers(spec)
        if container.security_context is None or container.security_context.allow_privilege_escalation is not False
    ]
    if names:
        yield Violation(
            "allowPrivilegeEscalation != false",
            f"{_plural('container', names)} {_quote(names)} must set securityContext.allowPrivilegeEscalation=false",
        )


def _restricted_capabilities(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    if minor >= _KNOWS_WINDOWS and _is_windows(spec):
        return
    keeping = [
        container.name
        for container in _containers(spec)
        if container.security_context is None
        or container.security_context.capabilities is None
        or "ALL" not in container.security_context.capabilities.drop
    ]
    adding, capabilities = _added_capabilities(spec, frozenset({"NET_BIND_SERVICE"}))
    details = []
    if keeping:
        details.append(
            f'{_plural("container", keeping)} {_quote(keeping)} must set securityContext.capabilities.drop=["ALL"]'
        )
    if adding:
        details.append(_must_not_add(adding, capabilities))
    if details:
        yield Violation("unrestricted capabilities", "; ".join(details))


def _restricted_volumes(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    names: list[str] = []
    types: set[str] = set()
    for volume in spec.volumes:
        source = _volume_type(volume)
        if source is not None and source not in _RESTRICTED_VOLUMES:
            names.append(volume.name)
            types.add(_VOLUME_WIRE_NAMES[source])
    if names:
        uses = "uses" if len(names) == 1 else "use"
        yield Violation(
            "restricted volume types",
            f"{_plural('volume', names)} {_quote(names)} {uses} restricted volume"
            f" {_plural('type', types)} {_quote(sorted(types))}",
        )


def _run_as_non_root(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    on_pod = spec.security_context.run_as_non_root if spec.security_context is not None else None
    bad: list[str] = []
    implicit: list[str] = []
    for container in _containers(spec):
        own = container.security_context.run_as_non_root if container.security_context is not None else None
        if own is False:
            bad.append(container.name)
        elif own is None and on_pod is None:
            implicit.append(container.name)
    setters = ["pod"] if on_pod is False else []
    if bad:
        setters.append(f"{_plural('container', bad)} {_quote(bad)}")
    if setters:
        yield Violation(
            "runAsNonRoot != true", f"{' and '.join(setters)} must not set securityContext.runAsNonRoot=false"
        )
    elif implicit:
        yield Violation(
            "runAsNonRoot != true",
            f"pod or {_plural('container', implicit)} {_quote(implicit)} must set securityContext.runAsNonRoot=true",
        )


def _run_as_user(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    setters = ["pod"] if spec.security_context is not None and spec.security_context.run_as_user == 0 else []
    names = _names(spec, lambda context: context.run_as_user == 0)
    if names:
        setters.append(f"{_plural('container', names)} {_quote(names)}")
    if setters:
        yield Violation("runAsUser=0", f"{' and '.join(setters)} must not set runAsUser=0")


def _restricted_seccomp(metadata: ObjectMeta, spec: PodSpec, minor: int) -> Iterator[Violation]:
    if minor >= _KNOWS_WINDOWS and _is_windows(spec):
        return
    where, values = _settings(spec, _seccomp, lambda value: value not in ("RuntimeDefault", "Localhost"))
    on_pod = _seccomp(spec.security_context) if spec.security_context is not None else None
    implicit = [
        container.name
        for container in _containers(spec)
        if on_pod is None and (container.security_context is None or _seccomp(container.security_context) is None)
    ]
    if where:
        yield Violation(
            "seccompProfile", f"{where} must not set securityContext.seccompProfile.type to {_quote(values)}"
        )
    elif implicit:
        yield Violation(
            "seccompProfile",
            f"pod or {_plural('container', implicit)} {_quote(implicit)} must set securityContext.seccompProfile.type"
            ' to "RuntimeDefault" or "Localhost"',
        )


# Each with the first version that has it, and the first that has it no more. In restricted, its own checks of
# capabilities, volumes and seccomp stand in for the baseline ones.
_CHECKS: Mapping[str, tuple[tuple[Check, int, int], ...]] = {
    PRIVILEGED: (),
    BASELINE: (
        (_app_armor, 0, _EVER),
        (_baseline_capabilities, 0, _EVER),
        (_host_namespaces, 0, _EVER),
        (_host_path_volumes, 0, _EVER),
        (_host_ports, 0, _EVER),
        (_host_probes, 34, _EVER),
        (_privileged, 0, _EVER),
        (_proc_mount, 0, _EVER),
        (_selinux, 0, _EVER),
        (_baseline_seccomp, 19, _EVER),
        (_sysctls, 0, _EVER),
        (_windows_host_process, 0, _EVER),
    ),
    RESTRICTED: (
        (_app_armor, 0, _EVER),
        (_baseline_capabilities, 0, 22),
        (_host_namespaces, 0, _EVER),
        (_host_ports, 0, _EVER),
        (_host_probes, 34, _EVER),
        (_privileged, 0, _EVER),
        (_proc_mount, 0, _EVER),
        (_selinux, 0, _EVER),
        (_sysctls, 0, _EVER),
        (_windows_host_process, 0, _EVER),
        (_privilege_escalation, 8, _EVER),
        (_restricted_capabilities, 22, _EVER),
        (_restricted_volumes, 0, _EVER),
        (_run_as_non_root, 0, _EVER),
        (_run_as_user, 23, _EVER),
        (_restricted_seccomp, 19, _EVER),
    ),
}


def _containers(spec: PodSpec) -> Iterator[AnyContainer]:
    yield from spec.init_containers
    yield from spec.containers
    yield from spec.ephemeral_containers


def _names(spec: PodSpec, is_bad: Callable[[SecurityContext], bool]) -> list[str]:
    return [
        container.name
        for container in _containers(spec)
        if container.security_context is not None and is_bad(container.security_context)
    ]


def _settings(
    spec: PodSpec,
    get: Callable[[SecurityContext | PodSecurityContext], str | None],
    is_bad: Callable[[str], bool],
) -> tuple[str, list[str]]:
    """Who sets a forbidden value, in words, and the values."""
    values: set[str] = set()
    setters: list[str] = []
    names: list[str] = []
    on_pod = get(spec.security_context) if spec.security_context is not None else None
    if on_pod is not None and is_bad(on_pod):
        setters.append("pod")
        values.add(on_pod)
    for container in _containers(spec):
        value = get(container.security_context) if container.security_context is not None else None
        if value is not None and is_bad(value):
            names.append(container.name)
            values.add(value)
    if names:
        setters.append(f"{_plural('container', names)} {_quote(names)}")
    return " and ".join(setters), sorted(values)


def _seccomp(context: SecurityContext | PodSecurityContext) -> str | None:
    return context.seccomp_profile.type if context.seccomp_profile is not None else None


def _added_capabilities(spec: PodSpec, allowed: frozenset[str]) -> tuple[list[str], list[str]]:
    names: list[str] = []
    capabilities: set[str] = set()
    for container in _containers(spec):
        context = container.security_context
        added = context.capabilities.add if context is not None and context.capabilities is not None else ()
        bad = [capability for capability in added if capability not in allowed]
        if bad:
            names.append(container.name)
            capabilities.update(bad)
    return names, sorted(capabilities)


def _must_not_add(names: list[str], capabilities: list[str]) -> str:
    return (
        f"{_plural('container', names)} {_quote(names)} must not include {_quote(capabilities)}"
        " in securityContext.capabilities.add"
    )


def _is_windows(spec: PodSpec) -> bool:
    return spec.os is not None and spec.os.name == "windows"


def _volume_type(volume: Volume) -> str | None:
    return next((name for name in _VOLUME_WIRE_NAMES if getattr(volume, name) is not None), None)


_VOLUME_WIRE_NAMES: Mapping[str, str] = {
    field.name: field.encode_name for field in msgspec.structs.fields(Volume) if field.name != "name"
}


def _plural(word: str, things: Iterable[object]) -> str:
    return word if len(list(things)) == 1 else f"{word}s"


def _quote(values: Iterable[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)
