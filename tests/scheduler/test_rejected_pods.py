"""Of pods that are alike one is tried for all: nobody is forgotten, and nobody is tried in vain for the others."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keelback.apimachinery.meta import ObjectMeta
from keelback.concurrency.backoff import Backoff
from keelback.scheduler.queue import SchedulingQueue
from keelback.scheduler.queued_pod import QueuedPod
from keelback.scheduling.events import Event
from keelback.scheduling.pod_info import PodShapes
from keelback.scheduling.pod_to_place import PodToPlace, SpecToPlace

Make = Callable[..., Any]

SHAPES = PodShapes()
FIT = frozenset({"Fit"})
TAINTS = frozenset({"Taints"})
WAKES_ON = {"Fit": frozenset({Event.NODE_ADDED}), "Taints": frozenset({Event.NODE_TAINTS_CHANGED})}


def make_queue() -> SchedulingQueue:
    return SchedulingQueue(Backoff(1.0, 10.0), 300.0, WAKES_ON)


def add(queue: SchedulingQueue, name: str, app: str = "a", priority: int = 0) -> None:
    metadata = ObjectMeta(name=name, uid=name, labels={"app": app})
    pod = PodToPlace(metadata=metadata, spec=SpecToPlace(priority=priority))
    queue.add(pod, SHAPES.of(pod), 0.0)


def popped(queue: SchedulingQueue, now: float) -> QueuedPod:
    queued = queue.pop(now)
    assert queued is not None
    return queued


def reject_all(queue: SchedulingQueue, now: float, plugins: frozenset[str] = FIT) -> None:
    while (queued := queue.pop(now)) is not None:
        queue.reject(queued, plugins, now, speaks_for_alike=True)


def waiting(number: int) -> SchedulingQueue:
    """That many pods of one shape were rejected."""
    queue = make_queue()
    for index in range(number):
        add(queue, f"p{index}")
    reject_all(queue, 0.0)
    return queue


def test_of_alike_pods_one_is_tried_for_all() -> None:
    queue = waiting(5)
    assert queue.happened((Event.NODE_ADDED,), 20.0) == 1
    assert queue.happened((Event.NODE_ADDED,), 20.0) == 0
    first = popped(queue, 20.0)
    assert queue.pop(20.0) is None
    alike = queue.reject(first, FIT, 20.0, speaks_for_alike=True)
    assert alike is not None
    assert list(alike.pods) == ["p1", "p2", "p3", "p4", "p0"]
    assert queue.sizes["unschedulable"] == 5
    # The next time it is another one's turn.
    queue.happened((Event.NODE_ADDED,), 40.0)
    assert popped(queue, 40.0).uid == "p1"


def test_when_one_has_found_a_node_the_next_is_tried() -> None:
    queue = waiting(3)
    queue.happened((Event.NODE_ADDED,), 20.0)
    for uid in ("p0", "p1", "p2"):
        queued = popped(queue, 20.0)
        assert queued.uid == uid
        queue.remove(uid)
    assert queue.pop(20.0) is None


def test_one_that_is_rejected_for_reasons_of_its_own_speaks_for_nobody() -> None:
    queue = waiting(3)
    queue.happened((Event.NODE_ADDED,), 20.0)
    queue.reject(popped(queue, 20.0), FIT, 20.0, awaits_victims=True)
    queue.back_off(popped(queue, 20.0), 20.0)
    assert popped(queue, 20.0).uid == "p2"


def test_a_pod_that_is_changed_or_deleted_leads_no_longer() -> None:
    queue = waiting(4)
    queue.happened((Event.NODE_ADDED,), 20.0)
    queue.remove("p0")
    changed = PodToPlace(metadata=ObjectMeta(name="p1", uid="p1", labels={"app": "b"}), spec=SpecToPlace(priority=0))
    queue.update(changed, SHAPES.of(changed), 20.0)
    assert {popped(queue, 20.0).uid, popped(queue, 20.0).uid} == {"p1", "p2"}
    assert queue.pop(20.0) is None
    queue.remove("p2")
    assert popped(queue, 20.0).uid == "p3"


def test_those_that_wait_behind_one_wait_for_what_rejects_it() -> None:
    queue = waiting(3)
    queue.happened((Event.NODE_ADDED,), 20.0)
    queue.reject(popped(queue, 20.0), TAINTS, 20.0, speaks_for_alike=True)
    assert queue.happened((Event.NODE_ADDED,), 40.0) == 0
    assert queue.rejected_by() == Counter({("Taints", "default-scheduler"): 3})
    assert queue.happened((Event.NODE_TAINTS_CHANGED,), 40.0) == 1


def test_one_that_backs_off_does_not_hold_up_the_others() -> None:
    queue = waiting(2)
    for now in (20.0, 40.0, 60.0):
        queue.happened((Event.NODE_ADDED,), now)
        queue.reject(popped(queue, now), FIT, now, speaks_for_alike=True)
    # p0 was tried last, and for the third time.
    add(queue, "other", "b")
    queue.remove("p1")
    add(queue, "p2")
    queue.reject(popped(queue, 60.0), FIT, 60.0)
    queue.reject(popped(queue, 60.0), FIT, 60.0, speaks_for_alike=True)
    queue.happened((Event.NODE_ADDED,), 61.5)
    assert queue.sizes == {"active": 2, "backoff": 0, "unschedulable": 1, "gated": 0}
    assert {popped(queue, 61.5).uid, popped(queue, 61.5).uid} == {"other", "p2"}


def test_a_pod_that_is_promised_a_node_is_tried_for_itself() -> None:
    queue = waiting(3)
    queue.single_out("p2")
    assert queue.happened((Event.NODE_ADDED,), 20.0) == 2
    assert {popped(queue, 20.0).uid, popped(queue, 20.0).uid} == {"p0", "p2"}
    assert queue.pop(20.0) is None


def test_long_after_their_rejection_one_is_tried_again() -> None:
    queue = waiting(3)
    queue.flush_rejected(299.0)
    assert queue.pop(299.0) is None
    queue.flush_rejected(300.0)
    reject_all(queue, 300.0)
    queue.flush_rejected(599.0)
    assert queue.pop(599.0) is None


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32))
def test_room_is_given_to_all_that_it_suffices_for(seed: int) -> None:
    """Shapes that take places of their own sort, of which events bring more: as if every pod were tried each time."""
    chance = random.Random(seed)
    queue = make_queue()
    room, alive, placed, tries, woken, number = Counter[str](), set[str](), 0, 0, 0, 0
    now = 0.0
    for _ in range(30):
        now += chance.choice((0.0, 0.5, 3.0))
        match chance.randint(0, 4):
            case 0 | 1:
                for _ in range(chance.randint(1, 4)):
                    number += 1
                    add(queue, f"p{number}", chance.choice("ab"), chance.choice((0, 5)))
                    alive.add(f"p{number}")
                    woken += 1
            case 2 if alive:
                uid = chance.choice(sorted(alive))
                alive.discard(uid)
                queue.remove(uid)
            case 3 if alive:
                queue.single_out(chance.choice(sorted(alive)))
            case _:
                room[chance.choice("ab")] += chance.randint(0, 3)
                woken += queue.happened((Event.NODE_ADDED,), now)
        while chance.random() < 0.9 and (queued := queue.pop(now)) is not None:
            tries += 1
            app = queued.info.labels["app"]
            if room[app]:
                room[app] -= 1
                placed += 1
                alive.discard(queued.uid)
                queue.remove(queued.uid)
            elif chance.random() < 0.1:
                queue.back_off(queued, now)
                woken += 1
            else:
                queue.reject(queued, FIT, now, speaks_for_alike=chance.random() < 0.9)
                woken += 1
    while (queued := queue.pop(now := now + 20.0)) is not None:
        app = queued.info.labels["app"]
        if room[app]:
            room[app] -= 1
            alive.discard(queued.uid)
            queue.remove(queued.uid)
        else:
            queue.reject(queued, FIT, now, speaks_for_alike=True)
    left = Counter(queued.info.labels["app"] for uid in alive if (queued := queue.get(uid)) is not None)
    assert sum(queue.sizes.values()) == len(alive)
    assert all(not room[app] or not left[app] for app in "ab")
    assert tries <= placed + woken


def test_a_new_node_before_many_that_wait_costs_one_attempt_for_all_that_stay(make_world: Make) -> None:
    async def scenario() -> None:
        world = make_world()
        await world.add_node("n0", cpu="2")
        async with world.running():
            for number in range(30):
                await world.add_pod(f"p-{number}", cpu="1")
            await world.settle()
            await world.add_node("n1", cpu="3")
            await world.until(lambda: sum(bool(world.node_of(f"p-{number}")) for number in range(30)) == 5)
            await world.settle()
            text = world.registry.exposition().decode()
            # 28 when there was no room; then three found it, and one not.
            assert 'scheduler_schedule_attempts_total{result="unschedulable",profile="default-scheduler"} 29' in text
            assert 'scheduler_schedule_attempts_total{result="scheduled",profile="default-scheduler"} 5' in text
            # All of them say what is true now.
            said = Counter(message_of(world, f"p-{number}") for number in range(30))
            wanted = (
                "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, "
                "preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
            )
            assert said == Counter({"": 5, wanted: 25})

    asyncio.run(scenario())


def message_of(world: Any, name: str) -> str:
    return "" if world.node_of(name) else str(world.condition(name).get("message"))
