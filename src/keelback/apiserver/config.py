"""What an administrator decides about an API server."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from keelback.admission import admission_configuration
from keelback.admission.admission_configuration import AdmissionSettings
from keelback.admission.default_toleration_seconds import DEFAULT_SECONDS
from keelback.admission.webhook_client import LocalWebhook
from keelback.apimachinery.kubernetes_versions import DEFAULT, KubernetesVersion
from keelback.apiserver import allocators, health_checks, kubelet_proxy, request_limits
from keelback.apiserver.aggregation_config import NO_CERTIFICATE, AggregationConfig
from keelback.apiserver.filters import NO_FILTERS, FilterSettings
from keelback.apiserver.health_checks import StoreTimes
from keelback.apiserver.kubelet_proxy import AskSimulated
from keelback.apiserver.request_limits import RequestLimits
from keelback.audit.options import NOTHING_AUDITED, AuditOptions
from keelback.auth import authorizers, service_account_settings, settings
from keelback.auth.authorizers import AuthorizationSettings
from keelback.auth.service_account_settings import ServiceAccountSettings
from keelback.auth.settings import AuthenticationSettings
from keelback.concurrency.clock import Clock
from keelback.encryption.options import PLAIN, EncryptionSettings
from keelback.registry import events
from keelback.storage import compaction
from keelback.storage.protocol import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class APIServerConfig:
    """All of it. `endpoint` is where pods reach the server; `kubelet_socket` makes the unconnected
    socket with which kubelets are dialled, for nodes in network namespaces of their own."""

    client_ca_pem: bytes
    service_account_key_pem: bytes
    kubelet_client_certificate: Path
    kubelet_client_key: Path
    kubelet_ca_pem: bytes
    kubelet_address_types: tuple[str, ...] = kubelet_proxy.ADDRESS_TYPES
    """Which of a node's addresses its kubelet is asked at, the best first."""
    service_accounts: ServiceAccountSettings = service_account_settings.DEFAULT
    node_ports: tuple[int, int] = allocators.NODE_PORTS
    event_ttl_seconds: float = events.TTL_SECONDS
    allows_privileged_containers: bool = True
    endpoint: tuple[str, int]
    service_cidr: str = "10.96.0.0/16"
    service_ip: str = "10.96.0.1"
    dns_ip: str = "10.96.0.10"
    token_file_text: str = ""
    enable_admission_plugins: tuple[str, ...] = ()
    disable_admission_plugins: tuple[str, ...] = ()
    admission: AdmissionSettings = admission_configuration.DEFAULT
    default_not_ready_toleration_seconds: int = DEFAULT_SECONDS
    default_unreachable_toleration_seconds: int = DEFAULT_SECONDS
    kubelet_socket: Callable[[], socket.socket] | None = None
    simulated_kubelets: AskSimulated | None = None
    local_webhooks: Mapping[str, LocalWebhook] = field(default_factory=dict)
    """Webhooks of this process, by the host in their URL."""
    aggregation: AggregationConfig = NO_CERTIFICATE
    optional_versions: tuple[tuple[str, str], ...] = ()
    """The group versions to serve of those that are off by default: see `registry.runtime_config`."""
    hidden: frozenset[tuple[str, str, str]] = frozenset()
    """What is not served of what could be: see `registry.runtime_config`."""
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
    store_overrides: Mapping[tuple[str, str], Store] = field(default_factory=dict)
    """The stores of built-in resources that have one of their own, by group and plural."""
    store_times: StoreTimes = health_checks.TIMES
    external_hostname: str = ""
    """What discovery calls the server, if not by the address of its endpoint."""
    request_limits: RequestLimits = request_limits.DEFAULT
    filters: FilterSettings = NO_FILTERS
    profiling: bool = False
    """Whether /debug/pprof is served."""
    hostname: str = ""
    """The name of the machine, under which the server's identity Lease is kept; without one there is no Lease."""
    flags: Mapping[str, str] = field(default_factory=dict)
    """The flags of the process with their values, as /flagz shows them."""
