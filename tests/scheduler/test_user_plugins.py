"""Plugins that users write in Python: enabled by a configuration, asked like the built-in ones, explained like them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keelback.scheduler import configuration, plugin_registry
from keelback.scheduler.config import SchedulerConfig
from keelback.scheduler.configuration_types import ConfigurationError
from keelback.scheduler.handle import SchedulerHandle
from keelback.scheduling.extension_points import Permission, Wait
from keelback.scheduling.framework import EVERY, CycleState, Mask, Rows, Scores
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.pod_to_place import PodToPlace
from keelback.scheduling.user_plugins import ColumnPlugin, NodePlugin, NodeView
from keelback.testing.cluster import Cluster

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n"
PROFILE = """- schedulerName: default-scheduler
  plugins:
    multiPoint: {enabled: [{name: Licences}]}
    score: {enabled: [{name: Newest, weight: 1000}]}
  pluginConfig: [{name: Licences, args: {limit: 2}}]
"""


class Licences(NodePlugin):
    """Only so many pods that need a licence run on one node."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.limit = int(arguments["limit"])

    def filter_node(self, pod: PodInfo, node: NodeView) -> str | None:
        if "licence" not in pod.labels:
            return None
        taken = sum("licence" in one.info.labels for one in node.pods)
        return None if taken < self.limit else "node(s) had no licence left"


class Newest(ColumnPlugin):
    """Nodes with the highest number in their name first."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        assert not arguments

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores:
        return np.array([int(node.name[-1]) for node in nodes.nodes], np.int64)[rows]


class Nowhere(ColumnPlugin):
    reason = "node(s) were not asked"

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        pass

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask:
        return np.zeros(len(nodes), np.bool_)[rows]


class Wild(NodePlugin):
    def __init__(self, arguments: Mapping[str, Any]) -> None:
        pass

    def score_node(self, pod: PodInfo, node: NodeView) -> int:
        return 101


OWN = {"Licences": Licences, "Newest": Newest, "Nowhere": Nowhere, "Wild": Wild}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(nodes=3, scheduler_configuration=HEAD + PROFILE, scheduler_plugins=OWN) as running:
        yield running


def pod(name: str, **labels: str) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "one"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def test_both_sorts_decide_with_the_built_in_ones(cluster: Cluster) -> None:
    for number in range(7):
        cluster.apply(pod(f"p{number}", licence="yes"))
    placed = [cluster.get(f"pod/p{number}")["spec"].get("nodeName") for number in range(7)]
    assert placed == ["node-2", "node-2", "node-1", "node-1", "node-0", "node-0", None]
    refused = next(one for one in cluster.get("pod/p6")["status"]["conditions"] if one["type"] == "PodScheduled")
    assert refused["message"].startswith("0/3 nodes are available: 3 node(s) had no licence left.")
    cluster.apply(pod("plain"))
    assert cluster.get("pod/plain")["spec"]["nodeName"] == "node-2"
    cluster.delete("pod/p3")
    assert cluster.wait("pod/p6", "PodScheduled")["spec"]["nodeName"] == "node-1"


def test_more_important_pods_preempt_for_what_such_a_plugin_wants(cluster: Cluster) -> None:
    high = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"}, "value": 100}
    cluster.apply(high)
    for number in range(6):
        cluster.apply(pod(f"p{number}", licence="yes"))
    important = pod("important", licence="yes")
    important["spec"]["priorityClassName"] = "high"
    cluster.apply(important)
    cluster.wait("pod/important", "PodScheduled")
    assert len(cluster.list("pods")) == 6


def parse(profile: str) -> SchedulerConfig:
    return configuration.parse(HEAD + profile, SchedulerConfig(), OWN)


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ("- plugins: {filter: {enabled: [{name: Licenses}]}}", "plugin 'Licenses' is not known; known are"),
        ("- plugins: {filter: {enabled: [{name: Licences}]}}", "plugin Licences: KeyError: 'limit'"),
        ("- plugins: {preFilter: {enabled: [{name: Newest}]}}", "plugin 'Newest' does not extend preFilter"),
    ],
)
def test_mistakes_are_named(profile: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        parse(profile)
    assert said in str(raised.value)


def test_a_score_out_of_bounds_is_a_plugins_defect_and_no_placement() -> None:
    profile = "- plugins: {multiPoint: {enabled: [{name: Wild}]}}\n"
    with Cluster(nodes=1, scheduler_configuration=HEAD + profile, scheduler_plugins=OWN) as cluster:
        cluster.apply(pod("p"))
        cluster.advance(5)
        assert "nodeName" not in cluster.get("pod/p")["spec"]


def test_plugins_are_loaded_from_where_a_flag_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "class Mine:\n    def __init__(self, arguments): pass\n    def score(self): pass\n\nnumber = 5\n"
    (tmp_path / "own_plugins_of_a_test.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found = plugin_registry.load(["Mine=own_plugins_of_a_test:Mine"])
    assert plugin_registry.make("Mine", found["Mine"], {}, "profiles[0]").name == "Mine"
    for flag, said in (
        ("Mine", "NAME=MODULE:OBJECT"),
        ("Mine=no_such_module:Mine", "cannot be loaded"),
        ("Mine=own_plugins_of_a_test:Yours", "cannot be loaded"),
        ("Mine=own_plugins_of_a_test:number", "no class or function"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            plugin_registry.load([flag])
    del sys.modules["own_plugins_of_a_test"]


class TwoByTwo:
    """Pods of one label are bound in pairs: as docs/scheduler-plugins.md has it."""

    name = "TwoByTwo"

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.handle: SchedulerHandle | None = None

    def set_handle(self, handle: SchedulerHandle) -> None:
        self.handle = handle

    def permit(self, state: CycleState, pod: PodToPlace, node_name: str) -> Permission:
        assert self.handle is not None
        pair = pod.metadata.labels.get("pair")
        for waiting in self.handle.waiting_pods:
            if pair and waiting.pod.metadata.labels.get("pair") == pair:
                waiting.allow(self.name)
                return None
        return Wait(60) if pair else None


def test_a_plugin_may_have_pods_wait_for_each_other() -> None:
    enabled = "- plugins: {permit: {enabled: [{name: TwoByTwo}]}}\n"
    with Cluster(nodes=1, scheduler_configuration=HEAD + enabled, scheduler_plugins={"TwoByTwo": TwoByTwo}) as running:
        running.apply(pod("a", pair="one"))
        running.apply(pod("b", pair="two"))
        running.apply(pod("plain"))
        running.apply(pod("c", pair="one"))
        nodes = {name: running.get(f"pod/{name}")["spec"].get("nodeName") for name in ("a", "b", "c", "plain")}
        assert nodes == {"a": "node-0", "b": None, "c": "node-0", "plain": "node-0"}
        running.advance(minutes=1)
        said = next(one for one in running.get("pod/b")["status"]["conditions"] if one["type"] == "PodScheduled")
        text = "0/1 nodes are available: 1 rejected due to timeout after waiting 1m0s at plugin TwoByTwo."
        assert said["message"] == text
