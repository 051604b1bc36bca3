"""What simulated containers use, told as a kubelet's `/metrics/resource`: what their pods' annotations say.

The counters are the usage summed up over time, so that whoever reads them twice finds the usage again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from keelback.apimachinery import quantity
from keelback.simulation.config import SimulatedNode
from keelback.simulation.manners import PREFIX
from keelback.simulation.pods import SimulatedPod
from keelback.simulation.scripts import UsageFunction

CPU_USAGE: Final = PREFIX + "cpu-usage"  # a quantity for each container, or container=quantity with commas between
MEMORY_USAGE: Final = PREFIX + "memory-usage"  # the same; both may change at any time
# What containers use that do nothing: an idle Deployment's autoscaler goes down to its minimum.
_IDLE: Final = {CPU_USAGE: "1m", MEMORY_USAGE: "1Mi"}


def usage_of(pod: SimulatedPod, annotation: str, container: str) -> quantity.Quantity:
    """What an annotation says of a container; what an idle one uses where it says nothing that can be read."""
    told = pod.metadata.annotations.get(annotation, "")
    for part in told.split(","):
        name, is_named, amount = part.strip().rpartition("=")
        if not is_named or name.strip() == container:
            try:
                return quantity.parse(amount.strip())
            except quantity.QuantityError:
                break
    return quantity.parse(_IDLE[annotation])


@dataclass(slots=True)
class _Counter:
    seconds: float
    at: float


class SimulatedUsage:
    """The counters of all containers on the nodes of one process."""

    def __init__(self, told: UsageFunction | None = None) -> None:
        self._told = told
        self._containers: dict[str, dict[tuple[str, str], _Counter]] = {}
        self._nodes: dict[str, _Counter] = {}

    def exposition(self, node: SimulatedNode, pods: Iterable[SimulatedPod], now: float) -> bytes:
        """The node's metrics; `pods` are those on it, `now` is seconds since the epoch."""
        known = self._containers.get(node.name, {})
        kept: dict[tuple[str, str], _Counter] = {}
        total, memory_total = 0.0, 0
        lines: dict[str, list[str]] = {"cpu": [], "memory": [], "start": []}
        # What is counted is what is stamped, to the millisecond: 250m must not become 251m.
        stamp = int(now * 1000)
        now = stamp / 1000
        for pod in pods:
            if pod.status.phase != "Running" or pod.status.start_time is None:
                continue
            started = pod.status.start_time.timestamp()
            pod_cores, pod_memory = (None, None) if self._told is None else self._told(pod)
            count = len(pod.spec.containers)
            for one in pod.spec.containers:
                cores = usage_of(pod, CPU_USAGE, one.name).as_float() if pod_cores is None else pod_cores / count
                memory = usage_of(pod, MEMORY_USAGE, one.name).value if pod_memory is None else pod_memory // count
                counter = known.get((pod.metadata.uid, one.name)) or _Counter(0.0, started)
                counter.seconds += cores * max(0.0, now - counter.at)
                counter.at = now
                kept[pod.metadata.uid, one.name] = counter
                total += cores
                memory_total += memory
                labels = _labels({"container": one.name, "namespace": pod.metadata.namespace, "pod": pod.metadata.name})
                lines["cpu"].append(f"container_cpu_usage_seconds_total{labels} {counter.seconds} {stamp}")
                lines["memory"].append(f"container_memory_working_set_bytes{labels} {memory} {stamp}")
                lines["start"].append(f"container_start_time_seconds{labels} {started}")
        self._containers[node.name] = kept
        whole = self._nodes.setdefault(node.name, _Counter(0.0, now))
        whole.seconds += total * max(0.0, now - whole.at)
        whole.at = now
        return "\n".join(
            (
                "# TYPE container_cpu_usage_seconds_total counter",
                *lines["cpu"],
                "# TYPE container_memory_working_set_bytes gauge",
                *lines["memory"],
                "# TYPE container_start_time_seconds gauge",
                *lines["start"],
                "# TYPE node_cpu_usage_seconds_total counter",
                f"node_cpu_usage_seconds_total {whole.seconds} {stamp}",
                "# TYPE node_memory_working_set_bytes gauge",
                f"node_memory_working_set_bytes {memory_total} {stamp}",
                "# TYPE resource_scrape_error gauge",
                "resource_scrape_error 0",
                "",
            )
        ).encode()


def _labels(values: Mapping[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in values.items()) + "}"
