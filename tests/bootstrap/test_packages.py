"""Which packages are missing follows from which programs are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from keelback.bootstrap import packages

PLUGINS = Path("/opt/cni/bin")


def test_a_machine_with_every_program_needs_nothing() -> None:
    assert packages.missing(lambda name: f"/usr/bin/{name}", PLUGINS) == ()


def test_a_bare_machine_needs_each_package_once() -> None:
    wanted = packages.missing(lambda name: None, PLUGINS)
    assert len(wanted) == len(set(wanted))
    assert {"containerd", "crun", "nftables", "iproute2", "conntrack", "busybox-static"} <= set(wanted)


def test_runc_does_for_crun() -> None:
    assert "crun" not in packages.missing(lambda name: "/usr/bin/runc" if name == "runc" else None, PLUGINS)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("dlstatus:1:50.0:Retrieving file 1 of 2", (0.25, "Retrieving file 1 of 2")),
        ("pmstatus:crun:100.0:Installed crun (amd64)", (1.0, "Installed crun (amd64)")),
        ("pmstatus:crun:nothing:x", None),
        ("media-change: x", None),
        ("", None),
    ],
)
def test_progress_goes_from_fetching_to_installed(line: str, status: tuple[float, str] | None) -> None:
    assert packages.parse_status(line) == status
