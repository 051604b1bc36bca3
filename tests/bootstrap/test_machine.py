"""The doctor names what is missing and what to do, for machines of every kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keelback.bootstrap import machine, packages
from keelback.bootstrap.machine import Machine, Severity, examine

ALL_PROGRAMS = {name: f"/usr/bin/{name}" for item in packages.REQUIREMENTS for name in item.programs}


def good(**changes: object) -> Machine:
    return Machine(**{"programs": ALL_PROGRAMS, "cni_plugins": "/opt/cni/bin", **changes})  # type: ignore[arg-type]


def names(found: Machine, severity: Severity) -> list[str]:
    return [finding.name for finding in examine(found) if finding.severity is severity]


def test_a_good_machine_runs_containers_and_nothing_is_wrong() -> None:
    findings = examine(good())
    assert {finding.severity for finding in findings} == {Severity.OK}
    assert machine.can_run_containers(findings)
    assert machine.why_simulated(findings) == ""


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"is_root": False, "namespaces_error": "not root"}, "root"),
        ({"system": "Darwin"}, "system"),
        ({"architecture": "riscv64"}, "system"),
        ({"capabilities": frozenset({"CAP_NET_ADMIN"})}, "capabilities"),
        ({"cgroup_version": "none"}, "cgroups"),
        ({"has_overlay": False}, "overlayfs"),
        ({"links_error": "Unknown device type."}, "links"),
        ({"nftables_error": "no nft program"}, "nftables"),
        ({"cni_plugins": ""}, "CNI plugins"),
        ({"programs": {**ALL_PROGRAMS, "containerd": ""}, "missing_packages": ("containerd",)}, "containerd"),
    ],
)
def test_what_keeps_containers_from_being_real_is_named_with_a_remedy(changes: dict[str, object], name: str) -> None:
    findings = examine(good(**changes))
    finding = next(item for item in findings if item.name == name)
    assert finding.severity is Severity.BLOCKING
    assert finding.advice
    assert not machine.can_run_containers(findings)
    line = machine.why_simulated(findings)
    assert line.startswith("containers are simulated: ")
    assert "\n" not in line


def test_who_lacks_only_root_is_told_only_that() -> None:
    changes = {
        "is_root": False,
        "namespaces_error": "not root",
        "links_error": "not root",
        "nftables_error": "not root",
    }
    assert machine.why_simulated(examine(good(**changes))) == (
        "containers are simulated: not running as root. To make them real: run the same command as root."
    )


def test_a_machine_without_linux_is_told_no_packages_to_install() -> None:
    changes = {"system": "Darwin", "is_root": False, "programs": {}, "cni_plugins": "", "cgroup_version": "none"}
    assert machine.why_simulated(examine(good(**changes))) == (
        "containers are simulated: Darwin has no Linux containers. To make them real: use a Linux machine."
    )


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"capabilities": good().capabilities - {"CAP_SYS_RESOURCE"}}, "CAP_SYS_RESOURCE"),
        ({"controllers": frozenset({"cpu"})}, "controllers"),
        ({"has_bridge_netfilter": False}, "br_netfilter"),
        ({"disk_free_bytes": 1}, "disk"),
    ],
)
def test_what_only_limits_does_not_stand_in_the_way(changes: dict[str, object], name: str) -> None:
    found = good(**changes)
    assert names(found, Severity.LIMITING) == [name]
    assert machine.can_run_containers(examine(found))


def test_one_of_several_runtimes_is_enough() -> None:
    without_crun = {name: path for name, path in ALL_PROGRAMS.items() if name != "crun"}
    assert names(good(programs=without_crun), Severity.BLOCKING) == []


def test_looking_at_this_machine_changes_nothing() -> None:
    before = (Path("/proc/self/mountinfo").read_text(), sorted(os.listdir("/sys/class/net")))
    found = machine.observe(Path("/var/lib/keelback"))
    assert found.system
    assert found.cpus > 0
    assert examine(found)
    assert (Path("/proc/self/mountinfo").read_text(), sorted(os.listdir("/sys/class/net"))) == before


def test_capabilities_are_read_from_the_effective_set() -> None:
    status = "Name:\tx\nCapPrm:\t0\nCapEff:\t000001fffeffffff\n"
    assert "CAP_SYS_RESOURCE" not in machine.effective_capabilities(status)
    assert "CAP_SYS_ADMIN" in machine.effective_capabilities(status)
    assert machine.effective_capabilities("") == frozenset()


@pytest.mark.containers
@pytest.mark.skipif(os.geteuid() != 0 or bool(packages.missing()), reason="needs root and the packages")
def test_a_machine_that_runs_the_container_tests_is_found_fit() -> None:
    findings = examine(machine.observe(Path("/var/lib/keelback")))
    assert machine.can_run_containers(findings), machine.why_simulated(findings)
