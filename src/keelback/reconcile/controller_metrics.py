"""The metrics of controllers, by upstream's names: each declares its own at the top of its file, as constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keelback.component.metrics import DEFAULT_BUCKETS, Counter, Gauge, Histogram, Registry


@dataclass(frozen=True, slots=True)
class Count:
    """Something that is counted."""

    name: str
    description: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """Something that goes up and down."""

    name: str
    description: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """Something that is measured again and again."""

    name: str
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = DEFAULT_BUCKETS


@dataclass(frozen=True, slots=True)
class Work:
    """Something that is done again and again: how often, and how long it takes each time, by the same labels."""

    count_name: str
    count_description: str
    duration_name: str
    duration_description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = DEFAULT_BUCKETS

    @property
    def count(self) -> Count:
        return Count(self.count_name, self.count_description, self.labels)

    @property
    def duration(self) -> Spread:
        return Spread(self.duration_name, self.duration_description, self.labels, self.buckets)


class ControllerMetrics:
    """What the controllers of one process count. A metric is there from its first use on, as upstream's are."""

    def __init__(self, registry: Registry | None = None) -> None:
        self._registry = registry or Registry()
        self._counters: dict[Count, Counter] = {}
        self._gauges: dict[Level, Gauge] = {}
        self._histograms: dict[Spread, Histogram] = {}

    def inc(self, metric: Count, *label_values: str, amount: float = 1.0) -> None:
        """Count `amount` more."""
        counter = self._counters.get(metric)
        if counter is None:
            made = self._registry.counter(metric.name, metric.description, metric.labels)
            counter = self._counters[metric] = made
        counter.inc(*label_values, amount=amount)

    def done(self, work: Work, seconds: float, *label_values: str) -> None:
        """Count one more, which took so long."""
        self.inc(work.count, *label_values)
        self.observe(work.duration, seconds, *label_values)

    def set(self, metric: Level, value: float, *label_values: str) -> None:
        """Say how much it is now."""
        self._gauge(metric).set(value, *label_values)

    def forget(self, metric: Level, *label_values: str) -> None:
        """What the label values name is gone."""
        self._gauge(metric).remove(*label_values)

    def observe(self, metric: Spread, value: float, *label_values: str) -> None:
        """Count one measurement."""
        histogram = self._histograms.get(metric)
        if histogram is None:
            made = self._registry.histogram(metric.name, metric.description, metric.labels, metric.buckets)
            histogram = self._histograms[metric] = made
        histogram.observe(value, *label_values)

    def counted(self, metric: Count, *label_values: str) -> float:
        """How much was counted so far."""
        counter = self._counters.get(metric)
        return 0.0 if counter is None else counter.value(*label_values)

    def at_collection(self, metric: Level, levels: Callable[[], dict[tuple[str, ...], float]]) -> None:
        """Have what is cheap to compute and costly to keep computed when somebody asks: all label values there are."""
        gauge = self._gauge(metric)
        shown: set[tuple[str, ...]] = set()

        def refresh() -> None:
            present = levels()
            for values in shown - present.keys():
                gauge.remove(*values)
            shown.clear()
            shown.update(present)
            for values, level in present.items():
                gauge.set(level, *values)

        self._registry.before_collection(refresh)

    def exposition(self) -> bytes:
        """All of them as text."""
        return self._registry.exposition()

    def _gauge(self, metric: Level) -> Gauge:
        gauge = self._gauges.get(metric)
        if gauge is None:
            gauge = self._gauges[metric] = self._registry.gauge(metric.name, metric.description, metric.labels)
        return gauge


def powers(start: float, factor: float, count: int) -> tuple[float, ...]:
    """The buckets that upstream calls exponential."""
    return tuple(start * factor**power for power in range(count))
