"""The pods that wait for a node: ready to be tried, backing off, rejected until something changes, or gated.

Pure: time is an argument, in seconds that never go backwards.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from keelback.concurrency.backoff import Backoff
from keelback.scheduler.queued_pod import Alike, QueuedPod
from keelback.scheduler.rejected_pods import RejectedPods
from keelback.scheduling import priority_sort, scheduling_gates
from keelback.scheduling.events import Event
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.pod_to_place import PodToPlace

_FAILED: Final = "ScheduleAttemptFailure"
_POD_ADDED: Final = "UnschedulablePodAdd"
_LOOKED_AT: Final = 16

PreEnqueue: TypeAlias = Callable[[PodToPlace, PodInfo], str]
"""The name of the plugin that holds a pod back; empty for none."""


def _gates_alone(pod: PodToPlace, info: PodInfo) -> str:
    return scheduling_gates.NAME if scheduling_gates.holds_back(info) else ""


class SchedulingQueue:
    """Every waiting pod is in exactly one of four places."""

    def __init__(
        self,
        backoff: Backoff,
        max_rejected_seconds: float,
        wakes_on: Mapping[str, frozenset[Event]],
        on_held: Callable[[], None] = lambda: None,
        *,
        pre_enqueue: PreEnqueue = _gates_alone,
        rank: Callable[[PodInfo, float], tuple[Any, ...]] = priority_sort.rank,
        on_enter: Callable[[str, str], None] = lambda place, event: None,
    ) -> None:
        """`on_held` is called when a pod begins to back off or is rejected: time has something to do from then on.

        `pre_enqueue` says which plugin holds a pod back, `rank` which pod comes first, and `on_enter` is told of each
        place that a pod comes to and why, in the words of `scheduler_queue_incoming_pods_total`.
        """
        self._on_held = on_held
        self._pre_enqueue = pre_enqueue
        self._rank = rank
        self._on_enter = on_enter
        self._backoff = backoff
        self._max_rejected_seconds = max_rejected_seconds
        self._wakes_on = wakes_on
        self._pods: dict[str, QueuedPod] = {}
        # Heaps may hold stale entries: an entry counts only if it carries its pod's latest ticket.
        self._active: list[tuple[tuple[Any, ...], int, str]] = []
        self._backing_off: list[tuple[float, int, str]] = []
        self._failing: list[tuple[float, int, str]] = []
        self._tickets: dict[str, int] = {}
        self._next_ticket = itertools.count()
        self._rejected = RejectedPods(wakes_on)
        self._gated: dict[str, dict[str, QueuedPod]] = {}
        """By the plugin that holds them back."""
        self._changes = 0
        self._last_change: dict[Event, int] = {}
        """Of each event, which change was the last of its sort."""
        self._sizes = dict.fromkeys(("active", "backoff", "unschedulable", "gated"), 0)

    def __contains__(self, uid: str) -> bool:
        return uid in self._pods

    def get(self, uid: str) -> QueuedPod | None:
        """The waiting pod of that uid."""
        return self._pods.get(uid)

    @property
    def sizes(self) -> Mapping[str, int]:
        """How many pods wait in each place, under upstream's names for them."""
        return self._sizes

    def add(self, pod: PodToPlace, info: PodInfo, now: float) -> QueuedPod:
        """Take in a new pod: ready to be tried, unless it has gates."""
        queued = QueuedPod(pod, info, now, now)
        self._pods[queued.uid] = queued
        self._admit(queued, now, _POD_ADDED)
        return queued

    def update(self, pod: PodToPlace, info: PodInfo, now: float) -> None:
        """Learn a waiting pod's new state; a change of what it asks for is worth another try."""
        queued = self._pods[pod.metadata.uid]
        changed = queued.info is not info
        queued.pod = pod
        if queued.place == "gated":
            # What holds it back may look at more of the pod than its shape.
            self._leave(queued)
            queued.info = info
            self._admit(queued, now, Event.POD_CHANGED.label)
        elif not changed:
            return
        elif queued.place == "unschedulable":
            self._leave(queued)
            queued.info = info
            self._retry(queued, now, Event.POD_CHANGED.label)
        elif queued.place == "active":
            self._leave(queued)
            queued.info = info
            self._admit(queued, queued.queued_at, Event.POD_CHANGED.label)
            self._send_next(queued)
        else:
            queued.info = info
            self._send_next(queued)

    def remove(self, uid: str) -> QueuedPod | None:
        """Forget a pod: it has a node, or is gone."""
        queued = self._pods.pop(uid, None)
        if queued is not None:
            self._leave(queued)
            self._tickets.pop(uid, None)
            self._send_next(queued)
        return queued

    def pop(self, now: float) -> QueuedPod | None:
        """The next pod to try, which is then in no place; None when none is ready.

        When there is nothing else to do, no pod has to wait for the end of its back-off (upstream's
        SchedulerPopFromBackoffQ), but one whose attempt failed for no fault of its own.
        """
        self.flush_backoff(now)
        heaps: tuple[list[Any], ...] = (self._active, self._backing_off)
        for heap in heaps:
            while heap:
                _, ticket, uid = heapq.heappop(heap)
                if self._tickets.get(uid) == ticket:
                    if heap is self._backing_off:
                        self._on_enter("active", "PopFromBackoffQ")
                    return self._start(self._pods[uid])
        return None

    def reject(
        self,
        queued: QueuedPod,
        plugins: frozenset[str],
        now: float,
        *,
        awaits_victims: bool = False,
        speaks_for_alike: bool = False,
    ) -> Alike | None:
        """Put a pod that was tried where it waits for something to change; where that has happened already since it was
        taken out, for its back-off alone.

        Where it `speaks_for_alike`, any other pod of its shape would have been rejected as well: so they wait on, those
        that it was tried for. They are returned, itself among them; None where it was tried for itself alone.
        """
        if self._pods.get(queued.uid) is not queued:
            return None
        led, queued.leads = queued.leads, None
        queued.plugins = plugins
        queued.awaits_victims = awaits_victims
        queued.rejected_at = now
        queued.is_single = not speaks_for_alike
        changed = self._changed_since(queued)
        if led is not None:
            led.leader = None
            if speaks_for_alike and not changed:
                self._rejected.move(led, (plugins, awaits_victims))
            else:
                self._send(led, *led.woken)
        if changed:
            self._retry(queued, now, _FAILED)
        else:
            self._enter(queued, "unschedulable", now, _FAILED)
        return queued.among if led is not None and speaks_for_alike else None

    def take_back(self, queued: QueuedPod) -> None:
        """Know a pod again that had a node and lost it: to be rejected, or to back off."""
        self._pods[queued.uid] = queued

    def back_off(self, queued: QueuedPod, now: float) -> None:
        """Try a pod again when its back-off is over: its attempt failed for no fault of its own."""
        self.take_back(queued)
        queued.rejected_at = now
        queued.failed = True
        self._enter(queued, "backoff", now, _FAILED)
        self._send_next(queued)

    def fail(self, uid: str, now: float) -> None:
        """Have a rejected pod back off: what was to follow from its rejection failed."""
        queued = self._pods.get(uid)
        if queued is not None and queued.place == "unschedulable":
            self._leave(queued)
            self.back_off(queued, now)

    def single_out(self, uid: str) -> None:
        """What others of its shape are told does not hold for this pod any more."""
        queued = self._pods.get(uid)
        if queued is None or queued.is_single:
            return
        queued.is_single = True
        alike = queued.among
        if alike is not None:
            self._leave(queued)
            if alike.leader is not None:
                self._retry(queued, *alike.woken)
            else:
                self._enter(queued, "unschedulable", queued.rejected_at, _FAILED)

    def happened(self, events: Iterable[Event], now: float, *, sparing: str = "") -> int:
        """Give another try to the pods whose rejecting plugins care about an event, but to one uid: of those that are
        alike to one, and to the next when that has found a node. How many are given one now."""
        self._changes += 1
        events = frozenset(events)
        for event in events:
            self._last_change[event] = self._changes
        freed = self._ask_gated(events, now) if self._gated.keys() - {scheduling_gates.NAME} else 0
        woken = self._rejected.whom_it_may_help(events)
        cause = min(event.label for event in events) if woken else ""
        return freed + sum(self._send(alike, now, cause, sparing) for alike in woken)

    def flush_backoff(self, now: float) -> None:
        """Make ready the pods whose back-off is over."""
        for heap in (self._backing_off, self._failing):
            while heap and heap[0][0] <= now:
                _, ticket, uid = heapq.heappop(heap)
                if self._tickets.get(uid) == ticket:
                    queued = self._pods[uid]
                    self._leave(queued)
                    self._enter(queued, "active", now, "BackoffComplete")

    def flush_rejected(self, now: float) -> None:
        """Make ready the pods that have been rejected for too long."""
        due = [
            alike
            for alike in self._rejected
            if alike.leader is None and now - alike.rejected_at >= self._max_rejected_seconds
        ]
        for alike in due:
            self._send(alike, now, "UnschedulableTimeout")

    def retry(self, uids: Iterable[str], now: float, cause: str) -> bool:
        """Give another try to certain pods that were rejected or held back; whether there is one to try now."""
        woken = [one for one in map(self._pods.get, uids) if one is not None]
        for queued in woken:
            if queued.place == "unschedulable" or (
                queued.place == "gated" and not self._pre_enqueue(queued.pod, queued.info)
            ):
                self._leave(queued)
                self._retry(queued, now, cause)
        return any(queued.place in ("active", "backoff") for queued in woken)

    def take(self, uids: Iterable[str]) -> list[QueuedPod]:
        """Start trying certain pods now, wherever they wait; not those that are held back."""
        waiting = [one for one in map(self._pods.get, uids) if one is not None and one.place not in ("", "gated")]
        return [self._start(queued) for queued in waiting]

    def put_back(self, queued: QueuedPod, now: float) -> None:
        """Have a pod wait as before that was taken out and not tried."""
        queued.attempts -= 1
        self._admit(queued, now, _FAILED)

    def activate(self, uids: Iterable[str], now: float) -> int:
        """Try these pods at once, whatever they wait for (but what holds them back); how many there were."""
        waiting = [queued for uid in uids if (queued := self._pods.get(uid)) is not None]
        moved = [queued for queued in waiting if queued.place in ("backoff", "unschedulable")]
        for queued in moved:
            self._leave(queued)
            self._admit(queued, now, "ForceActivate")
        return len(moved)

    def rejected_by(self) -> Mapping[tuple[str, str], int]:
        """How many rejected pods wait, by the plugin that rejected them and their scheduler's name."""
        found: Counter[tuple[str, str]] = Counter()
        for alike in self._rejected:
            some = next(iter(alike.pods.values()))
            for plugin in alike.reason[0]:
                found[plugin, some.info.scheduler_name] += len(alike.pods)
        return found

    def next_ready(self) -> float | None:
        """When the first back-off ends; None when no pod backs off."""
        return min((heap[0][0] for heap in (self._backing_off, self._failing) if heap), default=None)

    @property
    def holds_pods(self) -> bool:
        """Whether the passing of time can make a pod ready."""
        return self._sizes["backoff"] > 0 or self._sizes["unschedulable"] > 0

    @property
    def ready(self) -> bool:
        """Whether a pod is ready, without its back-off's being cut short."""
        return self._sizes["active"] > 0

    def _admit(self, queued: QueuedPod, now: float, cause: str) -> None:
        plugin = self._pre_enqueue(queued.pod, queued.info)
        if plugin:
            queued.plugins = frozenset((plugin,))
        self._enter(queued, "gated" if plugin else "active", now, cause)

    def _ask_gated(self, events: frozenset[Event], now: float) -> int:
        asked = [
            queued
            for plugin, pods in self._gated.items()
            if self._wakes_on.get(plugin, frozenset()) & events
            for queued in pods.values()
            if not self._pre_enqueue(queued.pod, queued.info)
        ]
        cause = min(event.label for event in events) if asked else ""
        for queued in asked:
            self._leave(queued)
            self._enter(queued, "active", now, cause)
        return len(asked)

    def _retry(self, queued: QueuedPod, now: float, cause: str) -> None:
        if self._backoff_ends(queued) <= now or self._pre_enqueue(queued.pod, queued.info):
            self._admit(queued, now, cause)
        else:
            self._enter(queued, "backoff", now, cause)

    def _send(self, alike: Alike, now: float, cause: str, sparing: str = "") -> bool:
        """Have the one tried that waits longest, for all that are alike; whether there is one."""
        alike.woken = now, cause
        while some := list(itertools.islice((one for uid, one in alike.pods.items() if uid != sparing), _LOOKED_AT)):
            # One that backs off should not hold up others that need not.
            queued = next((one for one in some if self._backoff_ends(one) <= now), some[0])
            self._leave(queued)
            self._retry(queued, now, cause)
            if queued.place != "gated":
                if alike.pods:
                    alike.leader, queued.leads = queued, alike
                return True
        return False

    def _send_next(self, queued: QueuedPod) -> None:
        """The pod is not tried for others any more: another one is."""
        alike, queued.leads = queued.leads, None
        if alike is not None:
            alike.leader = None
            self._send(alike, *alike.woken)

    def _backoff_ends(self, queued: QueuedPod) -> float:
        return queued.rejected_at + (self._backoff.delay(queued.attempts) if queued.attempts else 0.0)

    def _changed_since(self, queued: QueuedPod) -> bool:
        if not queued.plugins:
            return self._changes > queued.tried_at
        return any(
            self._last_change.get(event, 0) > queued.tried_at
            for plugin in queued.plugins
            for event in self._wakes_on.get(plugin, ())
        )

    def _start(self, queued: QueuedPod) -> QueuedPod:
        self._leave(queued)
        queued.attempts += 1
        queued.failed = False
        queued.tried_at = self._changes
        return queued

    def _enter(self, queued: QueuedPod, place: str, now: float, cause: str) -> None:
        uid = queued.uid
        self._on_enter(place, cause)
        queued.place = place
        self._sizes[place] += 1
        ticket = self._tickets[uid] = next(self._next_ticket)
        match place:
            case "active":
                queued.queued_at = now
                heapq.heappush(self._active, (self._rank(queued.info, now), ticket, uid))
            case "backoff":
                heap = self._failing if queued.failed else self._backing_off
                heapq.heappush(heap, (self._backoff_ends(queued), ticket, uid))
                self._on_held()
            case "unschedulable":
                self._rejected.add(queued)
                self._on_held()
            case _:
                self._send_next(queued)
                for plugin in queued.plugins:
                    self._gated.setdefault(plugin, {})[uid] = queued

    def _leave(self, queued: QueuedPod) -> None:
        if not queued.place:
            return
        self._sizes[queued.place] -= 1
        if queued.place == "unschedulable":
            self._rejected.remove(queued)
        elif queued.place == "gated":
            for plugin in queued.plugins:
                del self._gated[plugin][queued.uid]
                if not self._gated[plugin]:
                    del self._gated[plugin]
        queued.place = ""
        # Whatever a heap still says of it is stale from now on.
        self._tickets[queued.uid] = next(self._next_ticket)
