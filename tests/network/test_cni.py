"""The CNI configuration says what a node's pods get."""

from __future__ import annotations

import json
from pathlib import Path

from keelback.network import cni


def test_a_dual_stack_node_gives_each_pod_one_address_of_each_family() -> None:
    document = json.loads(cni.conflist(["10.244.1.0/24", "fd00:1::/64"], Path("/state")))
    bridge, portmap = document["plugins"]
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:1::/64"}]]
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert portmap["capabilities"] == {"portMappings": True}


def test_no_plugin_masquerades_and_pods_reach_themselves_by_their_service() -> None:
    bridge = json.loads(cni.conflist(["10.244.1.0/24"], Path("/state")))["plugins"][0]
    assert bridge["ipMasq"] is False
    assert bridge["hairpinMode"] is True


def test_a_directory_counts_only_with_every_plugin(tmp_path: Path) -> None:
    some, whole = tmp_path / "some", tmp_path / "whole"
    for directory, plugins in ((some, cni.PLUGINS[1:]), (whole, cni.PLUGINS)):
        directory.mkdir()
        for plugin in plugins:
            (directory / plugin).touch()
    assert cni.binary_directory([tmp_path / "none", some, whole]) == whole
    assert cni.binary_directory([some]) is None


def test_what_is_missing_is_said_of_the_directory_that_has_most(tmp_path: Path) -> None:
    some, none = tmp_path / "some", tmp_path / "none"
    some.mkdir()
    for plugin in cni.PLUGINS[:-1]:
        (some / plugin).touch()
    assert cni.explain_missing([none, some]) == f"no CNI plugin {cni.PLUGINS[-1]} in {some}"
    assert cni.explain_missing([none]) == f"no CNI plugin bridge, host-local, portmap, loopback in {none}"
    (some / cni.PLUGINS[-1]).touch()
    assert cni.explain_missing([none, some]) == ""
