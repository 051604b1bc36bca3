"""The flags of the components that may be given to a cluster, by their upstream names, and the configs they become."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from keelback.audit import options as audit_options
from keelback.audit.options import AuditOptions
from keelback.bootstrap import (
    access_options,
    admission_flags,
    aggregation_options,
    config_files,
    encryption_options,
    service_account_options,
    tracing_options,
)
from keelback.bootstrap.access_options import AccessOptions
from keelback.bootstrap.admission_flags import AdmissionFlags
from keelback.bootstrap.aggregation_options import AggregationOptions
from keelback.bootstrap.cluster_state import ClusterError, Settings
from keelback.bootstrap.controller_options import ControllerOptions
from keelback.bootstrap.encryption_options import EncryptionOptions
from keelback.bootstrap.filter_options import FilterOptions
from keelback.bootstrap.request_options import RequestOptions
from keelback.bootstrap.resource_options import ResourceOptions
from keelback.bootstrap.tracing_options import TracingOptions
from keelback.bootstrap.version_options import COMPRESSION, VersionOptions
from keelback.component import flags
from keelback.component.flags import Duration

if TYPE_CHECKING:
    from keelback.component.http1_requests import Limits

POD_GROUPS: Final = "GenericWorkload"
GANG_SCHEDULING: Final = "GangScheduling"
NODE_DECLARED_FEATURES: Final = "NodeDeclaredFeatures"
"""Gates of the scheduler's."""

_LEAST_METRIC_RESOLUTION = 10.0
"""As metrics-server: what is measured over less says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class APIServerOptions(
    VersionOptions,
    AccessOptions,
    AdmissionFlags,
    AuditOptions,
    EncryptionOptions,
    AggregationOptions,
    RequestOptions,
    FilterOptions,
    ResourceOptions,
    TracingOptions,
):
    default_not_ready_toleration_seconds: Annotated[int, "How long pods stay on a node that is not ready."] = 300
    default_unreachable_toleration_seconds: Annotated[int, "How long pods stay on a node that is cut off."] = 300
    service_cluster_ip_range: Annotated[str, "The addresses of Services."] = "10.96.0.0/16"
    runtime_config: Annotated[
        Mapping[str, str],
        "Group versions to serve besides the default ones, or not to, and single resources of them: "
        "group/version=true, api/beta=true, group/version/resource=false.",
    ] = field(default_factory=dict)
    token_auth_file: Annotated[str, 'A CSV file of bearer tokens: token,user,uid,"group1,group2".'] = ""

    has_switchable_gates = True

    def __post_init__(self) -> None:
        VersionOptions.__post_init__(self)
        AccessOptions.__post_init__(self)
        AggregationOptions.__post_init__(self)
        RequestOptions.__post_init__(self)
        self.check_admission(self.version)
        self.check_resources()
        self.check_filters()
        self.check_audit()
        self.check_encryption()
        self.optional_versions()

    def connection_limits(self) -> Limits:
        """What the front door bounds, and for whom it compresses."""
        from keelback.component.http1_requests import Limits

        match self.gates().get(COMPRESSION):
            case None:
                return Limits()
            case True:
                return Limits(gzip_on_loopback=True)
            case _:
                return Limits(gzip_bytes=sys.maxsize)

    def hidden_resources(self) -> frozenset[tuple[str, str, str]]:
        """What `--runtime-config` takes away."""
        if not self.runtime_config:
            return frozenset()
        from keelback.registry import runtime_config

        return runtime_config.hidden(self.runtime_config, self.version)

    def optional_versions(self) -> tuple[tuple[str, str], ...]:
        """What `--runtime-config` asks for. Raises FlagError."""
        if not self.runtime_config:
            return ()
        from keelback.registry import runtime_config

        try:
            return runtime_config.parse(self.runtime_config, self.version)
        except ValueError as error:
            raise flags.FlagError(f'invalid argument for "--runtime-config" flag: {error}') from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerManagerOptions(ControllerOptions, VersionOptions):
    cluster_cidr: Annotated[str, "The addresses of pods (10.244.0.0/16 if not given, more for simulated nodes)."] = ""
    node_cidr_mask_size: Annotated[int, "The mask of each node's part of them."] = 24
    node_monitor_period: Annotated[Duration, "How often nodes are looked at."] = 5.0
    node_monitor_grace_period: Annotated[Duration, "How long a node may be silent."] = 50.0
    node_startup_grace_period: Annotated[Duration, "How long a node that starts may be silent."] = 60.0
    node_eviction_rate: Annotated[float, "Nodes per second whose pods are evicted."] = 0.1
    terminated_pod_gc_threshold: Annotated[int, "How many ended pods may stay."] = 12500
    horizontal_pod_autoscaler_sync_period: Annotated[Duration, "How often autoscalers measure."] = 15.0
    horizontal_pod_autoscaler_downscale_stabilization: Annotated[
        Duration, "How long autoscalers remember that they wanted more."
    ] = 300.0
    horizontal_pod_autoscaler_tolerance: Annotated[float, "How far off its target usage may be, as a part of it."] = 0.1
    horizontal_pod_autoscaler_cpu_initialization_period: Annotated[
        Duration, "How long after its start a pod's CPU may be that of its start."
    ] = 300.0
    horizontal_pod_autoscaler_initial_readiness_delay: Annotated[
        Duration, "How long after its start a pod that becomes unready was never ready."
    ] = 30.0
    cluster_signing_duration: Annotated[Duration, "How long certificates that are signed are good."] = 31_536_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerOptions(VersionOptions):
    config: Annotated[str, "A KubeSchedulerConfiguration file; what it says goes before the flags."] = ""
    plugins: Annotated[
        tuple[str, ...], "Plugins in Python that it may enable, as NAME=MODULE:OBJECT; those of installed packages too."
    ] = ()
    pod_initial_backoff_seconds: Annotated[float, "How long a rejected pod waits at first."] = 1.0
    pod_max_backoff_seconds: Annotated[float, "How long a rejected pod waits at most."] = 10.0
    pod_max_in_unschedulable_pods_duration: Annotated[Duration, "After this a rejected pod is tried anew."] = 300.0

    def gates(self) -> Mapping[str, bool]:
        """As upstream, GangScheduling is nothing without GenericWorkload. Raises FlagError."""
        asked = VersionOptions.gates(self)
        if asked.get(GANG_SCHEDULING, False) and not asked.get(POD_GROUPS, False):
            raise flags.FlagError(
                f'invalid argument for "--feature-gates" flag: {GANG_SCHEDULING} is enabled, but depends on features '
                f"that are disabled: [{POD_GROUPS}]"
            )
        return asked

    def _switchable(self) -> Collection[str]:
        # Before 1.36 pods named their group otherwise, and from 1.37 on the groups are of another version.
        groups = (POD_GROUPS, GANG_SCHEDULING) if self.version.minor == 36 else ()
        return (*groups, NODE_DECLARED_FEATURES) if self.version.minor >= 35 else groups


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletOptions(VersionOptions):
    config: Annotated[str, "A KubeletConfiguration file; flags go before what it says."] = ""
    max_pods: Annotated[int, "How many pods the node takes."] = 110
    pods_per_core: Annotated[int, "How many pods the node takes for each core; 0 for any number."] = 0
    node_labels: Annotated[Mapping[str, str], "Labels of the node."] = field(default_factory=dict)
    system_reserved: Annotated[Mapping[str, str], "Resources that pods do not get."] = field(default_factory=dict)
    node_status_update_frequency: Annotated[Duration, "How often the node's status is looked at."] = 10.0
    image_gc_high_threshold: Annotated[int, "Disk use in percent at which unused images go."] = 85
    image_gc_low_threshold: Annotated[int, "Disk use in percent down to which they go."] = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyOptions(VersionOptions):
    config: Annotated[str, "A KubeProxyConfiguration file; flags go before what it says."] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsServerOptions:
    metric_resolution: Annotated[Duration, "How often kubelets are asked what is used; 10s at least."] = 15.0

    def __post_init__(self) -> None:
        if self.metric_resolution < _LEAST_METRIC_RESOLUTION:
            raise flags.FlagError("metric-resolution should be a time duration at least 10s")


OPTIONS: Mapping[str, type[Any]] = {
    "kube-apiserver": APIServerOptions,
    "kube-controller-manager": ControllerManagerOptions,
    "kube-scheduler": SchedulerOptions,
    "kubelet": KubeletOptions,
    "kube-proxy": ProxyOptions,
    "metrics-server": MetricsServerOptions,
}


def arguments(settings: Settings, component: str) -> tuple[str, ...]:
    """What a component of a cluster is told: the cluster's version, and what the administrator said."""
    given = tuple(settings.arguments.get(component, ()))
    has_version = issubclass(OPTIONS[component], VersionOptions)
    return (*given, f"kubernetes-version={settings.kubernetes_version}") if has_version else given


FILE_FLAGS = (
    frozenset({"config", "token-auth-file"})
    | access_options.FILE_FLAGS
    | admission_flags.FILE_FLAGS
    | aggregation_options.FILE_FLAGS
    | audit_options.FILE_FLAGS
    | encryption_options.FILE_FLAGS
    | service_account_options.FILE_FLAGS
    | tracing_options.FILE_FLAGS
)
"""Flags whose values are files, named from where the command was typed."""


def absolute(component: str, arguments: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The arguments with the files that they name from `folder` made absolute. Raises ClusterError for what is none."""
    made = []
    for argument in arguments:
        name, equals, value = argument.lstrip("-").partition("=")
        if name.replace("_", "-") == "kubernetes-version":
            raise ClusterError(f"{component}: all components of a cluster are of one version: up --kubernetes-version")
        if name.replace("_", "-") in FILE_FLAGS and value:
            path = folder / value
            if not path.is_file():
                raise ClusterError(f"{component}: {name}: there is no file {path}")
            value = str(path)
        elif name.replace("_", "-") in audit_options.OUTPUT_FLAGS and value not in ("", "-"):
            value = str(folder / value)
        made.append(f"{name}{equals}{value}")
    return tuple(made)


def check(settings: Settings) -> None:
    """Raises ClusterError for flags that a component of the cluster's version does not take."""
    for component in settings.arguments:
        parse(component, arguments(settings, component))


def parse(component: str, arguments: tuple[str, ...]) -> Any:
    """The component's options from `name=value` texts, with or without leading dashes. Raises ClusterError."""
    try:
        given = [f"--{argument.lstrip('-')}" for argument in arguments]
        return config_files.parse(component, OPTIONS[component], given)
    except flags.FlagError as error:
        known = ", ".join(f"--{flag.name}" for flag in flags.flags_of(OPTIONS[component])) or "none"
        raise ClusterError(f"{component}: {error}. Flags that it has: {known}") from error
