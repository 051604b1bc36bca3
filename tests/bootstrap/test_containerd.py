"""containerd's configuration says what a node of this kind of machine needs."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from keelback.bootstrap import containerd
from keelback.bootstrap.containerd import ContainerdConfig


def rendered(**changes: Any) -> dict[str, Any]:
    config = ContainerdConfig(**{"root": Path("/data/containerd"), **changes})
    return tomllib.loads(containerd.render(config))


def cri(document: dict[str, Any]) -> dict[str, Any]:
    section: dict[str, Any] = document["plugins"]["io.containerd.grpc.v1.cri"]
    return section


def test_every_path_is_the_nodes_own() -> None:
    document = rendered(state=Path("/run/k/n/containerd"), cni_configuration=Path('/data/"odd" name'))
    assert document["root"] == "/data/containerd"
    assert document["grpc"]["address"] == "/run/k/n/containerd/containerd.sock"
    assert cri(document)["cni"]["conf_dir"] == '/data/"odd" name'
    assert cri(document)["netns_mounts_under_state_dir"] is True


@pytest.mark.parametrize("restrict", [True, False])
def test_oom_scores_are_restricted_only_where_they_must_be(restrict: bool) -> None:
    assert cri(rendered(restrict_oom_score=restrict))["restrict_oom_score_adj"] is restrict


def test_the_oci_runtime_is_the_default_and_goes_by_its_name_too() -> None:
    runtimes = cri(rendered(oci_runtime="crun"))["containerd"]["runtimes"]
    assert set(runtimes) == {"default", "crun"}
    assert runtimes["default"]["options"]["BinaryName"] == "crun"
    assert runtimes["default"]["options"]["SystemdCgroup"] is False


def test_containerd_1_6_keeps_the_plugin_that_its_cri_needs() -> None:
    assert "io.containerd.runtime.v1.linux" not in rendered()["disabled_plugins"]


def test_registries_are_named_only_when_there_are_some() -> None:
    assert "registry" not in cri(rendered())
    assert cri(rendered(registries=Path("/data/certs.d")))["registry"]["config_path"] == "/data/certs.d"


def test_crun_goes_before_runc() -> None:
    assert containerd.oci_runtime(lambda name: f"/usr/bin/{name}") == "/usr/bin/crun"
    assert containerd.oci_runtime(lambda name: "/usr/sbin/runc" if name == "runc" else None) == "/usr/sbin/runc"
    assert containerd.oci_runtime(lambda name: None) is None


def test_capabilities_are_told_apart() -> None:
    assert not containerd.has_capability(24, "CapEff:\t000001fffeffffff\n")
    assert containerd.has_capability(21, "CapEff:\t000001fffeffffff\n")
    assert not containerd.has_capability(21, "")
