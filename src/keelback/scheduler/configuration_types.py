"""The form of a KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1). What is not named here is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec


class ConfigurationError(ValueError):
    """The configuration cannot be used; the message says where and why."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A part of a configuration, in which an unknown field is a mistake."""


class PluginName(Strict, frozen=True):
    """A plugin at an extension point; of weight 0, its default."""

    name: str
    weight: int = 0


class PluginSet(Strict, frozen=True):
    """What an extension point runs besides the defaults, and what it does not."""

    enabled: tuple[PluginName, ...] = ()
    disabled: tuple[PluginName, ...] = ()


class PluginArguments(Strict, frozen=True):
    """A plugin's arguments."""

    name: str
    args: Mapping[str, Any]


Point: TypeAlias = Literal[
    "preEnqueue",
    "queueSort",
    "preFilter",
    "filter",
    "postFilter",
    "preScore",
    "score",
    "reserve",
    "permit",
    "preBind",
    "bind",
    "postBind",
    "multiPoint",
]


class ProfileConfiguration(Strict, frozen=True):
    """One scheduler: the pods that name it are placed by these plugins."""

    scheduler_name: str = "default-scheduler"
    percentage_of_nodes_to_score: int | None = None
    plugins: Mapping[Point, PluginSet] | None = None
    plugin_config: tuple[PluginArguments, ...] = ()


class LeaderElectionConfiguration(Strict, frozen=True):
    """Whether another scheduler may be running, and by which Lease they know of one another."""

    leader_elect: bool = True
    lease_duration: str = "15s"
    renew_deadline: str = "10s"
    retry_period: str = "2s"
    resource_lock: str = "leases"
    resource_name: str = "kube-scheduler"
    resource_namespace: str = "kube-system"


class ClientConnection(Strict, frozen=True):
    """How the scheduler speaks to the API server."""

    kubeconfig: str = ""
    accept_content_types: str = ""
    content_type: str = ""
    qps: float = 0.0
    burst: int = 0


class ExtenderTLS(Strict, frozen=True):
    """How an extender is spoken to over TLS; data goes before files, and is in base64."""

    insecure: bool = False
    server_name: str = ""
    cert_file: str = ""
    key_file: str = ""
    ca_file: str = ""
    cert_data: str = ""
    key_data: str = ""
    ca_data: str = ""


class ManagedResource(Strict, frozen=True):
    """A resource that an extender manages; where it is ignored, the scheduler does not count it."""

    name: str
    ignored_by_scheduler: bool = False


class ExtenderConfiguration(Strict, frozen=True):
    """A program that is asked over HTTP; verbs that are empty it is not asked."""

    url_prefix: str
    filter_verb: str = ""
    preempt_verb: str = ""
    prioritize_verb: str = ""
    weight: int = 0
    bind_verb: str = ""
    enable_https: bool = msgspec.field(name="enableHTTPS", default=False)
    tls_config: ExtenderTLS | None = None
    http_timeout: str = "5s"
    node_cache_capable: bool = False
    managed_resources: tuple[ManagedResource, ...] = ()
    ignorable: bool = False


class KubeSchedulerConfiguration(Strict, frozen=True):
    """The file."""

    api_version: Literal["kubescheduler.config.k8s.io/v1"]
    kind: Literal["KubeSchedulerConfiguration"]
    parallelism: int | None = None
    leader_election: LeaderElectionConfiguration | None = None
    client_connection: ClientConnection = ClientConnection()
    enable_profiling: bool | None = None
    enable_contention_profiling: bool | None = None
    delay_cache_until_active: bool | None = None
    percentage_of_nodes_to_score: int | None = None
    pod_initial_backoff_seconds: int = 1
    pod_max_backoff_seconds: int = 10
    profiles: tuple[ProfileConfiguration, ...] = ()
    extenders: tuple[ExtenderConfiguration, ...] = ()
