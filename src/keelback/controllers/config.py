"""What an administrator decides about the controllers: kube-controller-manager's flags, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from keelback.apimachinery.meta import ObjectMeta


class Signer(Protocol):
    """A certificate authority that signs what a CertificateSigningRequest asks for."""

    def sign(self, request_pem: bytes, usages: tuple[str, ...], duration: timedelta, now: datetime) -> bytes:
        """The certificate (and, where there are any, intermediates) as PEM. Raises ValueError for a bad request."""
        ...


class TokenMaker(Protocol):
    """Signs tokens of ServiceAccounts that last as long as the Secret that holds them."""

    def issue_legacy(self, service_account: ObjectMeta, secret_name: str) -> str:
        """The token of this account in this Secret."""
        ...


@dataclass(frozen=True, slots=True)
class LeaderElection:
    """Which Lease says who leads, and how long that is believed; durations are in seconds."""

    namespace: str = "kube-system"
    name: str = "kube-controller-manager"
    lease_duration_seconds: int = 15
    renew_deadline_seconds: float = 10.0
    retry_period_seconds: float = 2.0


@dataclass(frozen=True, slots=True)
class HorizontalPodAutoscaling:
    """How autoscalers measure and when they act: the flags `--horizontal-pod-autoscaler-*`."""

    sync_period: timedelta = timedelta(seconds=15)
    downscale_stabilization: timedelta = timedelta(minutes=5)
    tolerance: float = 0.1
    cpu_initialization_period: timedelta = timedelta(minutes=5)
    initial_readiness_delay: timedelta = timedelta(seconds=30)


HPA_DEFAULTS = HorizontalPodAutoscaling()


@dataclass(frozen=True, slots=True)
class Config:
    """Flags by their upstream names; durations are in seconds."""

    controllers: tuple[str, ...] = ("*",)
    workers: Mapping[str, int] = field(default_factory=dict)
    """How many objects a controller works on at once, by its name; upstream's `--concurrent-*-syncs`."""
    served: frozenset[str] = frozenset()
    """What the server has of the resources that some controllers cannot do without: the manager asks for it."""
    host: str = ""
    leader_elect: bool = False
    identity: str = "keelback-controller-manager"

    root_ca: str = ""
    """The PEM bundle that pods verify the API server with; empty publishes none."""
    signer: Signer | None = None
    tokens: TokenMaker | None = None
    """Signs what Secrets of type kubernetes.io/service-account-token ask for."""
    signers: Mapping[str, Signer] = field(default_factory=dict)
    """Authorities for single signer names, in the place of `signer`."""
    legacy_service_account_token_clean_up_period_seconds: float = 365 * 24 * 3600.0
    cluster_signing_duration_seconds: int = 365 * 24 * 3600

    allocate_node_cidrs: bool = False
    cluster_cidrs: tuple[str, ...] = ()
    node_cidr_mask_size_ipv4: int = 24
    node_cidr_mask_size_ipv6: int = 64
    service_cidrs: tuple[str, ...] = ()

    node_monitor_period_seconds: float = 5.0
    node_monitor_grace_period_seconds: float = 50.0
    node_startup_grace_period_seconds: float = 60.0
    node_eviction_rate: float = 0.1
    secondary_node_eviction_rate: float = 0.01
    unhealthy_zone_threshold: float = 0.55
    large_cluster_size_threshold: int = 50

    max_endpoints_per_slice: int = 100
    mirroring_max_endpoints_per_subset: int = 1000
    endpoint_updates_batch_period_seconds: float = 0.0
    endpointslice_updates_batch_period_seconds: float = 0.0
    mirroring_endpointslice_updates_batch_period_seconds: float = 0.0

    enable_garbage_collector: bool = True
    enable_dynamic_provisioning: bool = True
    disable_force_detach_on_timeout: bool = False
    resource_quota_sync_period_seconds: float = 300.0
    leader_election: LeaderElection = LeaderElection()

    terminated_pod_gc_threshold: int = 12500

    horizontal_pod_autoscaling: HorizontalPodAutoscaling = HPA_DEFAULTS

    def with_rare_heartbeats(self, rarity: float) -> Config:
        """The same, for nodes that report so many times more rarely."""
        return replace(
            self,
            node_monitor_period_seconds=self.node_monitor_period_seconds * rarity,
            node_monitor_grace_period_seconds=self.node_monitor_grace_period_seconds * rarity,
            node_startup_grace_period_seconds=self.node_startup_grace_period_seconds * rarity,
        )
