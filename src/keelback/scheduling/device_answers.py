"""Which nodes can give a pod the devices of its claims: one search for all nodes that reach the same pools, kept.

Claims that ask for the same have the same answers. What becomes of one claim touches the pools that its devices are of:
only the nodes that reach them, and of whose devices the claims could take some, are looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from keelback.scheduling import device_allocator
from keelback.scheduling.device_allocator import NotOnNode, SelectorFailed, Solution, TookTooLong
from keelback.scheduling.device_pools import DevicePools, PoolView
from keelback.scheduling.device_requests import ClaimRequests
from keelback.scheduling.device_usage import DeviceUsage
from keelback.scheduling.devices import PoolId
from keelback.scheduling.node_table import NodeTable

Mask: TypeAlias = npt.NDArray[np.bool_]
Scores: TypeAlias = npt.NDArray[np.int64]
Answer: TypeAlias = "Solution | NotOnNode | SelectorFailed | TookTooLong | None"


@dataclass(slots=True)
class _Group:
    # The nodes that reach the same of those pools that matter.
    views: tuple[PoolView, ...]
    rows: set[int] = field(default_factory=set)
    answer: Answer = None
    is_stale: bool = True


class DeviceAnswers:
    """The answers for pods whose claims ask for the same."""

    def __init__(self, claims: Sequence[ClaimRequests], pools: DevicePools, usage: DeviceUsage) -> None:
        self.claims = claims
        self._pools = pools
        self._usage = usage
        self._alternatives = [one for claim in claims for request in claim.requests for one in request.alternatives]
        self._wants_all = any(one.takes_all for one in self._alternatives)
        self._has_preferences = any(claim.has_preferences for claim in claims)
        self._epoch = -1
        self._pools_seen = 0
        self._usage_seen = 0
        self._groups: list[_Group] = []
        self._number_of: dict[tuple[int, ...], int] = {}
        self._of_pool: dict[PoolId, set[int]] = {}
        self._group_of: npt.NDArray[np.intp] = np.empty(0, np.intp)
        self._feasible: npt.NDArray[np.bool_] = np.empty(0, np.bool_)
        self._points: npt.NDArray[np.int64] = np.empty(0, np.int64)
        self._failed: set[int] = set()

    def bring_up_to_date(self, nodes: NodeTable, monotonic: Callable[[], float], timeout_seconds: float) -> None:
        """Look again where something changed; a search that takes longer than the timeout (0: none) is given up."""
        pools = self._pools
        pools.bring_up_to_date(nodes)
        rows = pools.touched_since(self._pools_seen) if self._epoch == pools.epoch else None
        if rows is None or len(self._groups) > 2 * len(nodes) + 64:
            self._start_anew(len(nodes))
            rows = set(range(len(nodes)))
        self._epoch, self._pools_seen = pools.epoch, pools.position
        asked = {self._regroup(row) for row in rows} | self._failed
        touched = self._usage.touched_since(self._usage_seen)
        self._usage_seen = self._usage.position
        stale = (
            set(range(len(self._groups)))
            if touched is None
            else {number for pool in touched for number in self._of_pool.get(pool, ())}
        )
        for number in stale:
            self._groups[number].is_stale = True
        for number in asked | stale:
            group = self._groups[number]
            if group.rows and group.is_stale:
                self._look_at(number, group, monotonic, timeout_seconds)

    @property
    def mask(self) -> Mask:
        """True for the rows that can give all devices."""
        return self._feasible[self._group_of]

    @property
    def points(self) -> Scores | None:
        """For each row how good the taken alternatives are; None where there are none to prefer."""
        return self._points[self._group_of] if self._has_preferences else None

    def answer(self, row: int) -> Answer:
        """What is known of one row."""
        return self._groups[int(self._group_of[row])].answer

    def failure(self) -> tuple[int, SelectorFailed | TookTooLong] | None:
        """A row for which nothing can be said, and why."""
        for number in sorted(self._failed):
            group = self._groups[number]
            if group.rows and isinstance(group.answer, SelectorFailed | TookTooLong):
                return min(group.rows), group.answer
        return None

    def _start_anew(self, rows: int) -> None:
        self._groups, self._number_of, self._of_pool = [], {}, {}
        self._group_of = np.full(rows, -1, np.intp)
        self._failed.clear()

    def _regroup(self, row: int) -> int:
        views = tuple(view for view in self._pools.of(row) if self._matters(view))
        key = tuple(map(id, views))
        number = self._number_of.get(key)
        if number is None:
            number = self._number_of[key] = self._add(views)
        old = int(self._group_of[row])
        if old != number:
            if old >= 0:
                self._groups[old].rows.discard(row)
            self._groups[number].rows.add(row)
            self._group_of[row] = number
        return number

    def _add(self, views: tuple[PoolView, ...]) -> int:
        number = len(self._groups)
        self._groups.append(_Group(views))
        for view in views:
            self._of_pool.setdefault(view.pool, set()).add(number)
        if number >= len(self._feasible):
            self._feasible = np.resize(self._feasible, 2 * number + 64)
            self._points = np.resize(self._points, 2 * number + 64)
        self._feasible[number], self._points[number] = False, 0
        return number

    def _matters(self, view: PoolView) -> bool:
        """Whether the pool can change the answer: no other is looked at when a device of it is taken."""
        if view.is_incomplete:
            return self._wants_all
        if view.invalid:
            return True
        return any(match is not False for one in self._alternatives for match in device_allocator.matches(view, one))

    def _look_at(self, number: int, group: _Group, monotonic: Callable[[], float], timeout_seconds: float) -> None:
        deadline = monotonic() + timeout_seconds
        is_over = (lambda: monotonic() > deadline) if timeout_seconds else (lambda: False)
        try:
            group.answer = device_allocator.allocate(self.claims, group.views, self._usage, is_over)
        except (NotOnNode, SelectorFailed, TookTooLong) as answer:
            group.answer = answer
        # One that was given up is tried again the next time.
        group.is_stale = isinstance(group.answer, TookTooLong)
        has_failed = isinstance(group.answer, SelectorFailed | TookTooLong)
        (self._failed.add if has_failed else self._failed.discard)(number)
        found = group.answer is not None and not isinstance(group.answer, Exception)
        self._feasible[number] = found
        if found and self._has_preferences:
            self._points[number] = device_allocator.points(self.claims, _solution(group.answer))


def _solution(answer: Answer) -> Solution:
    assert answer is not None
    assert not isinstance(answer, Exception)
    return answer
