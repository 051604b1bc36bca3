"""How long plugins take, measured in one scheduling cycle of ten: the others pay nothing for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np

from keelback.component.metrics import Histogram, Registry
from keelback.scheduling.framework import Unschedulable

R = TypeVar("R")

_EVERY: Final = 10
"""As upstream, which samples a tenth of the cycles for plugins."""
_POINT_SECONDS: Final = tuple(0.0001 * 2**power for power in range(12))
_PLUGIN_SECONDS: Final = tuple(0.00001 * 1.5**power for power in range(20))


class PluginMetrics:
    """The histograms, and who fills them."""

    def __init__(self, registry: Registry) -> None:
        self.point_seconds: Histogram = registry.histogram(
            "scheduler_framework_extension_point_duration_seconds",
            "Latency for running all plugins of a specific extension point.",
            ("extension_point", "status", "profile"),
            _POINT_SECONDS,
        )
        self.plugin_seconds: Histogram = registry.histogram(
            "scheduler_plugin_execution_duration_seconds",
            "Duration for running a plugin at a specific extension point.",
            ("plugin", "extension_point", "status"),
            _PLUGIN_SECONDS,
        )
        self._observers: dict[str, CycleObserver] = {}
        self._cycles = 0

    def next_cycle(self, profile: str) -> CycleObserver | None:
        """Whoever measures the cycle that begins; None for most."""
        self._cycles += 1
        if self._cycles % _EVERY != 1:
            return None
        found = self._observers.get(profile)
        if found is None:
            found = self._observers[profile] = CycleObserver(self, profile)
        return found


class CycleObserver:
    """Measures what plugins of a profile take over all nodes, not over each."""

    def __init__(self, metrics: PluginMetrics, profile: str) -> None:
        self._metrics = metrics
        self._profile = profile

    def plugin(self, point: str, name: str, call: Callable[..., R], *arguments: Any) -> R:
        """Ask a plugin."""
        started = time.perf_counter()
        answer = call(*arguments)
        self._metrics.plugin_seconds.observe(time.perf_counter() - started, name, point, _status(answer))
        return answer

    def point(self, point: str, call: Callable[..., R], *arguments: Any) -> R:
        """Ask all plugins of an extension point."""
        started = time.perf_counter()
        answer = call(*arguments)
        self._metrics.point_seconds.observe(time.perf_counter() - started, point, _status(answer), self._profile)
        return answer


def _status(answer: object) -> str:
    if isinstance(answer, np.ndarray) and answer.dtype == np.bool_ and not answer.any():
        return "Unschedulable"
    if isinstance(answer, Unschedulable):
        return "UnschedulableAndUnresolvable" if answer.unresolvable else "Unschedulable"
    if isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Unschedulable):
        return _status(answer[1])
    return "Success"
