"""What nodes offer of extended resources that devices stand for, counted anew and by what changed; and its scores."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api.core_v1 import ResourceRequirements
from keelback.api.resource_v1 import (
    AllocationResult,
    CELDeviceSelector,
    Device,
    DeviceAllocationResult,
    DeviceAttribute,
    DeviceClass,
    DeviceClassSpec,
    DeviceRequestAllocationResult,
    DeviceSelector,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.scheduling import builtin
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from keelback.scheduling.node_resources_fit import NodeResourcesFit
from keelback.scheduling.node_resources_scoring import Strategy
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo, PodShapes
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace, SpecToPlace

DRIVER, GPU = "gpu.example", "example.com/gpu"


class World:
    """Nodes whose devices are of two models, and a class that stands for the first."""

    def __init__(self, devices: dict[str, tuple[str, ...]]) -> None:
        self.nodes, self.objects = NodeTable(), ClusterObjects()
        self.models = devices
        expression = f"device.attributes['{DRIVER}'].model == 'a'"
        spec = DeviceClassSpec(
            selectors=(DeviceSelector(cel=CELDeviceSelector(expression=expression)),), extended_resource_name=GPU
        )
        self.objects.devices.put_class("gpu", DeviceClass(metadata=ObjectMeta(name="gpu"), spec=spec))
        for name in devices:
            self.nodes.set_info(NodeInfo(name, allocatable={"pods": 110, "cpu": 8000, "memory": 1 << 34}))
            self.publish(name)

    def publish(self, node_name: str) -> None:
        """The driver of a node says what it has."""
        models = self.models[node_name]
        one = ResourceSlice(
            metadata=ObjectMeta(name=node_name),
            spec=ResourceSliceSpec(
                driver=DRIVER,
                pool=ResourcePool(name=node_name, generation=1, resource_slice_count=1),
                node_name=node_name,
                devices=tuple(
                    Device(name=f"d-{number}", attributes={"model": DeviceAttribute(string=model)})
                    for number, model in enumerate(models)
                ),
            ),
        )
        self.objects.devices.put_slice(node_name, one)

    def take(self, uid: str, node_name: str, number: int) -> None:
        """A claim gets a device."""
        result = DeviceRequestAllocationResult(request="r", driver=DRIVER, pool=node_name, device=f"d-{number}")
        self.objects.devices.reserve(uid, AllocationResult(devices=DeviceAllocationResult(results=(result,))))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_counts_follow_slices_claims_and_nodes(seed: int) -> None:
    chance = random.Random(seed)
    world = World({f"n{number}": tuple(chance.choices("ab", k=4)) for number in range(5)})
    held: dict[str, tuple[str, int]] = {}
    for step in range(12):
        name = chance.choice(tuple(world.models))
        match chance.randrange(4):
            case 0:
                world.models[name] = tuple(chance.choices("ab", k=chance.randint(0, 4)))
                world.publish(name)
            case 1 if held:
                uid = chance.choice(tuple(held))
                del held[uid]
                world.objects.devices.release(uid)
            case 2:
                world.nodes.set_info(NodeInfo(name, {"step": str(step)}, allocatable={"pods": 9}))
            case _:
                number = chance.randrange(4)
                if (name, number) not in held.values():
                    held[f"c-{step}"] = name, number
                    world.take(f"c-{step}", name, number)
        totals = world.objects.devices.totals(GPU, world.nodes)
        assert totals is not None
        for row, node in enumerate(world.nodes.nodes):
            models = world.models[node.name]
            assert totals.offered[row] == models.count("a")
            taken = [number for where, number in held.values() if where == node.name]
            assert totals.taken[row] == sum(models[number : number + 1] == ("a",) for number in taken)


def pod(gpus: int) -> PodInfo:
    resources = ResourceRequirements(requests={GPU: str(gpus), "cpu": "1"})
    spec = SpecToPlace(containers=(ContainerToPlace(name="c", resources=resources),))
    return PodShapes().of(PodToPlace(metadata=ObjectMeta(namespace="default", name="p", uid="p"), spec=spec))


def test_a_pod_is_packed_with_those_that_have_devices_of_its_class_already() -> None:
    world = World({"n0": ("a", "a", "b"), "n1": ("a", "a", "b"), "n2": ("b", "a", "a")})
    strategy = Strategy("MostAllocated", ((GPU, 1),))
    plugins = replace(builtin.DEFAULT, scores=((NodeResourcesFit(strategy), 1),))
    evaluator = Evaluator(plugins, world.nodes, world.objects)

    def chosen() -> set[str | None]:
        return {evaluator.choose(pod(1), random.Random(seed)) for seed in range(30)}

    assert chosen() == {"n0", "n1", "n2"}
    world.take("one", "n1", 0)
    assert chosen() == {"n1"}
    # A device of another model is none of the class's; and what is given back counts no more.
    world.take("two", "n2", 0)
    world.objects.devices.release("one")
    assert chosen() == {"n0", "n1", "n2"}


def test_devices_are_balanced_with_cpu() -> None:
    world = World({"n0": ("a",), "n1": ("a",) * 8})
    plugins = replace(builtin.DEFAULT, scores=((NodeResourcesBalancedAllocation(("cpu", GPU)), 1),))
    evaluator = Evaluator(plugins, world.nodes, world.objects)
    # One of eight devices and one of eight cpus: nothing is more even.
    assert {evaluator.choose(pod(1), random.Random(seed)) for seed in range(9)} == {"n1"}
