"""Devices for claims: what is chosen keeps every rule, and is found whenever a plain search finds something."""

from __future__ import annotations

import itertools
from collections import Counter as Tally
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.api.resource_v1 import (
    AllocationResult,
    CapacityRequestPolicy,
    CapacityRequestPolicyRange,
    CapacityRequirements,
    CELDeviceSelector,
    Counter,
    CounterSet,
    Device,
    DeviceAllocationResult,
    DeviceAttribute,
    DeviceCapacity,
    DeviceClaim,
    DeviceClass,
    DeviceClassSpec,
    DeviceConstraint,
    DeviceCounterConsumption,
    DeviceRequest,
    DeviceRequestAllocationResult,
    DeviceSelector,
    DeviceSubRequest,
    DeviceTaint,
    DeviceToleration,
    ExactDeviceRequest,
    ResourcePool,
    ResourceSlice,
    ResourceSliceSpec,
)
from keelback.apimachinery.meta import ObjectMeta
from keelback.scheduling import device_allocator, device_requests, device_selectors, devices
from keelback.scheduling.device_allocator import NotOnNode, SelectorFailed, Solution, TookTooLong
from keelback.scheduling.device_pools import DevicePools, PoolView
from keelback.scheduling.device_requests import ClaimRequests, RequestError
from keelback.scheduling.device_usage import DeviceUsage
from keelback.scheduling.node_info import NodeInfo
from keelback.scheduling.node_table import NodeTable

DRIVER = "gpu.example"
CLASSES = {"gpu": DeviceClass(metadata=ObjectMeta(name="gpu"))}


def selector(expression: str) -> DeviceSelector:
    return DeviceSelector(cel=CELDeviceSelector(expression=expression))


def device(name: str, **given: object) -> Device:
    attributes = {key: DeviceAttribute(string=str(value)) for key, value in dict(given.pop("attributes", {})).items()}  # type: ignore[call-overload]
    return Device(name=name, attributes=attributes, **given)  # type: ignore[arg-type]


def slice_of(
    name: str, *offered: Device, pool: str = "pool", generation: int = 1, slices: int = 1, node: str = "n"
) -> ResourceSlice:
    return ResourceSlice(
        metadata=ObjectMeta(name=name),
        spec=ResourceSliceSpec(
            driver=DRIVER,
            pool=ResourcePool(name=pool, generation=generation, resource_slice_count=slices),
            node_name=node,
            devices=offered,
        ),
    )


def counters_of(name: str, slices: int = 2, **counters: str) -> ResourceSlice:
    sets = (CounterSet(name="set", counters={one: Counter(value=value) for one, value in counters.items()}),)
    pool = ResourcePool(name="pool", generation=1, resource_slice_count=slices)
    return ResourceSlice(
        metadata=ObjectMeta(name=name),
        spec=ResourceSliceSpec(driver=DRIVER, pool=pool, all_nodes=True, shared_counters=sets),
    )


def views(*slices: ResourceSlice) -> Sequence[PoolView]:
    nodes, pools = NodeTable(), DevicePools()
    nodes.set_info(NodeInfo("n", {"zone": "a"}))
    for one in slices:
        pools.put(one.metadata.name, devices.compile_slice(one))
    pools.bring_up_to_date(nodes)
    return pools.of(0)


def exactly(name: str, count: int = 1, **given: object) -> DeviceRequest:
    mode = "ExactCount" if count else "All"
    request = ExactDeviceRequest(device_class_name="gpu", allocation_mode=mode, count=count, **given)  # type: ignore[arg-type]
    return DeviceRequest(name=name, exactly=request)


def either(name: str, *alternatives: tuple[str, int, str]) -> DeviceRequest:
    return DeviceRequest(
        name=name,
        first_available=tuple(
            DeviceSubRequest(
                name=one,
                device_class_name="gpu",
                allocation_mode="ExactCount",
                count=count,
                selectors=(selector(expression),),
            )
            for one, count, expression in alternatives
        ),
    )


def claim(*requests: DeviceRequest, constraints: Sequence[DeviceConstraint] = ()) -> ClaimRequests:
    spec = DeviceClaim(requests=requests, constraints=tuple(constraints))
    return device_requests.compile_claim(spec, CLASSES, "default/claim")


def taken(*names: str, share: str = "", consumed: Mapping[str, str] | None = None, admin: bool = False) -> DeviceUsage:
    usage = DeviceUsage()
    results = tuple(
        DeviceRequestAllocationResult(
            request="r",
            driver=DRIVER,
            pool="pool",
            device=name,
            share_id=share,
            consumed_capacity=consumed or {},
            admin_access=admin or None,
        )
        for name in names
    )
    usage.take(AllocationResult(devices=DeviceAllocationResult(results=results)))
    return usage


def names(solution: Solution | None) -> list[list[str]] | None:
    return None if solution is None else [[one.device.id[2] for one in chosen] for chosen in solution]


def found(
    claims: Sequence[ClaimRequests], pools: Sequence[PoolView], usage: DeviceUsage | None = None
) -> list[list[str]] | None:
    return names(device_allocator.allocate(claims, pools, usage or DeviceUsage()))


GPUS = slice_of(
    "s",
    device("a", attributes={"model": "old", "numa": "0"}),
    device("b", attributes={"model": "new", "numa": "0"}),
    device("c", attributes={"model": "new", "numa": "1"}),
    device("d", attributes={"model": "new", "numa": "1"}),
)
NEW = (selector(f"device.attributes['{DRIVER}'].model == 'new'"),)


def test_devices_are_taken_in_order_and_no_device_twice() -> None:
    pools = views(GPUS)
    assert found([claim(exactly("r"))], pools) == [["a"]]
    assert found([claim(exactly("r", 2)), claim(exactly("r", 2))], pools) == [["a", "b"], ["c", "d"]]
    assert found([claim(exactly("r", 3)), claim(exactly("r", 2))], pools) is None
    assert found([claim(exactly("r"))], pools, taken("a", "b")) == [["c"]]


def test_selectors_of_class_and_request_both_choose() -> None:
    assert found([claim(exactly("r", selectors=NEW))], views(GPUS)) == [["b"]]
    spec = DeviceClassSpec(selectors=NEW)
    classes = {"gpu": DeviceClass(metadata=ObjectMeta(name="gpu"), spec=spec)}
    asked = DeviceClaim(requests=(exactly("r", selectors=(selector(f"device.attributes['{DRIVER}'].numa == '1'"),)),))
    assert found([device_requests.compile_claim(asked, classes, "default/claim")], views(GPUS)) == [["c"]]


def test_an_earlier_choice_is_taken_back_where_it_leaves_too_little() -> None:
    same_numa = [DeviceConstraint(match_attribute=f"{DRIVER}/numa")]
    assert found([claim(exactly("r", 2, selectors=NEW), constraints=same_numa)], views(GPUS)) == [["c", "d"]]
    apart = [DeviceConstraint(distinct_attribute=f"{DRIVER}/numa")]
    assert found([claim(exactly("r", 2), constraints=apart)], views(GPUS)) == [["a", "c"]]
    assert found([claim(exactly("r", 3), constraints=apart)], views(GPUS)) is None


def test_a_constraint_may_be_for_some_requests_alone() -> None:
    for_new = [DeviceConstraint(match_attribute=f"{DRIVER}/model", requests=("x", "y"))]
    assert found([claim(exactly("x"), exactly("y"), exactly("z"), constraints=for_new)], views(GPUS)) == [
        ["b", "c", "a"]
    ]
    lacking = [DeviceConstraint(match_attribute=f"{DRIVER}/nothing")]
    assert found([claim(exactly("x"), constraints=lacking)], views(GPUS)) is None


def test_the_first_alternative_that_can_be_had_is_taken() -> None:
    old, new = (f"device.attributes['{DRIVER}'].model == '{model}'" for model in ("old", "new"))
    request = either("r", ("two-old", 2, old), ("new", 2, new), ("one-old", 1, old))
    solution = device_allocator.allocate([claim(request)], views(GPUS), DeviceUsage())
    assert solution is not None
    assert [one.alternative.name for one in solution[0]] == ["r/new", "r/new"]
    assert device_allocator.points([claim(request)], solution) == 7
    assert found([claim(request)], views(GPUS), taken("b", "c")) == [["a"]]


def test_all_devices_are_had_together_or_not_at_all() -> None:
    assert found([claim(exactly("r", 0, selectors=NEW))], views(GPUS)) == [["b", "c", "d"]]
    assert found([claim(exactly("r", 0, selectors=NEW))], views(GPUS), taken("c")) is None
    assert found([claim(exactly("r", 0, selectors=(selector("false"),)))], views(GPUS)) is None
    with pytest.raises(NotOnNode) as caught:
        found([claim(exactly("r", 0), constraints=[DeviceConstraint(match_attribute=f"{DRIVER}/numa")])], views(GPUS))
    assert caught.value.told(["default/x"]) == (
        "claim default/x, request r: "
        "cannot add device gpu.example/pool/c because a claim constraint would not be satisfied"
    )


def test_administrators_look_at_devices_that_others_use() -> None:
    everything = claim(exactly("r", 0, admin_access=True))
    assert found([everything], views(GPUS), taken("a", "b", "c", "d")) == [["a", "b", "c", "d"]]
    assert found([claim(exactly("r"))], views(GPUS), taken("a", admin=True)) == [["a"]]


def test_a_pool_gives_nothing_away_before_all_its_slices_are_there() -> None:
    half = slice_of("s1", device("a"), slices=2)
    assert found([claim(exactly("r"))], views(half)) is None
    with pytest.raises(NotOnNode) as caught:
        found([claim(exactly("r", 0))], views(half))
    assert caught.value.told(["default/x"]) == (
        "claim default/x, request r: "
        "asks for all devices, but resource pool gpu.example/pool is currently being updated"
    )
    elsewhere = slice_of("s2", device("b"), slices=2, node="m")
    assert found([claim(exactly("r", 0))], views(half, elsewhere)) == [["a"]]


def test_an_older_generation_is_out_of_date() -> None:
    old = slice_of("s1", device("a"), generation=1)
    assert found([claim(exactly("r"))], views(old, slice_of("s2", device("b"), generation=2))) == [["b"]]
    replaced = slice_of("s1", device("a"), generation=1, slices=2)
    assert views(replaced, slice_of("s2", device("b"), generation=2, node="m")) == []


def test_a_pool_that_contradicts_itself_is_not_used() -> None:
    twice = (slice_of("s1", device("a"), slices=2), slice_of("s2", device("a"), slices=2))
    with pytest.raises(NotOnNode, match="invalid resource pools were encountered"):
        found([claim(exactly("r"))], views(*twice))
    sound = slice_of("s3", device("z"), pool="sound")
    assert found([claim(exactly("r"))], views(*twice, sound)) == [["z"]]


def consuming(name: str, memory: str) -> Device:
    consumption = DeviceCounterConsumption(counter_set="set", counters={"memory": Counter(value=memory)})
    return device(name, consumes_counters=(consumption,))


def test_partitions_share_what_their_device_has() -> None:
    parts = slice_of("s", consuming("whole", "8Gi"), consuming("half-0", "4Gi"), consuming("half-1", "4Gi"), slices=2)
    pools = views(parts, counters_of("c", memory="8Gi"))
    assert found([claim(exactly("r", 2))], pools) == [["half-0", "half-1"]]
    assert found([claim(exactly("r"))], pools, taken("half-1")) == [["half-0"]]
    assert found([claim(exactly("r"))], pools, taken("whole")) is None
    with pytest.raises(NotOnNode):
        found([claim(exactly("r"))], views(parts, counters_of("c", cores="8")))


def shared(name: str, **policy: object) -> Device:
    request_policy = CapacityRequestPolicy(**policy) if policy else None  # type: ignore[arg-type]
    capacity = {"memory": DeviceCapacity(value="8Gi", request_policy=request_policy)}
    return device(name, allow_multiple_allocations=True, capacity=capacity)


def wanting(memory: str, count: int = 1) -> ClaimRequests:
    return claim(exactly("r", count, capacity=CapacityRequirements(requests={"memory": memory})))


def test_a_shared_device_is_had_as_long_as_it_lasts() -> None:
    pools = views(slice_of("s", shared("a"), shared("b")))
    assert found([wanting("5Gi"), wanting("3Gi"), wanting("3Gi")], pools) == [["a"], ["a"], ["b"]]
    assert found([wanting("4Gi", 4)], pools) == [["a", "a", "b", "b"]]
    assert found([wanting("4Gi", 5)], pools) is None
    in_use = taken("a", share="x", consumed={"memory": "6Gi"})
    assert found([wanting("3Gi")], pools, in_use) == [["b"]]
    assert found([claim(exactly("r"))], pools, in_use) == [["b"]]


def test_what_is_asked_for_is_rounded_up_to_what_the_device_gives() -> None:
    steps = CapacityRequestPolicyRange(min="1Gi", max="6Gi", step="2Gi")
    pools = views(slice_of("s", shared("a", valid_range=steps, default="1Gi")))

    def consumed(one: ClaimRequests) -> str:
        solution = device_allocator.allocate([one], pools, DeviceUsage())
        return str(solution[0][0].consumed["memory"]) if solution else ""

    assert [consumed(wanting(amount)) for amount in ("100Mi", "1Gi", "2Gi", "5Gi", "6Gi")] == [
        "1Gi",
        "1Gi",
        "3Gi",
        "5Gi",
        "",
    ]
    assert consumed(claim(exactly("r"))) == "1Gi"
    assert found([claim(exactly("r", capacity=CapacityRequirements(requests={"cores": "1"})))], pools) is None


def test_taints_keep_off_those_who_do_not_tolerate_them() -> None:
    sick = device("a", taints=(DeviceTaint(key="sick", effect="NoSchedule"),))
    pools = views(slice_of("s", sick, device("b", taints=(DeviceTaint(key="note", effect="None"),))))
    assert found([claim(exactly("r"))], pools) == [["b"]]
    tolerating = claim(exactly("r", tolerations=(DeviceToleration(key="sick", operator="Exists"),)))
    assert found([tolerating], pools) == [["a"]]


def test_a_selector_without_an_answer_stops_the_search_where_it_is_reached() -> None:
    broken = claim(exactly("r", selectors=(selector(f"device.attributes['{DRIVER}'].size == 1"),)))
    with pytest.raises(SelectorFailed) as caught:
        found([broken], views(GPUS))
    assert caught.value.told(["default/x"]) == "claim default/x: selector #0: CEL runtime error: no such key: size"
    late = claim(exactly("r", selectors=(selector(f"device.attributes['{DRIVER}'].model == 'old'"),)))
    bare = slice_of("s", device("a", attributes={"model": "old"}), device("b"))
    assert found([late], views(bare)) == [["a"]]


def test_a_claim_gets_no_more_than_thirty_two_devices() -> None:
    many = views(slice_of("s", *(device(f"d{number:02}") for number in range(40))))
    with pytest.raises(RequestError, match="number of requested devices 33 exceeds the claim limit of 32"):
        claim(exactly("r", 33))
    assert found([claim(exactly("r", 0))], many) is None
    fitting = either("r", ("lots", 30, "true"), ("few", 2, "true"))
    solution = found([claim(fitting, exactly("s", 5))], many)
    assert solution is not None
    assert len(solution[0]) == 7


def test_a_search_that_takes_too_long_is_given_up() -> None:
    # Numbers of two sorts that never come out even: nothing but time ends the search.
    parts = [device(f"d{number}", attributes={"n": str(number)}) for number in range(30)]
    impossible = claim(exactly("r", 15), exactly("s", selectors=(selector("false"),)))
    with pytest.raises(TookTooLong):
        device_allocator.allocate([impossible], views(slice_of("s", *parts)), DeviceUsage(), lambda: True)


def test_alike_devices_are_not_tried_one_after_the_other() -> None:
    alike = views(slice_of("s", *(device(f"d{number}") for number in range(100))))
    impossible = claim(exactly("r", 15), exactly("s", selectors=(selector("false"),)))
    steps = itertools.count()
    assert device_allocator.allocate([impossible], alike, DeviceUsage(), lambda: next(steps) > 2) is None


# Against a search without any cleverness.


@dataclass(frozen=True)
class World:
    slices: tuple[ResourceSlice, ...]
    claims: tuple[ClaimRequests, ...]
    usage: DeviceUsage


def plain_solutions(world: World) -> Iterator[list[list[tuple[devices.Device, device_requests.Alternative]]]]:
    """Every way to give every request its devices, in every order, right or wrong."""
    offered = [one for view in views(*world.slices) if view.is_usable for one in view.devices]
    choices = []
    for one in world.claims:
        for request in one.requests:
            ways = []
            for alternative in request.alternatives:
                matching = [found for found in offered if matches(found, alternative)]
                if alternative.takes_all:
                    ways += [tuple((found, alternative) for found in matching)] if matching else []
                else:
                    ways += [
                        tuple((found, alternative) for found in some)
                        for some in itertools.product(matching, repeat=alternative.count)
                    ]
            choices.append(ways)
    for combination in itertools.product(*choices):
        left = list(combination)
        yield [[pick for _ in one.requests for pick in left.pop(0)] for one in world.claims]


def matches(found: devices.Device, alternative: device_requests.Alternative) -> bool:
    return all(device_selectors.chooses(one, found.described) for one in alternative.selectors)


def keeps_all_rules(world: World, solution: list[list[tuple[devices.Device, device_requests.Alternative]]]) -> bool:
    """What the API promises of allocations, said as plainly as can be."""
    picks = [(number, *pick) for number, chosen in enumerate(solution) for pick in chosen]
    exclusive = Tally(one.id for _, one, alternative in picks if not one.is_shared and not alternative.is_admin)
    by_claim = Tally((number, one.id) for number, one, _ in picks if not one.is_shared)
    if any(count > 1 for count in (*exclusive.values(), *by_claim.values())):
        return False
    if any(world.usage.is_held(one) for one in exclusive):
        return False
    left = {key: amount for view in views(*world.slices) for key, amount in world.usage.available(view).items()}
    begun = {one.id for _, one, _ in picks if one.is_shared and world.usage.is_shared(one.id)}
    spent: Tally[devices.CounterKey] = Tally()
    for one in {one for _, one, alternative in picks if not alternative.is_admin and one.id not in begun}:
        spent.update(one.consumes)
    if any(amount > left[key] for key, amount in spent.items()):
        return False
    memory: Tally[tuple[str, str, str]] = Tally()
    for _, one, alternative in picks:
        if "memory" in one.capacity and one.is_shared:
            wanted = alternative.capacity.get("memory", one.capacity["memory"].value)
            memory[one.id] += wanted.nanos
            if memory[one.id] + world.usage.consumed(one.id).get("memory", 0) > one.capacity["memory"].value.nanos:
                return False
        if alternative.capacity.keys() - one.capacity.keys():
            return False
    for asked, chosen in zip(world.claims, solution, strict=True):
        for constraint in asked.constraints:
            name = constraint.match_attribute or constraint.distinct_attribute
            values = [
                devices.attribute(pick, name)
                for pick, alternative in chosen
                if not constraint.requests or alternative.name in constraint.requests
            ]
            wanted_values = 1 if constraint.match_attribute else len(values)
            if None in values or (values and len(set(values)) != wanted_values):
                return False
    return True


@st.composite
def worlds(draw: st.DrawFn) -> World:
    numbers = st.integers(0, 1)
    offered = []
    for name in ("a", "b", "c", "d")[: draw(st.integers(1, 4))]:
        sort = draw(st.sampled_from(["plain", "plain", "part", "shared"]))
        given_: dict[str, object] = {"attributes": {"x": draw(numbers), "y": draw(numbers)}}
        if sort == "part":
            amount = draw(st.integers(1, 3))
            consumption = DeviceCounterConsumption(counter_set="set", counters={"memory": Counter(value=str(amount))})
            given_["consumes_counters"] = (consumption,)
        if sort == "shared":
            given_["allow_multiple_allocations"] = True
            given_["capacity"] = {"memory": DeviceCapacity(value=str(draw(st.integers(1, 3))))}
        offered.append(device(name, **given_))
    slices = (slice_of("s", *offered, slices=2), counters_of("c", memory=str(draw(st.integers(1, 4)))))
    expressions = st.sampled_from(
        ["true", f"device.attributes['{DRIVER}'].x == '1'", f"device.attributes['{DRIVER}'].y == '0'"]
    )
    claims: list[ClaimRequests] = []
    for _ in range(draw(st.integers(1, 2))):
        requests = []
        for name in ("r", "s")[: draw(st.integers(1, 2))]:
            if draw(st.integers(0, 3)) == 0:
                requests.append(either(name, ("one", 2, draw(expressions)), ("two", 1, draw(expressions))))
                continue
            more: dict[str, object] = {"selectors": (selector(draw(expressions)),)}
            if draw(st.integers(0, 4)) == 0:
                more["capacity"] = CapacityRequirements(requests={"memory": "1"})
            if draw(st.integers(0, 5)) == 0:
                more["admin_access"] = True
            requests.append(exactly(name, draw(st.sampled_from([1, 1, 2, 0] if len(claims) == 0 else [1])), **more))
        constraint = draw(st.sampled_from(["", "match", "distinct"]))
        attribute = f"{DRIVER}/{draw(st.sampled_from('xy'))}"
        constraints = {
            "": [],
            "match": [DeviceConstraint(match_attribute=attribute)],
            "distinct": [DeviceConstraint(distinct_attribute=attribute)],
        }[constraint]
        claims.append(claim(*requests, constraints=constraints))
    busy = [one for one in offered if draw(st.integers(0, 4)) == 0]
    usage = DeviceUsage()
    for one in busy:
        is_shared = bool(one.allow_multiple_allocations)
        result = DeviceRequestAllocationResult(
            request="r",
            driver=DRIVER,
            pool="pool",
            device=one.name,
            share_id="x" if is_shared else "",
            consumed_capacity={"memory": "1"} if is_shared else {},
        )
        usage.take(AllocationResult(devices=DeviceAllocationResult(results=(result,))))
    return World(slices, tuple(claims), usage)


@given(worlds())
@settings(max_examples=250, deadline=None)
def test_what_is_found_keeps_every_rule_and_something_is_found_whenever_it_can_be(world: World) -> None:
    try:
        solution = device_allocator.allocate(world.claims, views(*world.slices), world.usage)
    except NotOnNode:
        # A claim for all devices that contradicts itself.
        solution = None
    if solution is not None:
        picks = [[(one.device, one.alternative) for one in chosen] for chosen in solution]
        by_name = {one.id: one for view in views(*world.slices) for one in view.devices}
        assert keeps_all_rules(world, [[(by_name[one.id], alternative) for one, alternative in some] for some in picks])
    else:
        assert not any(keeps_all_rules(world, one) for one in plain_solutions(world))
