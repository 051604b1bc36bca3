"""Plugins of users' own at every extension point: what each is asked, and what its answer does."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from keelback.scheduler import configuration
from keelback.scheduler.config import Profile, SchedulerConfig
from keelback.scheduler.configuration_types import ConfigurationError
from keelback.scheduler.handle import SchedulerHandle
from keelback.scheduling import builtin
from keelback.scheduling.events import Event
from keelback.scheduling.extension_points import Nominated, Permission, Wait
from keelback.scheduling.fit_error import Diagnosis
from keelback.scheduling.framework import EVERY, CycleState, Rows, Scores, Unschedulable
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.pod_to_place import PodToPlace
from keelback.scheduling.user_plugins import ColumnPlugin

Make = Callable[..., Any]


class Everywhere(ColumnPlugin):
    """At all points but those that stand in for a default one; notes what it is asked."""

    name = "Everywhere"

    def __init__(self, arguments: Any = None) -> None:
        self.asked: list[str] = []
        self.permission: Permission = None
        self.refusals: dict[str, Unschedulable] = {}
        self.handle: SchedulerHandle | None = None

    def set_handle(self, handle: SchedulerHandle) -> None:
        self.handle = handle

    def pre_enqueue(self, pod: PodToPlace, info: PodInfo) -> Unschedulable | None:
        return self.refusals.get("pre_enqueue")

    def pre_score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows) -> None:
        state.notes[self.name] = len(nodes.nodes)

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores:
        assert state.notes[self.name] == len(nodes)
        return np.zeros(len(nodes), np.int64)[rows]

    def reserve(self, state: CycleState, pod: PodToPlace, node_name: str) -> Unschedulable | None:
        self.asked.append(f"reserve {node_name}")
        return self.refusals.get("reserve")

    def unreserve(self, state: CycleState, pod: PodToPlace, node_name: str) -> None:
        self.asked.append(f"unreserve {node_name}")

    def permit(self, state: CycleState, pod: PodToPlace, node_name: str) -> Permission:
        self.asked.append(f"permit {node_name}")
        return self.permission

    async def pre_bind(self, state: CycleState, pod: PodToPlace, node_name: str) -> Unschedulable | None:
        self.asked.append(f"pre_bind {node_name}")
        return self.refusals.get("pre_bind")

    def post_bind(self, state: CycleState, pod: PodToPlace, node_name: str) -> None:
        self.asked.append(f"post_bind {node_name}")


class ByLabel:
    name = "ByLabel"

    def __init__(self, arguments: Any = None) -> None:
        pass

    def rank(self, pod: PodInfo, queued_at: float) -> tuple[Any, ...]:
        return (pod.labels["app"],)


class OwnBinder:
    name = "OwnBinder"

    def __init__(self, arguments: Any = None) -> None:
        self.asked: list[str] = []

    async def bind(self, pod: PodToPlace, node_name: str) -> bool:
        self.asked.append(pod.metadata.name)
        return False


def with_plugin(plugin: Any, **points: Any) -> dict[str, Profile]:
    return {"default-scheduler": Profile(dataclasses.replace(builtin.DEFAULT, **points))}


def everywhere(plugin: Everywhere) -> dict[str, Profile]:
    points = ("pre_enqueues", "pre_scores", "reserves", "permits", "pre_binds", "post_binds")
    scores = (*builtin.DEFAULT.scores, (plugin, 1))
    return with_plugin(plugin, scores=scores, **dict.fromkeys(points, (plugin,)))


def test_a_pod_passes_all_points_in_order(make_world: Make) -> None:
    async def scenario() -> None:
        plugin = Everywhere()
        world = make_world(profiles=everywhere(plugin))
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("one")
            await world.until(lambda: world.messages("one", "Scheduled"))
        assert plugin.asked == ["reserve n1", "permit n1", "pre_bind n1", "post_bind n1"]
        assert plugin.handle is not None
        assert plugin.handle.nodes is world.scheduler.observation.nodes

    asyncio.run(scenario())


@pytest.mark.parametrize("point", ["reserve", "pre_bind"])
def test_a_refusal_after_the_decision_gives_all_back_and_is_the_pods_message(make_world: Make, point: str) -> None:
    async def scenario() -> None:
        plugin = Everywhere()
        plugin.refusals[point] = Unschedulable(("the moon is full",))
        world = make_world(profiles=everywhere(plugin))
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("one")
            await world.until(lambda: world.messages("one", "FailedScheduling"))
            assert world.messages("one", "FailedScheduling") == ["0/1 nodes are available: 1 the moon is full."]
            assert world.condition("one")["reason"] == "Unschedulable"
            assert plugin.asked[-1] == "unreserve n1"
            assert not world.scheduler.observation.assumed
            assert world.scheduler.observation.nodes.pod_count.sum() == 0
            assert world.scheduler.queue.rejected_by() == {("Everywhere", "default-scheduler"): 1}
            plugin.refusals.clear()
            await world.add_node("n2")
            await world.settle()
            world.clock.advance(2)
            await world.until(lambda: world.node_of("one"))

    asyncio.run(scenario())


def test_a_pod_waits_until_it_is_allowed_and_others_pass_it(make_world: Make) -> None:
    async def scenario() -> None:
        plugin = Everywhere()
        plugin.permission = Wait(10)
        world = make_world(profiles=everywhere(plugin))
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("patient")
            await world.settle()
            (waiting,) = world.scheduler.waiting_pods
            assert (waiting.pod.metadata.name, waiting.pending_plugins) == ("patient", ("Everywhere",))
            plugin.permission = None
            await world.add_pod("hasty")
            await world.until(lambda: world.node_of("hasty"))
            assert not world.node_of("patient")
            waiting.allow("Everywhere")
            await world.until(lambda: world.node_of("patient"))
            assert not len(world.scheduler.waiting_pods)
            text = world.registry.exposition().decode()
            assert 'scheduler_permit_wait_duration_seconds_count{result="allowed"} 1' in text

    asyncio.run(scenario())


def test_who_waits_in_vain_is_told_where(make_world: Make) -> None:
    async def scenario() -> None:
        plugin = Everywhere()
        plugin.permission = Wait(75)
        world = make_world(profiles=everywhere(plugin))
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("one")
            await world.settle()
            world.clock.advance(75)
            await world.until(lambda: world.messages("one", "FailedScheduling"))
            text = "rejected due to timeout after waiting 1m15s at plugin Everywhere"
            assert world.messages("one", "FailedScheduling") == [f"0/1 nodes are available: 1 {text}."]
            assert plugin.asked[-1] == "unreserve n1"

    asyncio.run(scenario())


def test_a_waiting_pod_that_is_deleted_gives_up_its_node(make_world: Make) -> None:
    async def scenario() -> None:
        plugin = Everywhere()
        plugin.permission = Wait(75)
        world = make_world(profiles=everywhere(plugin))
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("one")
            await world.settle()
            await world.server.delete("pods/default/one")
            await world.settle()
            assert not len(world.scheduler.waiting_pods)
            assert plugin.asked[-1] == "unreserve n1"
            assert world.scheduler.observation.nodes.pod_count.sum() == 0

    asyncio.run(scenario())


def test_a_plugin_that_fails_fails_its_pod_alone(make_world: Make) -> None:
    class Broken(Everywhere):
        def reserve(self, state: CycleState, pod: PodToPlace, node_name: str) -> Unschedulable | None:
            if pod.metadata.name == "one":
                raise RuntimeError("no idea")
            return None

    async def scenario() -> None:
        world = make_world(profiles=everywhere(Broken()))
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("one")
            await world.add_pod("two")
            await world.until(lambda: world.node_of("two") and world.messages("one", "FailedScheduling"))
            assert world.condition("one")["reason"] == "SchedulerError"
            assert "no idea" in world.condition("one")["message"]

    asyncio.run(scenario())


def test_a_pod_that_is_held_back_is_tried_when_what_holds_it_hears_of_a_change(make_world: Make) -> None:
    async def scenario() -> None:
        plugin = Everywhere()
        plugin.refusals["pre_enqueue"] = Unschedulable(("not yet",))
        world = make_world(profiles=everywhere(plugin))
        async with world.running():
            await world.add_pod("one")
            await world.settle()
            assert world.scheduler.queue.sizes["gated"] == 1
            await world.add_node("n1")
            await world.settle()
            assert world.scheduler.queue.sizes["gated"] == 1
            plugin.refusals.clear()
            await world.add_node("n2")
            await world.until(lambda: world.node_of("one"))
            text = world.registry.exposition().decode()
            assert 'scheduler_queue_incoming_pods_total{queue="gated",event="UnschedulablePodAdd"} 1' in text
            assert 'scheduler_queue_incoming_pods_total{queue="active",event="NodeAdd"} 1' in text

    asyncio.run(scenario())


def test_a_queue_sort_of_ones_own_decides_who_is_first(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world(profiles=with_plugin(None, queue_sort=ByLabel()))
        async with world.running():
            for name in ("zebra", "ant"):
                await world.add_pod(name)
                await world.until(lambda name=name: world.messages(name, "FailedScheduling"))
            world.clock.advance(30)
            await world.add_node("n1", cpu="1")
            await world.until(lambda: world.node_of("ant") == "n1")
        assert not world.node_of("zebra")

    asyncio.run(scenario())


def test_a_binder_that_passes_leaves_it_to_the_default_one_where_there_is_one(make_world: Make) -> None:
    async def scenario() -> None:
        own = OwnBinder()
        world = make_world(profiles=with_plugin(own, binds=(own,)))
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("one")
            await world.until(lambda: world.node_of("one"))
        assert own.asked == ["one"]
        world = make_world(profiles=with_plugin(own, binds=(own,), has_default_binder=False))
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("two")
            await world.until(lambda: world.messages("two", "FailedScheduling"))
            assert "DefaultBinder is disabled" in world.condition("two")["message"]

    asyncio.run(scenario())


def test_a_post_filter_may_promise_a_node_before_pods_are_preempted(make_world: Make) -> None:
    class Promise:
        name = "Promise"

        def post_filter(
            self, state: CycleState, pod: PodToPlace, nodes: NodeTable, diagnosis: Diagnosis
        ) -> Nominated | Unschedulable | None:
            return Nominated("n1") if pod.metadata.name == "lucky" else Unschedulable(("no promise",))

    async def scenario() -> None:
        world = make_world(profiles=with_plugin(None, post_filters=(Promise(),)))
        await world.add_node("n1", cpu="1")
        async with world.running():
            await world.add_pod("low", priority=1)
            await world.until(lambda: world.node_of("low"))
            for name in ("lucky", "other"):
                await world.add_pod(name, priority=100)
                await world.until(lambda name=name: world.messages(name, "FailedScheduling"))
        assert world.pod("lucky")["status"]["nominatedNodeName"] == "n1"
        assert world.messages("other", "FailedScheduling") == [
            "0/1 nodes are available: 1 Insufficient cpu. no promise"
        ]
        assert world.node_of("low") == "n1"

    asyncio.run(scenario())


HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n"
OWN = {"Everywhere": Everywhere, "ByLabel": ByLabel, "OwnBinder": OwnBinder}


def test_a_configuration_enables_plugins_at_each_point() -> None:
    text = """- plugins:
    multiPoint: {enabled: [{name: Everywhere}]}
    reserve: {disabled: [{name: Everywhere}]}
    queueSort: {enabled: [{name: ByLabel}], disabled: [{name: PrioritySort}]}
    bind: {enabled: [{name: OwnBinder}], disabled: [{name: "*"}]}
"""
    plugins = configuration.parse(HEAD + text, SchedulerConfig(), OWN).profiles["default-scheduler"].plugins
    assert not plugins.reserves
    assert isinstance(plugins.queue_sort, ByLabel)
    assert [plugin.name for plugin in plugins.binds] == ["OwnBinder"]
    assert not plugins.has_default_binder
    for found in (plugins.pre_enqueues, plugins.pre_scores, plugins.permits, plugins.pre_binds, plugins.post_binds):
        assert [plugin.name for plugin in found] == ["Everywhere"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- plugins: {queueSort: {enabled: [{name: ByLabel}]}}", "only one queue sort plugin is possible"),
        ("- plugins: {permit: {enabled: [{name: ByLabel}]}}", "'ByLabel' does not extend permit"),
        ("- plugins: {queueSort: {disabled: [{name: PrioritySort}]}}", "without PrioritySort is not possible"),
        (
            "- schedulerName: a\n- schedulerName: b\n  plugins:\n    queueSort:\n      enabled: [{name: ByLabel}]\n"
            "      disabled: [{name: PrioritySort}]",
            "different queue sort plugins: ByLabel, PrioritySort",
        ),
    ],
)
def test_what_cannot_be_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        configuration.parse(HEAD + text, SchedulerConfig(), OWN)


def test_every_event_has_a_name_for_metrics() -> None:
    # That a victim is gone is, for metrics, that a pod is.
    assert len({event.label for event in Event}) == len(Event) - 1
