"""The plugins of one profile, by the extension points at which they are asked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from keelback.scheduling.extension_points import (
    BindPlugin,
    PermitPlugin,
    PostBindPlugin,
    PostFilterPlugin,
    PreBindPlugin,
    PreEnqueuePlugin,
    PreScorePlugin,
    QueueSortPlugin,
    ReservePlugin,
)
from keelback.scheduling.framework import FilterPlugin, PreFilterPlugin, ScorePlugin


@dataclass(frozen=True, slots=True)
class PreemptionLimits:
    """How many nodes preemption tries before it takes the best of those found: the greater of the two."""

    least_percentage: int = 10
    least_number: int = 100


DEFAULT_PREEMPTION: Final = PreemptionLimits()


@dataclass(frozen=True, slots=True)
class Plugins:
    """In the order in which they are asked. SchedulingGates, PrioritySort and DefaultBinder are not named here."""

    pre_filters: tuple[PreFilterPlugin, ...]
    filters: tuple[FilterPlugin, ...]
    scores: tuple[tuple[ScorePlugin, int], ...]
    """Each with its weight."""
    preemption: PreemptionLimits | None = DEFAULT_PREEMPTION
    """None where pods of lower priority are left alone."""
    pre_enqueues: tuple[PreEnqueuePlugin, ...] = ()
    queue_sort: QueueSortPlugin | None = None
    """None for PrioritySort."""
    post_filters: tuple[PostFilterPlugin, ...] = ()
    pre_scores: tuple[PreScorePlugin, ...] = ()
    reserves: tuple[ReservePlugin, ...] = ()
    permits: tuple[PermitPlugin, ...] = ()
    pre_binds: tuple[PreBindPlugin, ...] = ()
    binds: tuple[BindPlugin, ...] = ()
    """Before DefaultBinder, which binds what none of them did."""
    has_default_binder: bool = True
    post_binds: tuple[PostBindPlugin, ...] = ()

    def without_filter(self, name: str) -> Plugins:
        """The same, but for a plugin that does nothing but filter."""
        return replace(self, filters=tuple(plugin for plugin in self.filters if plugin.name != name))

    @property
    def allocate_devices(self) -> bool:
        """Whether somebody looks after claims for devices."""
        return any(plugin.name == "DynamicResources" for plugin in self.filters)

    def all(self) -> list[Any]:
        """Each of them once."""
        named: dict[int, Any] = {}
        for point in (
            (self.queue_sort,) if self.queue_sort is not None else (),
            self.pre_enqueues,
            self.pre_filters,
            self.filters,
            self.post_filters,
            self.pre_scores,
            [plugin for plugin, _ in self.scores],
            self.reserves,
            self.permits,
            self.pre_binds,
            self.binds,
            self.post_binds,
        ):
            named |= {id(plugin): plugin for plugin in point}
        return list(named.values())
