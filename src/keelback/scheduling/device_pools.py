"""The pools of devices that each node can reach, kept current as slices and nodes come and go.

A driver replaces a pool by publishing slices of a new generation one by one: an older generation is out of date once
there is a newer one, and a pool gives nothing away before all slices of its generation are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from keelback.scheduling import node_selectors
from keelback.scheduling.device_selectors import SelectorError
from keelback.scheduling.devices import CounterKey, Device, Place, PoolId, Slice
from keelback.scheduling.node_table import NodeTable

Match: TypeAlias = "bool | SelectorError"

_LONGEST_LOG: Final = 8192
_Part: TypeAlias = tuple[Slice, tuple[Device, ...]]
"""A slice and those of its devices that a node can reach."""


@dataclass(frozen=True, slots=True, eq=False)
class PoolView:
    """A pool as some nodes see it: the devices that are within their reach."""

    pool: PoolId
    devices: tuple[Device, ...] = ()
    is_incomplete: bool = False
    """Its driver is still publishing it."""
    invalid: str = ""
    """What is wrong with it."""
    counters: Mapping[CounterKey, int] = field(default_factory=dict)
    consumers: tuple[Device, ...] = ()
    """All devices that share the counters, within reach or not."""
    matches: dict[tuple[str, ...], tuple[Match, ...]] = field(default_factory=dict)
    """What selectors have said of each device, kept for those who ask again."""

    has_conditions: bool = False
    """Some of its devices must be attached before they can be used."""

    @property
    def is_usable(self) -> bool:
        return not self.is_incomplete and not self.invalid

    @property
    def rank(self) -> tuple[bool, PoolId]:
        """Devices that are there at once come before those that must be attached first."""
        return self.has_conditions, self.pool

    def __str__(self) -> str:
        return "/".join(self.pool)


class DevicePools:
    """Which pools each row of a node table reaches."""

    def __init__(self) -> None:
        self._pools: dict[PoolId, dict[str, Slice]] = {}
        self._pool_of: dict[str, PoolId] = {}
        self._stale: set[PoolId] = set()
        self._views: list[list[PoolView]] = []
        self._rows_of: dict[PoolId, frozenset[int]] = {}
        self._version = -1
        self.epoch = 0
        """Rises when nodes changed, so that nothing that was known of any row holds."""
        self._log: list[int] = []
        self._log_start = 0

    def __len__(self) -> int:
        return len(self._pools)

    def put(self, name: str, new: Slice | None) -> None:
        """Learn a slice's new state; None when it is gone."""
        pool = self._pool_of.pop(name, None)
        if pool is not None:
            del self._pools[pool][name]
            if not self._pools[pool]:
                del self._pools[pool]
            self._stale.add(pool)
        if new is not None:
            self._pools.setdefault(new.pool, {})[name] = new
            self._pool_of[name] = new.pool
            self._stale.add(new.pool)

    def bring_up_to_date(self, nodes: NodeTable) -> None:
        """Look at what changed since the last time: to be called before anything is asked of rows."""
        if self._version != nodes.version:
            self._version = nodes.version
            self._views = [[] for _ in range(len(nodes))]
            self._rows_of.clear()
            self._stale = set(self._pools)
            self.epoch += 1
            self._log_start += len(self._log)
            self._log.clear()
        for pool in sorted(self._stale):
            self._renew(pool, nodes)
        self._stale.clear()

    def of(self, row: int) -> Sequence[PoolView]:
        """The pools within a row's reach, in the order in which devices are looked for."""
        return self._views[row]

    def reaching(self, pool: PoolId) -> frozenset[int]:
        """The rows within whose reach a pool is."""
        return self._rows_of.get(pool, frozenset())

    @property
    def position(self) -> int:
        """How many times a row's pools have changed in this epoch and before."""
        return self._log_start + len(self._log)

    def touched_since(self, position: int) -> set[int] | None:
        """The rows whose pools changed after a position; None when that is too long ago to tell."""
        return set(self._log[position - self._log_start :]) if position >= self._log_start else None

    def _renew(self, pool: PoolId, nodes: NodeTable) -> None:
        for row in self._rows_of.pop(pool, ()):
            self._views[row] = [view for view in self._views[row] if view.pool != pool]
            self._touch(row)
        slices = self._pools.get(pool)
        if slices is None:
            return
        ordered = [slices[name] for name in sorted(slices)]
        made: dict[tuple[tuple[str, tuple[int, ...]], ...], PoolView | None] = {}
        reached = []
        for row, parts in _within_reach(ordered, nodes):
            # Nodes that reach the same devices share one view of them.
            key = tuple(
                (part.name, () if devices is part.devices else tuple(map(id, devices))) for part, devices in parts
            )
            if key not in made:
                made[key] = _view(pool, ordered, parts)
            view = made[key]
            if view is not None:
                self._views[row] = sorted([*self._views[row], view], key=lambda one: one.rank)
                reached.append(row)
                self._touch(row)
        self._rows_of[pool] = frozenset(reached)

    def _touch(self, row: int) -> None:
        self._log.append(row)
        if len(self._log) > _LONGEST_LOG:
            dropped = len(self._log) // 2
            del self._log[:dropped]
            self._log_start += dropped


def _within_reach(slices: Sequence[Slice], nodes: NodeTable) -> Iterator[tuple[int, list[_Part]]]:
    """The rows that reach devices of a pool, each with what it reaches."""
    found: dict[int, list[_Part]] = {}
    for one in slices:
        if one.place is not None:
            if one.devices:
                for row in _rows(one.place, nodes):
                    found.setdefault(row, []).append((one, one.devices))
            continue
        by_row: dict[int, list[Device]] = {}
        for device in one.devices:
            for row in _rows(device.place, nodes):
                by_row.setdefault(row, []).append(device)
        for row, devices in by_row.items():
            found.setdefault(row, []).append((one, tuple(devices)))
    yield from found.items()


def _rows(place: Place, nodes: NodeTable) -> Sequence[int]:
    if place.node_name:
        row = nodes.row_of.get(place.node_name)
        return () if row is None else (row,)
    if place.everywhere:
        return range(len(nodes))
    if place.selector is None:
        return ()
    rows: list[int] = np.flatnonzero(node_selectors.selector_mask(nodes, place.selector)).tolist()
    return rows


def _view(pool: PoolId, slices: Sequence[Slice], parts: Sequence[_Part]) -> PoolView | None:
    """What the nodes that reach these parts see of the pool; None where all that they reach is out of date."""
    generation = max(part.generation for part, _ in parts)
    newest = [one for one in slices if one.generation == generation]
    parts = [(part, devices) for part, devices in parts if part.generation == generation]
    # Slices with counters alone are within everybody's reach.
    seen = {part.name for part, _ in parts} | {one.name for one in newest if one.counters}
    wanted = parts[0][0].slices_in_pool
    if len(seen) != wanted:
        if any(one.generation > generation for one in slices):
            return None
        if len(newest) != wanted:
            return PoolView(pool, is_incomplete=True)
    devices = tuple(device for _, some in parts for device in some)
    counters: dict[CounterKey, int] = {}
    sets: set[str] = set()
    for one in newest:
        for name, values in one.counters:
            if name in sets:
                return PoolView(pool, invalid=f"duplicate counter set name {name}")
            sets.add(name)
            counters.update({(name, counter): value for counter, value in values.items()})
    consumers = tuple(device for one in newest for device in one.devices if device.consumes)
    return PoolView(
        pool,
        devices,
        invalid=_problem(devices, consumers, sets, counters),
        counters=counters,
        consumers=consumers,
        has_conditions=any(device.binding_conditions for device in devices),
    )


def _problem(
    devices: Sequence[Device], consumers: Sequence[Device], sets: set[str], counters: Mapping[CounterKey, int]
) -> str:
    names: set[str] = set()
    for device in devices:
        if device.id[2] in names:
            return f"duplicate device name {device.id[2]}"
        names.add(device.id[2])
    for device in consumers:
        for name, counter in device.consumes:
            if name not in sets:
                return f"counter set {name} not found"
            if (name, counter) not in counters:
                return f"counter {counter} not found in counter set {name}"
    return ""
