"""Pods that were rejected, those together that are alike: what one of them is told when it is tried holds for all.

So an event wakes one pod of each sort, and the next one when that has found a node; upstream tries all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from keelback.scheduler.queued_pod import Alike, QueuedPod, Reason
from keelback.scheduling.events import Event
from keelback.scheduling.pod_info import PodInfo

_VICTIM: Final = frozenset((Event.VICTIM_REMOVED,))


class RejectedPods:
    """All of them. Events are given to those whose plugins care about them."""

    def __init__(self, wakes_on: Mapping[str, frozenset[Event]]) -> None:
        self._wakes_on = wakes_on
        self._by_reason: dict[Reason, dict[PodInfo | str, Alike]] = {}

    def __iter__(self) -> Iterator[Alike]:
        return (alike for some in self._by_reason.values() for alike in some.values())

    def add(self, queued: QueuedPod) -> None:
        """The pod joins those that are like it."""
        reason = (queued.plugins, queued.awaits_victims)
        key = queued.uid if queued.is_single else queued.info
        some = self._by_reason.setdefault(reason, {})
        alike = some.get(key)
        if alike is None:
            alike = some[key] = Alike(key, reason, queued.rejected_at)
        alike.rejected_at = max(alike.rejected_at, queued.rejected_at)
        alike.pods[queued.uid] = queued
        queued.among = alike

    def remove(self, queued: QueuedPod) -> None:
        """The pod leaves them."""
        alike, queued.among = queued.among, None
        assert alike is not None
        del alike.pods[queued.uid]
        if not alike.pods:
            self._drop(alike)

    def move(self, alike: Alike, reason: Reason) -> None:
        """The pods are rejected for another reason now."""
        if alike.reason == reason or not alike.pods:
            return
        self._drop(alike)
        alike.reason = reason
        there = self._by_reason.setdefault(reason, {}).setdefault(alike.key, alike)
        if there is not alike:
            there.pods = {**alike.pods, **there.pods}
            there.said = there.said if there.said == alike.said else ""
            for queued in alike.pods.values():
                queued.among = there

    def whom_it_may_help(self, events: frozenset[Event]) -> list[Alike]:
        """Those whose rejecting plugins care about one of the events, and for whom nobody is about to be tried."""
        return [
            alike
            for (plugins, awaits), some in self._by_reason.items()
            if not (awaits and events == _VICTIM)
            if not plugins or any(self._wakes_on.get(plugin, frozenset()) & events for plugin in plugins)
            for alike in some.values()
            if alike.leader is None
        ]

    def _drop(self, alike: Alike) -> None:
        some = self._by_reason[alike.reason]
        del some[alike.key]
        if not some:
            del self._by_reason[alike.reason]
