"""The endpoints of the `kubernetes` Service when several servers share a store: those of the servers that live.

Each server keeps a key with a time to live under `/registry/masterleases/`, as kube-apiserver's lease reconciler does,
and writes what all the keys say. A server that dies is gone from the Service when its key is.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from keelback.api import core_v1, discovery_v1
from keelback.apimachinery import codecs, errors
from keelback.apimachinery.meta import Object, ObjectMeta, replace
from keelback.client import Client
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.storage.protocol import StorageError, Store

PREFIX = "/registry/masterleases/"
TTL_SECONDS = 15.0
RENEWAL_SECONDS = 10.0
_ATTEMPTS = 8
_NAME = "kubernetes"
_NAMESPACE = "default"

_log = logger("endpoint_leases")


def endpoints(addresses: Sequence[str], port: int) -> core_v1.Endpoints:
    """What the Endpoints of the Service should be."""
    subset = core_v1.EndpointSubset(
        addresses=tuple(core_v1.EndpointAddress(ip=address) for address in addresses),
        ports=(core_v1.EndpointPort(name="https", port=port),),
    )
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    metadata = ObjectMeta(name=_NAME, namespace=_NAMESPACE, labels=labels)
    return core_v1.Endpoints(metadata=metadata, subsets=(subset,) if addresses else ())


def endpoint_slice(addresses: Sequence[str], port: int) -> discovery_v1.EndpointSlice:
    """What the EndpointSlice of the Service should be."""
    ready = discovery_v1.EndpointConditions(ready=True)
    return discovery_v1.EndpointSlice(
        metadata=ObjectMeta(name=_NAME, namespace=_NAMESPACE, labels={"kubernetes.io/service-name": _NAME}),
        address_type="IPv4",
        endpoints=tuple(discovery_v1.Endpoint(addresses=(address,), conditions=ready) for address in addresses),
        ports=(discovery_v1.EndpointPort(name="https", port=port, protocol="TCP"),),
    )


@dataclass(frozen=True, slots=True)
class EndpointLeases:
    """Says that this server is there, and who else is. `endpoint` is where pods reach this one."""

    store: Store
    client: Client
    clock: Clock
    endpoint: tuple[str, int]

    async def renew(self) -> None:
        """Once. A failure is logged and left to the next time."""
        address, port = self.endpoint
        value = codecs.encode(endpoints((address,), port))
        try:
            await self.store.put(PREFIX + address, value, ttl_seconds=TTL_SECONDS)
            await self._write_all()
        except (errors.StatusError, StorageError) as error:
            _log.warning("The endpoints of the kubernetes Service were not renewed", error=str(error))

    async def run(self) -> NoReturn:
        """Every ten seconds, from ten seconds on."""
        while True:
            await self.clock.sleep(RENEWAL_SECONDS)
            await self.renew()

    async def leave(self) -> None:
        """Take this server out, before it ends: nobody needs to wait for its key's end."""
        with contextlib.suppress(errors.StatusError, StorageError):
            await self.store.delete(PREFIX + self.endpoint[0])
            await self._write_all()

    async def _write_all(self) -> None:
        kept = await self.store.range(PREFIX)
        addresses = sorted(kv.key.removeprefix(PREFIX) for kv in kept.kvs)
        port = self.endpoint[1]
        await self._write(endpoints(addresses, port))
        await self._write(endpoint_slice(addresses, port))

    async def _write(self, wanted: Object) -> None:
        for _ in range(_ATTEMPTS):
            try:
                found = await self.client.get(type(wanted), _NAME, _NAMESPACE)
            except errors.NotFound:
                with contextlib.suppress(errors.AlreadyExists):
                    await self.client.create(wanted)
                    return
                continue
            made = replace(wanted, metadata=found.metadata)
            if made == found:
                return
            with contextlib.suppress(errors.Conflict, errors.NotFound):
                await self.client.update(made)
                return
