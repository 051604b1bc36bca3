"""Counters, gauges and histograms in the text form Prometheus reads.

A component makes one `Registry` and hands its metrics to whoever counts: there is no global one. Label values are
passed by position, in the order the metric names them; one increment is one dictionary operation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from math import inf, isnan, nan, sqrt
from typing import Final, Protocol, TypeVar

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
"""Prometheus' text form. Names are such that none of their characters needs escaping."""
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

    def observe_many(self, value: float, times: int) -> None:
        """Count as many observations of the same."""
        self.counts[bisect_left(self._buckets, value)] += times
        self.total += value * times


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

    def show(self, series: Series, *label_values: str) -> None:
        """Show what somebody else observes, in this histogram's buckets, under these label values."""
        _check_labels(self.name, self.labels, label_values)
        self._series[label_values] = series

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
        # All but the last label of a bucket's line is the same in all of them; there are tens of thousands of lines.
        buckets = "".join(f'\0{_number(bound)}"}} %d\n' for bound in self.buckets)
        for label_values, series in self._series.items():
            labels = _label_text(self.labels, label_values)
            head = f'{self.name}_bucket{labels[:-1] + "," if labels else "{"}le="'
            running = tuple(accumulate(series.counts))
            yield buckets.replace("\0", head.replace("%", "%%")) % running
            yield f"{self.name}_sum{labels} {_number(series.total)}\n{self.name}_count{labels} {running[-1]}\n"


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
        together: dict[tuple[str, ...], list[Series]] = {}
        for values, series in source.items():
            together.setdefault((*values[:at], *values[at + 1 :]), []).append(series)
        shown = Histogram(self.name, self.description, labels, source.buckets[:-1])
        for left, found in together.items():
            shown.show(found[0] if len(found) == 1 else _sum(found), *left)
        return shown.lines()


class Window:
    """The observations of a summary under some label values, those of the last hours apart from the sum of all."""

    __slots__ = ("_ages", "_now", "_slot_seconds", "_turns_at", "count", "total")

    def __init__(self, max_age_seconds: float, now: Callable[[], float]) -> None:
        self._now = now
        self._slot_seconds = max_age_seconds / _AGES
        self._turns_at = now() + self._slot_seconds
        self._ages = [[0] * (len(_SPREAD) + 1) for _ in range(_AGES)]
        self.count = 0
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        if self._now() >= self._turns_at:
            self._turn()
        self._ages[0][bisect_left(_SPREAD, value)] += 1
        self.count += 1
        self.total += value

    def quantile(self, part: float) -> float:
        """The value that this part of the observations do not exceed, to 5 %; NaN where nothing was observed lately."""
        self._turn()
        counts = [sum(one) for one in zip(*self._ages, strict=True)]
        wanted = part * sum(counts)
        running = 0
        for index, count in enumerate(counts):
            running += count
            if count and running >= wanted:
                upper = _SPREAD[min(index, len(_SPREAD) - 1)]
                return upper / _HALF_STEP
        return nan

    def _turn(self) -> None:
        """Forget what has become too old."""
        turns = int((self._now() - self._turns_at) // self._slot_seconds) + 1
        if turns > 0:
            fresh = [[0] * (len(_SPREAD) + 1) for _ in range(min(turns, _AGES))]
            self._ages = [*fresh, *self._ages][:_AGES]
            self._turns_at += turns * self._slot_seconds


_AGES: Final = 5
_GROWTH: Final = 1.1
_HALF_STEP: Final = sqrt(_GROWTH)
_SPREAD: Final = tuple(1e-6 * _GROWTH**power for power in range(220))


class Summary:
    """What parts of the observations of the last hours do not exceed, their number and their sum."""

    kind = "summary"

    def __init__(
        self,
        name: str,
        description: str,
        labels: Sequence[str] = (),
        *,
        max_age_seconds: float,
        now: Callable[[], float],
        quantiles: Sequence[float] = (0.5, 0.9, 0.99),
    ) -> None:
        self.name = name
        self.description = description
        self.labels = tuple(labels)
        self._quantiles = tuple(quantiles)
        self._max_age_seconds = max_age_seconds
        self._now = now
        self._windows: dict[tuple[str, ...], Window] = {}

    def window(self, *label_values: str) -> Window:
        """What is observed under these label values."""
        found = self._windows.get(label_values)
        if found is None:
            _check_labels(self.name, self.labels, label_values)
            found = self._windows[label_values] = Window(self._max_age_seconds, self._now)
        return found

    def lines(self) -> Iterator[str]:
        """The text lines of all label values, HELP and TYPE first."""
        yield from _head(self.name, self.description, self.kind)
        for label_values, window in self._windows.items():
            labels = _label_text(self.labels, label_values)
            head = f'{self.name}{labels[:-1] + "," if labels else "{"}quantile="'
            for part in self._quantiles:
                yield f'{head}{part}"}} {_number(window.quantile(part))}\n'
            yield f"{self.name}_sum{labels} {_number(window.total)}\n"
            yield f"{self.name}_count{labels} {window.count}\n"


def _sum(found: Sequence[Series]) -> Series:
    made = Series((inf,))
    made.counts = [sum(counts) for counts in zip(*(one.counts for one in found), strict=True)]
    made.total = sum(one.total for one in found)
    return made


class Registry:
    """The metrics of one component."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._parts: dict[str, Registry] = {}
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

    def summary(
        self,
        name: str,
        description: str,
        labels: Sequence[str] = (),
        *,
        max_age_seconds: float,
        now: Callable[[], float],
    ) -> Summary:
        """A new summary of the last `max_age_seconds` by a clock that never goes back. Raises ValueError where the name
        is taken."""
        return self._add(Summary(name, description, labels, max_age_seconds=max_age_seconds, now=now))

    def view(self, name: str, description: str, source: Histogram, *, without: str) -> HistogramView:
        """A histogram again, under another name and without one of its labels."""
        return self._add(HistogramView(name, description, source, without))

    def before_collection(self, refresh: Callable[[], None]) -> None:
        """Have `refresh` called before each exposition: for gauges that are cheap to compute and costly to keep."""
        self._before.append(refresh)

    def part(self, name: str) -> Registry:
        """A new registry that is shown with this one, instead of the one that the part had before: a component that is
        started again counts anew. Of metrics that several have, the first's are shown."""
        made = self._parts[name] = Registry()
        return made

    def exposition(self) -> bytes:
        """All metrics as text, by name: the body of `/metrics`."""
        shown = self._collected()
        return "".join(line for name in sorted(shown) for line in shown[name].lines()).encode()

    def _collected(self) -> dict[str, Metric]:
        for refresh in self._before:
            refresh()
        collected: dict[str, Metric] = {}
        for part in reversed(self._parts.values()):
            collected |= part._collected()
        return collected | self._metrics

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
    if not _ESCAPED.isdisjoint("".join(values)):
        values = tuple(map(_escape, values))
    return "{" + ",".join([f'{label}="{value}"' for label, value in zip(labels, values, strict=True)]) + "}"


_ESCAPED: Final = frozenset('"\\\n')


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if value == inf:
        return "+Inf"
    if isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) else repr(value)
