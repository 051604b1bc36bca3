"""Running a scheduler as a component: its events, its place in the line for leadership, its loop."""

from __future__ import annotations

import random
from collections.abc import Callable

from keelback.client import Client
from keelback.client.events import EventRecorder
from keelback.component import logs
from keelback.component.health import Check
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock
from keelback.reconcile.leader_election import LeaderElector
from keelback.scheduler.config import SchedulerConfig
from keelback.scheduler.scheduler import Scheduler

_log = logs.logger("scheduler")


async def run(
    client: Client,
    config: SchedulerConfig,
    clock: Clock,
    chance: random.Random,
    *,
    registry: Registry | None = None,
    host: str = "",
    add_check: Callable[[str, Check], None] | None = None,
) -> None:
    """Schedule pods until cancelled. `add_check` is told of health checks by their names.

    Raises LostLeadership when another scheduler may have taken over.
    """
    for said in config.without_effect:
        _log.warning("The configuration says what has no effect here", what=said)
    recorders = {name: EventRecorder(client, name, host, clock) for name in config.scheduler_names}
    scheduler = Scheduler(client, config, clock, chance, recorders, registry)
    if not config.leader_elect:
        await scheduler.run()
        return
    identity = f"{host}_{chance.getrandbits(64):016x}"
    election = config.leader_election
    elector = LeaderElector(
        client,
        election.name,
        identity,
        clock,
        chance,
        namespace=election.namespace,
        lease_duration_seconds=election.lease_duration_seconds,
        renew_deadline_seconds=election.renew_deadline_seconds,
        retry_period_seconds=election.retry_period_seconds,
    )
    if add_check is not None:
        add_check("leaderElection", elector.check)
    await elector.run(scheduler.run)
