"""What a work queue tells whoever counts, and the upstream metrics made of it. The queue itself knows no metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from keelback.component.metrics import Counter, Gauge, Histogram, Registry


class QueueObserver(Protocol):
    """Hears of every step of a key through a queue; durations are in seconds."""

    def added(self, depth: int) -> None: ...

    def started(self, depth: int, waited_seconds: float) -> None: ...

    def finished(self, worked_seconds: float) -> None: ...

    def retried(self) -> None: ...


class _Nobody:
    def added(self, depth: int) -> None: ...

    def started(self, depth: int, waited_seconds: float) -> None: ...

    def finished(self, worked_seconds: float) -> None: ...

    def retried(self) -> None: ...


NO_METRICS: QueueObserver = _Nobody()

# client-go's: 10 ns to 10 s, by tens.
_BUCKETS = tuple(10.0**exponent for exponent in range(-8, 2))


class QueueMetrics:
    """The `workqueue_*` metrics of one process, by the queue's name."""

    def __init__(self, registry: Registry) -> None:
        name = ("name",)
        self.adds = registry.counter("workqueue_adds_total", "Total number of adds handled by workqueue", name)
        self.depth = registry.gauge("workqueue_depth", "Current depth of workqueue", name)
        self.waited = registry.histogram(
            "workqueue_queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested.",
            name,
            _BUCKETS,
        )
        self.worked = registry.histogram(
            "workqueue_work_duration_seconds",
            "How long in seconds processing an item from workqueue takes.",
            name,
            _BUCKETS,
        )
        self.retries = registry.counter("workqueue_retries_total", "Total number of retries handled by workqueue", name)

        self._unfinished = registry.gauge(
            "workqueue_unfinished_work_seconds",
            "How many seconds of work has done that is in progress and hasn't been observed by work_duration.",
            name,
        )
        self._longest = registry.gauge(
            "workqueue_longest_running_processor_seconds",
            "How many seconds has the longest running processor for workqueue been running.",
            name,
        )
        self._running: dict[str, Callable[[], Sequence[float]]] = {}
        registry.before_collection(self._measure)

    def observer(self, queue_name: str) -> QueueObserver:
        """What a queue of that name reports to."""
        return _Counted(queue_name, self.adds, self.depth, self.waited, self.worked, self.retries)

    def watch(self, queue_name: str, running_seconds: Callable[[], Sequence[float]]) -> None:
        """Have what is being worked on measured at each collection: `running_seconds` says how long each has run."""
        self._running[queue_name] = running_seconds

    def _measure(self) -> None:
        for queue_name, running_seconds in self._running.items():
            seconds = running_seconds()
            self._unfinished.set(sum(seconds), queue_name)
            self._longest.set(max(seconds, default=0.0), queue_name)


@dataclass(frozen=True, slots=True)
class _Counted:
    name: str
    adds: Counter
    depth: Gauge
    waited: Histogram
    worked: Histogram
    retries: Counter

    def added(self, depth: int) -> None:
        self.adds.inc(self.name)
        self.depth.set(depth, self.name)

    def started(self, depth: int, waited_seconds: float) -> None:
        self.depth.set(depth, self.name)
        self.waited.observe(waited_seconds, self.name)

    def finished(self, worked_seconds: float) -> None:
        self.worked.observe(worked_seconds, self.name)

    def retried(self) -> None:
        self.retries.inc(self.name)
