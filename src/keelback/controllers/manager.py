"""The controller manager: makes the controllers that are switched on, and runs them on one set of caches."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from keelback.client import Client, discovery
from keelback.client.events import EventRecorder
from keelback.component import logs
from keelback.component.health import Check
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock
from keelback.controllers import names
from keelback.controllers.builtin import BUILTIN, OFF_BY_DEFAULT, OPTIONAL, Entry, One
from keelback.controllers.config import Config
from keelback.reconcile.caches import SharedCaches
from keelback.reconcile.context import Context
from keelback.reconcile.controller_metrics import ControllerMetrics
from keelback.reconcile.leader_election import LeaderElector
from keelback.reconcile.loop import Controller
from keelback.reconcile.queue_metrics import QueueMetrics
from keelback.reconcile.routine import Routine, keep_running
from keelback.reconcile.writer import Writer

COMPONENT = "kube-controller-manager"

_log = logs.logger(COMPONENT)


def is_enabled(name: str, controllers: Sequence[str]) -> bool:
    """What `--controllers` says of a controller: its name, `-name`, or `*` for all that are on by default."""
    controllers = names.canonical(controllers)
    if name in controllers:
        return True
    return f"-{name}" not in controllers and "*" in controllers and name not in OFF_BY_DEFAULT


def unknown_names(controllers: Sequence[str], entries: Sequence[Entry] = BUILTIN) -> list[str]:
    """The words of `--controllers` that name no controller."""
    known = {entry.name for entry in entries} | OFF_BY_DEFAULT
    return [word for word in names.canonical(controllers) if word != "*" and word.removeprefix("-") not in known]


async def run(
    client_for: Client | Callable[[str], Client],
    config: Config,
    clock: Clock,
    chance: random.Random,
    *,
    registry: Registry | None = None,
    entries: Sequence[Entry] = BUILTIN,
    add_check: Callable[[str, Check], None] | None = None,
) -> None:
    """Run all controllers that are switched on, until cancelled. `add_check` is told of health checks by their names.

    `client_for` gives the client of a service account in `kube-system` by name (`deployment-controller`), and that of
    the manager itself by `kube-controller-manager`; one client for all will do where nobody asks who acted.
    Raises LostLeadership where `leader_elect` is set and another process took over.
    """
    of = _one_for_all(client_for) if isinstance(client_for, Client) else client_for
    registry = registry or Registry()
    metrics, own = QueueMetrics(registry), ControllerMetrics(registry)

    async def lead() -> None:
        await _run(of, config, clock, chance, metrics, own, entries)

    await _elected(of, config, clock, chance, lead, add_check)


async def _elected(
    client_for: Callable[[str], Client],
    config: Config,
    clock: Clock,
    chance: random.Random,
    lead: Callable[[], Awaitable[None]],
    add_check: Callable[[str, Check], None] | None,
) -> None:
    if not config.leader_elect:
        await lead()
        return
    told = config.leader_election
    elector = LeaderElector(
        client_for(COMPONENT),
        told.name,
        config.identity,
        clock,
        chance,
        told.namespace,
        told.lease_duration_seconds,
        told.renew_deadline_seconds,
        told.retry_period_seconds,
    )
    if add_check is not None:
        add_check("leaderElection", elector.check)
    await elector.run(lead)


async def _run(
    client_for: Callable[[str], Client],
    config: Config,
    clock: Clock,
    chance: random.Random,
    metrics: QueueMetrics,
    controller_metrics: ControllerMetrics,
    entries: Sequence[Entry],
) -> None:
    own = client_for(COMPONENT)
    caches = SharedCaches(own, clock, chance)
    made: list[tuple[Entry, One]] = []
    enabled = [entry for entry in entries if is_enabled(entry.name, config.controllers)]
    # In the same order in each process: chance is the only thing that makes two of them differ.
    needs = sorted({*OPTIONAL, *(entry.needs for entry in enabled)})
    config = replace(config, served=frozenset([needed for needed in needs if await discovery.is_served(own, needed)]))
    for entry in enabled:
        if entry.needs in config.served:
            client = client_for(entry.role)
            events = EventRecorder(client, entry.component, config.host, clock)
            result = entry.make(Context(Writer(client), caches, events, clock, chance, controller_metrics), config)
            made += [(entry, one) for one in (result if isinstance(result, tuple) else (result,))]
    async with asyncio.TaskGroup() as tasks:
        for entry, controller in made:
            if controller is None:
                continue
            if isinstance(controller, Routine):
                tasks.create_task(keep_running(controller, clock), name=entry.name)
                continue
            workers = config.workers.get(entry.name, entry.workers)
            observer = metrics.observer(entry.name)
            loop = Controller(controller, caches, clock, chance, workers=workers, observer=observer)
            metrics.watch(entry.name, loop.queue.running_seconds)
            tasks.create_task(loop.run(), name=entry.name)
        tasks.create_task(caches.run(), name="caches")
        _log.info("Started controllers", count=sum(controller is not None for _, controller in made))


def _one_for_all(client: Client) -> Callable[[str], Client]:
    return lambda name: client
