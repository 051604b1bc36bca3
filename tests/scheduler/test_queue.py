"""The queue: which pod is next, and what gives a rejected one another try."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keelback.api.core_v1 import PodSchedulingGate
from keelback.apimachinery.meta import ObjectMeta
from keelback.concurrency.backoff import Backoff
from keelback.scheduler.queue import SchedulingQueue
from keelback.scheduler.queued_pod import QueuedPod
from keelback.scheduling.events import Event
from keelback.scheduling.pod_info import PodShapes
from keelback.scheduling.pod_to_place import PodToPlace, SpecToPlace

WAKES_ON = {"Fit": frozenset({Event.NODE_ADDED}), "Taints": frozenset({Event.NODE_TAINTS_CHANGED})}
SHAPES = PodShapes()


def make_queue() -> SchedulingQueue:
    return SchedulingQueue(Backoff(1.0, 10.0), 300.0, WAKES_ON)


def add(queue: SchedulingQueue, name: str, now: float = 0.0, priority: int = 0, gates: tuple[str, ...] = ()) -> None:
    pod = make_pod(name, priority, gates)
    queue.add(pod, SHAPES.of(pod), now)


def make_pod(name: str, priority: int = 0, gates: tuple[str, ...] = ()) -> PodToPlace:
    spec = SpecToPlace(priority=priority, scheduling_gates=tuple(PodSchedulingGate(name=gate) for gate in gates))
    return PodToPlace(metadata=ObjectMeta(name=name, uid=name), spec=spec)


def popped(queue: SchedulingQueue, now: float) -> QueuedPod:
    queued = queue.pop(now)
    assert queued is not None
    return queued


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_the_more_important_come_first_and_among_equals_the_longest_waiting(pods: list[tuple[int, int]]) -> None:
    queue = make_queue()
    for number, (priority, now) in enumerate(pods):
        add(queue, f"p{number}", float(now), priority)
    order = []
    while (queued := queue.pop(10.0)) is not None:
        order.append((-queued.info.priority, queued.queued_at))
    assert order == sorted(order)
    assert len(order) == len(pods)


def test_a_rejected_pod_waits_for_what_its_plugins_care_about() -> None:
    queue = make_queue()
    add(queue, "a")
    queue.reject(popped(queue, 0.0), frozenset({"Fit"}), 0.0)
    assert queue.happened((Event.NODE_TAINTS_CHANGED,), 5.0) == 0
    assert queue.pop(5.0) is None
    assert queue.happened((Event.NODE_ADDED,), 5.0) == 1
    assert popped(queue, 5.0).uid == "a"


def test_back_off_doubles_with_each_attempt_up_to_its_cap() -> None:
    queue = make_queue()
    add(queue, "a")
    now = 0.0
    for delay in (1, 2, 4, 8, 10, 10):
        queue.back_off(popped(queue, now), now)
        assert queue.sizes["backoff"] == 1
        assert queue.pop(now + delay - 0.01) is None
        now += delay


def test_whom_an_event_may_help_waits_for_its_back_off_only_while_others_are_ready() -> None:
    queue = make_queue()
    for name, priority in (("rejected", 9), ("failed", 5), ("ready", 0)):
        add(queue, name, priority=priority)
    queue.reject(popped(queue, 0.0), frozenset({"Fit"}), 0.0)
    queue.back_off(popped(queue, 0.0), 0.0)
    assert queue.happened((Event.NODE_ADDED,), 0.0) == 1
    assert queue.sizes["backoff"] == 2
    assert [popped(queue, 0.5).uid for _ in range(2)] == ["ready", "rejected"]
    # Whose attempt went wrong is not tried before its time.
    assert queue.pop(0.99) is None
    assert popped(queue, 1.0).uid == "failed"


def test_a_pod_rejected_long_ago_is_tried_again_whatever_happened() -> None:
    queue = make_queue()
    add(queue, "a")
    queue.reject(popped(queue, 0.0), frozenset({"Fit"}), 0.0)
    queue.flush_rejected(299.0)
    assert queue.pop(299.0) is None
    queue.flush_rejected(300.0)
    assert popped(queue, 300.0).uid == "a"


def test_it_says_when_time_has_something_to_do() -> None:
    held: list[bool] = []
    queue = SchedulingQueue(Backoff(1.0, 10.0), 300.0, WAKES_ON, lambda: held.append(True))
    add(queue, "a")
    add(queue, "b", gates=("wait",))
    assert (held, queue.holds_pods) == ([], False)
    queue.reject(popped(queue, 0.0), frozenset({"Fit"}), 0.0)
    assert (held, queue.holds_pods) == ([True], True)
    queue.happened((Event.NODE_ADDED,), 0.5)
    assert (held, queue.holds_pods) == ([True, True], True)
    queue.back_off(popped(queue, 1.0), 1.0)
    assert (held, queue.holds_pods) == ([True, True, True], True)
    popped(queue, 9.0)
    assert not queue.holds_pods


def test_a_gated_pod_is_not_tried_before_its_gates_are_gone() -> None:
    queue = make_queue()
    add(queue, "a", gates=("hold",))
    assert queue.pop(0.0) is None
    free = make_pod("a")
    queue.update(free, SHAPES.of(free), 1.0)
    assert popped(queue, 1.0).uid == "a"


def test_a_removed_pod_is_never_tried() -> None:
    queue = make_queue()
    add(queue, "a")
    add(queue, "b")
    queue.remove("a")
    assert popped(queue, 0.0).uid == "b"
    assert queue.pop(0.0) is None


def test_a_pod_removed_while_it_was_tried_does_not_come_back() -> None:
    queue = make_queue()
    add(queue, "a")
    queued = popped(queue, 0.0)
    queue.remove("a")
    queue.reject(queued, frozenset({"Fit"}), 0.0)
    assert sum(queue.sizes.values()) == 0


@given(st.lists(st.tuples(st.sampled_from(("add", "pop", "reject", "wake", "remove", "tick")), st.integers(0, 4))))
def test_every_pod_is_in_one_place_and_the_sizes_add_up(steps: list[tuple[str, int]]) -> None:
    queue = make_queue()
    alive: set[str] = set()
    trying: dict[str, QueuedPod] = {}
    now = 0.0
    for action, number in steps:
        uid = f"p{number}"
        match action:
            case "add" if uid not in alive:
                add(queue, uid, now)
                alive.add(uid)
            case "pop":
                queued = queue.pop(now)
                if queued is not None:
                    trying[queued.uid] = queued
            case "reject" if trying:
                _, queued = trying.popitem()
                queue.reject(queued, frozenset({"Fit"}), now)
            case "wake":
                queue.happened((Event.NODE_ADDED,), now)
            case "remove":
                queue.remove(uid)
                alive.discard(uid)
                trying.pop(uid, None)
            case _:
                now += number
        assert sum(queue.sizes.values()) == len(alive) - len(trying)
        assert all(size >= 0 for size in queue.sizes.values())
