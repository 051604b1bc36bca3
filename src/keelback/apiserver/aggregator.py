"""API aggregation: the group versions that other servers answer for, as APIServices say.

Each such APIService has a task that asks its server whether it is well, says so in the Available condition, and keeps
what discovery and OpenAPI tell of it. Requests are passed on by the APIService's proxy.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

import msgspec

from keelback.api.apiregistration_v1 import APIService, APIServiceCondition, APIServiceSpec, ServiceReference
from keelback.api.core_v1 import Service
from keelback.api.discovery_v1 import EndpointSlice
from keelback.apimachinery import codecs, errors
from keelback.apimachinery.meta import Object, replace
from keelback.apiserver import api_service_status, local_api_services
from keelback.apiserver.aggregation_config import AggregationConfig
from keelback.apiserver.api_service_probe import probe
from keelback.apiserver.api_service_proxy import APIServiceProxy
from keelback.apiserver.api_service_routing import Dialling, ServiceRouting
from keelback.apiserver.discovery import Discovery, RemoteVersion
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.openapi import OpenAPI
from keelback.apiserver.remote_documents import DocumentReader, group_version_path
from keelback.apiserver.request_info import RequestInfo
from keelback.apiserver.routes import Route
from keelback.apiserver.server import APIServer
from keelback.apiserver.watch_cache import WatchOptions
from keelback.client import Client
from keelback.component.logs import logger
from keelback.component.metrics import Registry
from keelback.concurrency.backoff import Backoff
from keelback.concurrency.clock import Clock

RECHECK_SECONDS: Final = 30.0
"""How often a server is asked whether it is well, when nothing is known to have changed."""
REFRESH_SECONDS: Final = 60.0
"""How often a server's documents are read again."""
_BACKOFF: Final = Backoff(initial_seconds=0.005, cap_seconds=RECHECK_SECONDS)
_RETRY_SECONDS: Final = 1.0
# What says which servers there are cannot itself be elsewhere.
_OWN_GROUP: Final = "apiregistration.k8s.io"

_log = logger("aggregator")


class _Named(msgspec.Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}


class _Metadata(msgspec.Struct, frozen=True):
    """As much of a Service or EndpointSlice as says which Service it is about."""

    metadata: _Named = _Named()


@dataclass(slots=True, eq=False)
class _Remote:
    """One APIService whose server is elsewhere."""

    name: str
    spec: APIServiceSpec
    reference: ServiceReference
    proxy: APIServiceProxy
    documents: DocumentReader
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    read_at: float | None = None
    """When its documents were read, by the monotonic clock."""
    task: asyncio.Task[None] | None = None

    @property
    def place(self) -> tuple[str, str]:
        return self.spec.group, self.spec.version


class Aggregator:
    """The APIServices of one API server. `load` knows those that exist, `run` follows them."""

    def __init__(
        self,
        *,
        server: APIServer,
        discovery: Discovery,
        openapi: OpenAPI,
        lookup: CacheLookup,
        client: Client,
        config: AggregationConfig,
        identity_names: frozenset[str],
        make_socket: Callable[[], socket.socket] | None,
        clock: Clock,
        chance: random.Random,
        metrics: Registry,
    ) -> None:
        """`client` writes conditions. `identity_names` are headers that name users in this cluster, besides the usual
        ones: none of a client's are passed on. `make_socket` makes the sockets that reach the cluster's network."""
        self._server = server
        self._discovery = discovery
        self._openapi = openapi
        self._lookup = lookup
        self._client = client
        routing = ServiceRouting(lookup, chance, to_endpoints=config.routes_to_endpoints)
        self._dialling = Dialling(routing, clock, config.client_certificate, config.client_key, make_socket)
        self._clock = clock
        self._identity_names = identity_names
        self._remotes: dict[str, _Remote] = {}
        self._routes: dict[tuple[str, str], Route] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._follows_services = False
        self._closing: set[asyncio.Task[None]] = set()
        self._unavailable = metrics.gauge(
            "aggregator_unavailable_apiservice",
            "Gauge of APIServices which are marked as unavailable broken down by APIService name.",
            ("name",),
        )
        self._unavailable_total = metrics.counter(
            "aggregator_unavailable_apiservice_total",
            "Counter of APIServices which are marked as unavailable broken down by APIService name and reason.",
            ("name", "reason"),
        )

    def load(self) -> None:
        """Pass on what is another server's, before the first request is answered."""
        for api_service in self._lookup.scan(APIService):
            self._put(api_service)

    async def run(self) -> NoReturn:
        """Follow the APIServices and keep them up, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for remote in self._remotes.values():
                self._start(remote)
            while True:
                await self._follow()
                await self._clock.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        """Give up all connections."""
        for remote in self._remotes.values():
            await remote.proxy.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def route(self, info: RequestInfo) -> Route | None:
        """Who answers a request that is another server's; None for one that is answered here."""
        if info.is_resource_request:
            return self._routes.get((info.group, info.version))
        match info.path.strip("/").split("/"):
            case ["apis", group, version]:
                return self._routes.get((group, version))
            case ["api", version]:
                return self._routes.get(("", version))
        return None

    # The APIServices.

    async def _follow(self) -> None:
        watcher = await self._lookup.cache(APIService.__kind__).watch(WatchOptions())
        # A watch that starts again does not tell what was deleted meanwhile.
        for name in [name for name in self._remotes if self._lookup.peek(APIService, name) is None]:
            self._remove(name)
        while records := await watcher.next_records():
            for record in records:
                if record.type == "BOOKMARK":
                    continue
                api_service = codecs.decode(APIService, record.object)
                if record.type == "DELETED":
                    self._remove(api_service.metadata.name)
                    self._unavailable.remove(api_service.metadata.name)
                else:
                    self._put(api_service)

    def _put(self, api_service: APIService) -> None:
        name, spec = api_service.metadata.name, api_service.spec
        is_available = api_service_status.is_available(api_service)
        self._unavailable.set(float(not is_available), name)
        if spec.service is None:
            self._remove(name)
            self._put_local(api_service)
            return
        remote = self._remotes.get(name)
        if remote is None:
            proxy = APIServiceProxy(self._dialling, self._identity_names)
            documents = DocumentReader(proxy, spec.group, spec.version)
            remote = self._remotes[name] = _Remote(name, spec, spec.service, proxy, documents)
            self._begin(remote)
        elif remote.spec != spec:
            remote.spec, remote.reference, remote.read_at = spec, spec.service, None
            remote.changed.set()
        remote.proxy.use(spec)
        remote.proxy.is_available = is_available
        if not is_available:
            # It may come back as another one.
            remote.read_at = None
        self._describe(remote)

    def _begin(self, remote: _Remote) -> None:
        if remote.spec.group == _OWN_GROUP:
            _log.warning("An APIService cannot take the place of the APIServices themselves", name=remote.name)
        else:
            self._routes[remote.place] = remote.proxy.handle
            self._server.routes.delegate = self.route
        self._start(remote)

    def _remove(self, name: str) -> None:
        remote = self._remotes.pop(name, None)
        if remote is None:
            return
        if remote.task is not None:
            remote.task.cancel()
        self._routes.pop(remote.place, None)
        if not self._routes:
            self._server.routes.delegate = None
        self._discovery.remove_remote(*remote.place)
        self._openapi.set_remote(name, None)
        closing = asyncio.ensure_future(remote.proxy.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _put_local(self, api_service: APIService) -> None:
        """One that has been another server's, or was made by hand, is said to be available."""
        found = next((one for one in api_service.status.conditions if one.type == api_service_status.AVAILABLE), None)
        if found is None and local_api_services.LABEL in api_service.metadata.labels:
            # Who registers what is served here says so, too.
            return
        if self._tasks is not None and (found is None or found.reason != "Local"):
            self._tasks.create_task(self._tell(api_service, api_service_status.local(self._clock.now())))

    # What becomes of one server.

    def _start(self, remote: _Remote) -> None:
        if self._tasks is None:
            return
        remote.task = self._tasks.create_task(self._keep(remote))
        if not self._follows_services:
            self._follows_services = True
            self._tasks.create_task(self._follow_kind(Service, lambda named: named.name))
            self._tasks.create_task(
                self._follow_kind(EndpointSlice, lambda named: named.labels.get(api_service_status.SERVICE_LABEL, ""))
            )

    async def _keep(self, remote: _Remote) -> None:
        failures = 0
        while True:
            remote.changed.clear()
            try:
                is_well = await self._check(remote) and await self._read(remote)
            except Exception as error:  # the loop's edge: one server must not end the aggregation of the others
                _log.exception("An APIService could not be checked", error, name=remote.name)
                is_well = False
            failures = 0 if is_well else failures + 1
            seconds = RECHECK_SECONDS if is_well else _BACKOFF.delay(failures)
            await self._wait(remote.changed, seconds)

    async def _wait(self, changed: asyncio.Event, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        waiting = asyncio.ensure_future(changed.wait())
        try:
            await asyncio.wait((sleeping, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waiting.cancel()

    async def _check(self, remote: _Remote) -> bool:
        """Find out how a server is, and say so. Whether there is nothing to try again soon."""
        api_service = self._lookup.peek(APIService, remote.name)
        if api_service is None or api_service.spec != remote.spec:
            return False
        reference, now = remote.reference, self._clock.now()
        service = self._lookup.peek(Service, reference.name, reference.namespace)
        slices = await self._lookup.list(EndpointSlice, reference.namespace)
        condition = api_service_status.judge(reference, service, slices, now)
        problem = ""
        if condition is None:
            remote.proxy.refresh()
            problem = await probe(self._dialling, remote.spec, group_version_path(*remote.place))
            condition = (
                api_service_status.failed_discovery_check(now, problem) if problem else api_service_status.passed(now)
            )
        return await self._tell(api_service, condition) and not problem

    async def _tell(self, api_service: APIService, condition: APIServiceCondition) -> bool:
        """Write the condition where it says something new; whether it is written."""
        status = api_service_status.with_condition(api_service.status, condition)
        if status == api_service.status:
            return True
        name = api_service.metadata.name
        try:
            await self._client.update(replace(api_service, status=status), subresource="status")
        except (errors.StatusError, TimeoutError) as error:
            # Somebody else has written meanwhile, or deleted it: the next event brings it here again.
            _log.debug("An APIService's condition could not be written", name=name, error=str(error))
            return False
        is_available = condition.status == "True"
        if api_service_status.is_available(api_service) and not is_available:
            self._unavailable_total.inc(name, condition.reason)
        _log.info("An APIService's availability changed", name=name, status=condition.status, reason=condition.reason)
        remote = self._remotes.get(name)
        if remote is not None:
            remote.proxy.is_available = is_available
        return True

    async def _read(self, remote: _Remote) -> bool:
        """Read a server's documents, where it is time to; whether that has succeeded."""
        now = self._clock.monotonic()
        if not remote.proxy.is_available:
            remote.read_at = None
            self._describe(remote)
            return True
        if remote.read_at is not None and now - remote.read_at < REFRESH_SECONDS:
            return True
        is_read = await remote.documents.read_discovery()
        self._describe(remote)
        if is_read and await remote.documents.read_openapi():
            remote.read_at = now
        if self._remotes.get(remote.name) is remote:
            self._openapi.set_remote(remote.name, remote.documents.openapi)
        return is_read

    def _describe(self, remote: _Remote) -> None:
        """Have discovery say what is known of a server now."""
        if self._remotes.get(remote.name) is not remote or remote.place not in self._routes:
            return
        spec, documents = remote.spec, remote.documents
        is_current = remote.proxy.is_available and documents.is_current
        self._discovery.set_remote(
            RemoteVersion(
                spec.group,
                spec.version,
                spec.group_priority_minimum,
                spec.version_priority,
                documents.resources if is_current else (),
                is_current,
            )
        )

    async def _follow_kind(self, kind: type[Object], service_of: Callable[[_Named], str]) -> NoReturn:
        """Have a server asked anew when something of its Service has changed."""
        decoder = msgspec.json.Decoder(_Metadata)
        while True:
            watcher = await self._lookup.cache(kind.__kind__).watch(WatchOptions())
            while records := await watcher.next_records():
                for record in records:
                    if record.type != "BOOKMARK" and self._remotes:
                        named = decoder.decode(_joined(record.object)).metadata
                        self._service_changed(named.namespace, service_of(named))
            await self._clock.sleep(_RETRY_SECONDS)

    def _service_changed(self, namespace: str, name: str) -> None:
        for remote in self._remotes.values():
            if (remote.reference.namespace, remote.reference.name) == (namespace, name):
                remote.changed.set()


def _joined(wire: Any) -> bytes:
    return wire if isinstance(wire, bytes) else b"".join(wire)
