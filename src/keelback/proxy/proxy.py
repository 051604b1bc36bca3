"""The service proxy of one node: Services and EndpointSlices in, nftables elements out.

It runs in the node's network namespace. Changes are collected for a few milliseconds and applied in one transaction;
only Services that changed are planned again. The rules stay when the proxy ends: connections do not depend on it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Protocol

from keelback.client import Change, Client, Informer
from keelback.client.store import Key
from keelback.component import logs
from keelback.concurrency.backoff import Backoff
from keelback.concurrency.clock import Clock
from keelback.proxy import conntrack, serving
from keelback.proxy.config import ProxyConfig
from keelback.proxy.draining import EndpointDrain
from keelback.proxy.metrics import ProxyMetrics
from keelback.proxy.nft import Nftables, NftError
from keelback.proxy.observed import EndpointSlice, Service
from keelback.proxy.plan import Frontend, Rule, local_endpoint_count, plan
from keelback.proxy.progress import Progress
from keelback.proxy.table import Table, removal

SERVICE_NAME = "kubernetes.io/service-name"
_HEADLESS = "service.kubernetes.io/headless"
_OTHER_PROXY = "service.kubernetes.io/service-proxy-name"
_SELECTOR = f"!{_HEADLESS},!{_OTHER_PROXY}"
_BY_SERVICE = "by-service"
_RETRY = Backoff(initial_seconds=0.1, cap_seconds=10.0, jitter=0.5)
_STALE_SECONDS = 60.0
_log = logs.logger("proxy")


class Kernel(Protocol):
    """What takes scripts."""

    async def apply(self, script: str) -> None:
        """Carry out a script as a whole, or raise NftError."""
        ...


class Proxy:
    """Keeps the table of one node current. `run` is its only task."""

    def __init__(
        self, client: Client, config: ProxyConfig, clock: Clock, kernel: Kernel, metrics: ProxyMetrics | None = None
    ) -> None:
        self.config = config
        self.metrics = metrics or ProxyMetrics()
        self.services = Informer(client, Service, label_selector=_SELECTOR, clock=clock)
        self.slices = Informer(
            client, EndpointSlice, label_selector=_SELECTOR, indexes={_BY_SERVICE: _service_key}, clock=clock
        )
        self.table = Table(config)
        self.progress = Progress()
        self._kernel = kernel
        self._clock = clock
        self._chance = random.Random()
        self._dirty: set[Key] = set()
        self._changed = asyncio.Event()
        self._must_replace = True
        self._failing_since: float | None = None

    async def run(self) -> None:
        """Sync until cancelled. Nothing is written before both caches are complete: a restart must not lose rules."""
        self.services.subscribe(self._service_changed)
        self.slices.subscribe(self._slice_changed)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.services.run())
            tasks.create_task(self.slices.run())
            tasks.create_task(self._sync_forever())
            if self.config.health_port:
                tasks.create_task(serving.serve(self, self._clock))

    def problem(self) -> str:
        """What stands against this node's Services working; empty where nothing does."""
        if self._failing_since is not None and self._clock.monotonic() - self._failing_since > _STALE_SECONDS:
            return "the rules could not be brought up to date for a minute"
        return "" if not self._must_replace else "the rules have not been written yet"

    def health_ports(self) -> dict[int, tuple[Key, int]]:
        """For each health check node port its Service and how many ready endpoints this node has for it."""
        found = {}
        for service in self.services.store.list():
            if service.spec.health_check_node_port and service.spec.external_traffic_policy == "Local":
                key = (service.metadata.namespace, service.metadata.name)
                count = local_endpoint_count(self.slices_of(key), self.config.node_name)
                found[service.spec.health_check_node_port] = (key, count)
        return found

    async def sync(self) -> None:
        """Apply what changed since the last time. Raises NftError, OSError, TimeoutError; the next replaces all."""
        dirty, self._dirty = self._dirty, set()
        revision = int(self.slices.store.resource_version or 0)
        for key in dirty:
            self.table.assign(key, self._plan(key))
        if not self._must_replace and not self.table.is_changed():
            self.progress.reach(revision)
            return
        started = self._clock.monotonic()
        is_whole = self._must_replace
        # Until the kernel has said yes, nobody knows what it holds.
        self._must_replace = True
        await self._kernel.apply(self.table.whole() if is_whole else self.table.update())
        self._must_replace = False
        self.progress.reach(revision)
        gone = self.table.accepted(is_whole)
        self._note(started, is_whole)
        await self._forget(gone)

    def slices_of(self, key: Key) -> list[EndpointSlice]:
        """The slices of a Service, as far as this node has heard."""
        return self.slices.store.by_index(_BY_SERVICE, key)

    def _plan(self, key: Key) -> tuple[Rule, ...]:
        service = self.services.store.get(*key)
        if service is None:
            return ()
        try:
            return plan(service, self.slices_of(key), self.config)
        except ValueError as error:
            # One Service that makes no sense must not keep the others from working.
            _log.error("Could not plan the rules of a Service", service="/".join(key), error=error)
            return ()

    async def _sync_forever(self) -> None:
        await self.services.wait_synced()
        await self.slices.wait_synced()
        self._changed.set()
        failures = 0
        while True:
            await self._changed.wait()
            # Deployments change many endpoints at once: what comes within this time goes into one transaction.
            await self._clock.sleep(self.config.debounce_seconds if not self._must_replace else 0)
            self._changed.clear()
            try:
                await self.sync()
            except (NftError, OSError, TimeoutError) as error:
                failures += 1
                self.metrics.failed_syncs.inc()
                if self._failing_since is None:
                    self._failing_since = self._clock.monotonic()
                _log.error("Could not apply the rules", error=error, failures=failures)
                await self._clock.sleep(_RETRY.delay(failures, self._chance))
                self._changed.set()
                continue
            failures = 0
            self._failing_since = None

    async def _forget(self, gone: Sequence[tuple[Frontend, str]]) -> None:
        if gone:
            await conntrack.forget(gone)

    def _note(self, started: float, is_whole: bool) -> None:
        self.metrics.sync_seconds.observe(self._clock.monotonic() - started)
        self.metrics.last_sync.set(self._clock.now().timestamp())
        if is_whole:
            self.metrics.full_syncs.inc()
            _log.info("Replaced the table", services=len(self.services.store))

    def _service_changed(self, change: Change[Service]) -> None:
        self._mark((change.object.metadata.namespace, change.object.metadata.name))

    def _slice_changed(self, change: Change[EndpointSlice]) -> None:
        for one in (change.old, change.new):
            for key in _service_key(one) if one is not None else ():
                self._mark(key)

    def _mark(self, key: Key) -> None:
        self._dirty.add(key)
        self.metrics.last_queued.set(self._clock.now().timestamp())
        self._changed.set()


async def run(client: Client, config: ProxyConfig, clock: Clock, drain: EndpointDrain | None = None) -> None:
    """Proxy Services in this process's network namespace until cancelled; `drain` is told how far it has come."""
    kernel = Nftables()
    try:
        proxy = Proxy(client, config, clock, kernel)
        if drain is not None:
            drain.follow(proxy.progress, proxy.slices_of)
        await proxy.run()
    finally:
        kernel.close()


async def cleanup() -> None:
    """Remove everything the proxy made in this network namespace. Raises NftError."""
    kernel = Nftables()
    try:
        await kernel.apply(removal())
    finally:
        kernel.close()


def _service_key(one: EndpointSlice) -> list[Key]:
    name = one.metadata.labels.get(SERVICE_NAME, "")
    return [(one.metadata.namespace, name)] if name else []
