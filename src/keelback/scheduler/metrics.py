"""The scheduler's metrics, under upstream's names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass

from keelback.component.metrics import Counter, Histogram, Registry
from keelback.scheduler.plugin_metrics import PluginMetrics
from keelback.scheduler.queue import SchedulingQueue
from keelback.scheduling.node_table import NodeTable

_RESULTS = ("scheduled", "unschedulable", "error")
_SECONDS = tuple(0.001 * 2**power for power in range(15))
_SLI_SECONDS = tuple(0.01 * 2**power for power in range(20))


@dataclass(frozen=True, slots=True)
class GroupMetrics:
    """What is counted of pod groups."""

    attempts: Counter
    attempt_seconds: Histogram


class SchedulerMetrics:
    """What a scheduler counts."""

    def __init__(self, registry: Registry) -> None:
        self.attempts = registry.counter(
            "scheduler_schedule_attempts_total",
            "Number of attempts to schedule pods, by result.",
            ("result", "profile"),
        )
        self.attempt_seconds = registry.histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds.",
            ("result", "profile"),
            _SECONDS,
        )
        self.sli_seconds = registry.histogram(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue.",
            ("attempts",),
            _SLI_SECONDS,
        )
        self.pod_attempts = registry.histogram(
            "scheduler_pod_scheduling_attempts",
            "Number of attempts to successfully schedule a pod.",
            (),
            (1, 2, 4, 8, 16),
        )
        self.preemption_attempts = registry.counter(
            "scheduler_preemption_attempts_total", "Total preemption attempts in the cluster till now"
        )
        self.preemption_victims = registry.histogram(
            "scheduler_preemption_victims", "Number of selected preemption victims", (), (1, 2, 4, 8, 16, 32, 64)
        )
        self.plugins = PluginMetrics(registry)
        self.algorithm_seconds = registry.histogram(
            "scheduler_scheduling_algorithm_duration_seconds", "Scheduling algorithm latency in seconds", (), _SECONDS
        )
        self.event_seconds = registry.histogram(
            "scheduler_event_handling_duration_seconds",
            "Event handling latency in seconds.",
            ("event",),
            tuple(0.0001 * 2**power for power in range(12)),
        )
        self._evaluations = registry.counter(
            "scheduler_plugin_evaluation_total",
            "Number of attempts to schedule pods by each plugin and the extension point.",
            ("plugin", "extension_point", "profile"),
        )
        self._goroutines = registry.gauge(
            "scheduler_goroutines", "Number of running tasks split by the work they do such as binding.", ("operation",)
        )
        self.incoming_pods = registry.counter(
            "scheduler_queue_incoming_pods_total",
            "Number of pods added to scheduling queues by event and queue type.",
            ("queue", "event"),
        )
        self.permit_wait_seconds = registry.histogram(
            "scheduler_permit_wait_duration_seconds", "Duration of waiting on permit.", ("result",), _SECONDS
        )
        self._pending = registry.gauge(
            "scheduler_pending_pods", "Number of pending pods, by the queue type.", ("queue",)
        )
        self._cache_size = registry.gauge(
            "scheduler_cache_size", "Number of nodes, pods, and assumed pods in the scheduler cache.", ("type",)
        )
        self._unschedulable = registry.gauge(
            "scheduler_unschedulable_pods",
            "The number of unschedulable pods broken down by plugin name.",
            ("plugin", "profile"),
        )
        self._registry = registry

    def attempted(self, profile: str, result: str, seconds: float) -> None:
        """Count an attempt to schedule a pod, and how long it took."""
        self.attempts.inc(result, profile)
        self.attempt_seconds.observe(seconds, result, profile)

    def of_groups(self) -> GroupMetrics:
        """Those of pod groups, which are there only where the feature gate is on."""
        return GroupMetrics(
            attempts=self._registry.counter(
                "scheduler_podgroup_schedule_attempts_total",
                "Number of attempts to schedule pod group, by the result.",
                ("result", "profile"),
            ),
            attempt_seconds=self._registry.histogram(
                "scheduler_podgroup_scheduling_attempt_duration_seconds",
                "Pod group scheduling attempt latency in seconds.",
                ("result", "profile"),
                _SECONDS,
            ),
        )

    def watch(
        self,
        queue: SchedulingQueue,
        nodes: NodeTable,
        assumed: Sized,
        evaluated: Mapping[str, Iterable[tuple[str, str]]],
    ) -> None:
        """Read the gauges off the queue and the table whenever they are collected.

        `evaluated` says for each profile which plugins judge its pods, and at which extension points: all of them in
        each attempt, for what one of them has said before is an answer, too.
        """

        seen: set[tuple[str, str]] = set()

        def refresh() -> None:
            for place, size in queue.sizes.items():
                self._pending.set(size, place)
            rejected = queue.rejected_by()
            # A plugin that rejects nothing any more is set to zero, not forgotten.
            seen.update(rejected)
            for plugin, profile in seen:
                self._unschedulable.set(rejected.get((plugin, profile), 0), plugin, profile)
            self._cache_size.set(len(nodes), "nodes")
            self._cache_size.set(int(nodes.pod_count.sum()), "pods")
            self._cache_size.set(len(assumed), "assumed_pods")
            self._goroutines.set(len(assumed), "binding")
            for profile, plugins in evaluated.items():
                attempts = sum(self.attempts.value(result, profile) for result in _RESULTS)
                for plugin, point in plugins:
                    self._evaluations.set(attempts, plugin, point, profile)

        self._registry.before_collection(refresh)
