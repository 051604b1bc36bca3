"""The exposition is what Prometheus reads."""

from __future__ import annotations

import pytest

from keelback.component.metrics import Registry


def test_the_exposition_of_each_kind() -> None:
    registry = Registry()
    requests = registry.counter("requests_total", "Requests.", ("verb", "code"))
    requests.inc("GET", "200")
    requests.inc("GET", "200", amount=2)
    depth = registry.gauge("depth", "Depth.")
    depth.set(2.5)
    depth.dec()
    seconds = registry.histogram("seconds", "Time.", ("verb",), buckets=(0.1, 1))
    for value in (0.05, 0.1, 0.5, 7):
        seconds.observe(value, "GET")
    assert registry.exposition().decode() == (
        "# HELP depth Depth.\n# TYPE depth gauge\ndepth 1.5\n"
        "# HELP requests_total Requests.\n# TYPE requests_total counter\n"
        'requests_total{verb="GET",code="200"} 3\n'
        "# HELP seconds Time.\n# TYPE seconds histogram\n"
        'seconds_bucket{verb="GET",le="0.1"} 2\n'
        'seconds_bucket{verb="GET",le="1"} 3\n'
        'seconds_bucket{verb="GET",le="+Inf"} 4\n'
        'seconds_sum{verb="GET"} 7.65\n'
        'seconds_count{verb="GET"} 4\n'
    )


def test_label_values_are_escaped() -> None:
    registry = Registry()
    registry.counter("c", "C.", ("path",)).inc('a"b\\c\nd')
    assert 'c{path="a\\"b\\\\c\\nd"} 1' in registry.exposition().decode()


def test_mistakes_are_found_at_once() -> None:
    registry = Registry()
    counter = registry.counter("c", "C.", ("one",))
    with pytest.raises(ValueError, match="registered twice"):
        registry.gauge("c", "C.")
    with pytest.raises(ValueError, match="has the labels"):
        counter.inc("a", "b")


def test_gauges_may_be_computed_when_asked() -> None:
    registry = Registry()
    size = registry.gauge("size", "Size.")
    registry.before_collection(lambda: size.set(7))
    assert b"size 7\n" in registry.exposition()


def test_a_summary_tells_quantiles_of_what_was_lately() -> None:
    registry, seconds = Registry(), [0.0]
    summary = registry.summary("s", "S.", ("verb",), max_age_seconds=50, now=lambda: seconds[0])
    for number in range(1, 1001):
        summary.window("GET").observe(number / 1000)
    lines = registry.exposition().decode().splitlines()
    assert lines[:2] == ["# HELP s S.", "# TYPE s summary"]
    told = dict(line.rsplit(" ", 1) for line in lines[2:])
    for part in (0.5, 0.9, 0.99):
        assert float(told[f's{{verb="GET",quantile="{part}"}}']) == pytest.approx(part, rel=0.06)
    assert told['s_count{verb="GET"}'] == "1000"
    assert float(told['s_sum{verb="GET"}']) == pytest.approx(500.5)
    seconds[0] = 45
    summary.window("GET").observe(0.002)
    seconds[0] = 55
    assert 's{verb="GET",quantile="0.99"} 0.00' in registry.exposition().decode()
    seconds[0] = 1000
    text = registry.exposition().decode()
    assert 's{verb="GET",quantile="0.5"} NaN' in text
    assert 's_count{verb="GET"} 1001' in text


def test_what_is_started_again_is_shown_as_it_counts_now() -> None:
    registry = Registry()
    registry.counter("own", "O.").inc()
    first = registry.part("scheduler")
    first.counter("scheduled", "S.").inc(amount=7)
    again = registry.part("scheduler")
    scheduled = again.gauge("scheduled", "S.")
    again.before_collection(lambda: scheduled.set(2))
    registry.part("controllers").counter("own", "O.")
    text = registry.exposition().decode()
    assert [line for line in text.splitlines() if not line.startswith("#")] == ["own 1", "scheduled 2"]
