"""What simulated containers use is what their pods' annotations say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keelback.simulation.config import nodes
from keelback.simulation.pods import (
    SimulatedContainer,
    SimulatedMeta,
    SimulatedPod,
    SimulatedPodSpec,
    SimulatedPodStatus,
)
from keelback.simulation.usage import CPU_USAGE, MEMORY_USAGE, SimulatedUsage, usage_of

NODE = nodes(1)[0]
START = 1_000_000.0


def a_pod(phase: str = "Running", **annotations: str) -> SimulatedPod:
    return SimulatedPod(
        metadata=SimulatedMeta(
            name="web",
            namespace="shop",
            uid="u1",
            annotations={
                {"cpu": CPU_USAGE, "memory": MEMORY_USAGE}[name]: value for name, value in annotations.items()
            },
        ),
        spec=SimulatedPodSpec(
            node_name=NODE.name, containers=(SimulatedContainer(name="app"), SimulatedContainer(name="side"))
        ),
        status=SimulatedPodStatus(phase=phase, start_time=datetime.fromtimestamp(START, UTC)),
    )


@pytest.mark.parametrize(
    ("told", "app", "side"),
    [
        (None, "1m", "1m"),
        ("250m", "250m", "250m"),
        ("app=250m", "250m", "1m"),
        ("app=250m, side=2", "250m", "2"),
        ("app=250m,50m", "250m", "50m"),
        ("nonsense", "1m", "1m"),
    ],
)
def test_an_annotation_speaks_of_all_containers_or_of_each(told: str | None, app: str, side: str) -> None:
    pod = a_pod() if told is None else a_pod(cpu=told)
    assert [str(usage_of(pod, CPU_USAGE, name)) for name in ("app", "side")] == [app, side]


def _figures(text: bytes) -> dict[str, float]:
    lines = [line.split() for line in text.decode().splitlines() if not line.startswith("#")]
    return {words[0]: float(words[1]) for words in lines}


def test_counters_grow_by_the_usage_of_the_moment() -> None:
    usage = SimulatedUsage()
    key = 'container_cpu_usage_seconds_total{container="app",namespace="shop",pod="web"}'
    first = _figures(usage.exposition(NODE, [a_pod(cpu="500m", memory="64Mi")], START + 10))
    assert first[key] == 5.0
    assert first['container_memory_working_set_bytes{container="app",namespace="shop",pod="web"}'] == 64 << 20
    second = _figures(usage.exposition(NODE, [a_pod(cpu="2")], START + 20))
    assert second[key] == 25.0
    assert second["node_cpu_usage_seconds_total"] == 40.0
    assert second["node_memory_working_set_bytes"] == 2 << 20


def test_pods_that_do_not_run_use_nothing() -> None:
    figures = _figures(SimulatedUsage().exposition(NODE, [a_pod("Succeeded"), a_pod("Pending")], START))
    assert figures == {
        "node_cpu_usage_seconds_total": 0.0,
        "node_memory_working_set_bytes": 0.0,
        "resource_scrape_error": 0.0,
    }
