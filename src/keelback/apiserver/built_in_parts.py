"""What the built-in groups serve besides stored resources: bindings, evictions, tokens, proxies and reviews."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keelback.api import core_v1
from keelback.apiserver import kubelet_proxy, reviews, subresources
from keelback.apiserver.admission_binding import AdmissionBinder
from keelback.apiserver.component_statuses import ComponentStatuses
from keelback.apiserver.config import APIServerConfig
from keelback.apiserver.discovery import Discovery, Served
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.pod_parts import PodParts
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.routes import Routes
from keelback.auth.attributes import Authorizer
from keelback.auth.authentication import TokenAuthenticator
from keelback.auth.authorizers import RuleSource
from keelback.auth.service_accounts import TokenIssuer
from keelback.auth.token_requests import TokenRequests
from keelback.concurrency.clock import Clock
from keelback.registry import feature_fields, served_kinds
from keelback.storage.protocol import Store


class BuiltInParts:
    """Adds their routes, once the resources that they are parts of have theirs."""

    def __init__(
        self,
        config: APIServerConfig,
        routes: Routes,
        discovery: Discovery,
        handlers: Mapping[tuple[str, str], ResourceHandler],
        lookup: CacheLookup,
        store: Store,
        binder: AdmissionBinder,
        *,
        authorizer: Authorizer,
        rules: RuleSource,
        tokens: TokenAuthenticator,
        issuer: TokenIssuer,
        in_process: set[str],
        clock: Clock,
        new_uid: Callable[[], str],
    ) -> None:
        """`in_process` has the names of those who have a client in this process."""
        self._config = config
        self._routes = routes
        self._discovery = discovery
        self._handlers = handlers
        self._lookup = lookup
        self._store = store
        self._binder = binder
        self._authorizer = authorizer
        self._rules = rules
        self._tokens = tokens
        self._issuer = issuer
        self._in_process = in_process
        self._clock = clock
        self._new_uid = new_uid

    def add_subresources(self) -> None:
        """What pods, services, nodes and service accounts have besides status and scale."""
        pods = self._handlers["", "pods"]
        budgets = self._handlers["policy", "poddisruptionbudgets"]
        parts = PodParts(pods, budgets)
        route = self._routes.add_resource
        route("", "v1", "pods", "binding", parts.bind)
        route("", "v1", "bindings", "", parts.bind)
        route("", "v1", "pods", "eviction", parts.evict)
        self._discovery.add(Served(core_v1.Binding.__kind__, ("create",), is_stored=False))
        statuses = ComponentStatuses(self._lookup, self._store, self._in_process)
        route("", "v1", "componentstatuses", "", statuses.handle)
        self._discovery.add(Served(core_v1.ComponentStatus.__kind__, statuses.strategy.verbs, is_stored=False))
        tokens = TokenRequests(self._issuer, self._lookup, self._config.service_accounts.max_token_seconds)
        accounts = self._handlers["", "serviceaccounts"]
        route("", "v1", "serviceaccounts", "token", subresources.token_route(tokens.create, self._new_uid, accounts))
        proxy = kubelet_proxy.KubeletProxy(
            self._lookup,
            self._binder,
            self._authorizer,
            certificate=self._config.kubelet_client_certificate,
            key=self._config.kubelet_client_key,
            ca_pem=self._config.kubelet_ca_pem,
            address_types=self._config.kubelet_address_types,
            make_socket=self._config.kubelet_socket,
            clock=self._clock,
            simulated=self._config.simulated_kubelets,
        )
        for name in ("log", "exec", "attach", "portforward", "proxy"):
            route("", "v1", "pods", name, getattr(proxy, f"pod_{name}"))
        route("", "v1", "nodes", "proxy", proxy.node_proxy)
        route("", "v1", "services", "proxy", proxy.service_proxy)

    def add_reviews(self) -> None:
        """What answers questions about access, and is not stored."""
        audiences = self._config.service_accounts.audiences()
        version = self._config.kubernetes_version
        adapted = served_kinds.adapter(version, feature_fields.off(version, self._config.feature_gates))
        for kind, route in reviews.routes(
            self._authorizer,
            self._rules,
            self._tokens,
            audiences,
            self._binder,
            adapted,
            self._config.optional_versions,
        ):
            described = kind.__kind__
            self._routes.add_resource(described.group, described.version, described.plural, "", route)
            self._discovery.add(Served(described, ("create",), is_stored=False))
