from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.apps_v1 import (
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    DeploymentStrategy,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaSetStatus,
    RollingUpdateDeployment,
)
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.controllers import rollout, rollout_status
from keelback.controllers.rollout import DESIRED_REPLICAS, MAX_REPLICAS

START = datetime(2026, 1, 1, tzinfo=UTC)

STEPS = st.one_of(st.integers(0, 6), st.integers(0, 100).map(lambda percent: f"{percent}%"))


def deployment(replicas: int, surge: int | str, unavailable: int | str, total: int = 0) -> Deployment:
    strategy = DeploymentStrategy(
        type="RollingUpdate", rolling_update=RollingUpdateDeployment(max_surge=surge, max_unavailable=unavailable)
    )
    return Deployment(
        metadata=ObjectMeta(name="web"),
        spec=DeploymentSpec(replicas=replicas, strategy=strategy),
        status=DeploymentStatus(replicas=total),
    )


def replica_set(name: str, wanted: int, available: int, number: int = 0, noted: tuple[int, int] = (0, 0)) -> ReplicaSet:
    annotations = {DESIRED_REPLICAS: str(noted[0]), MAX_REPLICAS: str(noted[1])} if noted[1] else {}
    return ReplicaSet(
        metadata=ObjectMeta(name=name, creation_timestamp=START + timedelta(minutes=number), annotations=annotations),
        spec=ReplicaSetSpec(replicas=wanted),
        status=ReplicaSetStatus(replicas=wanted, available_replicas=available, ready_replicas=available),
    )


def sized(one: ReplicaSet, size: int) -> ReplicaSet:
    """The replica set told another size; its status still says what was before."""
    return replace(one, spec=replace(one.spec, replicas=size))


def settled(one: ReplicaSet) -> ReplicaSet:
    """Its status when it has acted: pods to go are unavailable ones first, pods to come are not available yet."""
    size = one.spec.replicas
    available = min(one.status.available_replicas, size)
    return replace(one, status=replace(one.status, replicas=size, available_replicas=available))


def left(replica_sets: list[ReplicaSet]) -> int:
    """How many available pods there are once the replica sets have acted."""
    return sum(settled(one).status.available_replicas for one in replica_sets)


def step(wanted: Deployment, new: ReplicaSet, old: list[ReplicaSet]) -> tuple[ReplicaSet, list[ReplicaSet]]:
    """What the controller does when nothing else happens."""
    size = rollout.new_size(wanted, rollout.wanted_total(old), new.spec.replicas)
    if size != new.spec.replicas:
        return sized(new, size), old
    sizes = rollout.old_sizes(wanted, new, old)
    return new, [sized(one, sizes.get(one.metadata.name, one.spec.replicas)) for one in old]


@given(st.integers(1, 12), STEPS, STEPS, st.lists(st.integers(0, 6), min_size=1, max_size=3), st.data())
def test_a_rolling_update_stays_within_its_bounds_and_ends(
    replicas: int, surge: int | str, unavailable: int | str, shares: list[int], data: st.DataObject
) -> None:
    wanted = deployment(replicas, surge, unavailable)
    first = replica_set("first", replicas, replicas)
    old = [first, *(replica_set(f"old-{n}", 0, 0, n + 1) for n, _ in enumerate(shares))]
    new = replica_set("new", 0, 0, 10)
    most = replicas + rollout.max_surge(wanted)
    least = replicas - rollout.max_unavailable(wanted)
    for number in range(200):
        # Nobody waits for a replica set to act: the controller may look again before that.
        old = [settled(one) if number >= 150 or data.draw(st.booleans()) else one for one in old]
        everyone = [*old, new]
        assert rollout.wanted_total(everyone) <= most
        assert left(everyone) >= least
        if new.status.available_replicas == replicas and rollout.wanted_total(old) == 0:
            return
        new, old = step(wanted, new, old)
        # Some of the pods that are not available yet become so, one at least if the controller waits for it.
        missing = new.spec.replicas - new.status.available_replicas
        if missing:
            gained = data.draw(st.integers(0 if number < 150 else missing, missing))
            status = replace(new.status, available_replicas=new.status.available_replicas + gained)
            new = replace(new, status=status)
    raise AssertionError("the rollout does not end")


@given(st.integers(0, 30), STEPS, st.lists(st.integers(1, 15), min_size=2, max_size=4))
def test_proportional_scaling_hands_out_what_there_is_and_takes_no_more_than_it_may(
    after: int, surge: int | str, sizes: list[int]
) -> None:
    wanted = deployment(after, surge, 1, total=sum(sizes))
    # In the midst of a rollout the replica sets together are as large as they were allowed to be.
    before = (sum(sizes), sum(sizes))
    sets = [replica_set(f"rs-{n}", size, 0, n, before) for n, size in enumerate(sizes)]
    found = rollout.scaled_sizes(wanted, sets[-1], sets[:-1])
    allowed = after + rollout.max_surge(wanted) if after else 0
    total = sum(found.get(one.metadata.name, one.spec.replicas) for one in sets)
    assert all(size >= 0 for size in found.values())
    if allowed >= sum(sizes):
        assert total == allowed
    else:
        # What rounding leaves over is taken from the largest, which may not have that many: the rollout does the rest.
        assert allowed <= total <= sum(sizes)


def test_proportional_scaling_shares_by_size() -> None:
    # Upstream's own example: 10 replicas in the midst of a rollout with a surge of 3, scaled to 15.
    wanted = deployment(15, 3, 2, total=13)
    sets = [replica_set("old", 8, 8, 0, (10, 13)), replica_set("new", 5, 0, 1, (10, 13))]
    assert rollout.scaled_sizes(wanted, sets[1], sets[:1]) == {"old": 11, "new": 7}


def test_pods_that_never_came_up_make_room_first() -> None:
    wanted = deployment(10, 0, 2)
    broken = replica_set("broken", 3, 0, 1)
    good = replica_set("good", 8, 8, 0)
    new = replica_set("new", 0, 0, 2)
    assert rollout.old_sizes(wanted, new, [good, broken]) == {"broken": 0}


def test_pods_that_are_about_to_go_are_not_counted_twice() -> None:
    wanted = deployment(5, 2, 0)
    # Five are still there where four are asked for: one of them is going already, and only one more may.
    old = sized(replica_set("old", 5, 5), 4)
    new = replica_set("new", 3, 2, 1)
    assert rollout.old_sizes(wanted, new, [old]) == {"old": 3}


def test_a_surge_and_an_unavailability_of_nothing_still_move() -> None:
    assert rollout.fenceposts(deployment(1, "0%", "1%")) == (0, 1)


def test_history_beyond_its_limit_goes_from_the_lowest_revision() -> None:
    wanted = deployment(1, 1, 1)
    wanted = replace(wanted, spec=replace(wanted.spec, revision_history_limit=1))
    sets = [replica_set(f"rs-{n}", 0, 0, n) for n in range(3)]
    sets = [
        replace(one, metadata=replace(one.metadata, annotations={rollout.REVISION: str(number)}))
        for number, one in zip((9, 10, 2), sets, strict=True)
    ]
    assert [one.metadata.name for one in rollout.superfluous(wanted, sets)] == ["rs-2", "rs-0"]


def test_pods_that_could_not_be_made_are_unavailable_too() -> None:
    refused = replace(replica_set("new", 3, 0), status=ReplicaSetStatus(replicas=1))
    status = rollout_status.counted(deployment(3, 1, 0), [refused], refused, START)
    assert (status.replicas, status.unavailable_replicas) == (1, 3)
