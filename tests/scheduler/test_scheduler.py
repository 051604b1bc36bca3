"""The scheduler on an API server in memory: what becomes of pods, and what people are told."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

Make = Callable[..., Any]
POINT = "scheduler_framework_extension_point_duration_seconds_count"
PLUGIN = "scheduler_plugin_execution_duration_seconds_count"


def test_a_pod_gets_a_node_and_people_are_told(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        async with world.running():
            await world.add_node("n1")
            await world.add_pod("web-x")
            await world.until(lambda: world.messages("web-x", "Scheduled"))
        assert world.node_of("web-x") == "n1"
        assert world.said == [("web-x", "Normal", "Scheduled", "Successfully assigned default/web-x to n1")]
        text = world.registry.exposition().decode()
        assert 'scheduler_schedule_attempts_total{result="scheduled",profile="default-scheduler"} 1' in text

    asyncio.run(scenario())


def test_why_a_pod_fits_nowhere_is_in_its_condition_and_an_event_until_it_does(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        taint = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
        for number in range(3):
            await world.add_node(f"small-{number}", cpu="1")
        for number in range(2):
            await world.add_node(f"tainted-{number}", taints=(taint,))
        async with world.running():
            await world.add_pod("big", cpu="2")
            await world.until(lambda: world.messages("big", "FailedScheduling"))
            text = (
                "0/5 nodes are available: 2 node(s) had untolerated taint(s), 3 Insufficient cpu. "
                "no new claims to deallocate, "
                "preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling."
            )
            assert world.messages("big", "FailedScheduling") == [text]
            condition = world.condition("big")
            assert (condition["status"], condition["reason"], condition["message"]) == ("False", "Unschedulable", text)
            metrics = world.registry.exposition().decode()
            assert 'scheduler_pending_pods{queue="unschedulable"} 1' in metrics
            assert 'scheduler_unschedulable_pods{plugin="NodeResourcesFit",profile="default-scheduler"} 1' in metrics
            await world.add_node("large", cpu="2")
            await world.settle()
            world.clock.advance(2)
            await world.until(lambda: world.node_of("big") == "large")

    asyncio.run(scenario())


def test_what_upstreams_dashboards_ask_for_is_counted(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1", cpu="2")
        async with world.running():
            await world.add_pod("low", cpu="2", priority=1)
            await world.until(lambda: world.node_of("low"))
            await world.add_pod("high", cpu="2", priority=100)
            await world.until(lambda: "pods/default/low" not in world.server.objects)
            await world.settle()
            world.clock.advance(2)
            await world.until(lambda: world.messages("high", "Scheduled"))
        text = world.registry.exposition().decode()
        profile = 'profile="default-scheduler"'
        for line in (
            f'scheduler_schedule_attempts_total{{result="scheduled",{profile}}} 2',
            f'scheduler_schedule_attempts_total{{result="unschedulable",{profile}}} 1',
            f'scheduler_scheduling_attempt_duration_seconds_count{{result="scheduled",{profile}}} 2',
            "scheduler_scheduling_algorithm_duration_seconds_count 3",
            'scheduler_pod_scheduling_sli_duration_seconds_count{attempts="2"} 1',
            "scheduler_pod_scheduling_attempts_count 2",
            "scheduler_preemption_attempts_total 1",
            "scheduler_preemption_victims_sum 1",
            'scheduler_pending_pods{queue="active"} 0',
            'scheduler_queue_incoming_pods_total{queue="unschedulable",event="ScheduleAttemptFailure"} 1',
            'scheduler_queue_incoming_pods_total{queue="active",event="ForceActivate"} 1',
            f'{POINT}{{extension_point="Bind",status="Success",{profile}}} 2',
            # One cycle of ten, the first among them.
            f'{POINT}{{extension_point="Filter",status="Success",{profile}}} 1',
            f'{PLUGIN}{{plugin="NodeResourcesFit",extension_point="Filter",status="Success"}} 1',
            f'scheduler_plugin_evaluation_total{{plugin="TaintToleration",extension_point="Filter",{profile}}} 3',
            'scheduler_event_handling_duration_seconds_count{event="AssignedPodDelete"} 1',
            'scheduler_cache_size{type="assumed_pods"} 0',
            'scheduler_goroutines{operation="binding"} 0',
        ):
            assert line in text, line

    asyncio.run(scenario())


def test_without_nodes_the_message_is_upstreams(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        async with world.running():
            await world.add_pod("early")
            await world.until(lambda: world.messages("early", "FailedScheduling"))
        assert world.messages("early", "FailedScheduling") == ["no nodes available to schedule pods"]

    asyncio.run(scenario())


def test_a_gated_pod_waits_until_its_gates_are_gone(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("gated", schedulingGates=[{"name": "example.com/hold"}])
            await world.until(lambda: world.condition("gated"))
            assert world.condition("gated")["reason"] == "SchedulingGated"
            assert world.scheduler.queue.sizes["gated"] == 1
            pod = world.pod("gated")
            pod["spec"]["schedulingGates"] = []
            await world.server.put("pods", pod)
            await world.until(lambda: world.node_of("gated") == "n1")
        assert not world.messages("gated", "FailedScheduling")

    asyncio.run(scenario())


def test_only_the_pods_of_its_own_names_are_scheduled(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world(scheduler_names=("default-scheduler", "second"))
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("theirs", schedulerName="stranger")
            await world.add_pod("ours", schedulerName="second")
            await world.until(lambda: world.node_of("ours") == "n1")
            await world.settle()
        assert world.node_of("theirs") == ""

    asyncio.run(scenario())


def test_a_binding_that_fails_gives_the_place_back_and_is_tried_again(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1", cpu="1")
        world.server.refuse_binding = lambda name: 500
        async with world.running():
            await world.add_pod("unlucky")
            await world.until(lambda: world.messages("unlucky", "FailedScheduling"))
            assert world.condition("unlucky")["reason"] == "SchedulerError"
            assert not world.scheduler.observation.assumed
            world.server.refuse_binding = lambda name: 0
            await world.settle()
            world.clock.advance(2)
            await world.until(lambda: world.node_of("unlucky") == "n1")

    asyncio.run(scenario())


def test_a_more_important_pod_takes_the_place_of_a_lesser_one(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1", cpu="2")
        async with world.running():
            await world.add_pod("low-1", cpu="1", priority=1)
            await world.add_pod("low-2", cpu="1", priority=2)
            await world.until(lambda: world.node_of("low-1") and world.node_of("low-2"))
            await world.add_pod("high", cpu="1", priority=100)
            await world.until(lambda: "pods/default/low-1" not in world.server.objects)
            await world.settle()
            world.clock.advance(2)
            await world.until(lambda: world.node_of("high") == "n1")
        assert world.node_of("low-2") == "n1"
        uid = world.pod("high")["metadata"]["uid"]
        assert world.messages("low-1", "Preempted") == [f"Preempted by pod {uid} on node n1"]
        last = [obj for _, type, path, obj in world.server.log if (type, path) == ("DELETED", "pods/default/low-1")]
        told = next(one for one in last[0]["status"]["conditions"] if one["type"] == "DisruptionTarget")
        assert (told["status"], told["reason"]) == ("True", "PreemptionByScheduler")
        assert told["message"] == "default-scheduler: preempting to accommodate a higher priority pod"
        assert world.messages("high", "FailedScheduling") == ["0/1 nodes are available: 1 Insufficient cpu."]

    asyncio.run(scenario())


def test_a_pod_that_must_not_preempt_says_so(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1", cpu="1")
        async with world.running():
            await world.add_pod("low", cpu="1")
            await world.until(lambda: world.node_of("low"))
            await world.add_pod("polite", cpu="1", priority=100, preemptionPolicy="Never")
            await world.until(lambda: world.messages("polite", "FailedScheduling"))
        assert world.messages("polite", "FailedScheduling") == [
            "0/1 nodes are available: 1 Insufficient cpu. "
            "no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
        ]

    asyncio.run(scenario())


def test_an_unbound_immediate_claim_keeps_a_pod_waiting_until_it_is_bound(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1")
        claim: dict[str, Any] = {"metadata": {"name": "data", "namespace": "default"}}
        claim["spec"] = {"storageClassName": "fast"}
        async with world.running():
            volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
            await world.add_pod("stateful", volumes=volumes)
            await world.until(lambda: len(world.messages("stateful", "FailedScheduling")) == 1)
            await world.server.put("persistentvolumeclaims", claim)
            await world.settle()
            world.clock.advance(2)
            await world.until(lambda: len(world.messages("stateful", "FailedScheduling")) == 2)
            await world.server.put("persistentvolumes", {"metadata": {"name": "pv1"}, "spec": {}, "status": {}})
            claim["metadata"]["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
            claim["spec"]["volumeName"] = "pv1"
            await world.server.put("persistentvolumeclaims", claim)
            await world.settle()
            world.clock.advance(10)
            await world.until(lambda: world.node_of("stateful") == "n1")
        # The last two words are DynamicResources', which was not asked before (1.34 to 1.36).
        assert world.messages("stateful", "FailedScheduling") == [
            '0/1 nodes are available: persistentvolumeclaim "data" not found. not found',
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
        ]

    asyncio.run(scenario())


def test_a_claim_that_waits_for_its_consumer_is_told_the_node(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1")
        storage_class = {
            "metadata": {"name": "local"},
            "provisioner": "example.com/local",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        claim = {"metadata": {"name": "data", "namespace": "default"}, "spec": {"storageClassName": "local"}}
        await world.server.put("storageclasses", storage_class)
        await world.server.put("persistentvolumeclaims", claim)

        def selected() -> Any:
            found = world.server.objects["persistentvolumeclaims/default/data"]
            return found["metadata"].get("annotations", {}).get("volume.kubernetes.io/selected-node")

        async with world.running():
            volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
            await world.add_pod("stateful", volumes=volumes)
            await world.until(lambda: selected() == "n1")
            assert not world.node_of("stateful")
            bound = world.server.objects["persistentvolumeclaims/default/data"]
            bound["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"
            bound["spec"]["volumeName"] = "pv1"
            await world.server.put("persistentvolumeclaims", bound)
            await world.settle()
            world.clock.advance(1)
            await world.until(lambda: world.node_of("stateful") == "n1")

    asyncio.run(scenario())


def test_many_pods_fill_the_nodes_and_overfill_none(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        for number in range(10):
            await world.add_node(f"n{number}", cpu="4")
        async with world.running():
            for number in range(45):
                await world.add_pod(f"web-{number}")
            await world.until(lambda: len(world.said) >= 45)
            await world.settle()
        nodes = Counter(world.node_of(f"web-{number}") for number in range(45))
        assert nodes.pop("") == 5
        assert set(nodes.values()) == {4}

    asyncio.run(scenario())


def test_a_pod_deleted_while_it_is_bound_frees_its_place(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1", cpu="1")
        async with world.running():
            await world.add_pod("first")
            await world.until(lambda: world.node_of("first"))
            await world.server.delete("pods/default/first")
            await world.add_pod("second")
            await world.until(lambda: world.node_of("second") == "n1" or world.messages("second", "FailedScheduling"))
            world.clock.advance(2)
            await world.until(lambda: world.node_of("second") == "n1")

    asyncio.run(scenario())


def test_an_attachment_that_no_pod_accounts_for_takes_a_place_until_it_is_gone(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1")
        drivers = [{"name": "disk", "nodeID": "n1", "allocatable": {"count": 1}}]
        await world.server.put("csinodes", {"metadata": {"name": "n1"}, "spec": {"drivers": drivers}})
        for number in range(2):
            csi = {"driver": "disk", "volumeHandle": f"h{number}"}
            volume = {"metadata": {"name": f"pv{number}"}, "spec": {"csi": csi}, "status": {"phase": "Bound"}}
            await world.server.put("persistentvolumes", volume)
        metadata = {"name": "c", "namespace": "default", "annotations": {"pv.kubernetes.io/bind-completed": "yes"}}
        claim = {"metadata": metadata, "spec": {"volumeName": "pv0"}}
        await world.server.put("persistentvolumeclaims", claim)
        source = {"persistentVolumeName": "pv1"}
        attachment = {"metadata": {"name": "a"}, "spec": {"attacher": "disk", "nodeName": "n1", "source": source}}
        await world.server.put("volumeattachments", attachment)
        async with world.running():
            await world.add_pod("p", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])
            await world.until(lambda: world.messages("p", "FailedScheduling"))
            assert "1 node(s) exceed max volume count" in world.messages("p", "FailedScheduling")[0]
            await world.server.delete("volumeattachments//a")
            await world.settle()
            world.clock.advance(2)
            await world.until(lambda: world.node_of("p") == "n1")

    asyncio.run(scenario())


def test_a_disk_that_pods_name_themselves_is_on_a_node_once(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n1")
        disk = {"name": "v", "awsElasticBlockStore": {"volumeID": "vol-1"}}
        async with world.running():
            await world.add_pod("first", volumes=[disk])
            await world.until(lambda: world.node_of("first"))
            await world.add_pod("second", volumes=[disk])
            await world.until(lambda: world.messages("second", "FailedScheduling"))
            assert "1 node(s) had no available disk" in world.messages("second", "FailedScheduling")[0]
            await world.server.delete("pods/default/first")
            await world.settle()
            world.clock.advance(2)
            await world.until(lambda: world.node_of("second") == "n1")

    asyncio.run(scenario())


def test_a_pod_goes_only_where_a_node_declares_what_it_needs(make_world: Make) -> None:
    async def scenario() -> None:
        rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [7]}}
        containers = [{"name": "c", "image": "nginx", "restartPolicyRules": [rule]}]
        world = make_world()
        await world.add_node("n1")
        async with world.running():
            await world.add_pod("new", containers=containers)
            await world.until(lambda: world.messages("new", "FailedScheduling"))
            assert world.messages("new", "FailedScheduling") == [
                "0/1 nodes are available: 1 node(s) didn't match Pod's required features. "
                "no new claims to deallocate, "
                "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
            ]
            node = world.server.objects["nodes//n1"]
            node["status"]["declaredFeatures"] = ["RestartAllContainersOnContainerExits"]
            await world.server.put("nodes", node)
            await world.settle()
            world.clock.advance(2)
            await world.until(lambda: world.node_of("new") == "n1")
        without = make_world(node_declared_features=False)
        await without.add_node("n1")
        async with without.running():
            await without.add_pod("new", containers=containers)
            await without.until(lambda: without.node_of("new") == "n1")

    asyncio.run(scenario())
