"""What the node and its pods use, as upstream's /stats/summary and its metrics endpoints tell it."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keelback.component.metrics import Registry
from keelback.cri.values import ContainerStats, NetworkUsage, PodSandboxStats
from keelback.kubelet import node_facts
from keelback.kubelet.kubelet import Kubelet
from keelback.kubelet.observed import CONTAINER_NAME_LABEL, POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL

_FRESH_SECONDS = 5.0
_TICKS = os.sysconf("SC_CLK_TCK")
_CADVISOR: tuple[tuple[str, str, Callable[[ContainerStats], float]], ...] = (
    ("container_cpu_usage_seconds_total", "counter", lambda one: one.cpu_usage_core_nanoseconds / 1e9),
    ("container_memory_working_set_bytes", "gauge", lambda one: one.memory_working_set_bytes),
    ("container_memory_usage_bytes", "gauge", lambda one: one.memory_usage_bytes),
    ("container_memory_rss", "gauge", lambda one: one.memory_rss_bytes),
    ("container_fs_usage_bytes", "gauge", lambda one: one.writable_layer_bytes),
)
_NETWORK: tuple[tuple[str, Callable[[NetworkUsage], int]], ...] = (
    ("receive_bytes", lambda one: one.rx_bytes),
    ("receive_errors", lambda one: one.rx_errors),
    ("transmit_bytes", lambda one: one.tx_bytes),
    ("transmit_errors", lambda one: one.tx_errors),
)


class Statistics:
    """Figures of one node; asking the runtime is dear, so answers are shared for some seconds."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self._containers: tuple[float, Sequence[ContainerStats]] = (-1e9, ())
        self._started = kubelet.clock.now()
        self._registry = Registry()
        running_pods = self._registry.gauge("kubelet_running_pods", "Number of pods that have a running pod sandbox")
        node_name = self._registry.gauge("kubelet_node_name", "The node's name. The count is always 1.", ("node",))
        node_name.set(1, kubelet.config.node_name)
        running = self._registry.gauge(
            "kubelet_running_containers", "Number of containers currently running", ("container_state",)
        )

        def refresh() -> None:
            workers = list(kubelet.workers.values())
            running_pods.set(sum(1 for worker in workers if worker.observed.running))
            running.set(sum(len(worker.observed.running) for worker in workers), "running")

        self._registry.before_collection(refresh)

    def own(self) -> bytes:
        """The kubelet's own metrics."""
        return self._registry.exposition()

    async def resource(self) -> bytes:
        """/metrics/resource."""
        containers = await self._container_stats()
        lines = list(_resource_lines(containers, self._kubelet))
        cpu, memory = await asyncio.to_thread(_node_usage)
        now = int(self._kubelet.clock.now().timestamp() * 1000)
        lines += [
            "# TYPE node_cpu_usage_seconds_total counter",
            f"node_cpu_usage_seconds_total {cpu} {now}",
            "# TYPE node_memory_working_set_bytes gauge",
            f"node_memory_working_set_bytes {memory} {now}",
            "# TYPE resource_scrape_error gauge",
            "resource_scrape_error 0",
        ]
        return ("\n".join(lines) + "\n").encode()

    async def cadvisor(self) -> bytes:
        """/metrics/cadvisor: the container figures that dashboards ask for most."""
        lines = []
        for name, kind, value in _CADVISOR:
            lines.append(f"# TYPE {name} {kind}")
            lines += [
                f"{name}{{{_labels(one)}}} {value(one)} {one.timestamp // 1_000_000}"
                for one in await self._container_stats()
            ]
        lines += _network_lines(await self._kubelet.runtime.list_pod_sandbox_stats())
        lines += [
            "# TYPE machine_cpu_cores gauge",
            f"machine_cpu_cores {os.cpu_count() or 1}",
            "# TYPE machine_memory_bytes gauge",
            f"machine_memory_bytes {node_facts.memory_bytes()}",
        ]
        return ("\n".join(lines) + "\n").encode()

    def probes(self) -> bytes:
        """/metrics/probes."""
        registry = Registry()
        labels = ("probe_type", "result", "container", "pod", "namespace", "pod_uid")
        total = registry.counter(
            "prober_probe_total",
            "Cumulative number of a liveness, readiness or startup probe for a container by result.",
            labels,
        )
        for worker in self._kubelet.workers.values():
            meta = worker.pod.metadata
            for (container, sort, result), count in worker.probe_counts.items():
                told = (sort.capitalize(), result, container, meta.name, meta.namespace, meta.uid)
                total.inc(*told, amount=count)
        return registry.exposition()

    async def summary(self) -> dict[str, Any]:
        """/stats/summary."""
        kubelet = self._kubelet
        sandboxes = await kubelet.runtime.list_pod_sandbox_stats()
        by_pod: dict[str, list[ContainerStats]] = {}
        for one in await self._container_stats():
            by_pod.setdefault(one.labels.get(POD_UID_LABEL, ""), []).append(one)
        cpu, memory = await asyncio.to_thread(_node_usage)
        now = _time(int(kubelet.clock.now().timestamp() * 1e9))
        return {
            "node": {
                "nodeName": kubelet.config.node_name,
                "startTime": _time(int(self._started.timestamp() * 1e9)),
                "cpu": {"time": now, "usageCoreNanoSeconds": int(cpu * 1e9)},
                "memory": {
                    "time": now,
                    "availableBytes": node_facts.memory_bytes() - memory,
                    "workingSetBytes": memory,
                },
                "fs": await asyncio.to_thread(_disk, kubelet.config.root, now),
            },
            "pods": [_pod(one, by_pod.get(one.uid, [])) for one in sandboxes],
        }

    async def _container_stats(self) -> Sequence[ContainerStats]:
        now = self._kubelet.clock.monotonic()
        if now - self._containers[0] > _FRESH_SECONDS:
            self._containers = (now, await self._kubelet.runtime.list_container_stats())
        return self._containers[1]


def _labels(one: ContainerStats) -> str:
    container = one.labels.get(CONTAINER_NAME_LABEL, one.name)
    namespace, pod = one.labels.get(POD_NAMESPACE_LABEL, ""), one.labels.get(POD_NAME_LABEL, "")
    return f'container="{container}",namespace="{namespace}",pod="{pod}"'


def _network_lines(sandboxes: Sequence[PodSandboxStats]) -> Iterator[str]:
    for name, value in _NETWORK:
        yield f"# TYPE container_network_{name}_total counter"
        for sandbox in sandboxes:
            for one in sandbox.network:
                labels = f'interface="{one.name}",namespace="{sandbox.namespace}",pod="{sandbox.name}"'
                stamp = sandbox.timestamp // 1_000_000
                yield f"container_network_{name}_total{{{labels}}} {value(one)} {stamp}"


def _resource_lines(containers: Sequence[ContainerStats], kubelet: Kubelet) -> Iterator[str]:
    yield "# TYPE container_cpu_usage_seconds_total counter"
    for one in containers:
        stamp = one.timestamp // 1_000_000
        yield f"container_cpu_usage_seconds_total{{{_labels(one)}}} {one.cpu_usage_core_nanoseconds / 1e9} {stamp}"
    yield "# TYPE container_memory_working_set_bytes gauge"
    for one in containers:
        stamp = one.timestamp // 1_000_000
        yield f"container_memory_working_set_bytes{{{_labels(one)}}} {one.memory_working_set_bytes} {stamp}"
    yield "# TYPE container_start_time_seconds gauge"
    for worker in kubelet.workers.values():
        meta = worker.pod.metadata
        for status in worker.observed.running:
            labels = f'container="{status.container.name}",namespace="{meta.namespace}",pod="{meta.name}"'
            yield f"container_start_time_seconds{{{labels}}} {status.started_at / 1e9}"
    totals: dict[tuple[str, str], list[int]] = {}
    for one in containers:
        key = (one.labels.get(POD_NAMESPACE_LABEL, ""), one.labels.get(POD_NAME_LABEL, ""))
        total = totals.setdefault(key, [0, 0, 0])
        total[0] += one.cpu_usage_core_nanoseconds
        total[1] += one.memory_working_set_bytes
        total[2] = max(total[2], one.timestamp // 1_000_000)
    yield "# TYPE pod_cpu_usage_seconds_total counter"
    for (namespace, pod), (cpu, _, stamp) in totals.items():
        yield f'pod_cpu_usage_seconds_total{{namespace="{namespace}",pod="{pod}"}} {cpu / 1e9} {stamp}'
    yield "# TYPE pod_memory_working_set_bytes gauge"
    for (namespace, pod), (_, memory, stamp) in totals.items():
        yield f'pod_memory_working_set_bytes{{namespace="{namespace}",pod="{pod}"}} {memory} {stamp}'


def _pod(sandbox: PodSandboxStats, containers: Sequence[ContainerStats]) -> dict[str, Any]:
    time = _time(sandbox.timestamp)
    return {
        "podRef": {"name": sandbox.name, "namespace": sandbox.namespace, "uid": sandbox.uid},
        "cpu": {"time": time, "usageCoreNanoSeconds": sandbox.cpu_usage_core_nanoseconds},
        "memory": {"time": time, "workingSetBytes": sandbox.memory_working_set_bytes},
        "network": {
            "time": time,
            "interfaces": [
                {
                    "name": one.name,
                    "rxBytes": one.rx_bytes,
                    "rxErrors": one.rx_errors,
                    "txBytes": one.tx_bytes,
                    "txErrors": one.tx_errors,
                }
                for one in sandbox.network
            ],
        },
        "containers": [
            {
                "name": one.labels.get(CONTAINER_NAME_LABEL, one.name),
                "cpu": {"time": _time(one.timestamp), "usageCoreNanoSeconds": one.cpu_usage_core_nanoseconds},
                "memory": {
                    "time": _time(one.timestamp),
                    "workingSetBytes": one.memory_working_set_bytes,
                    "usageBytes": one.memory_usage_bytes,
                    "rssBytes": one.memory_rss_bytes,
                },
                "rootfs": {"time": _time(one.timestamp), "usedBytes": one.writable_layer_bytes},
            }
            for one in containers
        ],
    }


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _node_usage() -> tuple[float, int]:
    """CPU seconds since boot and bytes of memory in use."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    busy = sum(int(value) for index, value in enumerate(fields) if index not in (3, 4))
    available = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    return busy / _TICKS, node_facts.memory_bytes() - available


def _disk(root: Path, now: str) -> dict[str, Any]:
    usage = shutil.disk_usage(root if root.exists() else "/")
    return {"time": now, "availableBytes": usage.free, "capacityBytes": usage.total, "usedBytes": usage.used}
