"""What this machine can do for a cluster, and what to do about what it cannot: the facts of `keelback doctor`.

`observe` looks and changes nothing: what must be tried is tried in namespaces that end with the try. `examine` judges.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from keelback.bootstrap import cgroups, packages
from keelback.network import cni, namespaces
from keelback.network.namespaces import NODE, Kind

_CAPABILITIES = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_KILL": 5,
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_MKNOD": 27,
}
_NEEDED_CAPABILITIES = ("CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_DAC_OVERRIDE", "CAP_KILL")
_CONTROLLERS = ("cpu", "memory", "pids")
_DISK_BYTES = 2 << 30
_MEMORY_BYTES = 1 << 30


class Severity(StrEnum):
    """`blocking`: no real containers; `limiting`: something works less well."""

    OK = "ok"
    LIMITING = "limiting"
    BLOCKING = "blocking"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was found, and what to do when it is not well."""

    name: str
    severity: Severity
    detail: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts, as plain values. An empty error text means that it worked."""

    system: str = "Linux"
    release: str = ""
    architecture: str = "x86_64"
    python: tuple[int, int] = (3, 11)
    is_root: bool = True
    capabilities: frozenset[str] = frozenset(_CAPABILITIES)
    cgroup_version: str = "v2"
    controllers: frozenset[str] = frozenset(_CONTROLLERS)
    namespaces_error: str = ""
    links_error: str = ""
    nftables_error: str = ""
    has_bridge_netfilter: bool = True
    has_overlay: bool = True
    programs: Mapping[str, str] = field(default_factory=dict)
    cni_plugins: str = ""
    cni_problem: str = ""
    cni_advice: str = ""
    missing_packages: tuple[str, ...] = ()
    can_install: bool = True
    cpus: int = 2
    memory_bytes: int = 4 << 30
    disk_free_bytes: int = 20 << 30


def observe(data_directory: Path) -> Machine:
    """Look at this machine. Takes some tens of milliseconds."""
    system = platform.system()
    if system != "Linux":
        return Machine(
            system=system,
            release=platform.release(),
            architecture=platform.machine(),
            python=(sys.version_info[0], sys.version_info[1]),
            is_root=False,
            capabilities=frozenset(),
            cgroup_version="none",
            controllers=frozenset(),
            can_install=False,
            cpus=os.cpu_count() or 1,
            disk_free_bytes=_disk_free(data_directory),
        )
    is_root = os.geteuid() == 0
    trial = _try_network() if is_root else _Trial("not root", "not root", False)
    plugins = cni.binary_directory()
    named = {program for requirement in packages.REQUIREMENTS for program in requirement.programs}
    found = {name: path for name in sorted(named) if (path := packages.find_program(name))}
    return Machine(
        system=system,
        release=platform.release(),
        architecture=platform.machine(),
        python=(sys.version_info[0], sys.version_info[1]),
        is_root=is_root,
        capabilities=effective_capabilities(Path("/proc/self/status").read_text()),
        cgroup_version=cgroups.version(),
        controllers=frozenset(_controllers()),
        namespaces_error=_try_namespaces() if is_root else "not root",
        links_error=trial.links_error,
        nftables_error=trial.nftables_error,
        has_bridge_netfilter=trial.has_bridge_netfilter,
        has_overlay="\toverlay\n" in Path("/proc/filesystems").read_text(),
        programs=found,
        cni_plugins=str(plugins or ""),
        cni_problem=cni.explain_missing(),
        cni_advice=packages.advice_on_plugins(),
        missing_packages=packages.missing(),
        can_install=packages.can_install(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        disk_free_bytes=_disk_free(data_directory),
    )


def examine(machine: Machine) -> tuple[Finding, ...]:
    """Every finding, the good ones too, in the order in which a reader would put them right."""
    if machine.system != "Linux":
        # What else is missing would not help.
        return (_system(machine), _amount("disk", machine.disk_free_bytes, _DISK_BYTES, "free some, or --data-dir"))
    return (
        _system(machine),
        _root(machine),
        *_capability_findings(machine),
        *_kernel_part(
            machine, "namespaces", machine.namespaces_error, "run where the kernel or container allows unshare"
        ),
        *_cgroup_findings(machine),
        _present("overlayfs", machine.has_overlay, "overlay file system", "modprobe overlay"),
        *_kernel_part(machine, "links", machine.links_error, "modprobe veth bridge, and install iproute2"),
        *_kernel_part(machine, "nftables", machine.nftables_error, "modprobe nf_tables, and install nftables"),
        _bridge_netfilter(machine),
        *_program_findings(machine),
        _amount("disk", machine.disk_free_bytes, _DISK_BYTES, "images and logs need room: free some, or --data-dir"),
        _amount("memory", machine.memory_bytes, _MEMORY_BYTES, "few pods will fit"),
    )


def can_run_containers(findings: Sequence[Finding]) -> bool:
    """Whether nothing that was found keeps containers from being real."""
    return all(finding.severity is not Severity.BLOCKING for finding in findings)


def why_simulated(findings: Sequence[Finding]) -> str:
    """One line: what keeps containers from being real, and what it would take."""
    blocking = [finding for finding in findings if finding.severity is Severity.BLOCKING]
    if not blocking:
        return ""
    reasons = "; ".join(dict.fromkeys(finding.detail for finding in blocking))
    advice = "; ".join(dict.fromkeys(finding.advice for finding in blocking if finding.advice))
    return f"containers are simulated: {reasons}. To make them real: {advice}."


def effective_capabilities(status: str) -> frozenset[str]:
    """The names, of those that matter here, in the effective set of `/proc/PID/status` text."""
    for line in status.splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
            return frozenset(name for name, number in _CAPABILITIES.items() if bits >> number & 1)
    return frozenset()


def _system(machine: Machine) -> Finding:
    detail = f"{machine.system} {machine.release} on {machine.architecture}"
    if machine.system != "Linux":
        return Finding("system", Severity.BLOCKING, f"{machine.system} has no Linux containers", "use a Linux machine")
    if machine.architecture not in {"x86_64", "aarch64"}:
        advice = "use an x86_64 or aarch64 machine"
        return Finding("system", Severity.BLOCKING, f"no pause program for {machine.architecture}", advice)
    return Finding("system", Severity.OK, detail)


def _root(machine: Machine) -> Finding:
    if machine.is_root:
        return Finding("root", Severity.OK, "running as root")
    return Finding("root", Severity.BLOCKING, "not running as root", "run the same command as root")


def _capability_findings(machine: Machine) -> list[Finding]:
    if not machine.is_root:
        return []
    lacking = [name for name in _NEEDED_CAPABILITIES if name not in machine.capabilities]
    if lacking:
        advice = "give the container or service that you run in these capabilities"
        return [Finding("capabilities", Severity.BLOCKING, f"root here lacks {', '.join(lacking)}", advice)]
    findings = [Finding("capabilities", Severity.OK, "namespaces, mounts and networks may be made")]
    if "CAP_SYS_RESOURCE" not in machine.capabilities:
        detail = "root here lacks CAP_SYS_RESOURCE: OOM scores cannot be lowered, limits not raised"
        findings.append(
            Finding("CAP_SYS_RESOURCE", Severity.LIMITING, detail, "nothing needs doing for a test cluster")
        )
    return findings


def _cgroup_findings(machine: Machine) -> list[Finding]:
    if machine.cgroup_version == "none":
        return [Finding("cgroups", Severity.BLOCKING, "no cgroups are mounted", "mount cgroup2 on /sys/fs/cgroup")]
    lacking = [name for name in _CONTROLLERS if name not in machine.controllers]
    findings = [Finding("cgroups", Severity.OK, f"cgroups {machine.cgroup_version}")]
    if lacking:
        detail = f"no {', '.join(lacking)} controller: such limits are not kept"
        findings.append(Finding("controllers", Severity.LIMITING, detail, "enable them on the kernel's command line"))
    return findings


def _bridge_netfilter(machine: Machine) -> Finding:
    if machine.has_bridge_netfilter or machine.links_error:
        return Finding("br_netfilter", Severity.OK, "bridged traffic passes the Service rules")
    detail = "no br_netfilter: a pod cannot reach a pod of its own node through a Service"
    return Finding("br_netfilter", Severity.LIMITING, detail, "modprobe br_netfilter")


def _program_findings(machine: Machine) -> list[Finding]:
    findings = []
    install = f"apt-get install {' '.join(machine.missing_packages)}"
    for requirement in packages.REQUIREMENTS:
        path = next((machine.programs[name] for name in requirement.programs if name in machine.programs), "")
        name = " or ".join(requirement.programs)
        if path:
            findings.append(Finding(name, Severity.OK, path))
        else:
            findings.append(Finding(name, Severity.BLOCKING, f"no {name}, which {requirement.what_for}", install))
    if machine.cni_plugins:
        findings.append(Finding("CNI plugins", Severity.OK, machine.cni_plugins))
    else:
        detail = machine.cni_problem or f"no CNI plugins ({', '.join(cni.PLUGINS)})"
        findings.append(Finding("CNI plugins", Severity.BLOCKING, detail, machine.cni_advice or install))
    return findings


def _kernel_part(machine: Machine, name: str, error: str, advice: str) -> list[Finding]:
    if not machine.is_root:
        # Only root can try, and that root is needed is said already.
        return []
    if error:
        return [Finding(name, Severity.BLOCKING, f"{name} cannot be made: {error}", advice)]
    return [Finding(name, Severity.OK, f"{name} can be made")]


def _present(name: str, present: bool, what: str, advice: str) -> Finding:
    if present:
        return Finding(name, Severity.OK, f"the kernel has the {what}")
    return Finding(name, Severity.BLOCKING, f"the kernel has no {what}", advice)


def _amount(name: str, found: int, wanted: int, advice: str) -> Finding:
    detail = f"{found / (1 << 30):.1f} GiB {'free' if name == 'disk' else 'in all'}"
    return Finding(
        name, Severity.OK if found >= wanted else Severity.LIMITING, detail, "" if found >= wanted else advice
    )


@dataclass(frozen=True, slots=True)
class _Trial:
    links_error: str
    nftables_error: str
    has_bridge_netfilter: bool


def _try_namespaces() -> str:
    try:
        namespaces.within_new(NODE, lambda: None)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _try_network() -> _Trial:
    """In a network namespace that ends with it: a bridge with a pair on it, and the NAT that Services use."""

    def work() -> _Trial:
        lines = "link add name br0 type bridge\nlink add name v0 type veth peer name v1\nlink set v0 master br0\n"
        table = (
            "table ip t {\nchain c {\ntype nat hook output priority -100;\nip daddr 10.0.0.1 dnat to 127.0.0.1\n}\n}\n"
        )
        return _Trial(
            _try(["ip", "-batch", "-"], lines),
            _try(["nft", "-f", "-"], table),
            Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists(),
        )

    try:
        return namespaces.within_new(Kind.NETWORK, work)
    except OSError as error:
        reason = error.strerror or str(error)
        return _Trial(reason, reason, False)


def _try(arguments: Sequence[str], text: str) -> str:
    program = packages.find_program(arguments[0])
    if program is None:
        return f"no {arguments[0]} program"
    try:
        done = subprocess.run(
            [program, *arguments[1:]], input=text, capture_output=True, text=True, cwd="/", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[0]


def _controllers() -> set[str]:
    found: set[str] = set()
    for mount, kind in cgroups.hierarchies():
        if kind == "cgroup2":
            try:
                found.update((mount / "cgroup.controllers").read_text().split())
            except OSError:
                continue
        else:
            found.update(mount.name.split(","))
    return found


def _disk_free(directory: Path) -> int:
    while not directory.exists():
        directory = directory.parent
    return shutil.disk_usage(directory).free
