"""The parts of a test's cluster on one loop: store, API server, controllers, scheduler, simulated nodes.

Each may be stopped and started again. Certificates and keys are made once in a process, for all its clusters.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import json
import random
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from keelback.apimachinery.kubernetes_versions import DEFAULT, KubernetesVersion
from keelback.apiserver import assembly
from keelback.apiserver.aggregation_config import AggregationConfig
from keelback.apiserver.assembly import APIServerConfig, RunningAPIServer
from keelback.apiserver.server import too_large
from keelback.auth import users
from keelback.auth.request_header import RequestHeaderSettings
from keelback.auth.service_accounts import TokenIssuer
from keelback.auth.settings import AuthenticationSettings
from keelback.auth.users import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
from keelback.bootstrap import pki
from keelback.bootstrap.pki import ClusterPKI
from keelback.client import IN_PROCESS_WATCH_SECONDS, Client, InProcessTransport
from keelback.component.logs import logger
from keelback.component.metrics import Registry
from keelback.component.serving import Server, server_context
from keelback.concurrency.clock import Clock, SystemClock
from keelback.concurrency.paced_clock import PacedClock
from keelback.controllers import manager
from keelback.controllers.certificate_signer import CASigner
from keelback.controllers.config import Config
from keelback.scheduler import configuration
from keelback.scheduler import run as scheduler
from keelback.scheduler.config import SchedulerConfig
from keelback.simulation import fleets
from keelback.simulation import stages as kwok
from keelback.simulation.config import SimulatedNode
from keelback.simulation.stage_objects import StageObjects
from keelback.simulation.stages import Stage
from keelback.storage import memory
from keelback.storage.protocol import Store
from keelback.testing.cluster_nodes import METRICS, Kubelets
from keelback.testing.cluster_objects import Resource
from keelback.testing.controller_functions import ControllerFunction, FunctionController
from keelback.testing.faults import CrashPoint, Faults
from keelback.testing.recording import Recording
from keelback.testing.virtual_time import PATIENCE_SECONDS, VirtualTimeLoop
from keelback.testing.webhook_functions import LocalWebhooks

TOKEN: Final = "keelback-test-administrator"  # noqa: S105 - of clusters on loopback that live as long as a test
TEST_CLIENT: Final = "keelback-test"
_ADMINISTRATOR: Final = UserInfo("kubernetes-admin", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP))
_RESTART_SECONDS: Final = 1.0
_NODES_WITH_OWN_KUBELET: Final = 32
_KUBELETS: Final = "kubelets"
"""What the kubelets of more nodes than that are called, which share a process."""

_log = logger("testing")


class NoSuchComponent(Exception):
    """There is no part of that name; the text says which there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a test decides about its cluster. Times are in seconds."""

    nodes: int | tuple[SimulatedNode, ...] = 3
    controllers: bool = True
    """Controllers, scheduler and nodes; without them it is an API server alone."""
    controller_settings: Mapping[str, Any] = field(default_factory=dict)
    """What the controllers' `Config` says besides, by its fields."""
    seed: int = 0
    real_time: bool = False
    speed: float = 0.0
    """How many times as fast as the machine's time virtual time passes; 0 is as fast as it can."""
    heartbeat_seconds: float = 10.0
    """How often nodes renew their leases; what waits for them (40 and 50 seconds by default) grows with it."""
    patience_seconds: float = PATIENCE_SECONDS
    """How much real time clients that are connected get before each jump of virtual time."""
    pod_start_seconds: float = 0.1
    pod_stop_seconds: float = 0.1
    job_seconds: float = 1.0
    stages: tuple[Stage, ...] = ()
    """KWOK's, that pods or nodes go through instead of behaving as simulated ones do otherwise."""
    metrics: bool = False
    """Serve metrics.k8s.io, so that autoscalers see what pods use (see `Cluster.set_usage`)."""
    disable_admission_plugins: tuple[str, ...] = ()
    kubernetes_version: KubernetesVersion = DEFAULT
    optional_versions: tuple[tuple[str, str], ...] = ()
    """Group versions to serve beside those that the version has by default."""
    feature_gates: Mapping[str, bool] = field(default_factory=dict)
    scheduler_configuration: str = ""
    """A KubeSchedulerConfiguration as text."""
    scheduler_plugins: Mapping[str, Callable[[Mapping[str, Any]], Any]] = field(default_factory=dict)
    """Plugins that it may enable, by name: classes or functions that take the arguments it gives them."""

    @property
    def simulated_nodes(self) -> tuple[SimulatedNode, ...]:
        """The nodes, by their number or as they were given."""
        return fleets.nodes(self.nodes) if isinstance(self.nodes, int) else self.nodes


@functools.cache
def shared_pki() -> ClusterPKI:
    """Certificates and keys for every cluster of this process, valid by the machine's clock: clients judge them."""
    folder = tempfile.mkdtemp(prefix="keelback-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return pki.ensure_cluster_pki(Path(folder), SystemClock().now())


@dataclass(slots=True)
class _Component:
    work: Callable[[], Awaitable[None]]
    task: asyncio.Task[None] | None = field(default=None)


@dataclass(frozen=True, slots=True)
class _Links:
    """How each of the nodes that share a process stands to the API server."""

    parts: Parts

    def reaches(self, node: str) -> bool:
        return self.parts.is_reachable(node)

    def clock_of(self, node: str) -> Clock:
        return self.parts.clock_of(f"kubelet/{node}")


class Parts:
    """One cluster. `start` returns when the API answers and nodes are registered; everything ends with `close`."""

    def __init__(
        self,
        options: Options,
        clock: Clock,
        state: Mapping[str, bytes] | None = None,
        webhooks: LocalWebhooks | None = None,
    ) -> None:
        self._webhooks = {} if webhooks is None else webhooks
        self.options = options
        self.clock = clock
        self._state = state or {}
        self._stages = options.stages
        self._stage_objects: tuple[Stage, ...] = ()
        self._following: asyncio.Task[None] | None = None
        self._chance = random.Random(options.seed)
        self.faults = Faults(clock, self._derived_chance())
        self.nodes = options.simulated_nodes
        self._node_names = frozenset(node.name for node in self.nodes) if options.controllers else frozenset()
        self.kubelets = Kubelets(clock, options.heartbeat_seconds, self.is_reachable)
        self._clocks: dict[str, PacedClock] = {}
        self._components = self._named() if options.controllers else {}
        self._front: Server | None = None
        self._recording: asyncio.Task[None] | None = None
        self._crash: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin with what was kept in `state`, or with nothing."""
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualTimeLoop):
            loop.is_undisturbed, loop.changes = self._is_undisturbed, lambda: self.faults.changes
        self.keys = shared_pki()
        self.store: Store = memory.open_store(self.clock)
        for key, value in self._state.items():
            await self.store.put(key, value)
        await self._start_server()
        if self.nodes and self.options.controllers:
            # Of a chance of its own: what others draw does not depend on whether somebody looks for Stages.
            chance, client = random.Random(self.options.seed), self._client(_ADMINISTRATOR, "kubelets", spares=True)
            self._stages_of_api = StageObjects(client, self.clock, self._use_stage_objects, chance)
            self._following = asyncio.create_task(self._stages_of_api.run())
        for name in self._components:
            await self.start_component(name)

    async def close(self) -> None:
        """End all of it."""
        for name in reversed(self._components):
            await self.stop_component(name)
        for task in (self._recording, self._crash, self._following):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        if self._front is not None:
            await self._front.shutdown(0.1)
        await self.api.close()
        await self.store.close()

    def administrator(self) -> Client:
        """The test's own client, which no fault touches."""
        return self._client(_ADMINISTRATOR, TEST_CLIENT, spares=True)

    async def serve(self) -> int:
        """Serve HTTPS on a port of the loopback, from the first call on; the port."""
        if self._front is None:
            front = self._front = self.front()
            await front.start()
            loop = asyncio.get_running_loop()
            if isinstance(loop, VirtualTimeLoop):
                loop.patience_seconds = self.options.patience_seconds
                loop.has_company = lambda: front.connections > 0
        return self._front.bound_port

    @property
    def components(self) -> tuple[str, ...]:
        """The names of the parts that may be stopped and started."""
        return (*self._components, "apiserver")

    async def add_controller(self, name: str, resource: Resource, function: ControllerFunction) -> None:
        """Run a function as a controller, a component of this name from now on."""
        client = self._client(_ADMINISTRATOR, name)
        seed = self._chance.getrandbits(32)
        controller = FunctionController(name, resource, function, client, self._clock_of(name), seed)
        self._components[name] = _Component(controller.run)
        await self.start_component(name)

    async def stop_component(self, name: str) -> None:
        """End it as a crash does: nothing is said to anybody. One that is stopped stays so."""
        if name == "apiserver":
            self.faults.is_down = True
            self.faults.drop_watches()
            return
        component = self._component(name)
        task, component.task = component.task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def start_component(self, name: str) -> None:
        """Start it. One that runs goes on."""
        if name == "apiserver":
            if self.faults.is_down:
                await self.api.close()
                await self._start_server()
                self.faults.is_down = False
            return
        component = self._component(name)
        if component.task is None:
            component.task = asyncio.create_task(self._keep(name, component.work), name=name)

    def crash_at(self, name: str, point: CrashPoint, down_seconds: float) -> None:
        """Let a component crash where the point says, and come back. Raises NoSuchComponent."""
        self._component(name)
        self.faults.crash_point = point

        async def crash() -> None:
            await point.crashed.wait()
            await self.stop_component(name)
            await self.clock.sleep(down_seconds)
            self.faults.crash_point = None
            await self.start_component(name)

        self._crash = asyncio.create_task(crash())

    def _component(self, name: str) -> _Component:
        if name not in self._components:
            raise self._unknown(name)
        return self._components[name]

    def _unknown(self, name: str) -> NoSuchComponent:
        return NoSuchComponent(f"no component {name!r}: there are {', '.join(self.components)}")

    def _named(self) -> dict[str, _Component]:
        found = {
            "controller-manager": _Component(self._run_controllers),
            "scheduler": _Component(self._run_scheduler),
        }
        if not self.nodes:
            return found
        if self.options.metrics:
            found[METRICS] = _Component(lambda: self.kubelets.measure(self._client))
        if len(self.nodes) > _NODES_WITH_OWN_KUBELET:
            # A watch of pods for each of a thousand nodes is what one process should not pay.
            return {**found, _KUBELETS: _Component(lambda: self._run_fleet(self.nodes, "kubelet"))}
        kubelets = {
            f"kubelet/{node.name}": _Component(functools.partial(self._run_fleet, (node,), f"kubelet/{node.name}"))
            for node in self.nodes
        }
        return {**found, **kubelets}

    async def _start_server(self) -> None:
        others = (self.kubelets.extension,) if self.options.metrics else ()
        self.api: RunningAPIServer = await assembly.start(
            self.store, self.api_config(), self._clock_of("apiserver"), self._derived_chance(), Registry(), others
        )

    def api_config(self) -> APIServerConfig:
        """How the API server is."""
        disabled = self.options.disable_admission_plugins
        if not self.options.controllers:
            # Nobody makes service accounts: pods would wait for theirs for ever.
            disabled = (*disabled, "ServiceAccount")
        return APIServerConfig(
            client_ca_pem=self.keys.ca.certificate_pem,
            service_account_key_pem=self.keys.service_account.key_pem,
            kubelet_client_certificate=self.keys.apiserver_kubelet_client.certificate_path,
            kubelet_client_key=self.keys.apiserver_kubelet_client.key_path,
            kubelet_ca_pem=self.keys.ca.certificate_pem,
            simulated_kubelets=self.kubelets.answer,
            aggregation=AggregationConfig(
                client_certificate=self.keys.front_proxy_client.certificate_path,
                client_key=self.keys.front_proxy_client.key_path,
            ),
            authentication=AuthenticationSettings(
                request_header=RequestHeaderSettings(
                    ca_pem=self.keys.front_proxy_ca.certificate_pem, allowed_names=("front-proxy-client",)
                )
            ),
            endpoint=("10.89.0.1", 6443),
            token_file_text=f"{TOKEN},{_ADMINISTRATOR.name},{_ADMINISTRATOR.name},{MASTERS_GROUP}\n",
            disable_admission_plugins=disabled,
            local_webhooks=self._webhooks,
            kubernetes_version=self.options.kubernetes_version,
            optional_versions=self.options.optional_versions,
            feature_gates=self.options.feature_gates,
        )

    def front(self) -> Server:
        """What serves HTTPS, not started yet."""
        context = server_context(self.keys.apiserver.certificate_path, self.keys.apiserver.key_path)
        return Server(self.faults.around(lambda: self.api.handle), context, too_large=too_large)

    async def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run one component; begin it again when it fails."""
        while True:
            try:
                await work()
            except Exception as error:
                _log.exception("A component failed and is started again", error, component=name)
            await self.clock.sleep(_RESTART_SECONDS)

    async def _run_scheduler(self) -> None:
        client = self._client(UserInfo("system:kube-scheduler", groups=(AUTHENTICATED_GROUP,)), "kube-scheduler")
        gates = self.options.feature_gates
        config = SchedulerConfig(
            pod_groups=gates.get("GenericWorkload", False), gang_scheduling=gates.get("GangScheduling", False)
        )
        if self.options.scheduler_configuration:
            text, own = self.options.scheduler_configuration, self.options.scheduler_plugins
            config = configuration.parse(text, config, own)
        await scheduler.run(client, config, self._clock_of("scheduler"), self._derived_chance(), host="keelback")

    async def _run_controllers(self) -> None:
        config = Config(
            host="keelback",
            root_ca=self.keys.ca.certificate_pem.decode(),
            signer=CASigner(self.keys.ca.certificate_pem, self.keys.ca.key_pem),
            tokens=TokenIssuer(self.keys.service_account.key_pem),
        ).with_rare_heartbeats(self.options.heartbeat_seconds / 10.0)
        config = replace(config, **self.options.controller_settings)

        def client_for(name: str) -> Client:
            if name == manager.COMPONENT:
                own = UserInfo("system:kube-controller-manager", groups=(AUTHENTICATED_GROUP,))
                return self._client(own, f"kube-controller-manager/{name}")
            groups = (*users.service_account_groups("kube-system"), AUTHENTICATED_GROUP)
            account = UserInfo(users.service_account_user_name("kube-system", name), groups=groups)
            return self._client(account, f"kube-controller-manager/{name}")

        await manager.run(client_for, config, self._clock_of("controller-manager"), self._derived_chance())

    async def _run_fleet(self, nodes: tuple[SimulatedNode, ...], user_agent: str) -> None:
        config = fleets.SimulatedConfig(
            nodes=nodes,
            kubelet_version=self.options.kubernetes_version.git_version,
            seed=self.options.seed,
            start_seconds=self.options.pod_start_seconds,
            stop_seconds=self.options.pod_stop_seconds,
            job_seconds=self.options.job_seconds,
            stages=self._stages,
        ).reporting_rarely(self.options.heartbeat_seconds / 10.0)
        identity = UserInfo("system:simulated-nodes", groups=(MASTERS_GROUP, AUTHENTICATED_GROUP))
        client = self._client(identity, user_agent)
        chance, scripts = self._derived_chance(), self.kubelets.scripts
        if len(nodes) > 1:
            fleet = fleets.Fleet(config, client, self.clock, chance, scripts, _Links(self))
        else:
            fleet = fleets.Fleet(config, client, self._clock_of(user_agent), chance, scripts)
        await fleet.use_stage_objects(self._stage_objects)
        await self.kubelets.run(fleet, tuple(node.name for node in nodes))

    async def use_stages(self, wanted: tuple[Stage, ...]) -> None:
        """From now on pods, or nodes, go through these: those that run, and those that are started again."""
        self._stages = kwok.merged(self._stages, wanted)
        for fleet in self.kubelets.fleets:
            await fleet.use_stages(wanted)

    async def _use_stage_objects(self, wanted: tuple[Stage, ...]) -> None:
        self._stage_objects = wanted
        for fleet in self.kubelets.fleets:
            await fleet.use_stage_objects(wanted)

    @property
    def stages_are_objects(self) -> bool:
        """Whether Stages are objects of the API: their definition is there."""
        return self._following is not None and self._stages_of_api.are_served

    def is_reachable(self, node: str) -> bool:
        """Whether the node is not cut off."""
        return f"kubelet/{node}" not in self.faults.cut_off

    def _client(self, identity: UserInfo, user_agent: str, *, spares: bool = False) -> Client:
        # The server must know that this name calls from within; the client goes by way of the faults.
        self.api.client(identity, user_agent)
        handler = self.faults.around(lambda: self.api.handle, spares=spares)
        transport = InProcessTransport(handler, identity, {"user-agent": user_agent})
        return Client(transport, watch_seconds=IN_PROCESS_WATCH_SECONDS, clock=self.clock)

    def _derived_chance(self) -> random.Random:
        return random.Random(self._chance.getrandbits(64))

    async def state(self) -> dict[str, bytes]:
        """All that the store holds, in the order in which it was last written."""
        held = await self.store.range("")
        return {kv.key: kv.value for kv in sorted(held.kvs, key=lambda kv: kv.mod_revision)}

    async def revisions(self) -> list[tuple[int, int, str, str]]:
        """Of each object the revisions that made and last wrote it, its key, and its value.

        The authorities' certificates are others in each process: they are named in the place of their texts.
        """
        held = await self.store.range("")
        authority, proxies = (
            json.dumps(one.certificate_pem.decode())[1:-1] for one in (self.keys.ca, self.keys.front_proxy_ca)
        )

        def named(value: bytes) -> str:
            return value.decode().replace(authority, "the authority").replace(proxies, "the authority of proxies")

        return [(kv.create_revision, kv.mod_revision, kv.key, named(kv.value)) for kv in held.kvs]

    def record(self) -> Recording:
        """What is written and asked from now on."""
        recording = Recording(self.clock)
        self.faults.witness = recording.asked.append
        self._recording = asyncio.create_task(recording.follow(self.store))
        return recording

    def clock_of(self, name: str) -> PacedClock:
        """The clock of a component, which goes as the cluster's until it is set. Raises NoSuchComponent."""
        if name not in self.components and name.removeprefix("kubelet/") not in self._node_names:
            raise self._unknown(name)
        return self._clock_of(name)

    def _is_undisturbed(self) -> bool:
        """Whether all components run, reach the API server, and have the cluster's time."""
        return (
            self.faults.is_quiet
            and all(component.task is not None for component in self._components.values())
            and all(clock.is_plain for clock in self._clocks.values())
        )

    def _clock_of(self, name: str) -> PacedClock:
        # Clocks are of machines: a component that is started again has the same.
        return self._clocks.setdefault(name, PacedClock(self.clock))

    def disconnect(self, node: str) -> None:
        """Let nothing pass between a node and the API server. Raises NoSuchComponent."""
        self._check_node(node)
        self.faults.cut_off.add(f"kubelet/{node}")
        self.faults.drop_watches(client=f"kubelet/{node}")

    def connect(self, node: str) -> None:
        """Let it pass again. Raises NoSuchComponent."""
        self._check_node(node)
        self.faults.cut_off.discard(f"kubelet/{node}")
        if _KUBELETS in self._components:
            for fleet in self.kubelets.fleets:
                fleet.look_again(node)

    def _check_node(self, node: str) -> None:
        if node not in self._node_names:
            some = ", ".join(sorted(self._node_names)[:5])
            raise NoSuchComponent(f"no node {node!r}: there are {len(self._node_names)}, {some} among them")
