"""The flags that say which controllers run and how much each does at once, by their upstream names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated

from keelback.component import flags

_MOST_ENDPOINTS = 1000
_SYNCS = "How many objects are worked on at once"

_CONTROLLERS: Mapping[str, tuple[str, ...]] = {
    "concurrent_cron_job_syncs": ("cronjob-controller",),
    "concurrent_daemonset_syncs": ("daemonset-controller",),
    "concurrent_deployment_syncs": ("deployment-controller",),
    "concurrent_device_taint_eviction_syncs": ("device-taint-eviction-controller",),
    "concurrent_endpoint_syncs": ("endpoints-controller",),
    "concurrent_ephemeralvolume_syncs": ("ephemeral-volume-controller",),
    "concurrent_gc_syncs": ("garbage-collector-controller",),
    "concurrent_horizontal_pod_autoscaler_syncs": ("horizontal-pod-autoscaler-controller",),
    "concurrent_job_syncs": ("job-controller",),
    "concurrent_namespace_syncs": ("namespace-controller",),
    "concurrent_rc_syncs": ("replicationcontroller-controller",),
    "concurrent_replicaset_syncs": ("replicaset-controller",),
    "concurrent_resource_claim_syncs": ("resourceclaim-controller",),
    "concurrent_resource_quota_syncs": ("resourcequota-controller",),
    "concurrent_service_endpoint_syncs": ("endpointslice-controller",),
    "concurrent_serviceaccount_token_syncs": ("serviceaccount-token-controller",),
    "concurrent_statefulset_syncs": ("statefulset-controller",),
    "concurrent_ttl_after_finished_syncs": ("ttl-after-finished-controller",),
    "concurrent_validating_admission_policy_status_syncs": ("validatingadmissionpolicy-status-controller",),
    "mirroring_concurrent_service_endpoint_syncs": ("endpointslice-mirroring-controller",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerOptions:
    controllers: Annotated[tuple[str, ...], "Controllers to run: names, -names, or * for the default ones."] = ("*",)
    concurrent_cron_job_syncs: Annotated[int, f"{_SYNCS}: CronJobs."] = 5
    concurrent_daemonset_syncs: Annotated[int, f"{_SYNCS}: DaemonSets."] = 2
    concurrent_deployment_syncs: Annotated[int, f"{_SYNCS}: Deployments."] = 5
    concurrent_device_taint_eviction_syncs: Annotated[int, f"{_SYNCS}: claims of devices with taints."] = 10
    concurrent_endpoint_syncs: Annotated[int, f"{_SYNCS}: Services, for their Endpoints."] = 5
    concurrent_ephemeralvolume_syncs: Annotated[int, f"{_SYNCS}: pods with ephemeral volumes."] = 5
    concurrent_gc_syncs: Annotated[int, f"{_SYNCS}: what may be garbage."] = 20
    concurrent_horizontal_pod_autoscaler_syncs: Annotated[int, f"{_SYNCS}: HorizontalPodAutoscalers."] = 5
    concurrent_job_syncs: Annotated[int, f"{_SYNCS}: Jobs."] = 5
    concurrent_namespace_syncs: Annotated[int, f"{_SYNCS}: namespaces."] = 10
    concurrent_rc_syncs: Annotated[int, f"{_SYNCS}: ReplicationControllers."] = 5
    concurrent_replicaset_syncs: Annotated[int, f"{_SYNCS}: ReplicaSets."] = 5
    concurrent_resource_claim_syncs: Annotated[int, f"{_SYNCS}: ResourceClaims."] = 10
    concurrent_resource_quota_syncs: Annotated[int, f"{_SYNCS}: ResourceQuotas."] = 5
    concurrent_service_endpoint_syncs: Annotated[int, f"{_SYNCS}: Services, for their EndpointSlices."] = 5
    concurrent_serviceaccount_token_syncs: Annotated[int, f"{_SYNCS}: Secrets with accounts' tokens."] = 5
    concurrent_statefulset_syncs: Annotated[int, f"{_SYNCS}: StatefulSets."] = 5
    concurrent_ttl_after_finished_syncs: Annotated[int, f"{_SYNCS}: finished Jobs."] = 5
    concurrent_validating_admission_policy_status_syncs: Annotated[int, f"{_SYNCS}: policies."] = 5
    mirroring_concurrent_service_endpoint_syncs: Annotated[int, f"{_SYNCS}: Endpoints that are mirrored."] = 5
    max_endpoints_per_slice: Annotated[int, "How many endpoints an EndpointSlice has at most, up to 1000."] = 100
    mirroring_max_endpoints_per_subset: Annotated[
        int, "How many addresses of a subset of Endpoints are mirrored, up to 1000."
    ] = 1000
    endpoint_updates_batch_period: Annotated[
        flags.Duration, "How long changes of pods are collected before Endpoints are written."
    ] = 0.0
    endpointslice_updates_batch_period: Annotated[
        flags.Duration, "How long changes of pods are collected before EndpointSlices are written."
    ] = 0.0
    mirroring_endpointslice_updates_batch_period: Annotated[
        flags.Duration, "How long changes of Services are collected before mirrored EndpointSlices are written."
    ] = 0.0
    enable_garbage_collector: Annotated[bool, "Delete what has lost all its owners."] = True
    enable_dynamic_provisioning: Annotated[bool, "Ask provisioners for volumes where none fits a claim."] = True
    disable_force_detach_on_timeout: Annotated[
        bool,
        "Leave volumes attached to nodes that are away for too long until they are declared out of service.",
    ] = False
    resource_quota_sync_period: Annotated[flags.Duration, "How often usage is counted anew in any case."] = 300.0
    secondary_node_eviction_rate: Annotated[
        float, "Nodes per second whose pods are evicted in a large zone that is partly gone."
    ] = 0.01
    unhealthy_zone_threshold: Annotated[float, "From which share of nodes not ready a zone is partly gone."] = 0.55
    large_cluster_size_threshold: Annotated[int, "From how many nodes on a zone is large."] = 50
    legacy_service_account_token_clean_up_period: Annotated[
        flags.Duration, "How long a token made automatically may be unused."
    ] = 31_536_000.0

    def __post_init__(self) -> None:
        for name, workers in ((one.name, getattr(self, one.name)) for one in fields(self) if one.name in _CONTROLLERS):
            if workers < 1:
                flag = name.replace("_", "-")
                raise flags.FlagError(f'invalid argument "{workers}" for "--{flag}" flag: must be at least 1')
        for name in ("max_endpoints_per_slice", "mirroring_max_endpoints_per_subset"):
            number, flag = getattr(self, name), name.replace("_", "-")
            if not 1 <= number <= _MOST_ENDPOINTS:
                problem = f"must be from 1 to {_MOST_ENDPOINTS}"
                raise flags.FlagError(f'invalid argument "{number}" for "--{flag}" flag: {problem}')
        if self.controllers == ("*",):
            return
        from keelback.controllers import manager

        if unknown := manager.unknown_names(self.controllers):
            listed = ", ".join('"' + word.removeprefix("-") + '"' for word in unknown)
            raise flags.FlagError(f"{listed} is not in the list of known controllers")

    def workers(self) -> Mapping[str, int]:
        """How many workers each controller has, by its name."""
        return {name: getattr(self, flag) for flag, names in _CONTROLLERS.items() for name in names}
