"""Leader election by a Lease, as client-go does it: one process leads, and steps down if it cannot renew."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.client import Client
from keelback.component import logs
from keelback.concurrency.clock import Clock

_log = logs.logger("leaderelection")

_JITTER = 1.2
_TOLERATED_SECONDS = 20.0
"""How much longer than a lease is good a leader that does not renew it is taken to be well (upstream's)."""


class LostLeadership(Exception):
    """Another process may lead now: whatever leading meant must have ended."""


@dataclass(slots=True)
class LeaderElector:
    """Times are in seconds and upstream's: a lease is good for 15, its holder gives up after 10 without renewing it."""

    client: Client
    name: str
    identity: str
    clock: Clock
    chance: random.Random
    namespace: str = "kube-system"
    lease_duration_seconds: int = 15
    renew_deadline_seconds: float = 10.0
    retry_period_seconds: float = 2.0
    _seen: tuple[str, float] = field(default=("", 0.0), init=False)
    _asked: float = field(default=0.0, init=False)
    _leads: bool = field(default=False, init=False)

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then `lead` while renewing it. Raises LostLeadership when it cannot be renewed."""
        while not await self._try(self.renew_deadline_seconds):
            await self.clock.sleep(self.retry_period_seconds * (1 + self.chance.random() * _JITTER))
        _log.info("Successfully acquired lease", lease=f"{self.namespace}/{self.name}", identity=self.identity)
        lost: BaseException | None = None
        self._leads = True
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._renew())
                await lead()
                renewing.cancel()
        except* LostLeadership as group:
            # Raised further below: what is raised in here, Python before 3.11.4 wraps in a group once more.
            lost = group.exceptions[0]
        finally:
            self._leads = False
            await self._release()
        if lost:
            raise lost

    async def check(self) -> None:
        """The health check `leaderElection`: a leader that neither renews nor steps down hangs. Raises RuntimeError."""
        late = self.clock.monotonic() - self._asked - self.lease_duration_seconds
        if self._leads and late > _TOLERATED_SECONDS:
            raise RuntimeError(f"failed election to renew leadership on lease {self.name}")

    async def _renew(self) -> None:
        while True:
            # Others count from when the lease was written, which was after we asked: so do we, however late the answer.
            deadline = self._asked + self.renew_deadline_seconds
            await self.clock.sleep(self.retry_period_seconds)
            left = deadline - self.clock.monotonic()
            if left <= 0 or (not await self._try(left) and self.clock.monotonic() >= deadline):
                raise LostLeadership(f"failed to renew the lease {self.namespace}/{self.name}")

    async def _try(self, seconds: float) -> bool:
        """Take or renew the lease if nobody else holds it; whether it is ours now. Not known in time is no."""
        asked = self.clock.monotonic()
        try:
            async with asyncio.timeout(seconds):
                is_ours = await self._take()
        except (errors.StatusError, OSError, TimeoutError) as error:
            _log.debug("Failed to acquire lease", lease=f"{self.namespace}/{self.name}", error=error)
            return False
        if is_ours:
            self._asked = asked
        return is_ours

    async def _take(self) -> bool:
        now = micro_time(self.clock.now())
        try:
            lease = await self.client.get(Lease, self.name, self.namespace)
        except errors.NotFound:
            spec = LeaseSpec(
                holder_identity=self.identity,
                lease_duration_seconds=self.lease_duration_seconds,
                acquire_time=now,
                renew_time=now,
                lease_transitions=0,
            )
            await self.client.create(Lease(metadata=ObjectMeta(name=self.name, namespace=self.namespace), spec=spec))
            return True
        holder = lease.spec.holder_identity or ""
        if holder not in ("", self.identity) and self._is_held(lease):
            return False
        is_ours = holder == self.identity
        spec = replace(
            lease.spec,
            holder_identity=self.identity,
            lease_duration_seconds=self.lease_duration_seconds,
            renew_time=now,
            acquire_time=lease.spec.acquire_time if is_ours else now,
            lease_transitions=(lease.spec.lease_transitions or 0) + (0 if is_ours else 1),
        )
        await self.client.update(replace(lease, spec=spec))
        return True

    def _is_held(self, lease: Lease) -> bool:
        # The holder's clock may differ from ours: what counts is when we last saw the lease change.
        version = lease.metadata.resource_version
        if self._seen[0] != version:
            self._seen = (version, self.clock.monotonic())
        duration = lease.spec.lease_duration_seconds or self.lease_duration_seconds
        return self.clock.monotonic() - self._seen[1] < duration

    async def _release(self) -> None:
        """Let the next one in at once instead of after the lease's duration."""
        try:
            async with asyncio.timeout(self.retry_period_seconds):
                lease = await self.client.get(Lease, self.name, self.namespace)
                if lease.spec.holder_identity == self.identity:
                    spec = replace(lease.spec, holder_identity="", lease_duration_seconds=1)
                    await self.client.update(replace(lease, spec=spec))
        except (errors.StatusError, OSError, TimeoutError) as error:
            _log.debug("Failed to release lease", error=error)


def micro_time(moment: datetime) -> str:
    """The moment as a MicroTime: always six decimals."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
