"""The flags of components that run alone: upstream's names, beside those that a cluster may be given too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from keelback.bootstrap.component_options import ComponentServingOptions
from keelback.bootstrap.components import (
    APIServerOptions,
    ControllerManagerOptions,
    KubeletOptions,
    ProxyOptions,
    SchedulerOptions,
)
from keelback.bootstrap.kubelet_client_options import KubeletClientOptions
from keelback.bootstrap.log_options import LogOptions
from keelback.bootstrap.manager_options import LeaderElectionOptions, NodeRangeOptions, SigningOptions
from keelback.bootstrap.serving_options import ServingOptions
from keelback.bootstrap.stores import StoreOptions
from keelback.bootstrap.usual_options import UsualOptions


@dataclass(frozen=True, kw_only=True)
class ClientOptions(LogOptions):
    kubeconfig: Annotated[str, "The file that says where the API server is and who this is. Needed."] = ""


@dataclass(frozen=True, kw_only=True)
class StandaloneAPIServerOptions(
    LogOptions, StoreOptions, ServingOptions, UsualOptions, KubeletClientOptions, APIServerOptions
):
    cert_dir: Annotated[
        str,
        "The cluster's certificates, and kubeconfigs for the administrator (admin.conf) and the components; "
        "what is missing is made. Needed, unless --tls-cert-file, --client-ca-file and "
        "--service-account-signing-key-file are given.",
    ] = ""
    bind_address: Annotated[str, "The address to serve on."] = "127.0.0.1"
    secure_port: Annotated[int, "The port to serve on."] = 6443
    advertise_address: Annotated[str, "Where pods reach this server; this machine's address if not given."] = ""

    def __post_init__(self) -> None:
        StoreOptions.__post_init__(self)
        ServingOptions.__post_init__(self)
        APIServerOptions.__post_init__(self)
        self.check_kubelet_client()
        self.check_usual()

    @property
    def brings_certificates(self) -> bool:
        """Whether files are named for all that clients and tokens are verified with, as kubeadm does."""
        return bool(self.tls_cert_file and self.client_ca_file and self.service_account_signing_key_file)


@dataclass(frozen=True, kw_only=True)
class StandaloneControllerManagerOptions(
    NodeRangeOptions,
    ControllerManagerOptions,
    ClientOptions,
    SigningOptions,
    LeaderElectionOptions,
    ComponentServingOptions,
):
    secure_port: Annotated[int, "The port to serve health and metrics on, with TLS; 0 for nowhere."] = 10257
    root_ca_file: Annotated[str, "The authority that pods verify the API server with."] = ""
    service_account_private_key_file: Annotated[
        str, "The key that signs the tokens of Secrets that ask for one; without it none gets any."
    ] = ""
    use_service_account_credentials: Annotated[
        bool, "Let each controller act as a service account of its own, with no more rights than it needs."
    ] = False

    def __post_init__(self) -> None:
        ControllerManagerOptions.__post_init__(self)
        self.check_serving()

    def without_effect(self) -> dict[str, str]:
        """The flags that were given and change nothing here, with the reason."""
        found = ComponentServingOptions.without_effect(self)
        if self.cluster_name != "kubernetes":
            found["--cluster-name"] = "there is no cloud provider that would call things by it"
        return found


@dataclass(frozen=True, kw_only=True)
class StandaloneSchedulerOptions(SchedulerOptions, ClientOptions, ComponentServingOptions):
    secure_port: Annotated[int, "The port to serve health and metrics on, with TLS; 0 for nowhere."] = 10259
    leader_elect: Annotated[bool, "Wait until no other scheduler leads."] = True

    def __post_init__(self) -> None:
        SchedulerOptions.__post_init__(self)
        self.check_serving()


@dataclass(frozen=True, kw_only=True)
class StandaloneKubeletOptions(KubeletOptions, ClientOptions):
    simulated: Annotated[bool, "Run no containers: a node whose pods only seem to run. Needs --pod-cidr."] = False
    hostname_override: Annotated[str, "The node's name, if not this machine's."] = ""
    node_ip: Annotated[str, "The node's address."] = "127.0.0.1"
    pod_cidr: Annotated[str, "The addresses of the node's pods; the controller manager's choice if not given."] = ""
    container_runtime_endpoint: Annotated[str, "The socket of the runtime."] = "unix:///run/containerd/containerd.sock"
    cgroup_root: Annotated[str, "The control group above those of pods."] = ""
    cluster_dns: Annotated[tuple[str, ...], "The DNS servers of pods."] = ("10.96.0.10",)
    cluster_domain: Annotated[str, "The domain of the cluster."] = "cluster.local"
    resolv_conf: Annotated[str, "The file that pods with the node's DNS get."] = "/etc/resolv.conf"
    pod_manifest_path: Annotated[str, "A folder with the manifests of static pods."] = ""
    address: Annotated[str, "The address to serve on."] = "0.0.0.0"  # noqa: S104 - upstream's default
    port: Annotated[int, "The port to serve on."] = 10250
    tls_cert_file: Annotated[str, "The certificate to serve with. Needed with containers."] = ""
    tls_private_key_file: Annotated[str, "Its key. Needed with containers."] = ""
    client_ca_file: Annotated[str, "The authority of those who may ask. Needed with containers."] = ""
    root_dir: Annotated[str, "Where volumes are."] = "/var/lib/kubelet"


@dataclass(frozen=True, kw_only=True)
class StandaloneProxyOptions(ProxyOptions, ClientOptions):
    hostname_override: Annotated[str, "The node's name, if not this machine's."] = ""
    node_ip: Annotated[str, "The node's address, where NodePorts answer."] = "127.0.0.1"
    cluster_cidr: Annotated[str, "The addresses of pods."] = "10.244.0.0/16"
    healthz_port: Annotated[int, "Where /healthz and /metrics are served; 0 for nowhere."] = 10256


@dataclass(frozen=True, kw_only=True)
class StandaloneDNSOptions(ClientOptions):
    address: Annotated[str, "The address to answer on."] = "10.96.0.10"
    port: Annotated[int, "The port to answer on."] = 53
    interface: Annotated[str, "The link that gets the address; empty where it has one already."] = "lo"
    domain: Annotated[str, "The domain of the cluster."] = "cluster.local"
    resolv_conf: Annotated[str, "Whom to ask for names outside the cluster."] = "/etc/resolv.conf"


OPTIONS: Mapping[str, type[Any]] = {
    "apiserver": StandaloneAPIServerOptions,
    "controller-manager": StandaloneControllerManagerOptions,
    "scheduler": StandaloneSchedulerOptions,
    "kubelet": StandaloneKubeletOptions,
    "proxy": StandaloneProxyOptions,
    "dns": StandaloneDNSOptions,
}
