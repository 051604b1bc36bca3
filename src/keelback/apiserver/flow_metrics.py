"""What priority and fairness counts, under upstream's names (apiserver_flowcontrol_*).

A request touches plain numbers of its flow's schema; gauges and counters are made of them when somebody looks.
"""

from __future__ import annotations

from typing import Final

from keelback.component.metrics import Counter, Registry, Series
from keelback.flowcontrol.levels import Flow, PriorityLevels
from keelback.flowcontrol.queue_set import QueueSet, Ticket
from keelback.flowcontrol.width import ONE, Width

_SECONDS: Final = (0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30)
_LENGTHS: Final = (0, 10, 25, 50, 100, 250, 500, 1000)
_SEATS: Final = (1, 2, 4, 10)
_LEVEL: Final = ("priority_level",)
_FLOW: Final = ("priority_level", "flow_schema")


class FlowMeter:
    """What requests of one schema in one level do."""

    __slots__ = (
        "_dropped",
        "_executed",
        "_lengths",
        "_seats",
        "_waited",
        "_waited_in_vain",
        "_watched",
        "dispatched",
        "executing",
        "in_queue",
        "refusals",
        "seats_in_use",
    )

    def __init__(
        self,
        waited: Series,
        waited_in_vain: Series,
        executed: Series,
        watched: Series,
        lengths: Series,
        seats: Series,
        dropped: Counter,
    ) -> None:
        self._waited = waited
        self._waited_in_vain = waited_in_vain
        self._executed = executed
        self._watched = watched
        self._lengths = lengths
        self._seats = seats
        self._dropped = dropped
        self.dispatched = 0
        self.executing = 0
        self.in_queue = 0
        self.seats_in_use = 0
        self.refusals: dict[str, int] = {}

    def queued(self, queues: QueueSet, ticket: Ticket) -> None:
        """A request waits."""
        self.in_queue += 1
        self._lengths.observe(len(queues.queues[ticket.queue].waiting))

    def dequeued(self) -> None:
        """It waits no more."""
        self.in_queue -= 1

    def rejected(self, reason: str, *, is_mutating: bool = False) -> None:
        """A request is turned away, or its client has gone."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        self._waited_in_vain.observe(0.0)
        self._dropped.inc("mutating" if is_mutating else "readOnly")

    def began(self, ticket: Ticket) -> None:
        """A request is in work."""
        self.dispatched += 1
        self.executing += 1
        self.seats_in_use += ticket.width.initial_seats
        self._seats.observe(ticket.width.most_seats)
        if ticket.started == ticket.arrived:
            # Below the first bound, as most are.
            self._waited.counts[0] += 1
        else:
            self._waited.observe(ticket.started - ticket.arrived)

    def passed(self, width: Width, seconds: float) -> None:
        """A request was answered in one step: it waited for nothing."""
        self.dispatched += 1
        self._waited.counts[0] += 1
        if width is ONE:
            # Its bound is the first.
            self._seats.counts[0] += 1
            self._seats.total += 1
        else:
            self._seats.observe(width.most_seats)
        self._executed.observe(seconds)

    def ended(self, ticket: Ticket, now: float, *, is_watch: bool) -> None:
        """It has been answered; of a watch, its initial events have been sent."""
        self.executing -= 1
        self.seats_in_use -= ticket.width.initial_seats
        (self._watched if is_watch else self._executed).observe(now - ticket.started)


class FlowMetrics:
    """All of them."""

    def __init__(self, metrics: Registry, dropped: Counter) -> None:
        self._meters: dict[tuple[str, str], FlowMeter] = {}
        self._levels: PriorityLevels | None = None
        name = "apiserver_flowcontrol_{}".format
        self._dropped = dropped
        self._rejected = metrics.counter(
            name("rejected_requests_total"),
            "Number of requests rejected by API Priority and Fairness subsystem",
            (*_FLOW, "reason"),
        )
        self._dispatched = metrics.counter(
            name("dispatched_requests_total"),
            "Number of requests executed by API Priority and Fairness subsystem",
            _FLOW,
        )
        self._in_queue = metrics.gauge(
            name("current_inqueue_requests"),
            "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
            _FLOW,
        )
        self._executing = metrics.gauge(
            name("current_executing_requests"),
            "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority "
            "and Fairness subsystem",
            _FLOW,
        )
        self._executing_seats = metrics.gauge(
            name("current_executing_seats"),
            "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage "
            "otherwise) requests in the API Priority and Fairness subsystem",
            _FLOW,
        )
        self._in_use = metrics.gauge(
            name("request_concurrency_in_use"),
            "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage "
            "otherwise) requests in the API Priority and Fairness subsystem",
            _FLOW,
        )
        self._lengths = metrics.histogram(
            name("request_queue_length_after_enqueue"),
            "Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued",
            _FLOW,
            _LENGTHS,
        )
        self._waits = metrics.histogram(
            name("request_wait_duration_seconds"),
            "Length of time a request spent waiting in its queue",
            (*_FLOW, "execute"),
            _SECONDS,
        )
        self._executions = metrics.histogram(
            name("request_execution_seconds"),
            "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API "
            "Priority and Fairness subsystem",
            (*_FLOW, "type"),
            _SECONDS,
        )
        self._seats = metrics.histogram(
            name("work_estimated_seats"),
            "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority "
            "and Fairness",
            _FLOW,
            _SEATS,
        )
        self._of_levels = {
            key: metrics.gauge(name(key), description, _LEVEL)
            for key, description in (
                ("nominal_limit_seats", "Nominal number of execution seats configured for each priority level"),
                (
                    "lower_limit_seats",
                    "Configured lower bound on number of execution seats available to each priority level",
                ),
                (
                    "upper_limit_seats",
                    "Configured upper bound on number of execution seats available to each priority level",
                ),
                ("current_limit_seats", "current derived number of execution seats available to each priority level"),
                ("demand_seats_high_watermark", "High watermark, over last adjustment period, of seat demand"),
                ("demand_seats_average", "Time-weighted average, over last adjustment period, of seat demand"),
                ("demand_seats_stdev", "Time-weighted standard deviation, over last adjustment period, of seat demand"),
                ("demand_seats_smoothed", "Smoothed seat demands"),
                ("target_seats", "Seat allocation targets"),
                ("request_concurrency_limit", "Nominal number of execution seats configured for each priority level"),
                ("current_r", "R(time of last change)"),
            )
        }
        self._fair = metrics.gauge(
            name("seat_fair_frac"),
            "Fair fraction of server's concurrency to allocate to each priority level that can use it",
        )
        metrics.before_collection(self._refresh)

    def watch(self, levels: PriorityLevels) -> None:
        """Show these."""
        self._levels = levels

    def of(self, flow: Flow) -> FlowMeter:
        """The meter of a flow's schema in its level."""
        key = (flow.level.name, flow.schema)
        meter = self._meters.get(key)
        if meter is None:
            meter = self._meters[key] = FlowMeter(
                self._waits.series(*key, "true"),
                self._waits.series(*key, "false"),
                self._executions.series(*key, "regular"),
                self._executions.series(*key, "watch"),
                self._lengths.series(*key),
                self._seats.series(*key),
                self._dropped,
            )
        return meter

    def _refresh(self) -> None:
        for key, meter in self._meters.items():
            self._dispatched.set(meter.dispatched, *key)
            self._in_queue.set(meter.in_queue, *key)
            self._executing.set(meter.executing, *key)
            self._executing_seats.set(meter.seats_in_use, *key)
            self._in_use.set(meter.seats_in_use, *key)
            for reason, count in meter.refusals.items():
                self._rejected.set(count, *key, reason)
        if self._levels is None:
            return
        self._fair.set(self._levels.fair_fraction)
        for level in self._levels.all_levels():
            limits, seen = level.limits, level.statistics
            values = {
                "nominal_limit_seats": limits.nominal,
                "lower_limit_seats": limits.least,
                "upper_limit_seats": limits.most,
                "current_limit_seats": level.queues.seats,
                "demand_seats_high_watermark": seen.latest.highest,
                "demand_seats_average": seen.latest.average,
                "demand_seats_stdev": seen.latest.deviation,
                "demand_seats_smoothed": seen.smoothed,
                "target_seats": max(seen.smoothed, min(limits.nominal, seen.latest.highest), limits.least),
                "request_concurrency_limit": limits.nominal,
                "current_r": level.queues.virtual_time,
            }
            for what, value in values.items():
                self._of_levels[what].set(value, level.name)
