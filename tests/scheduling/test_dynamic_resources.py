"""DynamicResources over all nodes: what is kept between pods is what would be found by looking at each node anew."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api import nodes as api_nodes
from keelback.api.core_v1 import (
    NodeSelector,
    NodeSelectorRequirement,
    NodeSelectorTerm,
    PodResourceClaim,
    PodResourceClaimStatus,
    ResourceRequirements,
)
from keelback.api.resource_v1 import (
    CELDeviceSelector,
    Device,
    DeviceAttribute,
    DeviceClaim,
    DeviceClass,
    DeviceClassSpec,
    DeviceRequest,
    DeviceSelector,
    DeviceSubRequest,
    ExactDeviceRequest,
    ResourceClaim,
    ResourceClaimConsumerReference,
    ResourceClaimSpec,
    ResourceClaimStatus,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
)
from keelback.apimachinery.meta import ObjectMeta, OwnerReference, replace
from keelback.scheduling import builtin, device_allocator, device_requests, device_reservations, extended_resources
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.device_objects import ClaimChange, DeviceObjects
from keelback.scheduling.device_pools import DevicePools
from keelback.scheduling.device_reservations import DeviceReservation
from keelback.scheduling.devices import compile_slice
from keelback.scheduling.dynamic_resources import DynamicResources
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.framework import CycleState
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodInfo, PodShapes
from keelback.scheduling.pod_to_place import ContainerToPlace, PodToPlace, SpecToPlace, StatusToPlace

DRIVER = "gpu.example"
PLUGIN = DynamicResources()
NODES = tuple(NodeInfo(f"n-{number}", {"zone": "ab"[number % 2]}, allocatable={"pods": 110}) for number in range(4))


def in_zone(zone: str) -> NodeSelector:
    requirement = NodeSelectorRequirement(key="zone", operator="In", values=(zone,))
    return NodeSelector(node_selector_terms=(NodeSelectorTerm(match_expressions=(requirement,)),))


def device_class(extended_resource_name: str = "") -> DeviceClass:
    spec = DeviceClassSpec(extended_resource_name=extended_resource_name)
    return DeviceClass(metadata=ObjectMeta(name="gpu"), spec=spec)


def offered(name: str, *devices: str, generation: int = 1, **place: object) -> ResourceSlice:
    """A pool of one slice; a device's model is the first letter of its name."""
    return ResourceSlice(
        metadata=ObjectMeta(name=name),
        spec=ResourceSliceSpec(
            driver=DRIVER,
            pool=ResourcePool(name=name, generation=generation, resource_slice_count=1),
            devices=tuple(Device(name=one, attributes={"model": DeviceAttribute(string=one[0])}) for one in devices),
            **place,  # type: ignore[arg-type]
        ),
    )


def wanting(model: str, count: int = 1) -> DeviceRequest:
    expression = f"device.attributes['{DRIVER}'].model == '{model}'"
    selectors = (DeviceSelector(cel=CELDeviceSelector(expression=expression)),)
    mode = "ExactCount" if count else "All"
    return DeviceRequest(
        name="r",
        exactly=ExactDeviceRequest(device_class_name="gpu", allocation_mode=mode, count=count, selectors=selectors),
    )


def claim(name: str, *requests: DeviceRequest, uid: str = "", owner: str = "") -> ResourceClaim:
    owners = (OwnerReference(api_version="v1", kind="Pod", name="p", uid=owner, controller=True),) if owner else ()
    metadata = ObjectMeta(
        name=name, namespace="default", uid=uid or f"uid-{name}", resource_version="1", owner_references=owners
    )
    return ResourceClaim(metadata=metadata, spec=ResourceClaimSpec(devices=DeviceClaim(requests=requests)))


def pod(*claims: str, uid: str = "uid-p", made: dict[str, str] | None = None, gpus: int = 0) -> PodInfo:
    """A pod with claims by name, and by templates those `made` so far; `gpus` are an extended resource."""
    entries = [PodResourceClaim(name=one, resource_claim_name=one) for one in claims]
    entries += [PodResourceClaim(name=one, resource_claim_template_name="t") for one in (made or {})]
    statuses = (PodResourceClaimStatus(name=name, resource_claim_name=one) for name, one in (made or {}).items() if one)
    requests = {"example.com/gpu": str(gpus)} if gpus else {}
    container = ContainerToPlace(name="c", resources=ResourceRequirements(requests=requests))
    return PodShapes().of(
        PodToPlace(
            metadata=ObjectMeta(name="p", namespace="default", uid=uid),
            spec=SpecToPlace(resource_claims=tuple(entries), containers=(container,)),
            status=StatusToPlace(resource_claim_statuses=tuple(statuses)),
        )
    )


@dataclass
class World:
    nodes: NodeTable = field(default_factory=NodeTable)
    objects: ClusterObjects = field(default_factory=ClusterObjects)

    def __post_init__(self) -> None:
        for node in NODES:
            self.nodes.set_info(node)
        self.devices.put_class("gpu", device_class())

    @property
    def devices(self) -> DeviceObjects:
        return self.objects.devices

    def offer(self, *slices: ResourceSlice) -> None:
        for one in slices:
            self.devices.put_slice(one.metadata.name, one)

    def put(self, *claims: ResourceClaim) -> None:
        for one in claims:
            self.devices.put_claim((one.metadata.namespace, one.metadata.name), one)

    def feasible(self, info: PodInfo) -> set[str]:
        mask = Evaluator(builtin.DEFAULT, self.nodes, self.objects).feasible(info)
        return {node.name for node, fits in zip(self.nodes.nodes, mask, strict=True) if fits}

    def message(self, info: PodInfo) -> str:
        evaluator = Evaluator(builtin.DEFAULT, self.nodes, self.objects)
        assert evaluator.choose(info, random.Random(1)) is None
        return evaluator.explain(info).message()

    def take(self, info: PodInfo, node_name: str, uid: str = "uid-p") -> DeviceReservation:
        row = self.nodes.row_of[node_name]
        found = PLUGIN.reservation(self.devices, info, uid, self.nodes, row, lambda: "share")
        assert found is not None
        device_reservations.take(self.devices, found)
        return found


def test_a_pod_goes_where_its_devices_are() -> None:
    world = World()
    world.offer(offered("s-0", "a0", node_name="n-0"), offered("s-1", "b0", node_name="n-1"))
    world.put(claim("x", wanting("a")), claim("y", wanting("b")))
    assert world.feasible(pod("x")) == {"n-0"}
    assert world.feasible(pod("y")) == {"n-1"}
    assert world.message(pod("x", "y")) == "0/4 nodes are available: 4 cannot allocate all claims."
    world.offer(offered("s-2", "b0", node_selector=in_zone("a")))
    assert world.feasible(pod("x", "y")) == {"n-0"}


def test_what_is_reserved_is_taken_until_it_is_given_back() -> None:
    world = World()
    world.offer(offered("s-0", "a0", node_name="n-0"))
    world.put(claim("x", wanting("a")), claim("y", wanting("a")))
    reservation = world.take(pod("x"), "n-0")
    assert world.feasible(pod("y")) == set()
    assert world.message(pod("x")) == (
        "0/4 nodes are available: resource claim default/x is in the process of being allocated."
    )
    assert device_reservations.give_back(world.devices, reservation)
    assert world.feasible(pod("y")) == {"n-0"}


def test_what_the_status_says_replaces_what_was_reserved() -> None:
    world = World()
    world.offer(offered("s-0", "a0", node_name="n-0"))
    before = claim("x", wanting("a"))
    world.put(before, claim("y", wanting("a")))
    reservation = world.take(pod("x"), "n-0")
    status = ResourceClaimStatus(allocation=reservation.claims[0].allocation)
    written = replace(before, metadata=replace(before.metadata, resource_version="3"), status=status)
    key = ("default", "x")
    assert world.devices.put_claim(key, written) is ClaimChange.OWN
    # An older state that comes late does not free the device, nor does giving back what is written.
    assert world.devices.put_claim(key, replace(before, metadata=replace(before.metadata, resource_version="2"))) is (
        ClaimChange.NONE
    )
    assert not device_reservations.give_back(world.devices, reservation)
    assert world.feasible(pod("y")) == set()
    freed = replace(before, metadata=replace(before.metadata, resource_version="4"))
    assert world.devices.put_claim(key, freed) is ClaimChange.FREED
    assert world.feasible(pod("y")) == {"n-0"}


def test_claims_that_are_not_there_or_not_the_pods_own_keep_it_from_all_nodes() -> None:
    world = World()
    world.offer(offered("s", "a0", all_nodes=True))

    def said(info: PodInfo) -> str:
        return world.message(info).removeprefix("0/4 nodes are available: ")

    assert said(pod("x")) == 'could not find ResourceClaim "default/x".'
    assert said(pod(made={"x": ""})) == 'pod "default/p": ResourceClaim not created yet.'
    world.put(claim("x", wanting("a"), owner="somebody"))
    assert said(pod(made={"x": "x"})) == (
        "ResourceClaim default/x was not created for pod default/p (pod is not owner)."
    )
    assert world.feasible(pod(made={"x": "x"}, uid="somebody")) == {node.name for node in NODES}
    users = tuple(ResourceClaimConsumerReference(resource="pods", name=f"p{one}", uid=f"u{one}") for one in range(256))
    full = claim("full", wanting("a"))
    allocation = world.take(pod("x"), "n-0").claims[0].allocation
    world.put(replace(full, status=ResourceClaimStatus(allocation=allocation, reserved_for=users)))
    assert said(pod("full")) == "resourceclaim in use."
    assert world.feasible(pod("full", uid="u7"))


def test_better_alternatives_make_better_nodes() -> None:
    world = World()
    world.offer(offered("s-0", "a0", node_name="n-0"), offered("s-1", "b0", node_name="n-1"))

    def subrequest(model: str) -> DeviceSubRequest:
        exactly = wanting(model).exactly
        assert exactly is not None
        return DeviceSubRequest(
            name=model, device_class_name="gpu", allocation_mode="ExactCount", count=1, selectors=exactly.selectors
        )

    world.put(claim("x", DeviceRequest(name="r", first_available=(subrequest("b"), subrequest("a")))))
    scores = PLUGIN.score(CycleState(world.objects), pod("x"), world.nodes)
    assert scores is not None
    assert scores.tolist() == [7, 8, 0, 0]
    world.put(claim("y", wanting("a")))
    assert PLUGIN.score(CycleState(world.objects), pod("y"), world.nodes) is None


def test_a_device_stands_for_a_resource_that_the_node_does_not_offer() -> None:
    world = World()
    world.devices.put_class("gpu", device_class(extended_resource_name="example.com/gpu"))
    world.offer(offered("s-0", "a0", "a1", node_name="n-0"))
    world.nodes.set_info(NodeInfo("n-3", allocatable={"pods": 110, "example.com/gpu": 1}))
    info = pod(gpus=1)
    assert world.feasible(info) == {"n-0", "n-3"}
    assert PLUGIN.reservation(world.devices, info, "u", world.nodes, 3, lambda: "") is None
    assert world.feasible(pod(gpus=2)) == {"n-0"}
    reservation = world.take(info, "n-0")
    assert reservation.extended is not None
    assert [one.name for one in reservation.extended.requests] == ["container-0-request-0"]
    assert world.feasible(pod(gpus=2)) == set()


def test_containers_that_end_before_others_start_leave_them_their_devices() -> None:
    def container(name: str, amount: int, restart_policy: str | None = None) -> ContainerToPlace:
        resources = ResourceRequirements(requests={"cpu": "1", "example.com/gpu": str(amount)})
        return ContainerToPlace(name=name, resources=resources, restart_policy=restart_policy)

    first, second = container("first", 3), container("second", 5)
    main, side = container("main", 2), container("side", 1, "Always")
    demands = extended_resources.demands((first, side, second), (main,))
    asked, mappings = extended_resources.requests(demands, ["example.com/gpu"], {"example.com/gpu": device_class()})
    counts = {one.name: one.exactly.count for one in asked if one.exactly is not None}
    assert counts == {"container-1-request-1": 1, "container-2-request-1": 3, "container-3-request-1": 2}
    used: dict[str, list[str]] = {}
    for one in mappings:
        used.setdefault(one.container_name, []).append(one.request_name.removeprefix("container-")[0])
    assert used == {"side": ["1"], "main": ["3"], "first": ["1", "3"], "second": ["3", "2"]}


# Against each node looked at by itself, and anew.


def reaches(node: NodeInfo, spec: ResourceSliceSpec) -> bool:
    if spec.node_name:
        return spec.node_name == node.name
    if spec.node_selector is not None:
        return api_nodes.matches(node.name, node.labels, spec.node_selector)
    return bool(spec.all_nodes)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_answers_that_are_kept_are_what_each_node_would_say_anew(seed: int) -> None:
    chance, world, slices, held = random.Random(seed), World(), {}, {}
    requests = [wanting("a"), wanting("b"), wanting("a", 2), wanting("b", 0)]
    for step in range(12):
        match chance.choice(["offer", "offer", "offer", "withdraw", "take", "take", "free", "node"]):
            case "offer":
                place: dict[str, object] = chance.choice(
                    [
                        {"node_name": f"n-{chance.randrange(4)}"},
                        {"node_name": f"n-{chance.randrange(4)}"},
                        {"all_nodes": True},
                        {"node_selector": in_zone(chance.choice("ab"))},
                    ]
                )
                names = [f"{chance.choice('ab')}{number}" for number in range(chance.randrange(1, 4))]
                made = offered(f"s-{chance.randrange(4)}", *names, generation=step, **place)
                slices[made.metadata.name] = made
                world.offer(made)
            case "withdraw" if slices:
                gone = chance.choice(sorted(slices))
                del slices[gone]
                world.devices.put_slice(gone, None)
            case "take":
                one = claim(f"c-{step}", chance.choice(requests))
                world.put(one)
                where = sorted(world.feasible(pod(one.metadata.name)))
                if where:
                    held[step] = world.take(pod(one.metadata.name), chance.choice(where))
            case "free" if held:
                device_reservations.give_back(world.devices, held.pop(chance.choice(sorted(held))))
            case "node":
                number = chance.randrange(4)
                world.nodes.set_info(NodeInfo(f"n-{number}", {"zone": chance.choice("ab")}, allocatable={"pods": 110}))
            case _:
                pass
        for number, request in enumerate(requests):
            asked = claim(f"probe-{number}", request)
            world.put(asked)
            compiled = device_requests.compile_claim(asked.spec.devices, world.devices.classes, "probe")
            feasible = world.feasible(pod(asked.metadata.name))
            for node in world.nodes.nodes:
                alone, pools = NodeTable(), DevicePools()
                alone.set_info(node)
                for name, one_slice in slices.items():
                    if reaches(node, one_slice.spec):
                        pools.put(name, compile_slice(one_slice))
                pools.bring_up_to_date(alone)
                expected = device_allocator.allocate([compiled], pools.of(0), world.devices.usage)
                assert (node.name in feasible) is (expected is not None)


def test_a_share_of_a_device_has_an_identity() -> None:
    world = World()
    device = Device(name="a0", allow_multiple_allocations=True, attributes={"model": DeviceAttribute(string="a")})
    spec = replace(offered("s", all_nodes=True).spec, devices=(device,))
    world.offer(ResourceSlice(metadata=ObjectMeta(name="s"), spec=spec))
    world.put(claim("x", wanting("a")), claim("y", wanting("a")))
    for name in ("x", "y"):
        allocation = world.take(pod(name), "n-0").claims[0].allocation
        assert allocation is not None
        assert [one.share_id for one in allocation.devices.results] == ["share"]
        assert allocation.node_selector is None


@pytest.mark.parametrize("uid", ["uid-p", "other"])
def test_a_claim_that_nobody_else_uses_is_freed_for_a_pod_that_may_run_elsewhere(uid: str) -> None:
    world = World()
    world.offer(offered("s-0", "a0", node_name="n-0"), offered("s-1", "a0", node_name="n-1"))
    one = claim("x", wanting("a"))
    world.put(one)
    allocation = world.take(pod("x"), "n-0").claims[0].allocation
    user = ResourceClaimConsumerReference(resource="pods", name="p", uid=uid)
    world.put(replace(one, status=ResourceClaimStatus(allocation=allocation, reserved_for=(user,))))
    world.nodes.set_info(NodeInfo("n-0", allocatable={"pods": 0}))
    info = pod("x")
    assert world.message(info) == (
        "0/4 nodes are available: 1 Too many pods, 3 resourceclaim not available on the node."
    )
    diagnosis = Evaluator(builtin.DEFAULT, world.nodes, world.objects).explain(info)
    freed = PLUGIN.to_free(world.devices, info, world.nodes, diagnosis)
    assert (freed is not None) is (uid == "uid-p")
