"""The Lease by which an API server says that it is there: `kube-system/apiserver-HASH` (KEP-1965)."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime
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
        """Every ten seconds, from ten seconds on."""
        while True:
            await self.clock.sleep(RENEWAL_SECONDS)
            await self.renew()

    async def _write(self) -> None:
        try:
            current = await self.client.get(Lease, lease_name(self.hostname), NAMESPACE)
        except errors.NotFound:
            await self.client.create(plan(None, self.hostname, self.holder, self.clock.now()))
        else:
            await self.client.update(plan(current, self.hostname, self.holder, self.clock.now()))
