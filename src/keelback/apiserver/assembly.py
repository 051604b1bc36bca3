"""Puts an API server together: store, caches, strategies, authentication, admission, routes. Then it serves."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from keelback.admission import builtin as admission_plugins
from keelback.admission.default_toleration_seconds import DEFAULT_SECONDS
from keelback.admission.plugin import Question, Ruling
from keelback.admission.webhook_client import HTTPSWebhookCaller, LocalWebhook
from keelback.api import core_v1
from keelback.api.core_v1 import Pod, ResourceQuota, Service
from keelback.apimachinery.kubernetes_versions import DEFAULT, KubernetesVersion
from keelback.apiserver import (
    aggregation_config,
    encryption_at_rest,
    extensions,
    flow_control,
    health_checks,
    initial_objects,
    kubelet_proxy,
    local_api_services,
    request_limits,
    request_metrics,
    reviews,
    subresources,
    system_paths,
)
from keelback.apiserver.access import Authentication, Authorization
from keelback.apiserver.admission_binding import AdmissionBinder
from keelback.apiserver.aggregation_config import NO_CERTIFICATE, AggregationConfig
from keelback.apiserver.aggregator import Aggregator
from keelback.apiserver.allocators import ServiceAllocator
from keelback.apiserver.audit_ids import AuditIDs
from keelback.apiserver.auditing import auditor
from keelback.apiserver.component_statuses import ComponentStatuses
from keelback.apiserver.custom_resource_versions import VersionMaker
from keelback.apiserver.custom_resources import CustomResources
from keelback.apiserver.discovery import Discovery, Served
from keelback.apiserver.endpoint_leases import EndpointLeases
from keelback.apiserver.extensions import Extension
from keelback.apiserver.flow_schemas import FlowSchemaStatuses
from keelback.apiserver.health_checks import StartHooks
from keelback.apiserver.identity_lease import IdentityLease, lease_name
from keelback.apiserver.kept_work import keep
from keelback.apiserver.local_api_services import PRIORITIES
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.openapi import OpenAPI
from keelback.apiserver.ownership import ManagedFields
from keelback.apiserver.pod_parts import PodParts
from keelback.apiserver.port_claims import PortClaims
from keelback.apiserver.request_limits import RequestLimits
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.resource_store import ResourceStore
from keelback.apiserver.served_resources import ServedResources
from keelback.apiserver.server import OWN, APIServer
from keelback.apiserver.service_addresses import ServiceAddresses
from keelback.apiserver.shared_store import SharedStore
from keelback.apiserver.termination import Termination
from keelback.apiserver.watch_feed import CacheFeed
from keelback.apiserver.watch_wire import CachedResource
from keelback.apiserver.webhook_services import WebhookServices
from keelback.audit.options import NOTHING_AUDITED, AuditOptions
from keelback.auth import authorizers, settings
from keelback.auth.attributes import Attributes
from keelback.auth.authorizers import AuthorizationSettings
from keelback.auth.escalation import EscalationChecker
from keelback.auth.service_accounts import DEFAULT_ISSUER, TokenIssuer
from keelback.auth.settings import AuthenticationSettings
from keelback.auth.token_requests import TokenRequests
from keelback.auth.users import UserInfo
from keelback.client import IN_PROCESS_WATCH_SECONDS, Client, InProcessTransport
from keelback.component import feature_gates
from keelback.component.evaluations import Evaluations
from keelback.component.health import HealthResults
from keelback.component.http import AnyResponse, Request
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock
from keelback.encryption.at_rest import AtRest
from keelback.encryption.options import PLAIN, EncryptionSettings
from keelback.registry import feature_fields, served_kinds
from keelback.registry.strategy import Strategy
from keelback.storage import compaction
from keelback.storage.protocol import Store

_FAREWELL_SECONDS = 3.0
GROUP_ORDER = (
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "storagemigration.k8s.io",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class APIServerConfig:
    """What an administrator decides. `endpoint` is where pods reach the server; `kubelet_socket` makes the unconnected
    socket with which kubelets are dialled, for nodes in network namespaces of their own."""

    client_ca_pem: bytes
    service_account_key_pem: bytes
    kubelet_client_certificate: Path
    kubelet_client_key: Path
    kubelet_ca_pem: bytes
    endpoint: tuple[str, int]
    service_cidr: str = "10.96.0.0/16"
    service_ip: str = "10.96.0.1"
    dns_ip: str = "10.96.0.10"
    token_file_text: str = ""
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    default_not_ready_toleration_seconds: int = DEFAULT_SECONDS
    default_unreachable_toleration_seconds: int = DEFAULT_SECONDS
    kubelet_socket: Callable[[], socket.socket] | None = None
    local_webhooks: Mapping[str, LocalWebhook] = field(default_factory=dict)
    """Webhooks of this process, by the host in their URL."""
    aggregation: AggregationConfig = NO_CERTIFICATE
    optional_versions: tuple[tuple[str, str], ...] = ()
    """The group versions to serve of those that are off by default: see `registry.runtime_config`."""
    kubernetes_version: KubernetesVersion = DEFAULT
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    """What was asked of feature gates, as `component.feature_gates` has judged it."""
    authentication: AuthenticationSettings = settings.DEFAULT
    authorization: AuthorizationSettings = authorizers.DEFAULT
    audit: AuditOptions = NOTHING_AUDITED
    encryption: EncryptionSettings = PLAIN
    compact: Callable[[Any, Clock], Awaitable[NoReturn]] = compaction.run
    """What keeps the store small, until it is cancelled."""
    store_is_shared: bool = False
    """Whether other servers write to the store too."""
    request_limits: RequestLimits = request_limits.DEFAULT
    profiling: bool = False
    """Whether /debug/pprof is served."""
    hostname: str = ""
    """The name of the machine, under which the server's identity Lease is kept; without one there is no Lease."""


class RunningAPIServer:
    """A server that answers. `run` keeps its caches in step with the store."""

    def __init__(
        self,
        server: APIServer,
        feed: CacheFeed,
        clock: Clock,
        in_process: set[str],
        audit_ids: AuditIDs,
        termination: Termination,
        authentication: Authentication,
    ) -> None:
        """`in_process` is where the names of those are put who have a client in this process."""
        self.termination = termination
        """Stands before the handler where the server shall end without a failed request."""
        termination.handler = self.handle
        self._authentication = authentication
        self._in_process = in_process
        self._audit_ids = audit_ids
        self._server = server
        self._feed = feed
        self._clock = clock
        self._followers: list[Callable[[], Any]] = []
        self._farewells: list[Callable[[], Awaitable[None]]] = []
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._running: set[asyncio.Task[Any]] = set()

    async def handle(self, request: Request) -> AnyResponse:
        """The handler for the front door."""
        return await self._server.handle(request, self._audit_ids.of(request))

    def trust_clients(self, authorities_pem: bytes) -> None:
        """Believe client certificates of these authorities, and no other. Raises ValueError."""
        self._authentication.certificates.trust(authorities_pem)

    def client(self, identity: UserInfo, user_agent: str = "keelback") -> Client:
        """A client in this process, acting as the identity."""
        self._in_process.add(identity.name)
        transport = InProcessTransport(self._server.handle, identity, {"user-agent": user_agent})
        return Client(transport, watch_seconds=IN_PROCESS_WATCH_SECONDS)

    def begin(self) -> None:
        """Follow the store from now on. The tasks are this object's until `close`."""
        for work in (self._feed.run, *self._followers):
            self._running.add(asyncio.create_task(keep(work, self._clock)))

    def follow(self, work: Callable[[], Any]) -> None:
        self._followers.append(work)

    def before_close(self, work: Callable[[], Awaitable[None]]) -> None:
        """What is done while the server still works, in seconds or not at all."""
        self._farewells.append(work)

    def at_close(self, work: Callable[[], Awaitable[None]]) -> None:
        self._closers.append(work)

    async def run(self) -> NoReturn:
        """Return never; raise what a background task raised, and end them all when cancelled."""
        try:
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                one.result()
            raise RuntimeError("a background task of the API server ended")
        finally:
            await self.close()

    async def close(self) -> None:
        """End the background tasks."""
        farewells, self._farewells = self._farewells, []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL_SECONDS):
                for say in farewells:
                    await say()
        for one in self._running:
            one.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running.clear()
        closers, self._closers = self._closers, []
        for close in closers:
            await close()


async def start(
    store: Store,
    config: APIServerConfig,
    clock: Clock,
    chance: random.Random,
    metrics: Registry,
    others: Sequence[Extension] = (),
) -> RunningAPIServer:
    """A server over the store, with everything that each cluster has from its start. Raises what the store raises.

    `others` answer for API groups that are not in the store.
    """
    off = feature_fields.off(config.kubernetes_version, config.feature_gates)
    plan = list(served_kinds.plan(config.kubernetes_version, config.optional_versions, off))
    kept = [one.strategy for one in plan]
    at_rest = await encryption_at_rest.begin(store, config.encryption, kept, clock, chance, metrics, config.hostname)
    return await _Assembly(store, config, clock, chance, metrics, at_rest).start(plan, others)


class _Assembly:
    """The parts while they are put together."""

    def __init__(
        self,
        store: Store,
        config: APIServerConfig,
        clock: Clock,
        chance: random.Random,
        metrics: Registry,
        at_rest: AtRest | None,
    ) -> None:
        self._beneath = store
        self._at_rest = at_rest
        self._store = store = store if at_rest is None else at_rest.store
        self._config = config
        self._clock = clock
        self._chance = chance
        self._metrics = metrics
        self._lookup = CacheLookup()
        self._feed = CacheFeed(store, clock, random.Random(chance.getrandbits(32)))
        self._shared = SharedStore(self._feed) if config.store_is_shared else None
        self._authorization = Authorization(config.authorization, clock, chance, metrics)
        self._authorizer = self._authorization.authorizer
        if self._shared is not None:
            self._authorizer = self._shared.authorizer(self._authorizer)
        self._issuer = TokenIssuer(config.service_account_key_pem, DEFAULT_ISSUER)
        self._authentication = Authentication(
            config.authentication,
            client_ca_pem=config.client_ca_pem,
            service_account_key_pem=config.service_account_key_pem,
            token_file_text=config.token_file_text,
            lookup=self._lookup,
            clock=clock,
            chance=chance,
            metrics=metrics,
        )
        self._server = APIServer(self._authentication.requests, self._authorizer, clock, metrics)
        self._in_process: set[str] = set()
        self._evaluations = Evaluations()
        self._binder = AdmissionBinder()
        self._discovery = Discovery((), GROUP_ORDER, f"{config.endpoint[0]}:{config.endpoint[1]}", PRIORITIES)
        self._handlers: dict[tuple[str, str], ResourceHandler] = {}
        self._hidden: dict[tuple[str, str], ResourceHandler] = {}
        services = WebhookServices(self._lookup, chance)
        self._webhooks = HTTPSWebhookCaller(services.address, config.kubelet_socket, config.local_webhooks)
        self._addresses = ServiceAddresses(
            self._lookup,
            lambda: (self._handlers | self._hidden)["networking.k8s.io", "ipaddresses"].store,
            ipaddress.ip_network(config.service_cidr),
            chance,
            clock,
        )

    async def start(self, plan: Sequence[served_kinds.Resource], others: Sequence[Extension]) -> RunningAPIServer:
        await self._feed.start()
        config = self._config
        for resource in plan:
            await self._add_resource(resource.strategy, is_served=resource.is_served)
        self._binder.chain = self._admission()
        self._add_subresources()
        self._add_reviews()
        self._restrict_verbs()
        openapi = OpenAPI(self._discovery.answered, config.kubernetes_version.git_version)
        for one in others:
            await extensions.serve(one, self._server, self._discovery, openapi)
        hooks = StartHooks()
        results = HealthResults()
        more = {} if self._at_rest is None else self._at_rest.checks()
        termination = Termination()
        health = health_checks.endpoints(self._store, self._feed, hooks, results, more, termination.check)
        version = config.kubernetes_version
        feature_gates.publish(self._metrics, version, config.feature_gates)
        system_paths.add(self._server, self._discovery, openapi, self._metrics, self._issuer, health, results, version)
        audit_ids = AuditIDs(random.Random(self._chance.getrandbits(32)))
        running = RunningAPIServer(
            self._server, self._feed, self._clock, self._in_process, audit_ids, termination, self._authentication
        )
        running.follow(lambda: self._config.compact(self._beneath, self._clock))
        if self._at_rest is not None:
            running.follow(self._at_rest.run)
            running.at_close(self._at_rest.close)
        running.at_close(self._webhooks.close)
        self._begin_auditing(running, audit_ids)
        self._limit_requests(running)
        running.at_close(self._authentication.close)
        running.at_close(self._authorization.close)
        for follower in self._authorization.follow(self._lookup):
            running.follow(follower.run)
            if self._shared is not None:
                self._shared.settle_policy.append(follower.settle)
        for work in (*self._authorization.followers, *self._authentication.followers):
            running.follow(work)
        custom = self._custom_resources(openapi)
        await custom.load()
        hooks.finish(health_checks.CUSTOM_RESOURCES)
        running.follow(custom.run)
        if self._shared is not None:
            self._server.shared_store, self._shared.settle = self._shared, custom.settle
        await self._addresses.repair()
        hooks.finish(health_checks.SERVICE_ADDRESSES)
        running.follow(self._addresses.run)
        client = running.client(OWN, "kube-apiserver")
        running.follow(FlowSchemaStatuses(self._lookup, client, self._clock).run)
        self._add_aggregator(running, openapi, client)
        config = self._config
        identity = self._identity(client) if config.hostname else None
        if identity is not None:
            running.follow(identity.run)
        leases = EndpointLeases(self._store, client, self._clock, config.endpoint) if self._shared else None
        if leases is not None:
            running.follow(leases.run)
        running.begin()
        await initial_objects.ensure(
            client,
            self._clock,
            service_ip=config.service_ip,
            dns_ip=config.dns_ip,
            service_cidr=config.service_cidr,
            endpoint=config.endpoint,
            published=aggregation_config.published(config.client_ca_pem, config.authentication.request_header),
            is_alone=leases is None,
        )
        if leases is not None:
            await leases.renew()
            running.before_close(leases.leave)
        hooks.finish(*health_checks.INITIAL_OBJECTS)
        if identity is not None:
            await identity.renew()
        served = {(one.kind.group, one.kind.version) for one in self._discovery.served()}
        await local_api_services.ensure(client, self._clock.now(), served)
        hooks.finish(health_checks.API_SERVICES)
        return running

    def _begin_auditing(self, running: RunningAPIServer, audit_ids: AuditIDs) -> None:
        made = auditor(self._config.audit, audit_ids.new, self._metrics, self._clock, self._chance)
        if made is not None:
            self._server.auditor = made
            running.follow(made.backend.run)
            running.at_close(made.backend.close)

    def _add_aggregator(self, running: RunningAPIServer, openapi: OpenAPI, client: Client) -> None:
        aggregator = Aggregator(
            server=self._server,
            discovery=self._discovery,
            openapi=openapi,
            lookup=self._lookup,
            client=client,
            config=self._config.aggregation,
            identity_names=aggregation_config.identity_names(self._config.authentication.request_header),
            make_socket=self._config.kubelet_socket,
            clock=self._clock,
            chance=self._chance,
            metrics=self._metrics,
        )
        aggregator.load()
        running.follow(aggregator.run)
        running.at_close(aggregator.close)

    def _limit_requests(self, running: RunningAPIServer) -> None:
        request_metrics.add_object_metrics(self._metrics, self._handlers)
        limits = self._config.request_limits
        self._server.watch_seconds = limits.watch_seconds(random.Random(self._chance.getrandbits(32)))
        control = flow_control.install(self._server, limits, self._lookup, self._handlers, self._metrics, self._clock)
        if control is not None:
            control.configure()
            running.follow(control.run)
        if self._config.profiling:
            from keelback.apiserver import profiling  # what only few servers need

            profiling.add(self._server)

    def _identity(self, client: Client) -> IdentityLease:
        hostname = self._config.hostname
        return IdentityLease(client, self._clock, hostname, f"{lease_name(hostname)}_{self._new_uid()}")

    def _new_uid(self) -> str:
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    async def _add_resource(self, strategy: Strategy[Any], *, is_served: bool = True) -> None:
        kind = strategy.kind.__kind__
        allocator = (
            ServiceAllocator(self._lookup, self._addresses, PortClaims(self._store), self._chance)
            if strategy.kind is Service
            else None
        )
        resources = ResourceStore(
            self._store,
            strategy,
            ownership=ManagedFields(strategy.schema(), strategy.not_written_by),
            new_uid=self._new_uid,
            chance=self._chance,
            allocator=allocator,
        )
        cache = await self._feed.add(
            CachedResource(
                prefix=resources.prefix,
                kind=kind.kind,
                api_version=kind.api_version,
                is_namespaced=kind.namespaced,
                list_kind=kind.list_kind,
                field_type=strategy.field_type,
                fields=strategy.fields,
                indexed_fields=("spec.nodeName",) if strategy.kind is Pod else (),
                convert=strategy.from_storage,
            )
        )
        handler = ResourceHandler(strategy, resources, cache, self._binder, self._clock)
        if (kind.group, kind.plural) not in self._lookup:
            self._lookup.add(kind, cache)
        if is_served:
            route = self._server.routes.add_resource
            self._serve(handler)
        else:
            route = self._server.routes.reserve_resource
            self._hidden[kind.group, kind.plural] = handler
        route(kind.group, kind.version, kind.plural, "", handler.handle)
        for name in strategy.subresources:
            if name in subresources.PARTS:
                part = subresources.PartHandler(handler, name, subresources.PARTS[name])
                route(kind.group, kind.version, kind.plural, name, part.handle)
            elif name == "scale":
                scale = subresources.ScaleHandler(handler)
                route(kind.group, kind.version, kind.plural, name, scale.handle)

    def _serve(self, handler: ResourceHandler) -> None:
        kind, strategy = handler.kind, handler.strategy
        if strategy.storage_kind is None or (kind.group, kind.plural) not in self._handlers:
            self._handlers[kind.group, kind.plural] = handler
        self._handlers.setdefault((kind.api_version, kind.plural), handler)
        # Whose stored version is not served is, to clients, stored as what they see.
        is_view = strategy.storage_kind is not None and (kind.group, kind.plural) not in self._hidden
        stored_as = strategy.storage_kind.__kind__ if is_view else None
        self._discovery.add(Served(kind, strategy.verbs, strategy.subresources, stored_as=stored_as))

    def _admission(self) -> Any:
        given = admission_plugins.Dependencies(
            reader=self._lookup,
            is_allowed=self._is_allowed,
            rules=self._rule,
            resources=ServedResources(self._handlers),
            chance=self._chance,
            clock=self._clock,
            quota_status=_QuotaStatus(self._handlers["", "resourcequotas"].store),
            webhooks=self._webhooks,
            new_uid=self._new_uid,
            resource_of=self._resource_of,
            evaluations=self._evaluations,
            why_not_grant=EscalationChecker(self._authorization.policy, self._authorizer).why_not,
            not_ready_seconds=self._config.default_not_ready_toleration_seconds,
            unreachable_seconds=self._config.default_unreachable_toleration_seconds,
        )
        disabled = self._config.disable_admission_plugins
        # As kubeadm: nodes may change only what is theirs.
        own = () if "NodeRestriction" in disabled else ("NodeRestriction",)
        return admission_plugins.build(
            given,
            enable=(*own, *self._config.enable_admission_plugins),
            disable=disabled,
            version=self._config.kubernetes_version,
            gates=self._config.feature_gates,
        )

    async def _is_allowed(self, question: Question) -> bool:
        return (await self._rule(question)).is_allowed

    async def _rule(self, question: Question) -> Ruling:
        user = UserInfo(question.user.name, question.user.uid, question.user.groups, question.user.extra)
        verdict = await self._authorizer.authorize(
            Attributes(
                user=user,
                verb=question.verb,
                group=question.group,
                resource=question.resource,
                subresource=question.subresource,
                namespace=question.namespace,
                name=question.name,
                path=question.path,
                is_resource_request=not question.path,
                label_selector=question.label_selector,
                field_selector=question.field_selector,
            )
        )
        return Ruling(verdict.is_allowed, verdict.reason, verdict.error or None)

    def _resource_of(self, api_version: str, kind_name: str) -> str | None:
        for handler in self._handlers.values():
            if (handler.kind.api_version, handler.kind.kind) == (api_version, kind_name):
                return handler.kind.plural
        return None

    def _add_subresources(self) -> None:
        pods = self._handlers["", "pods"]
        budgets = self._handlers["policy", "poddisruptionbudgets"]
        parts = PodParts(pods, budgets)
        route = self._server.routes.add_resource
        route("", "v1", "pods", "binding", parts.bind)
        route("", "v1", "bindings", "", parts.bind)
        route("", "v1", "pods", "eviction", parts.evict)
        self._discovery.add(Served(core_v1.Binding.__kind__, ("create",), is_stored=False))
        statuses = ComponentStatuses(self._lookup, self._store, self._in_process)
        route("", "v1", "componentstatuses", "", statuses.handle)
        self._discovery.add(Served(core_v1.ComponentStatus.__kind__, statuses.strategy.verbs, is_stored=False))
        tokens = TokenRequests(self._issuer, self._lookup)
        accounts = self._handlers["", "serviceaccounts"]
        route("", "v1", "serviceaccounts", "token", subresources.token_route(tokens.create, self._new_uid, accounts))
        proxy = kubelet_proxy.KubeletProxy(
            self._lookup,
            self._binder,
            self._authorizer,
            certificate=self._config.kubelet_client_certificate,
            key=self._config.kubelet_client_key,
            ca_pem=self._config.kubelet_ca_pem,
            make_socket=self._config.kubelet_socket,
            clock=self._clock,
        )
        for name in ("log", "exec", "attach", "portforward", "proxy"):
            route("", "v1", "pods", name, getattr(proxy, f"pod_{name}"))
        route("", "v1", "nodes", "proxy", proxy.node_proxy)
        route("", "v1", "services", "proxy", proxy.service_proxy)

    def _restrict_verbs(self) -> None:
        """What discovery says of a built-in resource is all that its paths take."""
        for served in self._discovery.served():
            place = (served.kind.group, served.kind.version, served.kind.plural)
            self._server.routes.restrict_resource(*place, "", served.verbs)
            for name in served.subresources:
                if name != "proxy":
                    self._server.routes.restrict_resource(*place, name, served.subresource(name).verbs)

    def _add_reviews(self) -> None:
        audiences = (DEFAULT_ISSUER,)
        rules, tokens = self._authorization.rules, self._authentication.tokens
        version = self._config.kubernetes_version
        adapted = served_kinds.adapter(version, feature_fields.off(version, self._config.feature_gates))
        for kind, route in reviews.routes(
            self._authorizer, rules, tokens, audiences, self._binder, adapted, self._config.optional_versions
        ):
            described = kind.__kind__
            self._server.routes.add_resource(described.group, described.version, described.plural, "", route)
            self._discovery.add(Served(described, ("create",), is_stored=False))

    def _custom_resources(self, openapi: OpenAPI) -> CustomResources:
        maker = VersionMaker(
            store=self._store,
            feed=self._feed,
            binder=self._binder,
            caller=self._webhooks,
            clock=self._clock,
            chance=self._chance,
            new_uid=self._new_uid,
            evaluations=self._evaluations,
        )
        return CustomResources(
            server=self._server,
            discovery=self._discovery,
            openapi=openapi,
            maker=maker,
            lookup=self._lookup,
            handlers=self._handlers,
            clock=self._clock,
        )


class _QuotaStatus:
    """Usage, read from and written to the store itself."""

    def __init__(self, quotas: ResourceStore[ResourceQuota]) -> None:
        self._quotas = quotas

    async def read_quota(self, namespace: str, name: str) -> ResourceQuota:
        return await self._quotas.get(namespace, name)

    async def write_quota_status(self, quota: ResourceQuota) -> None:
        await self._quotas.replace_status(quota)
