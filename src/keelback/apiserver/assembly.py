"""Puts an API server together: store, caches, strategies, authentication, admission, routes. Then it serves."""

from __future__ import annotations

import functools
import ipaddress
import random
from collections.abc import Sequence

from keelback.admission.webhook_client import HTTPSWebhookCaller
from keelback.apimachinery.uids import random_uid
from keelback.apiserver import (
    aggregation_config,
    converting_store,
    encryption_at_rest,
    extensions,
    flow_control,
    health_checks,
    initial_objects,
    leader_elections,
    local_api_services,
    object_metrics,
    store_places,
    system_paths,
)
from keelback.apiserver.access import Authentication, Authorization
from keelback.apiserver.admission_binding import AdmissionBinder
from keelback.apiserver.aggregator import Aggregator
from keelback.apiserver.audit_ids import AuditIDs
from keelback.apiserver.auditing import auditor
from keelback.apiserver.built_in_parts import BuiltInParts
from keelback.apiserver.built_in_resources import BuiltInResources
from keelback.apiserver.config import APIServerConfig
from keelback.apiserver.custom_resource_versions import VersionMaker
from keelback.apiserver.custom_resources import CustomResources
from keelback.apiserver.discovery import Discovery, aggregated_versions
from keelback.apiserver.encryption_at_rest import Locator
from keelback.apiserver.endpoint_leases import EndpointLeases
from keelback.apiserver.extensions import Extension
from keelback.apiserver.filters import NO_FILTERS
from keelback.apiserver.flow_schemas import FlowSchemaStatuses
from keelback.apiserver.group_order import GROUP_ORDER
from keelback.apiserver.health_checks import StartHooks
from keelback.apiserver.identity_lease import IdentityLease, lease_name
from keelback.apiserver.leader_elections import LeaderElections
from keelback.apiserver.legacy_tokens import LegacyTokenTracking
from keelback.apiserver.local_api_services import PRIORITIES
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.newest_roles import NewestRoles
from keelback.apiserver.openapi import OpenAPI
from keelback.apiserver.protobuf_values import ProtobufValues
from keelback.apiserver.running import RunningAPIServer
from keelback.apiserver.server import OWN, APIServer
from keelback.apiserver.server_admission import ServerAdmission
from keelback.apiserver.service_addresses import ServiceAddresses
from keelback.apiserver.shared_store import SharedStore
from keelback.apiserver.store_metrics import MeteredStore
from keelback.apiserver.store_places import StorePlaces
from keelback.apiserver.termination import Termination
from keelback.apiserver.webhook_services import WebhookServices
from keelback.auth.service_accounts import discovery_documents
from keelback.client import Client, InProcessTransport
from keelback.component import feature_gates
from keelback.component.evaluations import Evaluations
from keelback.component.health import HealthResults
from keelback.component.metrics import Registry
from keelback.concurrency.clock import Clock
from keelback.encryption.at_rest import AtRest
from keelback.registry import feature_fields, served_kinds
from keelback.storage.embedded import EmbeddedStore
from keelback.storage.protocol import Store
from keelback.storage.routed import Override, RoutedStore

_FAREWELL_SECONDS = 3.0


__all__ = ["APIServerConfig", "RunningAPIServer", "start"]


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
    pod_groups = config.feature_gates.get(feature_fields.POD_GROUPS, False)
    plan = list(
        served_kinds.plan(
            config.kubernetes_version, config.optional_versions, off, pod_groups=pod_groups, hidden=config.hidden
        )
    )
    locate = Locator(one.strategy for one in plan)
    overrides = store_places.overrides_of(config.store_overrides, (one.strategy for one in plan))
    stores = (store, *dict.fromkeys(one.store for one in overrides))
    metered = MeteredStore(RoutedStore(store, overrides) if overrides else store, locate, metrics, stores)
    at_rest = await encryption_at_rest.begin(
        metered, config.encryption, locate, clock, chance, metrics, config.hostname
    )
    return await _Assembly(metered, overrides, config, clock, chance, metrics, at_rest).start(plan, others)


class _Assembly:
    """The parts while they are put together."""

    def __init__(
        self,
        metered: MeteredStore,
        overrides: Sequence[Override],
        config: APIServerConfig,
        clock: Clock,
        chance: random.Random,
        metrics: Registry,
        at_rest: AtRest | None,
    ) -> None:
        self._metered = metered
        self._at_rest = at_rest
        beneath: Store = metered if at_rest is None else at_rest.store
        # What several write to may have been upstream's.
        self._store: Store = ProtobufValues(beneath) if config.store_is_shared else beneath
        self._config = config
        self._clock = clock
        self._chance = chance
        self._metrics = metrics
        self._lookup = CacheLookup()
        self._places = StorePlaces(self._store, overrides, clock, chance)
        self._feed = self._places.main.feed
        if at_rest is None and isinstance(metered.stores[0], EmbeddedStore):
            metered.stores[0].held_elsewhere = self._feed.stored
        self._shared = SharedStore(*self._places.deciding) if config.store_is_shared else None
        self._authorization = Authorization(config.authorization, clock, chance, metrics, config.hostname)
        self._authorizer = NewestRoles(
            self._authorization.authorizer, self._places.deciding, is_shared=config.store_is_shared
        )
        accounts = config.service_accounts
        self._issuer = accounts.issuer(config.service_account_key_pem)
        self._account_keys = accounts.all_keys(self._issuer.public_key)
        self._authentication = Authentication(
            config.authentication,
            client_ca_pem=config.client_ca_pem,
            service_account_keys=self._account_keys,
            service_accounts=accounts,
            token_file_text=config.token_file_text,
            lookup=self._lookup,
            clock=clock,
            chance=chance,
            metrics=metrics,
            server_id=config.hostname,
        )
        self._server = APIServer(self._authentication.requests, self._authorizer, clock, metrics)
        self._in_process: set[str] = set()
        self._evaluations = Evaluations(metrics)
        self._binder = AdmissionBinder()
        self._discovery = Discovery(
            (),
            GROUP_ORDER,
            f"{config.external_hostname or config.endpoint[0]}:{config.endpoint[1]}",
            PRIORITIES,
            aggregated_versions=aggregated_versions(config.kubernetes_version),
        )
        services = WebhookServices(self._lookup, chance)
        self._webhooks = HTTPSWebhookCaller(services.address, config.kubelet_socket, config.local_webhooks)
        self._addresses = ServiceAddresses(
            self._lookup,
            lambda: self._resources.handler("networking.k8s.io", "ipaddresses").store,
            ipaddress.ip_network(config.service_cidr),
            chance,
            clock,
            metrics,
        )
        self._resources = BuiltInResources(
            places=self._places,
            lookup=self._lookup,
            routes=self._server.routes,
            discovery=self._discovery,
            binder=self._binder,
            addresses=self._addresses,
            clock=clock,
            chance=chance,
            new_uid=self._new_uid,
            node_ports=config.node_ports,
            event_ttl_seconds=config.event_ttl_seconds,
        )
        self._handlers = self._resources.handlers

    async def start(self, plan: Sequence[served_kinds.Resource], others: Sequence[Extension]) -> RunningAPIServer:
        await self._places.start()
        config = self._config
        for resource in plan:
            await self._resources.add(resource.strategy, is_served=resource.is_served)
        admission = self._admission()
        self._binder.chain = admission.chain()
        self._add_parts()
        self._resources.restrict_verbs()
        openapi = OpenAPI(self._discovery.answered, config.kubernetes_version.git_version)
        for one in others:
            await extensions.serve(one, self._server, self._discovery, openapi)
        hooks = StartHooks()
        results = HealthResults()
        more = {} if self._at_rest is None else self._at_rest.checks()
        termination = Termination()
        health = health_checks.endpoints(self._places, hooks, results, more, termination.check, config.store_times)
        version = config.kubernetes_version
        feature_gates.publish(self._metrics, version, config.feature_gates)
        system_paths.add(
            self._server, self._discovery, openapi, self._issuer_documents(), health, version, self._clock, config.flags
        )
        system_paths.publish_build(self._metrics, version)
        system_paths.add_metrics(self._server, self._metrics, results.metrics, self._metered.measure_size)
        audit_ids = AuditIDs(random.Random(self._chance.getrandbits(32)))
        running = RunningAPIServer(
            self._server, self._feed, self._clock, self._in_process, audit_ids, termination, self._authentication
        )
        if self._config.filters != NO_FILTERS:
            running.filter(self._config.filters, random.Random(self._chance.getrandbits(32)))
        for store in self._metered.stores:
            running.follow(functools.partial(self._config.compact, store, self._clock))
        for place in self._places.elsewhere:
            running.follow(place.feed.run)
        if self._at_rest is not None:
            running.follow(self._at_rest.run)
            running.at_close(self._at_rest.close)
        running.at_close(self._webhooks.close)
        running.at_close(admission.close)
        self._begin_auditing(running, audit_ids)
        self._limit_requests(running)
        running.at_close(self._authentication.close)
        running.at_close(self._authorization.close)
        for follower in self._authorization.follow(self._lookup):
            running.follow(follower.run)
            self._authorizer.followers.append(follower)
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
        if leader_elections.are_held(config.kubernetes_version, config.feature_gates, self._lookup):
            running.follow(LeaderElections(self._lookup, client, self._clock).run)
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
            gates=config.feature_gates,
        )
        if leases is not None:
            await leases.renew()
            running.before_close(leases.leave)
        hooks.finish(*health_checks.INITIAL_OBJECTS)
        running.follow(LegacyTokenTracking(self._authentication.token_uses, client, self._clock).run)
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
        object_metrics.add(self._metrics, self._handlers)
        limits = self._config.request_limits
        self._server.watch_seconds = limits.watch_seconds(random.Random(self._chance.getrandbits(32)))
        control = flow_control.install(self._server, limits, self._lookup, self._handlers, self._metrics, self._clock)
        if control is not None:
            control.configure()
            running.follow(control.run)
        if self._config.profiling:
            from keelback.apiserver import profiling  # what only few servers need

            profiling.add(self._server)

    def _issuer_documents(self) -> tuple[bytes, bytes]:
        issuer = self._issuer.issuer
        jwks_uri = self._config.service_accounts.jwks_uri or f"{issuer}/openid/v1/jwks"
        return discovery_documents(issuer, jwks_uri, self._account_keys)

    def _identity(self, client: Client) -> IdentityLease:
        hostname = self._config.hostname
        return IdentityLease(client, self._clock, hostname, f"{lease_name(hostname)}_{self._new_uid()}")

    def _new_uid(self) -> str:
        return random_uid(self._chance)

    def _admission(self) -> ServerAdmission:
        return ServerAdmission(
            self._config,
            self._resources,
            self._lookup,
            self._authorizer,
            self._authorization.policy,
            self._webhooks,
            self._evaluations,
            self._metrics,
            clock=self._clock,
            chance=self._chance,
            new_uid=self._new_uid,
            client=Client(InProcessTransport(self._server.handle, OWN, {"user-agent": "kube-apiserver"})),
        )

    def _add_parts(self) -> None:
        parts = BuiltInParts(
            self._config,
            self._server.routes,
            self._discovery,
            self._handlers,
            self._lookup,
            self._store,
            self._binder,
            authorizer=self._authorizer,
            rules=self._authorization.rules,
            tokens=self._authentication.tokens,
            issuer=self._issuer,
            in_process=self._in_process,
            clock=self._clock,
            new_uid=self._new_uid,
        )
        parts.add_subresources()
        parts.add_reviews()

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
            conversion_seconds=converting_store.call_seconds(self._metrics),
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
