"""The simulated kubelets of a test's cluster: who asks one over HTTP finds it, and what their pods use is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from keelback.apimachinery import labels, quantity
from keelback.apiserver.extensions import Extension
from keelback.auth import users
from keelback.auth.users import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
from keelback.client import Client
from keelback.component.http import AnyResponse, Request
from keelback.concurrency.clock import Clock
from keelback.metrics import access, answers
from keelback.metrics.observed import MeasuredNode
from keelback.metrics.server import RESOLUTION_SECONDS, ResourceMetrics
from keelback.simulation.fleets import Fleet
from keelback.simulation.pods import SimulatedPod
from keelback.simulation.scripts import Scripts

METRICS: Final = "metrics-server"


@dataclass(frozen=True, slots=True)
class Usage:
    """What pods use: each of them, or all that run together."""

    namespace: str
    selector: labels.Selector
    cpu: float | None
    memory: int | None
    is_shared: bool

    def covers(self, pod: SimulatedPod) -> bool:
        """Whether it speaks of the pod."""
        return pod.metadata.namespace == self.namespace and self.selector.matches(pod.metadata.labels)


class Kubelets:
    """Finds the fleet of each node, and has the scripts and the usage that a test gives."""

    def __init__(self, clock: Clock, heartbeat_seconds: float, is_reachable: Callable[[str], bool]) -> None:
        self.scripts = Scripts(usage=self._usage_of)
        # As nodes report more rarely, so are they asked.
        self._metrics = ResourceMetrics(clock, RESOLUTION_SECONDS * max(1.0, heartbeat_seconds / 10.0))
        self._is_reachable = is_reachable
        self._fleets: dict[str, Fleet] = {}
        self._told: list[Usage] = []

    @property
    def extension(self) -> Extension:
        """The API group metrics.k8s.io."""
        return Extension(answers.GROUP, answers.VERSION, self._metrics.handle)

    @property
    def fleets(self) -> tuple[Fleet, ...]:
        """Those that run."""
        return tuple(dict.fromkeys(self._fleets.values()))

    async def run(self, fleet: Fleet, names: tuple[str, ...]) -> None:
        """Run the fleet of these nodes until cancelled."""
        self._fleets.update(dict.fromkeys(names, fleet))
        try:
            await fleet.run()
        finally:
            for name in names:
                if self._fleets.get(name) is fleet:
                    del self._fleets[name]

    async def answer(self, node_name: str, request: Request) -> AnyResponse:
        """What a node's kubelet answers. Raises StatusErrors, and ConnectionError where none is reached."""
        return await self._fleet(node_name).answer(request)

    async def measure(self, client_for: Callable[[UserInfo, str], Client]) -> None:
        """Keep the metrics API's figures fresh until cancelled."""
        await access.ensure(client_for(UserInfo("system:metrics-setup", groups=(MASTERS_GROUP,)), METRICS))
        groups = (*users.service_account_groups(access.NAMESPACE), AUTHENTICATED_GROUP)
        account = UserInfo(users.service_account_user_name(access.NAMESPACE, access.ACCOUNT), groups=groups)
        await self._metrics.run(client_for(account, METRICS), self._fetch)

    def use(self, label_selector: str, namespace: str, cpu: str, memory: str, *, is_shared: bool) -> None:
        """From now on pods use this; what was said of the same selector is forgotten. Raises ValueError."""
        selector = labels.parse(label_selector)
        self._told = [one for one in self._told if (one.selector, one.namespace) != (selector, namespace)]
        self._told.append(
            Usage(
                namespace,
                selector,
                quantity.parse(cpu).as_float() if cpu else None,
                quantity.parse(memory).value if memory else None,
                is_shared,
            )
        )

    def _usage_of(self, pod: SimulatedPod) -> tuple[float | None, int | None]:
        for one in reversed(self._told):
            if one.covers(pod):
                share = self._running(one) if one.is_shared else 1
                memory = None if one.memory is None else one.memory // share
                return (None if one.cpu is None else one.cpu / share), memory
        return None, None

    def _running(self, usage: Usage) -> int:
        running = (pod for fleet in self.fleets for pod in fleet.pods() if pod.status.phase == "Running")
        return max(1, sum(map(usage.covers, running)))

    def _fleet(self, node_name: str) -> Fleet:
        fleet = self._fleets.get(node_name)
        if fleet is None or not self._is_reachable(node_name):
            raise ConnectionError(f"dial tcp: the kubelet of node {node_name} does not answer")
        return fleet

    async def _fetch(self, node: MeasuredNode) -> bytes:
        return await self._fleet(node.metadata.name).resource_metrics(node.metadata.name)
