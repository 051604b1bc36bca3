"""The Lease by which an API server says that it is there: `kube-system/apiserver-HASH` (KEP-1965)."""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from keelback.api.coordination_v1 import Lease, LeaseSpec
from keelback.apimachinery import errors
from keelback.apimachinery.meta import ObjectMeta, replace, with_metadata
from keelback.client import Client
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.reconcile.leader_election import micro_time

RENEWAL_SECONDS = 10.0
DURATION_SECONDS = 3600
NAMESPACE = "kube-system"
IDENTITY_LABEL = "apiserver.kubernetes.io/identity"
_TURNS_AN_HOUR = 360
_HOSTNAME_LABEL = "kubernetes.io/hostname"

_log = logger("identity_lease")


def lease_name(hostname: str) -> str:
    """The same at every start on a host, so that a server that starts again takes its Lease over."""
    digest = hashlib.sha256(hostname.encode()).digest()[:16]
    return f"apiserver-{base64.b32encode(digest).decode().rstrip('=').lower()}"


def plan(current: Lease | None, hostname: str, holder: str, now: datetime) -> Lease:
    """The Lease as it should be from now on; what others have written into it stays."""
    lease = current or Lease(metadata=ObjectMeta(name=lease_name(hostname), namespace=NAMESPACE))
    labels = {**lease.metadata.labels, IDENTITY_LABEL: "kube-apiserver", _HOSTNAME_LABEL: hostname}
    spec: LeaseSpec = replace(
        lease.spec, holder_identity=holder, lease_duration_seconds=DURATION_SECONDS, renew_time=micro_time(now)
    )
    return replace(with_metadata(lease, labels=labels), spec=spec)


def expired(leases: Iterable[Lease], now: datetime) -> list[Lease]:
    """The Leases of servers that have not been heard of for as long as they said."""
    return [lease for lease in leases if not lease.spec.renew_time or _end(lease.spec) < now]


def _end(spec: LeaseSpec) -> datetime:
    renewed = datetime.fromisoformat(spec.renew_time or "")
    return renewed + timedelta(seconds=spec.lease_duration_seconds or DURATION_SECONDS)


@dataclass(frozen=True, slots=True)
class IdentityLease:
    """Renews it. `holder` is this run of the server: another at every start."""

    client: Client
    clock: Clock
    hostname: str
    holder: str

    async def renew(self) -> None:
        """Once. A failure is logged and left to the next time: an hour may pass before anybody misses this server."""
        try:
            await self._write()
        except errors.StatusError as error:
            _log.warning("The identity lease was not renewed", error=str(error))

    async def run(self) -> NoReturn:
        """Every ten seconds, from ten seconds on; once an hour look for servers that are no more."""
        for turn in itertools.count(1):
            await self.clock.sleep(RENEWAL_SECONDS)
            await self.renew()
            if turn % _TURNS_AN_HOUR == 0:
                await self.collect()
        raise AssertionError("unreachable")

    async def collect(self) -> None:
        """Delete the Leases of servers that are no more, as upstream's collector of them does."""
        try:
            leases = await self.client.list(Lease, NAMESPACE, label_selector=f"{IDENTITY_LABEL}=kube-apiserver")
            for lease in expired(leases.items or (), self.clock.now()):
                _log.info("A server is no more", lease=lease.metadata.name)
                await self.client.delete(
                    Lease, lease.metadata.name, NAMESPACE, resource_version=lease.metadata.resource_version
                )
        except errors.StatusError as error:
            _log.warning("The identity leases of other servers were not looked at", error=str(error))

    async def _write(self) -> None:
        try:
            current = await self.client.get(Lease, lease_name(self.hostname), NAMESPACE)
        except errors.NotFound:
            await self.client.create(plan(None, self.hostname, self.holder, self.clock.now()))
        else:
            await self.client.update(plan(current, self.hostname, self.holder, self.clock.now()))
