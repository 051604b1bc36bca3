"""Every controller there is, by its upstream name. A list is the registration: add a controller here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from keelback.controllers.certificates import ApprovingReconciler, CleanerReconciler, SigningReconciler
from keelback.controllers.cluster_roles import ClusterRoleAggregationReconciler
from keelback.controllers.config import Config
from keelback.controllers.cronjobs import CronJobReconciler
from keelback.controllers.daemonsets import DaemonSetReconciler
from keelback.controllers.deployments import DeploymentReconciler
from keelback.controllers.disruptions import DisruptionReconciler
from keelback.controllers.endpoints import EndpointsReconciler
from keelback.controllers.endpointslice_mirroring import EndpointSliceMirroringReconciler
from keelback.controllers.endpointslices import EndpointSliceReconciler
from keelback.controllers.ephemeral_volumes import EphemeralVolumeReconciler
from keelback.controllers.garbage_collector import GarbageCollector
from keelback.controllers.jobs import JobReconciler
from keelback.controllers.namespaces import NamespaceReconciler
from keelback.controllers.node_ipam import NodeIPAMReconciler
from keelback.controllers.node_lifecycle import NodeLifecycleReconciler
from keelback.controllers.persistent_volumes import ClaimBindingReconciler, VolumePhaseReconciler
from keelback.controllers.pod_garbage_collector import PodGarbageCollector
from keelback.controllers.replicasets import ReplicaSetReconciler
from keelback.controllers.replicationcontrollers import ReplicationControllerReconciler
from keelback.controllers.resourcequotas import ResourceQuotaReconciler
from keelback.controllers.root_ca import RootCAReconciler
from keelback.controllers.serviceaccounts import ServiceAccountReconciler
from keelback.controllers.servicecidrs import ServiceCIDRReconciler
from keelback.controllers.statefulsets import StatefulSetReconciler
from keelback.controllers.taint_eviction import TaintEvictionReconciler
from keelback.controllers.ttl import TTLReconciler
from keelback.controllers.ttl_after_finished import TTLAfterFinishedReconciler
from keelback.controllers.validatingadmissionpolicy_status import ValidatingAdmissionPolicyStatusReconciler
from keelback.controllers.volume_protection import (
    ClaimProtectionReconciler,
    ClassProtectionReconciler,
    VolumeProtectionReconciler,
)
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Reconciler
from keelback.reconcile.routine import Routine

Made: TypeAlias = Reconciler[Any] | Routine | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One controller: its names, how it is made (None: the configuration leaves it nothing to do), its workers."""

    name: str
    role: str
    component: str
    make: Callable[[Context, Config], Made]
    workers: int = 5


def _plain(cls: Any, workers: int = 5) -> Entry:
    """A controller that needs no configuration."""
    return _configured(cls, lambda context, config: cls(context), workers)


def _configured(cls: Any, make: Callable[[Context, Config], Made], workers: int = 5) -> Entry:
    return Entry(cls.name, cls.role, cls.component, make, workers)


def _root_ca(context: Context, config: Config) -> Any:
    return RootCAReconciler(context, config.root_ca) if config.root_ca else None


def _node_ipam(context: Context, config: Config) -> Any:
    return NodeIPAMReconciler(context, config) if config.allocate_node_cidrs and config.cluster_cidrs else None


def _signing(context: Context, config: Config) -> Any:
    return SigningReconciler(context, config) if config.signer is not None else None


def _node_lifecycle(context: Context, config: Config) -> Any:
    return NodeLifecycleReconciler(context, config)


BUILTIN: tuple[Entry, ...] = (
    _plain(NamespaceReconciler, 10),
    _plain(ServiceAccountReconciler, 1),
    _configured(RootCAReconciler, _root_ca, 2),
    _plain(DeploymentReconciler),
    _plain(ReplicaSetReconciler),
    _plain(ReplicationControllerReconciler),
    _plain(EndpointsReconciler),
    _plain(EndpointSliceReconciler),
    _plain(EndpointSliceMirroringReconciler),
    _plain(JobReconciler),
    _plain(TTLAfterFinishedReconciler),
    _plain(DaemonSetReconciler, 2),
    _plain(StatefulSetReconciler),
    _plain(CronJobReconciler),
    _plain(DisruptionReconciler, 2),
    _plain(ClusterRoleAggregationReconciler),
    _configured(NodeLifecycleReconciler, _node_lifecycle, 8),
    _plain(TaintEvictionReconciler, 8),
    _configured(
        PodGarbageCollector, lambda context, config: PodGarbageCollector(context, config.terminated_pod_gc_threshold)
    ),
    _plain(GarbageCollector),
    _plain(ResourceQuotaReconciler),
    # Two workers could give two nodes the same range.
    _configured(NodeIPAMReconciler, _node_ipam, 1),
    _configured(SigningReconciler, _signing, 1),
    _plain(ApprovingReconciler, 1),
    _plain(CleanerReconciler, 1),
    # One controller upstream, two kinds here; two workers could promise one volume twice.
    _plain(ClaimBindingReconciler, 1),
    _plain(VolumePhaseReconciler, 1),
    _plain(ClaimProtectionReconciler, 1),
    _plain(EphemeralVolumeReconciler),
    _plain(TTLReconciler, 1),
    _plain(VolumeProtectionReconciler, 1),
    _plain(ClassProtectionReconciler, 1),
    _plain(ValidatingAdmissionPolicyStatusReconciler),
    _plain(ServiceCIDRReconciler, 1),
)

OFF_BY_DEFAULT = frozenset({"bootstrap-signer-controller", "token-cleaner-controller", "selinux-warning-controller"})
