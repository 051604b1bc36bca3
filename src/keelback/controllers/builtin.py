"""Every controller there is, by its upstream name. A list is the registration: add a controller here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from keelback.controllers.attach_detach import AttachDetachReconciler
from keelback.controllers.bootstrap_tokens import BootstrapSignerReconciler, TokenCleanerReconciler
from keelback.controllers.certificates import ApprovingReconciler, CleanerReconciler, SigningReconciler
from keelback.controllers.cluster_roles import ClusterRoleAggregationReconciler
from keelback.controllers.config import Config
from keelback.controllers.cronjobs import CronJobReconciler
from keelback.controllers.daemonsets import DaemonSetReconciler
from keelback.controllers.deployments import DeploymentReconciler
from keelback.controllers.device_taint_rules import DeviceTaintRuleReconciler
from keelback.controllers.device_taints import DeviceTaintEvictionReconciler
from keelback.controllers.disruptions import DisruptionReconciler
from keelback.controllers.endpoints import EndpointsReconciler
from keelback.controllers.endpointslice_mirroring import EndpointSliceMirroringReconciler
from keelback.controllers.endpointslices import EndpointSliceReconciler
from keelback.controllers.ephemeral_volumes import EphemeralVolumeReconciler
from keelback.controllers.garbage_collector import GarbageCollector
from keelback.controllers.horizontal_pod_autoscaler import HorizontalPodAutoscalerReconciler
from keelback.controllers.jobs import JobReconciler
from keelback.controllers.legacy_token_cleaner import LegacyTokenCleaner
from keelback.controllers.namespaces import NamespaceReconciler
from keelback.controllers.node_ipam import NodeIPAMReconciler
from keelback.controllers.node_lifecycle import NodeLifecycleReconciler
from keelback.controllers.persistent_volumes import ClaimBindingReconciler, VolumePhaseReconciler
from keelback.controllers.pod_garbage_collector import PodGarbageCollector
from keelback.controllers.pod_group_protection import PodGroupProtectionReconciler
from keelback.controllers.podcertificaterequests import PodCertificateRequestCleaner
from keelback.controllers.replicasets import ReplicaSetReconciler
from keelback.controllers.replicationcontrollers import ReplicationControllerReconciler
from keelback.controllers.resource_claims import ClaimUseReconciler, PodClaimsReconciler
from keelback.controllers.resource_pool_status_requests import ResourcePoolStatusRequestReconciler
from keelback.controllers.resourcequotas import ResourceQuotaReconciler
from keelback.controllers.root_ca import RootCAReconciler
from keelback.controllers.selinux_warnings import SELinuxWarningReconciler
from keelback.controllers.serviceaccount_tokens import ServiceAccountTokenReconciler
from keelback.controllers.serviceaccounts import ServiceAccountReconciler
from keelback.controllers.servicecidrs import ServiceCIDRReconciler
from keelback.controllers.statefulsets import StatefulSetReconciler
from keelback.controllers.storage_version_migrator import StorageVersionMigrationReconciler
from keelback.controllers.storage_versions import StorageVersionReconciler
from keelback.controllers.taint_eviction import TaintEvictionReconciler
from keelback.controllers.trust_bundles import TrustBundlePublisher
from keelback.controllers.ttl import TTLReconciler
from keelback.controllers.ttl_after_finished import TTLAfterFinishedReconciler
from keelback.controllers.validatingadmissionpolicy_status import ValidatingAdmissionPolicyStatusReconciler
from keelback.controllers.volume_expansion import ExpandReconciler
from keelback.controllers.volume_protection import (
    ClaimProtectionReconciler,
    ClassProtectionReconciler,
    VolumeProtectionReconciler,
)
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Reconciler
from keelback.reconcile.routine import Routine
from keelback.scheduling.device_taint_rules import RULES

One: TypeAlias = Reconciler[Any] | Routine | None
Made: TypeAlias = One | tuple[One, ...]
"""What an entry makes: several where they share what only they know."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One controller: its names, how it is made (None: the configuration leaves it nothing to do), its workers."""

    name: str
    role: str
    component: str
    make: Callable[[Context, Config], Made]
    workers: int = 5
    needs: str = ""
    """The group version, or the resource of one (`GROUP/VERSION/RESOURCE`), without which there is nothing to control:
    where not every server, or not every version of Kubernetes, serves it."""


def _plain(cls: Any, workers: int = 5, needs: str = "") -> Entry:
    """A controller that needs no configuration."""
    return _configured(cls, lambda context, config: cls(context), workers, needs)


def _configured(cls: Any, make: Callable[[Context, Config], Any], workers: int = 5, needs: str = "") -> Entry:
    return Entry(cls.name, cls.role, cls.component, make, workers, needs)


def _root_ca(context: Context, config: Config) -> Any:
    return RootCAReconciler(context, config.root_ca) if config.root_ca else None


def _account_tokens(context: Context, config: Config) -> Any:
    if config.tokens is None:
        return None
    return ServiceAccountTokenReconciler(context, config.root_ca, config.tokens)


def _legacy_token_cleaner(context: Context, config: Config) -> Any:
    return LegacyTokenCleaner(context, config.legacy_service_account_token_clean_up_period_seconds)


def _trust_bundles(context: Context, config: Config) -> Any:
    return TrustBundlePublisher(context, config.root_ca) if config.root_ca else None


def _garbage_collector(context: Context, config: Config) -> Any:
    if not config.enable_garbage_collector:
        return None
    workers = config.workers.get(GarbageCollector.name)
    return GarbageCollector(context) if workers is None else GarbageCollector(context, workers)


def _node_ipam(context: Context, config: Config) -> Any:
    return NodeIPAMReconciler(context, config) if config.allocate_node_cidrs and config.cluster_cidrs else None


def _signing(context: Context, config: Config) -> Any:
    return SigningReconciler(context, config) if config.signer is not None or config.signers else None


def _device_taint_eviction(context: Context, config: Config) -> Any:
    if RULES not in config.served:
        return DeviceTaintEvictionReconciler(context)
    eviction = DeviceTaintEvictionReconciler(context, has_rules=True)
    return eviction, DeviceTaintRuleReconciler(context, eviction.evicted)


BUILTIN: tuple[Entry, ...] = (
    _plain(NamespaceReconciler, 10),
    _plain(ServiceAccountReconciler, 1),
    _configured(RootCAReconciler, _root_ca, 2),
    _plain(DeploymentReconciler),
    _plain(ReplicaSetReconciler),
    _plain(ReplicationControllerReconciler),
    _configured(
        EndpointsReconciler,
        lambda context, config: EndpointsReconciler(context, config.endpoint_updates_batch_period_seconds),
    ),
    _configured(
        EndpointSliceReconciler,
        lambda context, config: EndpointSliceReconciler(
            context, config.max_endpoints_per_slice, config.endpointslice_updates_batch_period_seconds
        ),
    ),
    _configured(
        EndpointSliceMirroringReconciler,
        lambda context, config: EndpointSliceMirroringReconciler(
            context,
            config.mirroring_max_endpoints_per_subset,
            config.mirroring_endpointslice_updates_batch_period_seconds,
        ),
    ),
    _plain(JobReconciler),
    _plain(TTLAfterFinishedReconciler),
    _plain(DaemonSetReconciler, 2),
    _plain(StatefulSetReconciler),
    _plain(CronJobReconciler),
    _configured(
        HorizontalPodAutoscalerReconciler,
        lambda context, config: HorizontalPodAutoscalerReconciler(context, config.horizontal_pod_autoscaling),
    ),
    _plain(DisruptionReconciler, 2),
    _plain(ClusterRoleAggregationReconciler),
    _configured(NodeLifecycleReconciler, NodeLifecycleReconciler, 8),
    _plain(TaintEvictionReconciler, 8),
    _configured(
        PodGarbageCollector, lambda context, config: PodGarbageCollector(context, config.terminated_pod_gc_threshold)
    ),
    _configured(GarbageCollector, _garbage_collector),
    _configured(
        ResourceQuotaReconciler,
        lambda context, config: ResourceQuotaReconciler(context, config.resource_quota_sync_period_seconds),
    ),
    # Two workers could give two nodes the same range.
    _configured(NodeIPAMReconciler, _node_ipam, 1),
    _configured(SigningReconciler, _signing, 1),
    _plain(ApprovingReconciler, 1),
    _plain(CleanerReconciler, 1),
    # One controller upstream, two kinds here; two workers could promise one volume twice.
    _configured(
        ClaimBindingReconciler,
        lambda context, config: ClaimBindingReconciler(context, config.enable_dynamic_provisioning),
        1,
    ),
    _plain(VolumePhaseReconciler, 1),
    _plain(ClaimProtectionReconciler, 1),
    _plain(EphemeralVolumeReconciler),
    _plain(TTLReconciler, 1),
    _plain(VolumeProtectionReconciler, 1),
    _plain(ClassProtectionReconciler, 1, needs="storage.k8s.io/v1/volumeattributesclasses"),
    _plain(
        ValidatingAdmissionPolicyStatusReconciler, needs="admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    ),
    _plain(ServiceCIDRReconciler, 1, needs="networking.k8s.io/v1/servicecidrs"),
    _configured(ServiceAccountTokenReconciler, _account_tokens),
    _configured(LegacyTokenCleaner, _legacy_token_cleaner),
    _plain(BootstrapSignerReconciler, 1),
    _plain(TokenCleanerReconciler, 1),
    _configured(
        AttachDetachReconciler,
        lambda context, config: AttachDetachReconciler(context, not config.disable_force_detach_on_timeout),
    ),
    _plain(ExpandReconciler, 1),
    # One controller upstream, two kinds here.
    _plain(PodClaimsReconciler, 10, needs="resource.k8s.io/v1"),
    _plain(ClaimUseReconciler, 10, needs="resource.k8s.io/v1"),
    _configured(DeviceTaintEvictionReconciler, _device_taint_eviction, 10, needs="resource.k8s.io/v1"),
    _plain(ResourcePoolStatusRequestReconciler, 1, needs="resource.k8s.io/v1alpha3/resourcepoolstatusrequests"),
    # One worker: it compares pods with what it remembers of others.
    _plain(SELinuxWarningReconciler, 1),
    _plain(PodGroupProtectionReconciler, 1, needs="scheduling.k8s.io/v1alpha2/podgroups"),
    _plain(PodCertificateRequestCleaner, 1, needs="certificates.k8s.io/v1beta1"),
    _configured(TrustBundlePublisher, _trust_bundles, needs="certificates.k8s.io/v1beta1"),
    _plain(StorageVersionReconciler, 1, needs="internal.apiserver.k8s.io/v1alpha1"),
    _plain(StorageVersionMigrationReconciler, 1, needs="storagemigration.k8s.io/v1beta1"),
)

OPTIONAL = (RULES,)
"""What some controllers make use of where the server has it, though they work without."""

OFF_BY_DEFAULT = frozenset({"bootstrap-signer-controller", "selinux-warning-controller", "token-cleaner-controller"})
