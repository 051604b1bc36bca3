"""Counters, gauges and histograms in the text form Prometheus reads.

A component makes one `Registry` and hands its metrics to whoever counts: there is no global one. Label values are
passed by position, in the order the metric names them; one increment is one dictionary operation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Protocol, TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metric(Protocol):
    """What a registry holds."""

    name: str

    def lines(self) -> Iterator[str]:
        """The text lines of all label values, HELP and TYPE first."""
        ...


_M = TypeVar("_M", bound=Metric)


class Counter:
    """A number that only grows."""

    kind = "counter"

    def __init__(self, name: str, description: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.description = description
        self.labels = tuple(labels)
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def inc(self, *label_values: str, amount: float = 1.0) -> None:
        """Add `amount` under these label values."""
        values = self._values
        try:
            values[label_values] += amount
        except KeyError:
            _check_labels(self.name, self.labels, label_values)
            values[label_values] = amount

    def set(self, value: float, *label_values: str) -> None:
        """Make this the number under these label values: of a counter, what somebody else has counted."""
        if label_values not in self._values:
            _check_labels(self.name, self.labels, label_values)
        self._values[label_values] = value

    def value(self, *label_values: str) -> float:
        """The present number under these label values."""
        return self._values.get(label_values, 0.0)

    def remove(self, *label_values: str) -> None:
        """Forget these label values, as when what they name is gone."""
        self._values.pop(label_values, None)

    def lines(self) -> Iterator[str]:
        """The text lines of all label values, HELP and TYPE first."""
        yield from _head(self.name, self.description, self.kind)
        for label_values, value in self._values.items():
            yield f"{self.name}{_label_text(self.labels, label_values)} {_number(value)}\n"


class Gauge(Counter):
    """A number that goes up and down."""

    kind = "gauge"

    def dec(self, *label_values: str, amount: float = 1.0) -> None:
        """Take `amount` away under these label values."""
        self.inc(*label_values, amount=-amount)


class Series:
    """The observations of a histogram under some label values. For whoever observes often under the same."""

    __slots__ = ("_buckets", "counts", "total")

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._buckets = buckets
        self.counts = [0] * len(buckets)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self._buckets, value)] += 1
        self.total += value


class Histogram:
    """How many observations fell below each bound, their number and their sum."""

    kind = "histogram"

    def __init__(
        self, name: str, description: str, labels: Sequence[str] = (), buckets: Sequence[float] = DEFAULT_BUCKETS
    ) -> None:
        self.name = name
        self.description = description
        self.labels = tuple(labels)
        self.buckets = (*sorted(buckets), inf)
        self._series: dict[tuple[str, ...], Series] = {}

    def series(self, *label_values: str) -> Series:
        """What is observed under these label values."""
        found = self._series.get(label_values)
        if found is None:
            _check_labels(self.name, self.labels, label_values)
            found = self._series[label_values] = Series(self.buckets)
        return found

    def observe(self, value: float, *label_values: str) -> None:
        """Count one observation under these label values."""
        self.series(*label_values).observe(value)

    def items(self) -> Iterable[tuple[tuple[str, ...], Series]]:
        """All label values, each with what is observed under them."""
        return self._series.items()

    def count(self, *label_values: str) -> int:
        """The number of observations under these label values."""
        found = self._series.get(label_values)
        return 0 if found is None else sum(found.counts)

    def sum(self, *label_values: str) -> float:
        """The sum of the observations under these label values."""
        found = self._series.get(label_values)
        return 0.0 if found is None else found.total

    def lines(self) -> Iterator[str]:
        """The text lines of all label values, HELP and TYPE first."""
        yield from _head(self.name, self.description, self.kind)
        bounds = [_number(bound) for bound in self.buckets]
        for label_values, series in self._series.items():
            labels = _label_text(self.labels, label_values)
            # All but the last label of a bucket's line is the same in all of them.
            head = f'{self.name}_bucket{labels[:-1] + "," if labels else "{"}le="'
            running = 0
            for bound, count in zip(bounds, series.counts, strict=True):
                running += count
                yield f'{head}{bound}"}} {running}\n'
            yield f"{self.name}_sum{labels} {_number(series.total)}\n"
            yield f"{self.name}_count{labels} {running}\n"


class HistogramView:
    """A histogram under another name, its series that differ only in one label put together. Nothing is counted
    twice."""

    kind = "histogram"

    def __init__(self, name: str, description: str, source: Histogram, without: str) -> None:
        self.name = name
        self.description = description
        self._source = source
        self._dropped = source.labels.index(without)

    def lines(self) -> Iterator[str]:
        """The text lines of all label values, HELP and TYPE first."""
        source, at = self._source, self._dropped
        labels = (*source.labels[:at], *source.labels[at + 1 :])
        shown = Histogram(self.name, self.description, labels, source.buckets[:-1])
        for values, series in source.items():
            one = shown.series(*values[:at], *values[at + 1 :])
            one.counts = [held + more for held, more in zip(one.counts, series.counts, strict=True)]
            one.total += series.total
        return shown.lines()


class Registry:
    """The metrics of one component."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._before: list[Callable[[], None]] = []

    def counter(self, name: str, description: str, labels: Sequence[str] = ()) -> Counter:
        """A new counter. Raises ValueError where the name is taken."""
        return self._add(Counter(name, description, labels))

    def gauge(self, name: str, description: str, labels: Sequence[str] = ()) -> Gauge:
        """A new gauge. Raises ValueError where the name is taken."""
        return self._add(Gauge(name, description, labels))

    def histogram(
        self, name: str, description: str, labels: Sequence[str] = (), buckets: Sequence[float] = DEFAULT_BUCKETS
    ) -> Histogram:
        """A new histogram. Raises ValueError where the name is taken."""
        return self._add(Histogram(name, description, labels, buckets))

    def view(self, name: str, description: str, source: Histogram, *, without: str) -> HistogramView:
        """A histogram again, under another name and without one of its labels."""
        return self._add(HistogramView(name, description, source, without))

    def before_collection(self, refresh: Callable[[], None]) -> None:
        """Have `refresh` called before each exposition: for gauges that are cheap to compute and costly to keep."""
        self._before.append(refresh)

    def exposition(self) -> bytes:
        """All metrics as text, by name: the body of `/metrics`."""
        for refresh in self._before:
            refresh()
        return "".join(line for name in sorted(self._metrics) for line in self._metrics[name].lines()).encode()

    def _add(self, metric: _M) -> _M:
        if metric.name in self._metrics:
            raise ValueError(f"the metric {metric.name} is registered twice")
        self._metrics[metric.name] = metric
        return metric


def _check_labels(name: str, labels: tuple[str, ...], values: tuple[str, ...]) -> None:
    if len(labels) != len(values):
        raise ValueError(f"{name} has the labels {labels}, got the values {values}")


def _head(name: str, description: str, kind: str) -> Iterator[str]:
    text = description.replace("\\", "\\\\").replace("\n", "\\n")
    yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _label_text(labels: tuple[str, ...], values: tuple[str, ...]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{label}="{_escape(value)}"' for label, value in zip(labels, values, strict=True)) + "}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value == inf:
        return "+Inf"
    return str(int(value)) if value == int(value) else repr(value)
