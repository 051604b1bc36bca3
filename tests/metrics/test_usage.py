"""From counters to usage, as metrics-server has it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keelback.metrics.usage import Point, Reading, Readings, between, parse

TEXT = b"""# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="app",namespace="shop",pod="web-0"} 12.5 1000000
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="app",namespace="shop",pod="web-0"} 4096 1000000
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="app",namespace="shop",pod="web-0"} 900.5
container_start_time_seconds{container="gone",namespace="shop",pod="web-0"} 900.5
node_cpu_usage_seconds_total 77 1000500
node_memory_working_set_bytes 1.5e+06
resource_scrape_error 0
"""


def test_an_exposition_is_read() -> None:
    reading = parse(TEXT, 1001.0)
    assert reading.node == Point(1000.5, 77.0, 1_500_000)
    assert reading.pods == {("shop", "web-0"): {"app": Point(1000.0, 12.5, 4096, 900.5)}}


def test_half_known_containers_keep_their_pod_from_being_told_of() -> None:
    half = b'container_memory_working_set_bytes{container="b",namespace="n",pod="p"} 4096 %d000\n'
    whole = (
        b'container_cpu_usage_seconds_total{container="a",namespace="n",pod="p"} %d %d000\n'
        b'container_memory_working_set_bytes{container="a",namespace="n",pod="p"} 1 %d000\n'
    )
    readings = Readings(15.0)
    for second in (100, 115):
        readings.take("node", parse(whole % (second, second, second) + half % second, float(second)))
    assert readings.pod("n", "p") == {}


def test_two_readings_make_a_usage() -> None:
    usage = between(Point(100.0, 10.0, 5), Point(115.0, 13.0, 7), 15.0)
    assert usage is not None
    assert (usage.cpu_nanocores, usage.memory_bytes, usage.at, usage.window_seconds) == (200_000_000, 7, 115.0, 15.0)


def test_one_reading_is_enough_for_a_container_that_has_just_started() -> None:
    usage = between(None, Point(112.0, 6.0, 7, started=100.0), 15.0)
    assert usage is not None
    assert (usage.cpu_nanocores, usage.window_seconds) == (500_000_000, 12.0)
    assert between(None, Point(105.0, 6.0, 7, started=100.0), 15.0) is None
    assert between(None, Point(200.0, 6.0, 7, started=100.0), 15.0) is None
    assert between(None, Point(200.0, 6.0, 7), 15.0) is None


def test_a_container_that_was_restarted_begins_anew() -> None:
    before = Point(100.0, 50.0, 5, started=10.0)
    assert between(before, Point(115.0, 1.0, 5, started=110.0), 15.0) is None
    assert between(before, Point(115.0, 1.0, 5), 15.0) is None
    restarted = between(before, Point(115.0, 3.0, 5, started=103.0), 15.0)
    assert restarted is not None
    assert restarted.cpu_nanocores == 250_000_000


def test_a_reading_replaces_what_was_known_of_the_nodes_pods() -> None:
    readings = Readings(15.0)
    old, new = {"c": Point(1.0, 0.0, 1)}, {"c": Point(16.0, 1.5, 1)}
    readings.take("a", Reading(pods={("n", "p"): old}))
    readings.take("a", Reading(pods={("n", "p"): new}))
    assert readings.pod("n", "p")["c"].cpu_nanocores == 100_000_000
    # It moves to another node; the first one's later silence about it changes nothing.
    readings.take("b", Reading(pods={("n", "p"): {"c": Point(31.0, 4.5, 1)}}))
    readings.take("a", Reading())
    assert readings.pod("n", "p")["c"].cpu_nanocores == 200_000_000
    readings.forget("b")
    assert readings.pod("n", "p") == {}


def test_a_node_that_is_silent_keeps_its_own_figures_until_it_is_gone() -> None:
    readings = Readings(15.0)
    readings.take("a", Reading(node=Point(1.0, 0.0, 1)))
    assert readings.node("a") is None
    readings.take("a", Reading(node=Point(16.0, 15.0, 1)))
    usage = readings.node("a")
    assert usage is not None
    assert usage.cpu_nanocores == 10**9
    readings.forget("a")
    assert readings.node("a") is None


@given(
    # Kubelets count milliseconds.
    st.lists(st.tuples(st.integers(100, 60_000), st.integers(0, 8000)), min_size=2, max_size=20),
)
def test_usage_is_never_negative_and_what_the_counter_grew_by(steps: list[tuple[int, int]]) -> None:
    readings = Readings(15.0)
    at, cpu = 0, 0
    for milliseconds, millicores in steps:
        at, cpu = at + milliseconds, cpu + millicores * milliseconds
        readings.take("a", Reading(node=Point(at / 1e3, cpu / 1e6, 1)))
    usage = readings.node("a")
    assert usage is not None
    assert abs(usage.cpu_nanocores / 1e9 - steps[-1][1] / 1e3) < 1e-6
