"""The pods that wait for a node: ready to be tried, backing off, rejected until something changes, or gated.

Pure: time is an argument, in seconds that never go backwards.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from keelback.concurrency.backoff import Backoff
from keelback.scheduling import priority_sort, scheduling_gates
from keelback.scheduling.events import Event
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.pod_to_place import PodToPlace


@dataclass(slots=True)
class QueuedPod:
    """One waiting pod and its history of attempts."""

    pod: PodToPlace
    info: PodInfo
    queued_at: float
    """When it last became ready to be tried."""
    arrived_at: float
    """When it was first seen."""
    attempts: int = 0
    plugins: frozenset[str] = frozenset()
    """Those that rejected it the last time."""
    rejected_at: float = 0.0
    place: str = ""
    """Which part of the queue holds it; empty while it is being tried."""

    @property
    def uid(self) -> str:
        return self.pod.metadata.uid


class SchedulingQueue:
    """Every waiting pod is in exactly one of four places."""

    def __init__(
        self,
        backoff: Backoff,
        max_rejected_seconds: float,
        wakes_on: Mapping[str, frozenset[Event]],
        on_held: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_held` is called when a pod begins to back off or is rejected: time has something to do from then on."""
        self._on_held = on_held
        self._backoff = backoff
        self._max_rejected_seconds = max_rejected_seconds
        self._wakes_on = wakes_on
        self._pods: dict[str, QueuedPod] = {}
        # Heaps may hold stale entries: an entry counts only if it carries its pod's latest ticket.
        self._active: list[tuple[tuple[int, float], int, str]] = []
        self._backing_off: list[tuple[float, int, str]] = []
        self._tickets: dict[str, int] = {}
        self._next_ticket = itertools.count()
        self._rejected: dict[frozenset[str], dict[str, QueuedPod]] = {}
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
        self._enter(queued, "gated" if scheduling_gates.holds_back(info) else "active", now)
        return queued

    def update(self, pod: PodToPlace, info: PodInfo, now: float) -> None:
        """Learn a waiting pod's new state; a change of what it asks for is worth another try."""
        queued = self._pods[pod.metadata.uid]
        changed = queued.info is not info
        queued.pod = pod
        if not changed:
            return
        gated = scheduling_gates.holds_back(info)
        if queued.place == "gated" and not gated:
            self._leave(queued)
            queued.info = info
            self._enter(queued, "active", now)
        elif queued.place == "unschedulable":
            self._leave(queued)
            queued.info = info
            self._retry(queued, now)
        elif queued.place == "active":
            self._leave(queued)
            queued.info = info
            self._enter(queued, "gated" if gated else "active", queued.queued_at)
        else:
            queued.info = info

    def remove(self, uid: str) -> QueuedPod | None:
        """Forget a pod: it has a node, or is gone."""
        queued = self._pods.pop(uid, None)
        if queued is not None:
            self._leave(queued)
            self._tickets.pop(uid, None)
        return queued

    def pop(self, now: float) -> QueuedPod | None:
        """The next pod to try, which is then in no place; None when none is ready."""
        self.flush_backoff(now)
        while self._active:
            _, ticket, uid = heapq.heappop(self._active)
            if self._tickets.get(uid) == ticket:
                return self._start(self._pods[uid])
        return None

    def reject(self, queued: QueuedPod, plugins: frozenset[str], now: float) -> None:
        """Put a pod that was tried where it waits for something to change."""
        if self._pods.get(queued.uid) is not queued:
            return
        queued.plugins = plugins
        queued.rejected_at = now
        self._enter(queued, "unschedulable", now)

    def back_off(self, queued: QueuedPod, now: float) -> None:
        """Try a pod again when its back-off is over: its attempt failed for no fault of its own."""
        self._pods[queued.uid] = queued
        queued.rejected_at = now
        self._enter(queued, "backoff", now)

    def happened(self, events: Iterable[Event], now: float) -> int:
        """Give another try to the pods whose rejecting plugins care about an event; how many."""
        if not self._rejected:
            return 0
        events = frozenset(events)
        woken = [
            queued
            for plugins, pods in self._rejected.items()
            if not plugins or any(self._wakes_on.get(plugin, frozenset()) & events for plugin in plugins)
            for queued in pods.values()
        ]
        for queued in woken:
            self._leave(queued)
            self._retry(queued, now)
        return len(woken)

    def flush_backoff(self, now: float) -> None:
        """Make ready the pods whose back-off is over."""
        while self._backing_off and self._backing_off[0][0] <= now:
            _, ticket, uid = heapq.heappop(self._backing_off)
            if self._tickets.get(uid) == ticket:
                queued = self._pods[uid]
                self._leave(queued)
                self._enter(queued, "active", now)

    def flush_rejected(self, now: float) -> None:
        """Make ready the pods that have been rejected for too long."""
        due = [
            queued
            for pods in self._rejected.values()
            for queued in pods.values()
            if now - queued.rejected_at >= self._max_rejected_seconds
        ]
        for queued in due:
            self._leave(queued)
            self._retry(queued, now)

    def rejected_by(self) -> Mapping[tuple[str, str], int]:
        """How many rejected pods wait, by the plugin that rejected them and their scheduler's name."""
        return Counter(
            (plugin, queued.info.scheduler_name)
            for plugins, pods in self._rejected.items()
            for queued in pods.values()
            for plugin in plugins
        )

    def next_ready(self) -> float | None:
        """When the first back-off ends; None when no pod backs off."""
        return self._backing_off[0][0] if self._backing_off else None

    @property
    def holds_pods(self) -> bool:
        """Whether the passing of time can make a pod ready."""
        return self._sizes["backoff"] > 0 or self._sizes["unschedulable"] > 0

    @property
    def ready(self) -> bool:
        """Whether `pop` would find something without waiting."""
        return self._sizes["active"] > 0

    def _retry(self, queued: QueuedPod, now: float) -> None:
        if scheduling_gates.holds_back(queued.info):
            self._enter(queued, "gated", now)
            return
        over = self._backoff_ends(queued) <= now
        self._enter(queued, "active" if over else "backoff", now)

    def _backoff_ends(self, queued: QueuedPod) -> float:
        return queued.rejected_at + (self._backoff.delay(queued.attempts) if queued.attempts else 0.0)

    def _start(self, queued: QueuedPod) -> QueuedPod:
        self._leave(queued)
        queued.attempts += 1
        return queued

    def _enter(self, queued: QueuedPod, place: str, now: float) -> None:
        uid = queued.uid
        queued.place = place
        self._sizes[place] += 1
        ticket = self._tickets[uid] = next(self._next_ticket)
        match place:
            case "active":
                queued.queued_at = now
                heapq.heappush(self._active, (priority_sort.rank(queued.info, now), ticket, uid))
            case "backoff":
                heapq.heappush(self._backing_off, (self._backoff_ends(queued), ticket, uid))
                self._on_held()
            case "unschedulable":
                self._rejected.setdefault(queued.plugins, {})[uid] = queued
                self._on_held()
            case _:
                pass

    def _leave(self, queued: QueuedPod) -> None:
        if not queued.place:
            return
        self._sizes[queued.place] -= 1
        if queued.place == "unschedulable":
            pods = self._rejected[queued.plugins]
            del pods[queued.uid]
            if not pods:
                del self._rejected[queued.plugins]
        queued.place = ""
        # Whatever a heap still says of it is stale from now on.
        self._tickets[queued.uid] = next(self._next_ticket)
