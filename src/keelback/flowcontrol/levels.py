"""A server's priority levels as PriorityLevelConfigurations say, and by FlowSchemas the flow of each request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Final

from keelback.api.flowcontrol_v1 import FlowSchema, PriorityLevelConfiguration
from keelback.auth.attributes import Attributes
from keelback.flowcontrol import concurrency, matching, shuffle_sharding
from keelback.flowcontrol.concurrency import Limits, Wanted
from keelback.flowcontrol.queue_set import QueueSet, Queuing
from keelback.flowcontrol.retry_after import RetryAfter
from keelback.flowcontrol.seat_demand import DemandStatistics
from keelback.flowcontrol.turns import FlowShare, Share

ADJUSTMENT_SECONDS: Final = 10.0
"""How often levels borrow anew."""
CATCH_ALL: Final = "catch-all"
_MOST_SEATS_PART: Final = 0.15
_REMEMBERED: Final = 8_192
_HEADERS: Final = ("x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid")


@dataclass(slots=True, eq=False)
class Level:
    """One priority level at work."""

    name: str
    uid: str
    limits: Limits
    queues: QueueSet
    share: Share[Any]
    most_seats: int = 0
    """How wide one request may be; 0 where only the general bound holds."""
    hand_size: int = 0
    deck_size: int = 0
    is_quiescing: bool = False
    statistics: DemandStatistics = field(default_factory=DemandStatistics)
    retry_after: RetryAfter = field(default_factory=RetryAfter)


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """What a request is of: a schema's flow, in a priority level. `headers` are those of each answer."""

    schema: str
    distinguisher: str
    level: Level
    hand: tuple[int, ...]
    share: FlowShare[Any]
    headers: Mapping[str, str]


class PriorityLevels:
    """All levels. What is mandatory is there even where nobody has stored it yet."""

    def __init__(
        self,
        server_seats: int,
        mandatory_schemas: Sequence[FlowSchema],
        mandatory_levels: Sequence[PriorityLevelConfiguration],
        now: float,
    ) -> None:
        self.server_seats = server_seats
        self.levels: dict[str, Level] = {}
        self.fair_fraction = 0.0
        self._mandatory_schemas = tuple(mandatory_schemas)
        self._mandatory_levels = tuple(mandatory_levels)
        self._leaving: list[Level] = []
        self._schemas: list[FlowSchema] = []
        self._flows: dict[tuple[Any, ...], Flow] = {}
        self.configure((), (), now)

    def all_levels(self) -> list[Level]:
        """The levels, those included that are gone but still have requests."""
        self._leaving = [one for one in self._leaving if not one.queues.is_idle]
        return [*self.levels.values(), *self._leaving]

    def configure(
        self, schemas: Iterable[FlowSchema], levels: Iterable[PriorityLevelConfiguration], now: float
    ) -> None:
        """Let these hold from the next request on. Those already queued stay where they are."""
        wanted = _by_name(self._mandatory_levels, levels)
        limits = concurrency.limits(tuple(wanted.values()), self.server_seats)
        for name in [one for one in self.levels if one not in wanted]:
            leaving = self.levels.pop(name)
            leaving.is_quiescing = True
            self._leaving.append(leaving)
        for name, configuration in wanted.items():
            self._put(configuration, limits[name], now)
        known = _by_name(self._mandatory_schemas, schemas).values()
        # A schema whose level does not exist is none (condition Dangling).
        self._schemas = matching.in_order(
            one for one in known if one.spec.priority_level_configuration.name in self.levels
        )
        self._flows.clear()

    def classify(self, attributes: Attributes) -> Flow:
        """The flow of a request."""
        user = attributes.user
        key = (
            user.name,
            user.groups,
            attributes.verb,
            attributes.group,
            attributes.resource,
            attributes.subresource,
            attributes.namespace,
            "" if attributes.is_resource_request else attributes.path,
        )
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= _REMEMBERED:
                self._flows.clear()
            flow = self._flows[key] = self._classified(attributes)
        return flow

    def adjust(self, now: float, periods: int = 1) -> None:
        """Let levels borrow from one another, by what they wanted since this was last called, so many periods ago."""
        for level in self.levels.values():
            level.statistics = level.statistics.after(level.queues.take_demand(now), periods)
        seats, self.fair_fraction = concurrency.adjust(
            {name: level.limits for name, level in self.levels.items()},
            {
                name: Wanted(level.statistics.latest.highest, level.statistics.smoothed)
                for name, level in self.levels.items()
            },
        )
        for name, level in self.levels.items():
            self._resize(level, seats[name])

    def _put(self, configuration: PriorityLevelConfiguration, limits: Limits, now: float) -> None:
        name, spec = configuration.metadata.name, configuration.spec
        queuing = None
        if spec.limited is not None and spec.limited.limit_response.queuing is not None:
            given = spec.limited.limit_response.queuing
            queuing = Queuing(given.queues, given.hand_size, given.queue_length_limit)
        level = self.levels.get(name)
        if level is None:
            level = Level(name, "", limits, QueueSet(limits.initial, queuing, now), Share(1.0))
            self.levels[name] = level
            seats = limits.initial
        else:
            seats = (
                max(limits.least, min(limits.most, level.queues.seats)) if level.limits == limits else limits.initial
            )
        level.uid = configuration.metadata.uid
        level.limits = limits
        level.deck_size = 0 if queuing is None else queuing.queues
        level.hand_size = 0 if queuing is None else queuing.hand_size
        level.most_seats = 0
        if queuing is not None:
            part = ceil(limits.nominal * _MOST_SEATS_PART)
            level.most_seats = max(1, min(part, limits.nominal // max(1, queuing.hand_size)))
        level.queues.configure(seats, queuing)
        self._resize(level, seats)

    def _resize(self, level: Level, seats: int) -> None:
        # Nobody who is exempt waits for a seat, but all take turns: as much as all others together.
        level.queues.seats = seats
        level.share.weight = float(self.server_seats if level.limits.is_exempt else max(1, seats))

    def _classified(self, attributes: Attributes) -> Flow:
        schema = next((one for one in self._schemas if matching.matches(one, attributes)), None)
        if schema is None:
            schema = next(one for one in self._schemas if one.metadata.name == CATCH_ALL)
        level = self.levels[schema.spec.priority_level_configuration.name]
        name, distinguisher = schema.metadata.name, matching.distinguisher(schema, attributes)
        hand: tuple[int, ...] = ()
        if level.deck_size:
            hand = shuffle_sharding.deal(
                shuffle_sharding.flow_hash(name, distinguisher), level.deck_size, level.hand_size
            )
        headers = dict(zip(_HEADERS, (schema.metadata.uid, level.uid), strict=True))
        return Flow(name, distinguisher, level, hand, level.share.flow(f"{name}\0{distinguisher}"), headers)


def _by_name(mandatory: Iterable[Any], stored: Iterable[Any]) -> dict[str, Any]:
    found = {one.metadata.name: one for one in mandatory}
    for one in stored:
        found[one.metadata.name] = one
    return found
