"""Components that run alone, each a process with upstream's flags: clients of an API server that a kubeconfig names."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from keelback.apimachinery.configuration_files import ConfigurationError
from keelback.apimachinery.errors import StatusError
from keelback.audit.options import AuditError
from keelback.bootstrap import component_serving, control_plane, kubeconfigs, stores
from keelback.bootstrap.addresses import service_range
from keelback.bootstrap.cluster_state import ClusterError
from keelback.bootstrap.kubeconfigs import ClusterAddress
from keelback.bootstrap.pki import ClusterPKI
from keelback.bootstrap.standalone_options import (
    ClientOptions,
    StandaloneAPIServerOptions,
    StandaloneControllerManagerOptions,
    StandaloneDNSOptions,
    StandaloneKubeletOptions,
    StandaloneProxyOptions,
    StandaloneSchedulerOptions,
)
from keelback.bootstrap.tracing_options import traced
from keelback.client import Client, HTTPSTransport, kubeconfig
from keelback.component import event_loop
from keelback.component import flags as flag_texts
from keelback.component.flags import FlagError
from keelback.component.http import Request
from keelback.component.logs import logger
from keelback.component.serving_certificates import ServingCertificates
from keelback.concurrency.clock import Clock, SystemClock
from keelback.encryption.options import EncryptionError
from keelback.storage.protocol import StorageError, Store

_CERTIFICATES = "/var/run/kubernetes"
"""Where what no file was named for is made, as upstream makes it."""
SERVER_SECONDS = 10.0
"""How long an API server that is away is waited for at the start, as kube-controller-manager does."""
_POLL_SECONDS = 0.2
_ELSEWHERE = ("192.0.2.1", 9)
"""An address that is kept for documentation, and a port that discards."""
_log = logger("standalone")


async def run(component: str, options: Any) -> None:
    """Run a component until SIGTERM or SIGINT. Raises FlagError and ClusterError for what cannot work."""
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
        try:
            await runners[component](options)
        except (AuditError, ConfigurationError, EncryptionError, StatusError, StorageError) as error:
            raise ClusterError(str(error)) from error


async def _apiserver(options: StandaloneAPIServerOptions) -> None:
    from keelback.apiserver import assembly
    from keelback.apiserver.assembly import APIServerConfig
    from keelback.apiserver.extensions import Extension
    from keelback.apiserver.health_checks import StoreTimes
    from keelback.apiserver.server import too_large
    from keelback.bootstrap import pki, resource_metrics
    from keelback.component import process_metrics
    from keelback.component.metrics import Registry
    from keelback.component.serving import Server, publish_handshakes
    from keelback.metrics import answers
    from keelback.metrics.server import ResourceMetrics

    if not options.brings_certificates:
        _need(cert_dir=options.cert_dir)
    if not options.etcd_servers:
        _need(storage_file=options.storage_file)
    services = service_range(options.service_cluster_ip_range)
    clock = SystemClock()
    address = _advertised(options)
    local = address if IPv4Address(options.bind_address).is_unspecified else options.bind_address
    addresses = (address, local, str(services[1]))
    keys = pki.ensure_cluster_pki(Path(options.cert_dir or _CERTIFICATES), clock.now(), addresses=addresses)
    kubelet_certificate, kubelet_key = options.kubelet_client(keys.apiserver_kubelet_client)
    client_ca = Path(options.client_ca_file) if options.client_ca_file else keys.ca.certificate_path
    certificates = _certificates(options, keys, client_ca)
    config = APIServerConfig(
        client_ca_pem=client_ca.read_bytes(),
        service_account_key_pem=options.signing_key(keys.service_account.key_pem),
        service_accounts=options.service_accounts(options.signing_key(keys.service_account.key_pem)),
        kubelet_client_certificate=kubelet_certificate,
        kubelet_client_key=kubelet_key,
        kubelet_ca_pem=options.kubelet_authority(keys.ca.certificate_pem),
        kubelet_address_types=options.kubelet_preferred_address_types,
        node_ports=options.node_ports(),
        event_ttl_seconds=options.event_ttl,
        allows_privileged_containers=options.allow_privileged,
        endpoint=(address, options.secure_port),
        service_cidr=str(services),
        service_ip=str(services[1]),
        dns_ip=str(services[10]),
        token_file_text=_text(options.token_auth_file),
        enable_admission_plugins=options.enable_admission_plugins,
        disable_admission_plugins=options.disable_admission_plugins,
        admission=options.admission(),
        default_not_ready_toleration_seconds=options.default_not_ready_toleration_seconds,
        default_unreachable_toleration_seconds=options.default_unreachable_toleration_seconds,
        optional_versions=options.optional_versions(),
        hidden=options.hidden_resources(),
        authentication=options.authentication(keys.front_proxy_ca.certificate_pem),
        authorization=options.authorization(),
        aggregation=options.aggregation(keys.front_proxy_client),
        kubernetes_version=options.version,
        feature_gates=options.gates(),
        audit=options,
        encryption=options.encryption(),
        request_limits=options.request_limits(),
        filters=options.filters(),
        store_times=StoreTimes(options.etcd_healthcheck_timeout, options.etcd_readycheck_timeout),
        external_hostname=options.external_hostname,
        profiling=options.profiling,
        hostname=socket.gethostname(),
        flags=flag_texts.written(options),
        compact=stores.compactor(bool(options.etcd_servers), options.etcd_compaction_interval),
        store_is_shared=bool(options.etcd_servers),
    )
    with event_loop.taking_in():
        store = await stores.open_store(options, clock)
    overrides: Mapping[tuple[str, str], Store] = {}
    try:
        overrides = await stores.open_overrides(options, clock)
        config = replace(config, store_overrides=overrides)
        usage = ResourceMetrics(clock)
        extension = Extension(answers.GROUP, answers.VERSION, usage.handle)
        metrics = Registry()
        process_metrics.add(metrics)
        with event_loop.taking_in():
            api = await assembly.start(store, config, clock, _chance(), metrics, (extension,))
        tracing = options.tracing()
        server = Server(
            traced(api.termination.handle, tracing),
            certificates.context,
            options.bind_address,
            options.secure_port,
            limits=options.connection_limits(),
            too_large=too_large,
            shares_port=options.permit_port_sharing,
        )
        publish_handshakes(metrics, (server,))
        await server.start()
        if not options.client_ca_file:
            _write_kubeconfigs(keys, f"https://{local}:{options.secure_port}")
        _log.info("The API server answers", address=local, port=options.secure_port)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(api.run())
            tasks.create_task(resource_metrics.run(usage, api.client, config.kubelet_ca_pem, None, clock))
            tasks.create_task(certificates.run(clock, lambda: api.trust_clients(client_ca.read_bytes())))
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                # Requests under way need what the server runs: they are finished first.
                await api.termination.end(
                    (server,),
                    clock,
                    delay_seconds=options.shutdown_delay_duration,
                    grace_seconds=options.request_timeout,
                    sends_retry_after=options.shutdown_send_retry_after,
                )
                if tracing is not None:
                    await tracing.close()
    finally:
        await stores.close_all((store, *overrides.values()))


def _certificates(options: StandaloneAPIServerOptions, keys: ClusterPKI, client_ca: Path) -> ServingCertificates:
    own = options.key_pair(keys.apiserver.certificate_path, keys.apiserver.key_path)
    try:
        return ServingCertificates(own, client_ca, named=options.named_pairs(), settings=options.tls_settings())
    except (OSError, ValueError) as error:
        raise ClusterError(f"--tls-cert-file, --tls-sni-cert-key, --client-ca-file: {error}") from error


def _advertised(options: StandaloneAPIServerOptions) -> str:
    """The address that pods are told, which no loopback address may be: as upstream, this machine's own else."""
    bound = _address("--bind-address", options.bind_address)
    if options.advertise_address:
        return str(_address("--advertise-address", options.advertise_address))
    if not bound.is_loopback and not bound.is_unspecified:
        return str(bound)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: the kernel only says which of its addresses would be the sender's.
            probe.connect(_ELSEWHERE)
        except OSError:
            raise ClusterError("--advertise-address is needed: this machine has no route to others") from None
        return str(probe.getsockname()[0])


def _address(flag: str, text: str) -> IPv4Address:
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise ClusterError(f"{flag}: {error}") from error


def _write_kubeconfigs(keys: ClusterPKI, server: str) -> None:
    """The files that kubeadm leaves: for the administrator, and for each component that is alone on its machine."""
    cluster = ClusterAddress("kubernetes", server, keys.ca.certificate_pem)
    users = {
        "admin": ("kubernetes-admin", keys.admin),
        "controller-manager": ("system:kube-controller-manager", keys.controller_manager),
        "scheduler": ("system:kube-scheduler", keys.scheduler),
        "proxy": ("system:kube-proxy", keys.proxy),
    }
    for name, (user, pair) in users.items():
        tree = kubeconfigs.with_certificate(cluster, user, pair)
        kubeconfig.write(keys.directory / f"{name}.conf", tree)


async def _controller_manager(options: StandaloneControllerManagerOptions) -> None:
    from keelback.auth.service_accounts import TokenIssuer
    from keelback.bootstrap.service_account_clients import ServiceAccountToken, ServiceAccountTransport
    from keelback.controllers import manager

    clock = SystemClock()
    config = control_plane.controller_config(options, _text(options.root_ca_file))
    if options.service_account_private_key_file:
        try:
            issuer = TokenIssuer(_text(options.service_account_private_key_file).encode())
        except (ValueError, TypeError) as error:
            raise ClusterError(f"--service-account-private-key-file: {error}") from error
        config = replace(config, tokens=issuer)
    config = options.with_node_cidrs(options.with_signers(config))
    identity = f"{socket.gethostname()}_{os.getpid()}"
    election = options.leader_election()
    config = replace(config, leader_elect=options.leader_elect, identity=identity, leader_election=election)
    own = await _client(options, clock, must_answer=True)

    def client_for(name: str) -> Client:
        if name == manager.COMPONENT or not options.use_service_account_credentials:
            return own
        anonymous = replace(_access(options), user={})
        token = ServiceAccountToken(name, own, clock)
        return Client(ServiceAccountTransport(_transport(anonymous, clock), token))

    answering, server = await component_serving.serving(
        manager.COMPONENT, options, own, lambda path: _client_of(path, clock), clock
    )
    work = manager.run(client_for, config, clock, _chance(), registry=answering.metrics, add_check=answering.add_check)
    await component_serving.run_beside(server, work)


async def _scheduler(options: StandaloneSchedulerOptions) -> None:
    from keelback.scheduler import run as scheduler

    clock = SystemClock()
    config = control_plane.scheduler_config(options, leader_elect=options.leader_elect)
    if config.kubeconfig and not options.kubeconfig:
        options = replace(options, kubeconfig=config.kubeconfig)
    client = await _client(options, clock, must_answer=True)
    answering, server = await component_serving.serving(
        "kube-scheduler", options, client, lambda path: _client_of(path, clock), clock
    )
    work = scheduler.run(
        client,
        config,
        clock,
        _chance(),
        registry=answering.metrics,
        host=socket.gethostname(),
        add_check=answering.add_check,
    )
    await component_serving.run_beside(server, work)


async def _kubelet(options: StandaloneKubeletOptions) -> None:
    if options.simulated:
        await _simulated_kubelet(options)
        return
    from keelback.bootstrap.node import kubelet_flags
    from keelback.cri.containerd import CRIRuntime
    from keelback.kubelet import agent
    from keelback.kubelet.config import KubeletConfig

    _need(
        tls_cert_file=options.tls_cert_file,
        tls_private_key_file=options.tls_private_key_file,
        client_ca_file=options.client_ca_file,
    )
    for path in (options.tls_cert_file, options.tls_private_key_file, options.client_ca_file):
        _text(path)
    socket_path = _socket(options.container_runtime_endpoint)
    config = kubelet_flags(
        KubeletConfig(
            node_name=_node_name(options.hostname_override),
            node_ips=(options.node_ip,),
            pod_cidr=options.pod_cidr,
            root=Path(options.root_dir),
            manifests=Path(options.pod_manifest_path) if options.pod_manifest_path else None,
            runtime_socket=socket_path,
            cgroup_root=options.cgroup_root,
            cluster_dns=options.cluster_dns,
            cluster_domain=options.cluster_domain,
            resolv_conf=Path(options.resolv_conf),
            address=options.address,
            port=options.port,
            tls_certificate=Path(options.tls_cert_file),
            tls_key=Path(options.tls_private_key_file),
            client_ca=Path(options.client_ca_file),
        ),
        options,
    )
    clock = SystemClock()
    runtime = CRIRuntime(socket_path, clock)
    try:
        await agent.run(config, await _client(options, clock), runtime, clock, _chance())
    finally:
        await runtime.close()


async def _simulated_kubelet(options: StandaloneKubeletOptions) -> None:
    from keelback.simulation import fleets
    from keelback.simulation.config import SimulatedConfig, SimulatedNode

    try:
        pods = IPv4Network(options.pod_cidr)
    except ValueError:
        raise ClusterError(
            "--simulated needs --pod-cidr, the addresses of this node's pods, such as 10.244.7.0/24"
        ) from None
    capacity = {"cpu": "32", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": str(options.max_pods)}
    node = SimulatedNode(
        name=_node_name(options.hostname_override),
        internal_ip=options.node_ip,
        capacity=capacity,
        labels=options.node_labels,
        pod_cidr=str(pods),
    )
    clock = SystemClock()
    client = await _client(options, clock, must_answer=True)
    config = SimulatedConfig(nodes=(node,), kubelet_version=options.version.git_version)
    await fleets.run(config, client, clock)


async def _proxy(options: StandaloneProxyOptions) -> None:
    from keelback.proxy import proxy
    from keelback.proxy.config import ProxyConfig

    config = ProxyConfig(
        node_name=_node_name(options.hostname_override),
        node_ips=(options.node_ip,),
        cluster_cidrs=(options.cluster_cidr,),
        health_port=options.healthz_port,
    )
    clock = SystemClock()
    await proxy.run(await _client(options, clock), config, clock)


async def _dns(options: StandaloneDNSOptions) -> None:
    from keelback.dns import server
    from keelback.dns.config import DNSConfig

    config = DNSConfig(
        addresses=(options.address,),
        port=options.port,
        domain=options.domain,
        interface=options.interface,
        resolv_conf=Path(options.resolv_conf),
    )
    clock = SystemClock()
    await server.run(await _client(options, clock), config, clock)


async def _client(options: ClientOptions, clock: Clock, *, must_answer: bool = False) -> Client:
    """A client of the API server, after it answered or was waited for in vain.

    Raises ClusterError where it refuses this identity or is none to trust, and, if it must answer, where it does not.
    """
    transport = _transport(_access(options), clock)
    deadline = clock.monotonic() + (SERVER_SECONDS if must_answer else 0.0)
    while True:
        try:
            response = await transport.send(Request("GET", "/readyz"), timeout_seconds=SERVER_SECONDS)
            why = f"/readyz answers {response.status}"
            if response.status == 401:
                raise ClusterError(f"the API server {transport.address} does not know whom {options.kubeconfig} names")
            if response.status == 200:
                return Client(transport)
        except ssl.SSLCertVerificationError as error:
            raise ClusterError(
                f"the API server {transport.address} is not the one that {options.kubeconfig} trusts: "
                f"{error.verify_message}"
            ) from error
        except (OSError, TimeoutError) as error:
            why = str(error) or type(error).__name__
        if clock.monotonic() >= deadline:
            break
        await clock.sleep(_POLL_SECONDS)
    if must_answer:
        await transport.close()
        raise ClusterError(f"the API server {transport.address} is not ready after {SERVER_SECONDS:.0f} s: {why}")
    # A node goes on without its API server, and so starts without it.
    _log.warning("The API server does not answer yet", address=transport.address, why=why)
    return Client(transport)


def _client_of(path: str, clock: Clock) -> Client:
    """The client of another kubeconfig. Raises ClusterError."""
    return Client(_transport(_access(ClientOptions(kubeconfig=path)), clock))


def _access(options: ClientOptions) -> kubeconfig.Access:
    _need(kubeconfig=options.kubeconfig)
    try:
        return kubeconfig.load(Path(options.kubeconfig))
    except (kubeconfig.KubeconfigError, OSError, ValueError) as error:
        raise ClusterError(f"--kubeconfig: {error}") from error


def _transport(access: kubeconfig.Access, clock: Clock) -> HTTPSTransport:
    try:
        return kubeconfig.transport(access, clock)
    except (kubeconfig.KubeconfigError, OSError, ValueError) as error:
        raise ClusterError(f"--kubeconfig: {error}") from error


def _need(**flags: str) -> None:
    """Raises FlagError for flags without a value."""
    for name, value in flags.items():
        if not value:
            raise FlagError(f"--{name.replace('_', '-')} is needed")


def _node_name(override: str) -> str:
    return (override or socket.gethostname()).lower()


def _socket(endpoint: str) -> str:
    path = endpoint.removeprefix("unix://")
    if not Path(path).is_socket():
        raise ClusterError(f"--container-runtime-endpoint: there is no socket {path}")
    return path


def _text(path: str) -> str:
    try:
        return Path(path).read_text() if path else ""
    except OSError as error:
        raise ClusterError(f"{path}: {error.strerror}") from error


def _chance() -> random.Random:
    return random.Random(int.from_bytes(os.urandom(16)))
