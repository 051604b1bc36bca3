"""From the kubelets' counters to what is used now: two readings of a container make its usage. Pure.

As metrics-server: a pod is told of when all its containers are; one that has just started counts from its start.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

PodKey: TypeAlias = tuple[str, str]

# A container that has run at least this long is told of after one reading.
_FRESH_SECONDS: Final = 10.0
_LINE: Final = re.compile(
    rb"^((?:container|node)_(?:cpu_usage_seconds_total|memory_working_set_bytes)|container_start_time_seconds)"
    rb"(?:\{(.*)\})? (\S+)(?: (\d+))?$",
    re.MULTILINE,
)
_LABEL: Final = re.compile(rb'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Point:
    """Counters at a moment. Times are seconds since the epoch; `started` is 0 where it is not known."""

    at: float
    cpu_seconds: float
    memory_bytes: int
    started: float = 0.0


@dataclass(frozen=True, slots=True)
class Usage:
    """Usage on average over the `window_seconds` that ended `at`, and the memory held then."""

    at: float
    window_seconds: float
    cpu_nanocores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What one kubelet says: its node, and the containers of its pods by name."""

    node: Point | None = None
    pods: Mapping[PodKey, Mapping[str, Point]] = field(default_factory=dict)


def parse(text: bytes, now: float) -> Reading:
    """A kubelet's `/metrics/resource`; `now` is the time of samples without one. Raises ValueError for what is none."""
    figures: dict[tuple[PodKey, str], dict[bytes, tuple[float, float]]] = {}
    node: dict[bytes, tuple[float, float]] = {}
    for name, labels, value, stamp in _LINE.findall(text):
        sample = (float(value), int(stamp) / 1000 if stamp else now)
        if name.startswith(b"node"):
            node[name.removeprefix(b"node_")] = sample
            continue
        told = {key: one.decode() for key, one in _LABEL.findall(labels)}
        place = ((told.get(b"namespace", ""), told.get(b"pod", "")), told.get(b"container", ""))
        figures.setdefault(place, {})[name.removeprefix(b"container_")] = sample
    pods: dict[PodKey, dict[str, Point]] = {}
    for (key, container), samples in figures.items():
        point = _point(samples)
        if point is not None:
            pods.setdefault(key, {})[container] = point
        elif b"start_time_seconds" not in samples:
            # Half of what there is to know: the pod must not look as if this container used nothing.
            pods.setdefault(key, {})[container] = Point(0.0, 0.0, 0)
    return Reading(_point(node), pods)


def _point(samples: Mapping[bytes, tuple[float, float]]) -> Point | None:
    cpu, memory = samples.get(b"cpu_usage_seconds_total"), samples.get(b"memory_working_set_bytes")
    if cpu is None or memory is None:
        return None
    return Point(cpu[1], cpu[0], int(memory[0]), samples.get(b"start_time_seconds", (0.0, 0.0))[0])


def between(before: Point | None, last: Point, resolution_seconds: float) -> Usage | None:
    """The usage that two readings show; None where they show none yet."""
    if before is None or last.started > before.at or last.cpu_seconds < before.cpu_seconds:
        age = last.at - last.started
        if not last.started or not _FRESH_SECONDS <= age < resolution_seconds:
            return None
        before = Point(last.started, 0.0, 0)
    # Whole numbers, as the kubelets count: the noise of floats would be rounded up to a whole nanocore.
    microseconds = round((last.at - before.at) * 1e6)
    if microseconds <= 0:
        return None
    nanoseconds = round((last.cpu_seconds - before.cpu_seconds) * 1e9)
    # Upstream rounds up: what runs is never told to use nothing.
    nanocores = -(-nanoseconds * 10**6 // microseconds)
    return Usage(last.at, microseconds / 1e6, nanocores, last.memory_bytes)


@dataclass(slots=True)
class _Pair:
    last: Point
    before: Point | None = None

    def take(self, point: Point) -> None:
        if point.at > self.last.at:
            self.before, self.last = self.last, point


class Readings:
    """The last two readings of everything. One node's reading replaces what was known of its pods."""

    def __init__(self, resolution_seconds: float) -> None:
        self._resolution_seconds = resolution_seconds
        self._nodes: dict[str, _Pair] = {}
        self._pods: dict[PodKey, dict[str, _Pair]] = {}
        self._on: dict[str, frozenset[PodKey]] = {}
        self._node_of: dict[PodKey, str] = {}

    def take(self, node: str, reading: Reading) -> None:
        """Note what a node's kubelet says."""
        if reading.node is not None:
            _note(self._nodes, node, reading.node)
        for key in self._on.get(node, frozenset()) - reading.pods.keys():
            self._forget_pod(node, key)
        self._on[node] = frozenset(reading.pods)
        for key, containers in reading.pods.items():
            known = self._pods.get(key, {})
            kept = {name: pair for name, pair in known.items() if name in containers}
            for name, point in containers.items():
                _note(kept, name, point)
            self._pods[key], self._node_of[key] = kept, node

    def forget(self, node: str) -> None:
        """The node is gone, and its pods with it."""
        self._nodes.pop(node, None)
        for key in self._on.pop(node, frozenset()):
            self._forget_pod(node, key)

    def node(self, name: str) -> Usage | None:
        """What a node uses; None where that is not known yet."""
        pair = self._nodes.get(name)
        return None if pair is None else between(pair.before, pair.last, self._resolution_seconds)

    def pod(self, namespace: str, name: str) -> Mapping[str, Usage]:
        """What each container of a pod uses; nothing at all where one of them is not known yet."""
        found: dict[str, Usage] = {}
        for container, pair in self._pods.get((namespace, name), {}).items():
            usage = between(pair.before, pair.last, self._resolution_seconds)
            if usage is None:
                return {}
            found[container] = usage
        return found

    def _forget_pod(self, node: str, key: PodKey) -> None:
        # A pod of the same name may run elsewhere by now.
        if self._node_of.get(key) == node:
            del self._node_of[key], self._pods[key]


def _note(pairs: dict[str, _Pair], name: str, point: Point) -> None:
    known = pairs.get(name)
    if known is None:
        pairs[name] = _Pair(point)
    else:
        known.take(point)
