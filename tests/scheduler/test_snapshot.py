"""A cluster as it is at one moment: what its scheduler would decide, asked without changing anything."""

from __future__ import annotations

import asyncio

from keelback.api.core_v1 import (
    Binding,
    Container,
    Node,
    NodeSpec,
    NodeStatus,
    ObjectReference,
    Pod,
    PodSpec,
    ResourceRequirements,
    Taint,
    TopologySelectorLabelRequirement,
    TopologySelectorTerm,
)
from keelback.api.scheduling_v1 import PriorityClass
from keelback.api.storage_v1 import (
    CSIDriver,
    CSIDriverSpec,
    CSINode,
    CSINodeDriver,
    CSINodeSpec,
    CSIStorageCapacity,
    StorageClass,
    VolumeNodeResources,
)
from keelback.apimachinery.meta import LabelSelector, ObjectMeta, Status
from keelback.scheduler import snapshot
from keelback.scheduling import label_selectors
from keelback.scheduling.cluster_objects import CapacityInfo
from keelback.testing.api import Administrator, administrator


def node(name: str, cpu: str = "1", *, taints: tuple[Taint, ...] = (), unschedulable: bool = False) -> Node:
    amounts = {"cpu": cpu, "memory": "4Gi", "pods": "10"}
    return Node(
        metadata=ObjectMeta(name=name, labels={"kubernetes.io/hostname": name}),
        spec=NodeSpec(taints=taints, unschedulable=unschedulable),
        status=NodeStatus(allocatable=amounts, capacity=amounts),
    )


def pod(name: str, cpu: str, priority: str = "", **selector: str) -> Pod:
    container = Container(name="main", image="nginx", resources=ResourceRequirements(requests={"cpu": cpu}))
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default"),
        spec=PodSpec(containers=(container,), node_selector=selector, priority_class_name=priority),
    )


async def join(user: Administrator, *nodes: Node) -> None:
    """Nodes as they are once they are ready: admission taints a new one, and the second write takes that away."""
    for one in (*nodes, *nodes):
        await user.put(one)


async def bound(user: Administrator, wanted: Pod, node_name: str) -> None:
    await user.client.create(wanted)
    name = wanted.metadata.name
    binding = Binding(
        metadata=ObjectMeta(name=name, namespace="default"), target=ObjectReference(kind="Node", name=node_name)
    )
    await user.client.create_subresource(Pod, name, "default", "binding", binding, Status)


def test_every_plugin_says_why_not_and_what_would_have_to_change() -> None:
    async def scenario() -> None:
        async with administrator() as user:
            taint = Taint(key="dedicated", value="gpu", effect="NoSchedule")
            await join(user, node("small", "500m"), node("tainted", taints=(taint,)), node("full"))
            await bound(user, pod("other", "800m"), "full")
            await user.put(pod("web", "700m", disk="ssd"))
            taken = await snapshot.take(user.client)
            explained = taken.explain(taken.pods[("default", "web")])
            assert explained.message == (
                "0/3 nodes are available: 1 node(s) had untolerated taint(s), "
                "2 node(s) didn't match Pod's node affinity/selector. "
                "no new claims to deallocate, "
                "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
            )
            said = {
                one.name: {refusal.plugin: refusal.remedies for refusal in one.refusals}
                for one in explained.explanation.nodes
            }
            affinity = ("label the node disk=ssd",)
            assert said == {
                "small": {
                    "NodeAffinity": affinity,
                    "NodeResourcesFit": ("ask for 200m less cpu than 700m: the node has 500m in all",),
                },
                "tainted": {
                    "TaintToleration": ("tolerate dedicated=gpu:NoSchedule, or remove this taint",),
                    "NodeAffinity": affinity,
                },
                "full": {
                    "NodeAffinity": affinity,
                    "NodeResourcesFit": ("free 500m cpu, or ask for as much less: 800m of 1 are taken",),
                },
            }

    asyncio.run(scenario())


def test_a_running_pod_is_explained_as_if_it_were_still_to_be_placed() -> None:
    async def scenario() -> None:
        async with administrator() as user:
            await join(user, node("n1"), node("n2"))
            await bound(user, pod("web", "900m"), "n1")
            await bound(user, pod("other", "900m"), "n2")
            taken = await snapshot.take(user.client)
            for _ in range(2):
                explained = taken.explain(taken.pods[("default", "web")])
                assert explained.node_name == "n1"
                best = explained.explanation.nodes[0]
                assert (best.name, best.refusals) == ("n1", ())
                scores = {score.plugin: (score.weight, score.score) for score in best.scores}
                assert scores["NodeResourcesFit"] == (1, (10 + 95) // 2)

    asyncio.run(scenario())


def test_whom_a_pod_would_push_out_is_said() -> None:
    async def scenario() -> None:
        async with administrator() as user:
            await user.put(PriorityClass(metadata=ObjectMeta(name="high"), value=1000))
            await join(user, node("n1"))
            await bound(user, pod("low", "900m"), "n1")
            await user.put(pod("urgent", "900m", "high"))
            taken = await snapshot.take(user.client)
            explained = taken.explain(taken.pods[("default", "urgent")])
            assert (explained.victims, explained.victims_node) == (("default/low",), "n1")
            assert explained.message == "0/1 nodes are available: 1 Insufficient cpu."

    asyncio.run(scenario())


def test_what_nodes_and_drivers_say_of_storage_is_read() -> None:
    async def scenario() -> None:
        async with administrator() as user:
            drivers = (CSINodeDriver(name="disk.csi", node_id="n1", allocatable=VolumeNodeResources(count=2)),)
            topology = LabelSelector(match_labels={"zone": "a"})
            await user.put(CSINode(metadata=ObjectMeta(name="n1"), spec=CSINodeSpec(drivers=drivers)))
            await user.put(CSIDriver(metadata=ObjectMeta(name="disk.csi"), spec=CSIDriverSpec(storage_capacity=True)))
            await user.put(
                CSIStorageCapacity(
                    metadata=ObjectMeta(name="here", namespace="default"),
                    capacity="10Gi",
                    maximum_volume_size="1Gi",
                    node_topology=topology,
                    storage_class_name="fast",
                )
            )
            terms = (
                TopologySelectorTerm(
                    match_label_expressions=(TopologySelectorLabelRequirement(key="zone", values=("a",)),)
                ),
            )
            await user.put(
                StorageClass(metadata=ObjectMeta(name="fast"), provisioner="disk.csi", allowed_topologies=terms)
            )
            objects = (await snapshot.take(user.client)).observation.objects
            assert objects.volume_limits == {"n1": {"disk.csi": 2}}
            assert objects.drivers_with_capacity == {"disk.csi": True}
            selector = label_selectors.equals({"zone": "a"})
            assert list(objects.capacities.values()) == [CapacityInfo("fast", selector, 1 << 30)]
            assert objects.classes["fast"].allowed_topologies == ((("zone", ("a",)),),)
            assert objects.classes["fast"].provisioner == "disk.csi"

    asyncio.run(scenario())
