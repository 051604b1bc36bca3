"""Components that run alone, each a process with upstream's flags: clients of an API server that a kubeconfig names."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from keelback.bootstrap import control_plane
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.components import APIServerOptions, ControllerManagerOptions, KubeletOptions, SchedulerOptions
from keelback.client import Client, kubeconfig
from keelback.concurrency.clock import SystemClock


@dataclass(frozen=True, kw_only=True)
class _ClientOptions:
    kubeconfig: Annotated[str, "The file that says where the API server is and who this is."] = ""


@dataclass(frozen=True, kw_only=True)
class StandaloneAPIServerOptions(APIServerOptions):
    cert_dir: Annotated[str, "The cluster's certificates; they are made where they are missing."] = ""
    storage_file: Annotated[str, "The SQLite file of the store."] = ""
    bind_address: Annotated[str, "The address to serve on."] = "127.0.0.1"
    secure_port: Annotated[int, "The port to serve on."] = 6443
    advertise_address: Annotated[str, "Where pods reach this server; the bind address if not given."] = ""


@dataclass(frozen=True, kw_only=True)
class StandaloneControllerManagerOptions(ControllerManagerOptions, _ClientOptions):
    root_ca_file: Annotated[str, "The authority that pods verify the API server with."] = ""


@dataclass(frozen=True, kw_only=True)
class StandaloneSchedulerOptions(SchedulerOptions, _ClientOptions):
    pass


@dataclass(frozen=True, kw_only=True)
class StandaloneKubeletOptions(KubeletOptions, _ClientOptions):
    hostname_override: Annotated[str, "The node's name, if not this machine's."] = ""
    node_ip: Annotated[str, "The node's address."] = "127.0.0.1"
    container_runtime_endpoint: Annotated[str, "The socket of the runtime."] = "/run/containerd/containerd.sock"
    tls_cert_file: Annotated[str, "The certificate to serve with."] = ""
    tls_private_key_file: Annotated[str, "Its key."] = ""
    client_ca_file: Annotated[str, "The authority of those who may ask."] = ""
    root_dir: Annotated[str, "Where volumes are."] = "/var/lib/kubelet"


@dataclass(frozen=True, kw_only=True)
class StandaloneProxyOptions(_ClientOptions):
    hostname_override: Annotated[str, "The node's name, if not this machine's."] = ""
    node_ip: Annotated[str, "The node's address."] = "127.0.0.1"
    cluster_cidr: Annotated[str, "The addresses of pods."] = "10.244.0.0/16"


@dataclass(frozen=True, kw_only=True)
class StandaloneDNSOptions(_ClientOptions):
    address: Annotated[str, "The address to answer on."] = "10.96.0.10"
    resolv_conf: Annotated[str, "Whom to ask for names outside the cluster."] = "/etc/resolv.conf"


OPTIONS: Mapping[str, type[Any]] = {
    "apiserver": StandaloneAPIServerOptions,
    "controller-manager": StandaloneControllerManagerOptions,
    "scheduler": StandaloneSchedulerOptions,
    "kubelet": StandaloneKubeletOptions,
    "proxy": StandaloneProxyOptions,
    "dns": StandaloneDNSOptions,
}


async def run(component: str, options: Any) -> None:
    """Run a component until SIGTERM or SIGINT. Raises ClusterError for flags that cannot work."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    runners: Mapping[str, Callable[[Any], Coroutine[Any, Any, None]]] = {
        "apiserver": _apiserver,
        "controller-manager": _controller_manager,
        "scheduler": _scheduler,
        "kubelet": _kubelet,
        "proxy": _proxy,
        "dns": _dns,
    }
    with suppress(asyncio.CancelledError):
        await runners[component](options)


async def _apiserver(options: StandaloneAPIServerOptions) -> None:
    from keelback.apiserver import assembly
    from keelback.apiserver.assembly import APIServerConfig
    from keelback.bootstrap import pki
    from keelback.component.metrics import Registry
    from keelback.component.serving import Server, server_context
    from keelback.storage.sqlite import open_store

    if not options.cert_dir or not options.storage_file:
        raise ClusterError("--cert-dir and --storage-file are needed")
    clock = SystemClock()
    address = options.advertise_address or options.bind_address
    keys = pki.ensure_cluster_pki(Path(options.cert_dir), clock.now(), addresses=(address,))
    config = APIServerConfig(
        client_ca_pem=keys.ca.certificate_pem,
        service_account_key_pem=keys.service_account.key_pem,
        kubelet_client_certificate=keys.apiserver_kubelet_client.certificate_path,
        kubelet_client_key=keys.apiserver_kubelet_client.key_path,
        kubelet_ca_pem=keys.ca.certificate_pem,
        endpoint=(address, options.secure_port),
        token_file_text=_text(options.token_auth_file),
        enable_admission_plugins=options.enable_admission_plugins,
        disable_admission_plugins=options.disable_admission_plugins,
    )
    store = await open_store(Path(options.storage_file), clock)
    try:
        api = await assembly.start(store, config, clock, _chance(), Registry())
        context = server_context(keys.apiserver.certificate_path, keys.apiserver.key_path, keys.ca.certificate_path)
        async with Server(api.handle, context, options.bind_address, options.secure_port):
            await api.run()
    finally:
        await store.close()


async def _controller_manager(options: StandaloneControllerManagerOptions) -> None:
    from keelback.controllers import manager

    config = control_plane.controller_config(options, _text(options.root_ca_file))
    await manager.run(_client(options), config, SystemClock(), _chance())


async def _scheduler(options: StandaloneSchedulerOptions) -> None:
    from keelback.scheduler import run as scheduler
    from keelback.scheduler.config import SchedulerConfig

    config = SchedulerConfig(
        pod_initial_backoff_seconds=options.pod_initial_backoff_seconds,
        pod_max_backoff_seconds=options.pod_max_backoff_seconds,
        pod_max_in_unschedulable_seconds=options.pod_max_in_unschedulable_pods_duration,
    )
    await scheduler.run(_client(options), config, SystemClock(), _chance(), host=socket.gethostname())


async def _kubelet(options: StandaloneKubeletOptions) -> None:
    from keelback.bootstrap.node import kubelet_flags
    from keelback.cri.containerd import CRIRuntime
    from keelback.kubelet import agent
    from keelback.kubelet.config import KubeletConfig

    def path(text: str) -> Path | None:
        return Path(text) if text else None

    socket_path = options.container_runtime_endpoint.removeprefix("unix://")
    config = kubelet_flags(
        KubeletConfig(
            node_name=options.hostname_override or socket.gethostname(),
            node_ips=(options.node_ip,),
            root=Path(options.root_dir),
            runtime_socket=socket_path,
            tls_certificate=path(options.tls_cert_file),
            tls_key=path(options.tls_private_key_file),
            client_ca=path(options.client_ca_file),
        ),
        options,
    )
    clock = SystemClock()
    runtime = CRIRuntime(socket_path, clock)
    try:
        await agent.run(config, _client(options), runtime, clock, _chance())
    finally:
        await runtime.close()


async def _proxy(options: StandaloneProxyOptions) -> None:
    from keelback.proxy import proxy
    from keelback.proxy.config import ProxyConfig

    config = ProxyConfig(
        node_name=options.hostname_override or socket.gethostname(),
        node_ips=(options.node_ip,),
        cluster_cidrs=(options.cluster_cidr,),
    )
    await proxy.run(_client(options), config, SystemClock())


async def _dns(options: StandaloneDNSOptions) -> None:
    from keelback.dns import server
    from keelback.dns.config import DNSConfig

    config = DNSConfig(addresses=(options.address,), resolv_conf=Path(options.resolv_conf))
    await server.run(_client(options), config, SystemClock())


def _client(options: _ClientOptions) -> Client:
    if not options.kubeconfig:
        raise ClusterError("--kubeconfig is needed")
    try:
        return Client(kubeconfig.transport(kubeconfig.load(Path(options.kubeconfig))))
    except kubeconfig.KubeconfigError as error:
        raise ClusterError(str(error)) from error


def _text(path: str) -> str:
    try:
        return Path(path).read_text() if path else ""
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}") from error


def _chance() -> random.Random:
    return random.Random(int.from_bytes(os.urandom(16)))
