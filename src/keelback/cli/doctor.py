"""`keelback doctor`: what this machine can do for a cluster, what is missing, and how to get it."""

from __future__ import annotations

import asyncio

from keelback.bootstrap import cluster_state, machine, packages
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.machine import Machine, Severity
from keelback.bootstrap.progress import Progress
from keelback.concurrency.clock import SystemClock

_MARKS = {Severity.OK: "ok  ", Severity.LIMITING: "note", Severity.BLOCKING: "MISS"}


def run(*, install: bool) -> int:
    """Print every finding; 1 when the machine cannot run containers. Installs missing packages only when asked to."""
    found = machine.observe(cluster_state.home())
    if install:
        found = _install(found)
    findings = machine.examine(found)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{_MARKS[finding.severity]}  {finding.name.ljust(width)}  {finding.detail}")
        if finding.advice:
            print(f"      {''.ljust(width)}  -> {finding.advice}")
    if machine.can_run_containers(findings):
        print("\nThis machine can run real containers.")
        return 0
    print(f"\nWithout these, {machine.why_simulated(findings)}")
    if found.missing_packages and found.can_install:
        print("`keelback doctor --install` installs the packages that are missing.")
    return 1


def _install(found: Machine) -> Machine:
    if not found.missing_packages:
        return found
    if not found.can_install:
        raise ClusterError(f"only root on a machine with apt can install {' '.join(found.missing_packages)}")
    progress = Progress(SystemClock())
    try:
        asyncio.run(
            packages.install(found.missing_packages, lambda share, what: progress.doing(f"{share:4.0%} {what}"))
        )
    except packages.PackageError as error:
        raise ClusterError(str(error)) from error
    progress.done(f"Installed {' '.join(found.missing_packages)}")
    return machine.observe(cluster_state.home())
