"""What `/livez`, `/readyz` and `/healthz` ask, under upstream's names: only what says something of this server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keelback.apiserver.store_places import StorePlace, StorePlaces
from keelback.component.health import Check, HealthChecks, HealthResults


@dataclass(frozen=True, slots=True)
class StoreTimes:
    """How long checks wait for an answer of the store."""

    alive_seconds: float = 2.0
    ready_seconds: float = 2.0


TIMES: Final = StoreTimes()
# Made at each start, before the first request from outside is answered.
INITIAL_OBJECTS: Final = (
    "start-system-namespaces-controller",
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "start-kubernetes-service-cidr-controller",
    "bootstrap-controller",
    "start-cluster-authentication-info-controller",
)
CUSTOM_RESOURCES: Final = "crd-informer-synced"
SERVICE_ADDRESSES: Final = "start-service-ip-repair-controllers"
API_SERVICES: Final = "kube-apiserver-autoregistration"


class StartHooks:
    """The work of a start, by upstream's names for it: the check of each fails until it is done."""

    def __init__(self) -> None:
        self._finished: set[str] = set()

    def finish(self, *names: str) -> None:
        """Say that it is done."""
        self._finished.update(names)

    def checks(self) -> dict[str, Check]:
        """The checks, by name."""
        names = (CUSTOM_RESOURCES, SERVICE_ADDRESSES, *INITIAL_OBJECTS, API_SERVICES)
        return {f"poststarthook/{name}": self._check(name) for name in names}

    def _check(self, name: str) -> Check:
        async def check() -> None:
            if name not in self._finished:
                raise RuntimeError("not finished")

        return check


def _answers(place: StorePlace, seconds: float) -> Check:
    async def check() -> None:
        async with asyncio.timeout(seconds):
            await place.store.get(f"{place.prefix}health")

    return check


def endpoints(
    places: StorePlaces,
    hooks: StartHooks,
    results: HealthResults,
    more: Mapping[str, Check],
    shutdown: Check,
    times: StoreTimes = TIMES,
) -> tuple[HealthChecks, ...]:
    """The three, with `more` checks in each. A server that is alive may be unready: it does not know then what the
    store holds."""

    feeds = [places.main.feed, *(one.feed for one in places.elsewhere)]

    async def is_synced() -> None:
        if not all(feed.is_following for feed in feeds):
            raise RuntimeError("the caches do not follow the store")

    healthz, livez, readyz = (HealthChecks(name, results=results) for name in ("healthz", "livez", "readyz"))
    names = {("etcd", "etcd-readiness"): places.main}
    for index, place in enumerate(places.elsewhere):
        names[f"etcd-override-{index}", f"etcd-override-readiness-{index}"] = place
    for (alive, ready), place in names.items():
        for one in (healthz, livez, readyz):
            one.add(alive, _answers(place, times.alive_seconds))
        readyz.add(ready, _answers(place, times.ready_seconds))
    readyz.add("informer-sync", is_synced)
    for one in (healthz, livez, readyz):
        for name, check in (*hooks.checks().items(), *more.items()):
            one.add(name, check)
    readyz.add("shutdown", shutdown)
    return healthz, livez, readyz
