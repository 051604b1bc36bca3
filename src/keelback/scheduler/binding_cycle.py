"""From the decision to the binding: reserve, permit, make volumes, bind; and giving all back where that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from keelback.apimachinery import errors
from keelback.client import Client
from keelback.component import logs
from keelback.concurrency.clock import Clock
from keelback.scheduler import binding, status_patches
from keelback.scheduler.binding import Jobs
from keelback.scheduler.cycle import Assigned
from keelback.scheduler.device_binding import DeviceBinding, DevicesNotBound
from keelback.scheduler.event_queue import QueueingRecorder
from keelback.scheduler.metrics import SchedulerMetrics
from keelback.scheduler.observation import Observation
from keelback.scheduler.queue import SchedulingQueue
from keelback.scheduler.queued_pod import QueuedPod
from keelback.scheduler.waiting_pods import WaitingPod, WaitingPods
from keelback.scheduling import device_reservations
from keelback.scheduling.device_reservations import DeviceReservation
from keelback.scheduling.extension_points import Wait
from keelback.scheduling.fit_error import single_node_message
from keelback.scheduling.framework import CycleState, Unschedulable
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_to_place import PodToPlace
from keelback.scheduling.volume_binding import DEFAULT_BIND_TIMEOUT_SECONDS, VolumeBinding

_log = logs.logger("scheduler")


class Binder(Protocol):
    """What is asked to bind pods before plugins are: extenders."""

    async def bind(self, pod: PodToPlace, node_name: str) -> bool:
        """Whether it has bound the pod. What it raises is a failed attempt."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What a binding cycle works with."""

    client: Client
    clock: Clock
    observation: Observation
    queue: SchedulingQueue
    metrics: SchedulerMetrics
    recorder: Callable[[PodToPlace], QueueingRecorder]
    latest: Callable[[PodToPlace], PodToPlace | None]
    """The pod as the informer last saw it; None when it is gone."""
    wake: Callable[[], None]
    binder: Binder | None = None

    @property
    def devices(self) -> DeviceBinding:
        """What writes claims for devices."""
        return DeviceBinding(self.client, self.clock, self.observation.devices)


class _Rejected(Exception):
    """A plugin does not want the pod to have its node: not a failure, but an answer."""

    def __init__(self, plugin: str, answer: Unschedulable) -> None:
        super().__init__(", ".join(answer.reasons))
        self.plugin = plugin
        self.answer = answer


@dataclass(frozen=True, slots=True)
class _Way:
    # One pod on its way to its node.
    queued: QueuedPod
    node_name: str
    plugins: Plugins
    state: CycleState
    started: float
    devices: DeviceReservation | None

    @property
    def pod(self) -> PodToPlace:
        return self.queued.pod


class BindingCycle:
    """Carries decided pods to their nodes, many at a time."""

    def __init__(self, tools: Tools, jobs: Jobs, waiting: WaitingPods) -> None:
        self._tools = tools
        self._jobs = jobs
        self._waiting = waiting

    async def begin(self, assigned: Assigned, plugins: Plugins, started: float) -> None:
        """Reserve and ask for permission, then have the rest done by a worker; `started` is when the attempt began."""
        queued, observation = assigned.queued, self._tools.observation
        state = CycleState(observation.objects)
        way = _Way(queued, assigned.node_name, plugins, state, started, assigned.devices)
        waiting: WaitingPod | None = None
        try:
            _reserve(way)
            waits = _permit(way)
        except Exception as error:  # the edge to somebody's code: its pod has failed, and no other
            await self._jobs.put(partial(self._gave_up, way, error))
            return
        if waits:
            waiting = WaitingPod(queued.pod, way.node_name, waits)
            self._waiting.add(waiting)
        job = partial(self._carry, way, waiting)
        if (
            waiting is not None
            or plugins.pre_binds
            or (way.devices is not None and way.devices.waits)
            or binding.unbound_claims(observation.objects, queued.pod.metadata.namespace, queued.info.claims)
        ):
            # It may wait for minutes, for a word or until its volumes are made: no worker is kept waiting with it.
            self._jobs.start(job)
        else:
            await self._jobs.put(job)

    async def _carry(self, way: _Way, waiting: WaitingPod | None) -> None:
        try:
            if waiting is not None:
                await self._wait(waiting)
            await self._measured("PreBind", self._pre_bind, way)
            await self._measured("Bind", self._bind, way)
        except Exception as error:  # a write that failed, or somebody's code: this pod's attempt is over
            await self._gave_up(way, error)
            return
        await self._bound(way)

    async def _measured(self, point: str, work: Callable[[_Way], Awaitable[None]], way: _Way) -> None:
        metrics, monotonic = self._tools.metrics.plugins.point_seconds, self._tools.clock.monotonic
        started, profile = monotonic(), way.queued.info.scheduler_name
        try:
            await work(way)
        except Exception as error:
            status = "Unschedulable" if isinstance(error, _Rejected) else "Error"
            metrics.observe(monotonic() - started, point, status, profile)
            raise
        metrics.observe(monotonic() - started, point, "Success", profile)

    async def _wait(self, waiting: WaitingPod) -> None:
        clock = self._tools.clock
        since = clock.monotonic()
        try:
            rejection = await waiting.verdict(clock)
        finally:
            self._waiting.remove(waiting)
        result = "allowed" if rejection is None else "rejected"
        self._tools.metrics.permit_wait_seconds.observe(clock.monotonic() - since, result)
        if rejection is not None:
            raise _Rejected(rejection.plugin, rejection.answer)

    async def _pre_bind(self, way: _Way) -> None:
        tools, queued = self._tools, way.queued
        if queued.info.claims:
            observation = tools.observation
            await binding.bind_volumes(
                tools.client,
                tools.clock,
                observation.objects,
                observation.nodes,
                way.pod,
                queued.info.claims,
                way.node_name,
                _volume_binding_timeout(way.plugins),
            )
        if way.devices is not None:
            await tools.devices.bind(way.pod, way.node_name, way.devices, tools.recorder(way.pod))
        for plugin in way.plugins.pre_binds:
            answer = await plugin.pre_bind(way.state, way.pod, way.node_name)
            if answer is not None:
                raise _Rejected(plugin.name, answer)

    async def _bind(self, way: _Way) -> None:
        binder = self._tools.binder
        if binder is not None and await binder.bind(way.pod, way.node_name):
            return
        for plugin in way.plugins.binds:
            if await plugin.bind(way.pod, way.node_name):
                return
        if not way.plugins.has_default_binder:
            raise ValueError("no plugin of the profile binds this pod, and DefaultBinder is disabled")
        await binding.bind(self._tools.client, self._tools.clock, way.pod, way.node_name)

    async def _bound(self, way: _Way) -> None:
        tools, queued, metadata = self._tools, way.queued, way.pod.metadata
        now = tools.clock.monotonic()
        tools.metrics.attempted(queued.info.scheduler_name, "scheduled", now - way.started)
        tools.metrics.pod_attempts.observe(queued.attempts)
        tools.metrics.sli_seconds.observe(now - queued.arrived_at, str(min(queued.attempts, 16)))
        for plugin in way.plugins.post_binds:
            plugin.post_bind(way.state, way.pod, way.node_name)
        message = f"Successfully assigned {metadata.namespace}/{metadata.name} to {way.node_name}"
        await tools.recorder(way.pod).event(way.pod, "Normal", "Scheduled", message)

    async def _gave_up(self, way: _Way, error: Exception) -> None:
        tools, queued, uid = self._tools, way.queued, way.queued.uid
        for reserving in reversed(way.plugins.reserves):
            reserving.unreserve(way.state, way.pod, way.node_name)
        if way.devices is not None and device_reservations.give_back(tools.observation.devices.devices, way.devices):
            tools.observation.devices.freed()
        if tools.observation.assumed.pop(uid, None) is None:
            # It was bound after all, or is gone: the informer has said so meanwhile.
            return
        tools.observation.nodes.remove_pod(way.node_name, uid)
        latest = tools.latest(way.pod)
        wanted = (
            latest is not None
            and not isinstance(error, errors.NotFound)
            and not latest.spec.node_name
            and latest.metadata.deletion_timestamp is None
        )
        told = self._put_back(way, latest, error) if latest is not None and wanted else None
        # Its place is free for others. For the pod itself that is no news.
        if tools.queue.happened((tools.observation.gone(uid),), tools.clock.monotonic(), sparing=uid):
            tools.wake()
        if way.devices is not None:
            await tools.devices.unbind(way.pod, way.devices)
        if told is not None:
            await self._tell(queued.pod, *told)

    def _put_back(self, way: _Way, latest: PodToPlace, error: Exception) -> tuple[str, str]:
        # The reason and message that people are told.
        tools, queued = self._tools, way.queued
        queued.pod = latest
        now = tools.clock.monotonic()
        profile = queued.info.scheduler_name
        if isinstance(error, _Rejected):
            tools.queue.take_back(queued)
            tools.queue.reject(queued, frozenset((error.plugin,)), now)
            tools.metrics.attempted(profile, "unschedulable", now - way.started)
            return "Unschedulable", single_node_message(error.answer)
        tools.queue.back_off(queued, now)
        tools.metrics.attempted(profile, "error", now - way.started)
        key = f"{latest.metadata.namespace}/{latest.metadata.name}"
        _log.warning("Failed to bind", pod=key, node=way.node_name, error=error)
        return "SchedulerError", _failure(error)

    async def _tell(self, pod: PodToPlace, reason: str, message: str) -> None:
        patch = status_patches.pod_scheduled_false(pod, reason, message, self._tools.clock.now())
        if patch is not None:
            await binding.patch_status(self._tools.client, pod, patch)
        await self._tools.recorder(pod).event(pod, "Warning", "FailedScheduling", message)


def _reserve(way: _Way) -> None:
    for plugin in way.plugins.reserves:
        answer = plugin.reserve(way.state, way.pod, way.node_name)
        if answer is not None:
            raise _Rejected(plugin.name, answer)


def _permit(way: _Way) -> dict[str, float]:
    # How long each plugin wants the pod to wait.
    waits: dict[str, float] = {}
    for plugin in way.plugins.permits:
        answer = plugin.permit(way.state, way.pod, way.node_name)
        if isinstance(answer, Wait):
            waits[plugin.name] = answer.timeout_seconds
        elif answer is not None:
            raise _Rejected(plugin.name, answer)
    return waits


def _volume_binding_timeout(plugins: Plugins) -> float:
    found = (one.bind_timeout_seconds for one in plugins.filters if isinstance(one, VolumeBinding))
    return next(found, DEFAULT_BIND_TIMEOUT_SECONDS)


def _failure(error: Exception) -> str:
    if isinstance(error, binding.VolumesNotBound):
        return f'running PreBind plugin "VolumeBinding": {error}'
    if isinstance(error, DevicesNotBound):
        return f'running PreBind plugin "DynamicResources": {error}'
    return f"binding rejected: {error}"
