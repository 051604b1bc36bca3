"""The control plane in one process: store, API server, controllers and scheduler, and the nodes of this machine.

It goes on when whoever started it ends. It writes its progress into the cluster's report file.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from keelback.apimachinery.errors import StatusError
from keelback.audit.options import AuditError
from keelback.bootstrap import components, failures, kubeconfigs, pki, simulated_time, stores
from keelback.bootstrap.addresses import cluster_addresses
from keelback.bootstrap.cluster_state import ClusterError, Place, Report, Settings
from keelback.bootstrap.components import (
    APIServerOptions,
    ControllerManagerOptions,
    KubeletOptions,
    MetricsServerOptions,
    SchedulerOptions,
)
from keelback.bootstrap.containerd import ContainerdError
from keelback.bootstrap.kubeconfigs import ClusterAddress
from keelback.bootstrap.node_host import NodeHost, node_specs
from keelback.bootstrap.node_namespace import NodeEnvironmentError
from keelback.bootstrap.pki import ClusterPKI
from keelback.bootstrap.processes import Process
from keelback.bootstrap.tracing_options import traced
from keelback.component import event_loop
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock, SystemClock
from keelback.encryption.options import EncryptionError
from keelback.network import namespaces
from keelback.network.fabric import Fabric, FabricPlan
from keelback.storage.protocol import StorageError

API_PORT = 6443
"""Where the API server listens on the fabric's gateway."""
_RESTART_SECONDS = (0.5, 30.0)
_SHUTDOWN_SECONDS = 2.0
_log = logger("control-plane")


async def run(place: Place) -> None:
    """Run the cluster's control plane until SIGTERM. Raises ClusterError for what cannot work."""
    settings = place.settings()
    if settings is None:
        raise ClusterError(f"no cluster in {place.data}")
    place.write(place.process_file, Process.of(os.getpid()))
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    clock = simulated_time.clock_of(settings.pace, SystemClock())
    plane = ControlPlane(place, settings, clock, random.Random(int.from_bytes(os.urandom(16))))
    try:
        await plane.run()
    except asyncio.CancelledError:
        _log.info("The control plane was asked to end")
    except BaseException as error:
        plane.reporter.fail(_in_words(error))
        raise
    finally:
        place.process_file.unlink(missing_ok=True)


def _in_words(error: BaseException) -> str:
    error = failures.root(error)
    # These have texts for people.
    if isinstance(error, OSError | StorageError | ClusterError | NodeEnvironmentError | ContainerdError):
        return str(error)
    if isinstance(error, AuditError | EncryptionError | StatusError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@dataclass(slots=True)
class Reporter:
    """Writes the report file, whole, whenever something changes."""

    place: Place
    report: Report = field(default_factory=Report)

    def start(self, nodes: tuple[str, ...]) -> None:
        self._write(Report(nodes=dict.fromkeys(nodes, "Starting")))

    def api_ready(self) -> None:
        self._write(msgspec.structs.replace(self.report, api_ready=True))

    def node(self, name: str, state: str) -> None:
        """`Ready` is the last word on a node: what comes later is the API's to tell."""
        if self.report.nodes.get(name) not in (state, "Ready"):
            self._write(msgspec.structs.replace(self.report, nodes={**self.report.nodes, name: state}))

    def fail(self, why: str) -> None:
        self._write(msgspec.structs.replace(self.report, failure=why))

    def _write(self, report: Report) -> None:
        self.report = report
        self.place.write(self.place.report_file, report)


class ControlPlane:
    """The parts of one cluster's control plane."""

    def __init__(self, place: Place, settings: Settings, clock: Clock, chance: random.Random) -> None:
        self._place = place
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._fabric = None if settings.simulated else Fabric(place.fabric)
        self._nodes = tuple(f"node-{index}" for index in range(settings.nodes))
        self._addresses = cluster_addresses(settings)
        self._fleet: Any = None
        self._metrics: Any = None
        self._rarity = simulated_time.rarity(settings.pace, settings.nodes)
        self.reporter = Reporter(place)

    @property
    def _endpoint(self) -> tuple[str, int]:
        """Where pods reach the API server.

        Simulated pods reach nothing; they are told the same, since no endpoint may have a loopback address.
        """
        plan = FabricPlan() if self._fabric is None else self._fabric.plan
        return str(plan.gateway), API_PORT

    async def run(self) -> None:
        """Run until cancelled."""
        self.reporter.start(self._nodes)
        async with asyncio.TaskGroup() as tasks:
            addresses = (self._endpoint[0], self._addresses.service_ip)
            # TLS judges certificates by the machine's time, however fast the cluster's goes.
            keys = pki.ensure_cluster_pki(self._place.pki, SystemClock().now(), addresses=addresses)
            if self._fabric is not None:
                # Before anything heavy is imported: a node's containerd takes longer to start than all of this.
                await asyncio.to_thread(self._fabric.create)
                self._begin_nodes(tasks, self._fabric, keys)
                # A turn for the nodes' first steps, which run in threads.
                await asyncio.sleep(0)
            await self._serve(tasks, keys)

    def _begin_nodes(self, tasks: asyncio.TaskGroup, fabric: Fabric, keys: ClusterPKI) -> None:
        from keelback.network import gateway, name_relay

        server = f"https://{self._endpoint[0]}:{self._endpoint[1]}"
        specs = node_specs(self._place, self._settings.nodes, self._addresses, gateway.egress_url(fabric))
        options = self._arguments("kubelet")
        for spec in specs:
            host = NodeHost(
                place=self._place,
                spec=spec,
                specs=specs,
                fabric=fabric,
                addresses=self._addresses,
                keys=keys,
                server=server,
                kubelet_arguments=options,
                clock=self._clock,
                tell=self.reporter.node,
            )
            tasks.create_task(host.run(), name=spec.name)
        resolv_conf = name_relay.RESOLV_CONF.read_text() if name_relay.RESOLV_CONF.exists() else ""
        tasks.create_task(self._keep("gateway", lambda: gateway.serve(fabric, resolv_conf)), name="gateway")

    async def _serve(self, tasks: asyncio.TaskGroup, keys: ClusterPKI) -> None:
        # What is imported here takes longer than the rest of the start: nodes are on their way meanwhile.
        from keelback.apiserver import assembly
        from keelback.apiserver.extensions import Extension
        from keelback.apiserver.server import too_large
        from keelback.component import process_metrics
        from keelback.component.metrics import Registry
        from keelback.component.serving import Server, publish_handshakes, server_context
        from keelback.metrics import answers
        from keelback.metrics.server import ResourceMetrics

        async with self._store() as store:
            options: MetricsServerOptions = components.parse("metrics-server", self._arguments("metrics-server"))
            usage = ResourceMetrics(self._clock, options.metric_resolution * self._rarity)
            extension = Extension(answers.GROUP, answers.VERSION, usage.handle)
            registry = Registry()
            process_metrics.add(registry)
            self._metrics = registry
            with event_loop.taking_in():
                config = self._api_config(keys)
                api = await assembly.start(store, config, self._clock, self._chance, registry, (extension,))
            context = server_context(keys.apiserver.certificate_path, keys.apiserver.key_path, keys.ca.certificate_path)
            serving: APIServerOptions = components.parse("kube-apiserver", self._arguments("kube-apiserver"))
            tracing = serving.tracing()
            handle = traced(api.front, tracing)
            limits = self._api_options().connection_limits()
            servers = [Server(handle, context, "127.0.0.1", self._settings.port, limits=limits, too_large=too_large)]
            if self._fabric is not None:
                listener = namespaces.listen_in(self._fabric.path, *self._endpoint)
                servers.append(Server(handle, context, listener=listener, limits=limits, too_large=too_large))
            publish_handshakes(registry, servers)
            for server in servers:
                await server.start()
            self._write_kubeconfig(keys)
            self.reporter.api_ready()
            _log.info("The API server answers", port=self._settings.port)
            try:
                await self._run_components(api, keys, usage)
            finally:
                async with asyncio.TaskGroup() as closing:
                    for server in servers:
                        closing.create_task(server.shutdown(_SHUTDOWN_SECONDS))
                if tracing is not None:
                    await tracing.close()

    def _store(self) -> AbstractAsyncContextManager[Any]:
        """What keeps the objects, from its opening to its end."""
        if self._settings.store == "etcd":
            from keelback.bootstrap.etcd_member import EtcdMember

            return EtcdMember(self._place, SystemClock()).serving()
        return self._file()

    @contextlib.asynccontextmanager
    async def _file(self) -> AsyncIterator[Any]:
        from keelback.storage.sqlite import open_store

        async with await open_store(self._place.data / "store" / "state.db", self._clock) as store:
            yield store

    async def _run_components(self, api: Any, keys: ClusterPKI, usage: Any) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(api.run(), name="apiserver")
            if self._settings.simulated:
                tasks.create_task(self._keep("simulated nodes", lambda: self._run_fleet(api, usage)))
            else:
                tasks.create_task(self._keep("metrics", lambda: self._run_metrics(api, keys, usage)))
            tasks.create_task(self._keep("scheduler", lambda: self._run_scheduler(api)))
            tasks.create_task(self._keep("controller-manager", lambda: self._run_controllers(api, keys)))
            tasks.create_task(self._keep("readiness", lambda: self._follow_nodes(api), once=True))

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]], *, once: bool = False) -> None:
        """Run one component; begin it again, ever more slowly, when it fails."""
        delay_seconds, most_seconds = _RESTART_SECONDS
        while True:
            try:
                await work()
                if once:
                    return
                _log.error("A component ended", component=name)
            except Exception as error:
                _log.exception("A component failed and is started again", error, component=name)
            await self._clock.sleep(delay_seconds)
            delay_seconds = min(delay_seconds * 2, most_seconds)

    async def _run_metrics(self, api: Any, keys: ClusterPKI, usage: Any) -> None:
        from keelback.bootstrap import resource_metrics

        fabric = self._fabric
        make_socket = None if fabric is None else lambda: namespaces.socket_in(fabric.path)
        await resource_metrics.run(usage, api.client, keys.ca.certificate_pem, make_socket, self._clock)

    async def _run_fleet(self, api: Any, usage: Any) -> None:
        """The simulated nodes, and the metrics API that reads their usage in this process: they have no server."""
        from keelback.auth.users import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
        from keelback.metrics import access
        from keelback.simulation import fleets, stage_files
        from keelback.simulation.stage_objects import StageObjects

        nodes = tuple(
            replace(node, pod_cidr=self._addresses.node_pods(index))
            for index, node in enumerate(fleets.nodes(self._settings.nodes))
        )
        identity = UserInfo("system:simulated-nodes", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP))
        client = api.client(identity, "kubelet")
        options: KubeletOptions = components.parse("kubelet", self._arguments("kubelet"))
        config = fleets.SimulatedConfig(
            nodes=nodes,
            kubelet_version=options.version.git_version,
            stages=stage_files.read_all(self._settings.stages),
        ).reporting_rarely(self._rarity)
        fleet = self._fleet = fleets.Fleet(config, client, self._clock)
        await access.ensure(client)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fleet.run())
            objects = StageObjects(client, self._clock, fleet.use_stage_objects, self._derived_chance())
            tasks.create_task(objects.run())
            reader = _account_client(api, access.ACCOUNT, access.ACCOUNT)
            tasks.create_task(usage.run(reader, lambda node: fleet.resource_metrics(node.metadata.name)))

    async def _ask_fleet(self, node_name: str, request: Any) -> Any:
        """What the kubelet of one of the simulated nodes answers."""
        if self._fleet is None:
            raise ConnectionError(f"the kubelet of node {node_name} is not there yet")
        return await self._fleet.answer(request)

    async def _run_scheduler(self, api: Any) -> None:
        from keelback.auth.users import AUTHENTICATED_GROUP, UserInfo
        from keelback.scheduler import run as scheduler

        config = scheduler_config(components.parse("kube-scheduler", self._arguments("kube-scheduler")))
        if config.kubeconfig:
            said = "clientConnection.kubeconfig: this scheduler is a part of its control plane"
            config = replace(config, without_effect=(*config.without_effect, said))
        client = api.client(UserInfo("system:kube-scheduler", groups=(AUTHENTICATED_GROUP,)), "kube-scheduler")
        registry = self._metrics.part("scheduler")
        chance = self._derived_chance()
        await scheduler.run(client, config, self._clock, chance, registry=registry, host=socket.gethostname())

    async def _run_controllers(self, api: Any, keys: ClusterPKI) -> None:
        from keelback.auth.service_accounts import TokenIssuer
        from keelback.auth.users import AUTHENTICATED_GROUP, UserInfo
        from keelback.controllers import manager
        from keelback.controllers.certificate_signer import CASigner

        def client_for(name: str) -> Any:
            if name == manager.COMPONENT:
                identity = UserInfo("system:kube-controller-manager", groups=(AUTHENTICATED_GROUP,))
                return api.client(identity, f"kube-controller-manager/{name}")
            return _account_client(api, name, f"kube-controller-manager/{name}")

        options: ControllerManagerOptions = components.parse(
            "kube-controller-manager", self._arguments("kube-controller-manager")
        )
        config = replace(
            controller_config(options, keys.ca.certificate_pem.decode()),
            signer=CASigner(keys.ca.certificate_pem, keys.ca.key_pem),
            tokens=TokenIssuer(keys.service_account.key_pem),
        ).with_rare_heartbeats(self._rarity)
        registry = self._metrics.part("controller-manager")
        await manager.run(client_for, config, self._clock, self._derived_chance(), registry=registry)

    async def _follow_nodes(self, api: Any) -> None:
        """Note the nodes that the API says are Ready, until all are."""
        from keelback.bootstrap.node_readiness import wait_ready

        await wait_ready(api, self._nodes, self._clock, lambda name: self.reporter.node(name, "Ready"))

    def _derived_chance(self) -> random.Random:
        return random.Random(self._chance.getrandbits(64))

    def _arguments(self, component: str) -> tuple[str, ...]:
        return components.arguments(self._settings, component)

    def _api_options(self) -> APIServerOptions:
        options: APIServerOptions = components.parse("kube-apiserver", self._arguments("kube-apiserver"))
        return options

    def _api_config(self, keys: ClusterPKI) -> Any:
        from keelback.apiserver.assembly import APIServerConfig
        from keelback.component import flags

        options = self._api_options()
        fabric = self._fabric
        return APIServerConfig(
            client_ca_pem=keys.ca.certificate_pem,
            service_account_key_pem=options.signing_key(keys.service_account.key_pem),
            # The controllers' own tokens, those of Secrets, are signed by the cluster's key.
            service_accounts=options.service_accounts(keys.service_account.key_pem),
            node_ports=options.node_ports(),
            event_ttl_seconds=options.event_ttl,
            allows_privileged_containers=options.allow_privileged,
            kubelet_client_certificate=keys.apiserver_kubelet_client.certificate_path,
            kubelet_client_key=keys.apiserver_kubelet_client.key_path,
            kubelet_ca_pem=keys.ca.certificate_pem,
            simulated_kubelets=self._ask_fleet if self._settings.simulated else None,
            endpoint=self._endpoint,
            service_cidr=str(self._addresses.services),
            service_ip=self._addresses.service_ip,
            dns_ip=self._addresses.dns_ip,
            token_file_text=Path(options.token_auth_file).read_text() if options.token_auth_file else "",
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
            hostname=socket.gethostname(),
            flags=flags.written(options),
            compact=stores.compactor(self._settings.store == "etcd"),
            store_is_shared=self._settings.store == "etcd",
            kubelet_socket=None if fabric is None else lambda: namespaces.socket_in(fabric.path),
        )

    def _write_kubeconfig(self, keys: ClusterPKI) -> None:
        from keelback.client import kubeconfig

        address = ClusterAddress(
            self._place.context, f"https://127.0.0.1:{self._settings.port}", keys.ca.certificate_pem
        )
        tree = kubeconfigs.with_certificate(address, self._place.context, keys.admin)
        with contextlib.suppress(FileNotFoundError):
            self._place.kubeconfig.unlink()
        kubeconfig.write(self._place.kubeconfig, tree)


def _account_client(api: Any, name: str, user_agent: str) -> Any:
    """A client that acts as a service account of kube-system."""
    from keelback.auth import users

    groups = (*users.service_account_groups("kube-system"), users.AUTHENTICATED_GROUP)
    identity = users.UserInfo(users.service_account_user_name("kube-system", name), groups=groups)
    return api.client(identity, user_agent)


def scheduler_config(options: SchedulerOptions, *, leader_elect: bool = False) -> Any:
    """The scheduler's config that kube-scheduler's flags say, and the file they name. Raises ClusterError."""
    from keelback.scheduler import configuration, plugin_registry
    from keelback.scheduler.config import SchedulerConfig

    config = SchedulerConfig(
        leader_elect=leader_elect,
        pod_initial_backoff_seconds=options.pod_initial_backoff_seconds,
        pod_max_backoff_seconds=options.pod_max_backoff_seconds,
        pod_max_in_unschedulable_seconds=options.pod_max_in_unschedulable_pods_duration,
        node_declared_features=options.gates().get(components.NODE_DECLARED_FEATURES, options.version.minor >= 36),
        speaks_of_claims=34 <= options.version.minor <= 36,
        pod_groups=options.gates().get(components.POD_GROUPS, False),
        gang_scheduling=options.gates().get(components.GANG_SCHEDULING, False),
    )
    if not options.config:
        return config
    try:
        own = plugin_registry.load(options.plugins)
        return configuration.parse(Path(options.config).read_text(), config, own)
    except (OSError, ValueError) as error:
        raise ClusterError(f"kube-scheduler --config {options.config}: {error}") from error


def controller_config(options: ControllerManagerOptions, root_ca: str) -> Any:
    """The controllers' config that kube-controller-manager's flags say."""
    from keelback.controllers.config import Config, HorizontalPodAutoscaling

    return Config(
        controllers=options.controllers,
        workers=options.workers(),
        root_ca=root_ca,
        node_monitor_period_seconds=options.node_monitor_period,
        node_monitor_grace_period_seconds=options.node_monitor_grace_period,
        node_startup_grace_period_seconds=options.node_startup_grace_period,
        node_eviction_rate=options.node_eviction_rate,
        secondary_node_eviction_rate=options.secondary_node_eviction_rate,
        unhealthy_zone_threshold=options.unhealthy_zone_threshold,
        large_cluster_size_threshold=options.large_cluster_size_threshold,
        legacy_service_account_token_clean_up_period_seconds=options.legacy_service_account_token_clean_up_period,
        terminated_pod_gc_threshold=options.terminated_pod_gc_threshold,
        max_endpoints_per_slice=options.max_endpoints_per_slice,
        mirroring_max_endpoints_per_subset=options.mirroring_max_endpoints_per_subset,
        endpoint_updates_batch_period_seconds=options.endpoint_updates_batch_period,
        endpointslice_updates_batch_period_seconds=options.endpointslice_updates_batch_period,
        mirroring_endpointslice_updates_batch_period_seconds=options.mirroring_endpointslice_updates_batch_period,
        enable_garbage_collector=options.enable_garbage_collector,
        enable_dynamic_provisioning=options.enable_dynamic_provisioning,
        disable_force_detach_on_timeout=options.disable_force_detach_on_timeout,
        resource_quota_sync_period_seconds=options.resource_quota_sync_period,
        horizontal_pod_autoscaling=HorizontalPodAutoscaling(
            timedelta(seconds=options.horizontal_pod_autoscaler_sync_period),
            timedelta(seconds=options.horizontal_pod_autoscaler_downscale_stabilization),
            options.horizontal_pod_autoscaler_tolerance,
            timedelta(seconds=options.horizontal_pod_autoscaler_cpu_initialization_period),
            timedelta(seconds=options.horizontal_pod_autoscaler_initial_readiness_delay),
        ),
        cluster_signing_duration_seconds=int(options.cluster_signing_duration),
        host=socket.gethostname(),
    )
