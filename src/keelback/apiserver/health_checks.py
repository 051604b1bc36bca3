"""What `/livez`, `/readyz` and `/healthz` ask, under upstream's names: only what says something of this server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from keelback.apiserver.watch_feed import CacheFeed
from keelback.component.health import Check, HealthChecks, HealthResults
from keelback.storage.protocol import Store

_STORE_SECONDS = 2.0
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


def endpoints(
    store: Store,
    feed: CacheFeed,
    hooks: StartHooks,
    results: HealthResults,
    more: Mapping[str, Check],
    shutdown: Check,
) -> tuple[HealthChecks, ...]:
    """The three, with `more` checks in each. A server that is alive may be unready: it does not know then what the
    store holds."""

    async def answers() -> None:
        async with asyncio.timeout(_STORE_SECONDS):
            await store.get("/registry/health")

    async def is_synced() -> None:
        if not feed.is_following:
            raise RuntimeError("the caches do not follow the store")

    healthz, livez, readyz = (HealthChecks(name, results=results) for name in ("healthz", "livez", "readyz"))
    for one in (healthz, livez, readyz):
        one.add("etcd", answers)
    readyz.add("etcd-readiness", answers)
    readyz.add("informer-sync", is_synced)
    for one in (healthz, livez, readyz):
        for name, check in (*hooks.checks().items(), *more.items()):
            one.add(name, check)
    readyz.add("shutdown", shutdown)
    return healthz, livez, readyz
