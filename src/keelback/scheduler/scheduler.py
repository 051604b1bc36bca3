"""The loop: informers fill the picture, cycles decide on it one pod after another, workers write what was decided."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

from keelback.api.resource_v1 import DeviceClass, ResourceClaim, ResourceSlice
from keelback.api.resource_v1alpha3 import DeviceTaintRule
from keelback.apimachinery import errors
from keelback.client import Client, discovery
from keelback.client.informer import Change, Informer
from keelback.component import logs
from keelback.component.metrics import Registry
from keelback.concurrency.backoff import Backoff
from keelback.concurrency.clock import Clock
from keelback.scheduler import binding, device_observation, extenders, status_patches
from keelback.scheduler.binding import Jobs, Recorder
from keelback.scheduler.binding_cycle import BindingCycle, Tools
from keelback.scheduler.config import SchedulerConfig
from keelback.scheduler.cycle import Assigned, Cycle, Refused
from keelback.scheduler.device_binding import DeviceBinding
from keelback.scheduler.event_queue import EventQueue, QueueingRecorder
from keelback.scheduler.extended_cycle import ExtendedCycle
from keelback.scheduler.handle import Handled, SchedulerHandle
from keelback.scheduler.metrics import SchedulerMetrics
from keelback.scheduler.observation import Observation
from keelback.scheduler.observed_types import (
    Attachment,
    Budget,
    Claim,
    Driver,
    NamespaceLabels,
    NodeDrivers,
    ReplicaSetSelector,
    ReplicationControllerSelector,
    ServiceSelector,
    StatefulSetSelector,
    StorageCapacity,
    Volume,
    VolumeClass,
)
from keelback.scheduler.pod_group_scheduling import PodGroupScheduling
from keelback.scheduler.queue import SchedulingQueue
from keelback.scheduler.queued_pod import QueuedPod
from keelback.scheduler.refusals import Refusals
from keelback.scheduler.waiting_pods import WaitingPods
from keelback.scheduling import builtin, device_taint_rules, pod_groups, priority_sort, scheduling_gates
from keelback.scheduling.events import Event
from keelback.scheduling.framework import PluginError
from keelback.scheduling.node_declared_features import NodeDeclaredFeatures
from keelback.scheduling.node_info import NodeToPlaceOn
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_groups import PodGroups
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.pod_to_place import PodToPlace

_log = logs.logger("scheduler")

_FLUSH_SECONDS: Final = 1.0
_SHORTEST_SLEEP_SECONDS: Final = 0.01
_DEVICES: Final = "resource.k8s.io/v1"
_ASK_AGAIN_SECONDS: Final = 1.0


class Scheduler:
    """One scheduler, for all the scheduler names of its configuration."""

    def __init__(
        self,
        client: Client,
        config: SchedulerConfig,
        clock: Clock,
        chance: random.Random,
        recorders: Mapping[str, Recorder],
        registry: Registry | None = None,
        plugins: Plugins = builtin.DEFAULT,
    ) -> None:
        if not config.node_declared_features:
            plugins, config = _without_declared_features(plugins, config)
        self._client = client
        self._config = config
        self._clock = clock
        self._jobs = Jobs(config.binding_workers)
        self._events = EventQueue(self._jobs.leisure)
        self._recorders = {name: QueueingRecorder(self._events, recorder) for name, recorder in recorders.items()}
        self._plugins = plugins
        self._work = asyncio.Event()
        self._held = asyncio.Event()
        self._refusals = Refusals(
            self._tell_refused, self._jobs.leisure, lambda uid: self.queue.get(uid), self._is_told, clock
        )
        self.metrics = SchedulerMetrics(registry or Registry())
        groups = PodGroups(gangs=config.gang_scheduling) if config.pod_groups else None
        used = (plugins, *(profile.plugins for profile in config.profiles.values()))
        sorts = [one.queue_sort for one in used if one.queue_sort is not None]
        self.queue = SchedulingQueue(
            Backoff(config.pod_initial_backoff_seconds, config.pod_max_backoff_seconds),
            config.pod_max_in_unschedulable_seconds,
            {**_wakes_on(used), extenders.NAME: frozenset(Event)},
            self._held.set,
            pre_enqueue=self._pre_enqueue,
            rank=sorts[-1].rank if sorts else priority_sort.rank,
            on_enter=self.metrics.incoming_pods.inc,
        )
        self.observation = Observation(
            config.scheduler_names,
            self.queue,
            clock.monotonic,
            self._work.set,
            groups,
            self.metrics.event_seconds.observe,
        )
        self.metrics.watch(self.queue, self.observation.nodes, self.observation.assumed, self._evaluated())
        self._cycle = Cycle(
            plugins,
            self.observation,
            chance,
            config.profiles,
            self.metrics.plugins.next_cycle,
            speaks_of_claims=config.speaks_of_claims,
        )
        self._pods = Informer(client, PodToPlace, clock=clock, chance=chance)
        self._informers: list[Informer[Any]] = [self._pods]
        self._device_informers: list[Informer[Any]] = []
        self._gated: dict[str, PodToPlace] = {}
        self.waiting_pods = WaitingPods()
        self._extended = (
            ExtendedCycle(
                config.extenders,
                client,
                clock,
                chance,
                self._cycle,
                self.observation,
                lambda queued: self.queue.get(queued.uid) is queued,
            )
            if config.extenders
            else None
        )
        self._bindings = BindingCycle(self._tools(), self._jobs, self.waiting_pods)
        self._subscribe(chance)
        if self._extended is not None:
            self._informers += self._extended.informers
        self._groups: PodGroupScheduling | None = None
        if groups is not None:
            self._groups = PodGroupScheduling(client, clock, chance, self._cycle, self.observation, self.metrics)
            self._informers.append(self._groups.informer)
        handle = SchedulerHandle(
            client, clock, self.observation.nodes, self.observation.objects, self.waiting_pods, self._activate
        )
        for plugin in {id(plugin): plugin for one in used for plugin in one.all()}.values():
            if isinstance(plugin, Handled):
                plugin.set_handle(handle)

    def _evaluated(self) -> dict[str, list[tuple[str, str]]]:
        # Which plugins judge the pods of each profile, and at which points.
        points = {"PreFilter": "pre_filters", "Filter": "filters", "PreScore": "pre_scores"}
        found: dict[str, list[tuple[str, str]]] = {}
        for name in self._config.scheduler_names:
            profile = self._config.profiles.get(name)
            plugins = profile.plugins if profile is not None else self._plugins
            found[name] = [
                *((plugin.name, point) for point, part in points.items() for plugin in getattr(plugins, part)),
                *((plugin.name, "Score") for plugin, _ in plugins.scores),
            ]
        return found

    async def run(self) -> None:
        """Schedule until cancelled."""
        try:
            await self._run()
        finally:
            if self._extended is not None:
                await self._extended.close()

    async def _run(self) -> None:
        if await self._serves(_DEVICES):
            self._informers += self._device_informers
        if await self._serves(device_taint_rules.RULES):
            self._informers.append(self._taint_rules)
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers:
                tasks.create_task(informer.run())
            tasks.create_task(self._jobs.run())
            tasks.create_task(self._refusals.run())
            tasks.create_task(self._events.run())
            for informer in self._informers:
                await informer.wait_synced()
            _log.info("Starting to schedule", nodes=len(self.observation.nodes), profiles=self._config.scheduler_names)
            tasks.create_task(self._flush())
            tasks.create_task(self._schedule())

    async def _serves(self, what: str) -> bool:
        """Whether the cluster has such kinds: devices are there since 1.34, some others if they are asked for."""
        while True:
            try:
                return await discovery.is_served(self._client, what)
            except (errors.StatusError, OSError, TimeoutError):
                await self._clock.sleep(_ASK_AGAIN_SECONDS)

    def _subscribe(self, chance: random.Random) -> None:
        observation = self.observation
        # Owners and volumes come before pods, so that the first pods are not judged without them.
        watched: tuple[tuple[type[Any], Callable[[Change[Any]], None]], ...] = (
            (NodeToPlaceOn, observation.on_node),
            (NamespaceLabels, observation.on_namespace),
            (ServiceSelector, observation.on_service),
            (ReplicaSetSelector, observation.on_owner),
            (StatefulSetSelector, observation.on_owner),
            (ReplicationControllerSelector, observation.on_replication_controller),
            (Claim, observation.on_claim),
            (Volume, observation.on_volume),
            (VolumeClass, observation.on_class),
            (NodeDrivers, observation.on_node_drivers),
            (Attachment, observation.on_attachment),
            (Driver, observation.on_driver),
            (StorageCapacity, observation.on_capacity),
            (Budget, observation.on_budget),
        )
        devices: tuple[tuple[type[Any], Callable[[Change[Any]], None]], ...] = (
            (DeviceClass, observation.devices.on_class),
            (ResourceSlice, observation.devices.on_slice),
            (ResourceClaim, observation.devices.on_claim),
        )
        self._taint_rules = Informer(self._client, DeviceTaintRule, clock=self._clock, chance=chance)
        self._taint_rules.subscribe(observation.devices.on_taint_rule)
        self._pods.subscribe(self._on_pod)
        for kinds, informers in ((watched, self._informers), (devices, self._device_informers)):
            for cls, callback in kinds:
                informer: Informer[Any] = Informer(self._client, cls, clock=self._clock, chance=chance)
                informer.subscribe(callback)
                informers.append(informer)

    def _tools(self) -> Tools:
        return Tools(
            client=self._client,
            clock=self._clock,
            observation=self.observation,
            queue=self.queue,
            metrics=self.metrics,
            recorder=self._recorder,
            latest=self._latest,
            wake=self._work.set,
            binder=self._extended.binder if self._extended is not None else None,
        )

    def _on_pod(self, change: Change[PodToPlace]) -> None:
        self.observation.on_pod(change)
        uid = change.object.metadata.uid
        if change.new is None:
            self._refusals.forget(uid)
        if change.new is None and (waiting := self.waiting_pods.get(uid)) is not None:
            waiting.reject("", "the pod is deleted")
        queued = self.queue.get(uid)
        if queued is not None and queued.place == "gated" and queued.info.gates:
            self._gated[queued.uid] = queued.pod
            self._work.set()

    async def _flush(self) -> None:
        while True:
            if not self.queue.holds_pods:
                # A scheduler without waiting pods sleeps: simulated weeks and idle machines thank it.
                self._held.clear()
                await self._held.wait()
            due = self.queue.next_ready()
            wait = _FLUSH_SECONDS if due is None else min(_FLUSH_SECONDS, due - self._clock.monotonic())
            await self._clock.sleep(max(wait, _SHORTEST_SLEEP_SECONDS))
            now = self._clock.monotonic()
            self.queue.flush_backoff(now)
            self.queue.flush_rejected(now)
            if self.queue.ready:
                self._work.set()

    async def _schedule(self) -> None:
        while True:
            if not await self._schedule_some():
                await self._work.wait()
                self._work.clear()
                await self._say_gated()
            # Others get a turn: what has been decided is written while more is decided.
            await asyncio.sleep(0)

    async def _schedule_some(self) -> bool:
        for _ in range(self._config.batch_size):
            started = self._clock.monotonic()
            queued = self.queue.pop(started)
            if queued is None:
                return False
            if self._groups is not None and queued.info.pod_group:
                await self._schedule_group(self._groups, queued, started)
                continue
            if self._extended is not None and self._extended.concerns(queued.pod):
                await self._schedule_extended(self._extended, queued, started)
                continue
            try:
                decision = self._cycle.decide(queued)
            except Exception as error:
                await self._failed_to_decide(queued, started, error)
                continue
            self.metrics.algorithm_seconds.observe(self._clock.monotonic() - started)
            await self._carry_out(decision, started)
        return True

    async def _schedule_extended(self, cycle: ExtendedCycle, queued: QueuedPod, started: float) -> None:
        try:
            decision = await cycle.decide(queued)
        except Exception as error:
            if self.queue.get(queued.uid) is queued:
                await self._failed_to_decide(queued, started, error)
            return
        if decision is not None:
            await self._carry_out(decision, started)

    async def _schedule_group(self, groups: PodGroupScheduling, first: QueuedPod, started: float) -> None:
        waiting = groups.waiting(first, self.queue, started)
        if not waiting:
            return
        try:
            if self._extended is not None and any(self._extended.concerns(one.pod) for one in waiting):
                raise PluginError("extenders cannot be asked about the pods of a group, and one is to be")
            decision = groups.decide(waiting, started)
        except Exception as error:
            for queued in waiting:
                await self._failed_to_decide(queued, started, error)
            return
        for one in decision.pods:
            await self._carry_out(one, started)
        await self._jobs.put(partial(groups.tell, decision))

    async def _failed_to_decide(self, queued: QueuedPod, started: float, error: Exception) -> None:
        _log.error("Failed to decide", pod=_key(queued.pod), error=error)
        self._note(queued, "error", started)
        self.queue.back_off(queued, started)
        await self._jobs.put(partial(self._tell_failed, queued.pod, str(error)))

    async def _carry_out(self, decision: Assigned | Refused, started: float) -> None:
        if isinstance(decision, Refused):
            await self._refused(decision, started)
            return
        queued = decision.queued
        self.queue.remove(queued.uid)
        self._refusals.forget(queued.uid)
        self.observation.awaited.forget(queued.uid)
        await self._bindings.begin(decision, self._plugins_of(queued.info), started)

    async def _refused(self, refused: Refused, started: float) -> None:
        queued = refused.queued
        self._note(queued, "unschedulable", started)
        awaited = self.observation.awaited
        if refused.candidate is not None:
            awaited.add(queued.uid, (victim.uid for victim in refused.candidate.victims))
        alike = self.queue.reject(
            queued,
            refused.plugins,
            started,
            awaits_victims=queued.uid in awaited,
            speaks_for_alike=self._holds_for_all_alike(refused),
        )
        if refused.nominated_node_name is not None:
            self.observation.nominate(queued.pod, refused.nominated_node_name)
        self.metrics.preemption_attempts.inc()
        if refused.candidate is not None:
            self.metrics.preemption_victims.observe(len(refused.candidate.victims))
            for pod in self.observation.outbid(queued.info.priority, refused.candidate.node_name):
                await self._jobs.put(partial(binding.withdraw_nomination, self._client, pod))
        if refused.candidate is not None or refused.frees is not None:
            # Room is to be made, whatever else is said of the pod before this is carried out.
            self._refusals.forget(queued.uid)
            await self._jobs.put(partial(self._make_room, refused))
        else:
            self._refusals.put(refused, alike)

    def _holds_for_all_alike(self, refused: Refused) -> bool:
        """Whether every other pod of its shape would have been refused in the same words just now."""
        info, uid = refused.queued.info, refused.queued.uid
        if refused.candidate is not None or refused.frees is not None or refused.nominated_node_name:
            return False
        if uid in self.observation.nominated or uid in self.observation.awaited:
            return False
        if info.pod_group or info.devices is not None or info.extended or self._plugins_of(info).post_filters:
            return False
        return self._extended is None or not self._extended.concerns(refused.queued.pod)

    def _is_told(self, refused: Refused) -> bool:
        patch = status_patches.pod_scheduled_false(
            refused.queued.pod, "Unschedulable", refused.message, self._clock.now(), refused.nominated_node_name
        )
        return patch is None

    async def _tell_refused(self, refused: Refused) -> None:
        if refused.frees is not None:
            await self._free(refused.queued.uid, refused.frees)
        pod = refused.queued.pod
        recorder = self._recorder(pod)
        patch = status_patches.pod_scheduled_false(
            pod, "Unschedulable", refused.message, self._clock.now(), refused.nominated_node_name
        )
        if patch is not None:
            await binding.patch_status(self._client, pod, patch)
        if refused.candidate is not None:
            await binding.preempt(self._client, self._clock, recorder.event, pod, refused.candidate, self.waiting_pods)
        await recorder.event(pod, "Warning", "FailedScheduling", refused.message)

    async def _make_room(self, refused: Refused) -> None:
        uid = refused.queued.uid
        try:
            await self._tell_refused(refused)
        except Exception:
            # Victims that were not told to go are not to be waited for.
            self.observation.awaited.forget(uid)
            self.queue.fail(uid, self._clock.monotonic())
            raise

    async def _tell_failed(self, pod: PodToPlace, message: str) -> None:
        patch = status_patches.pod_scheduled_false(pod, "SchedulerError", message, self._clock.now())
        if patch is not None:
            await binding.patch_status(self._client, pod, patch)
        await self._recorder(pod).event(pod, "Warning", "FailedScheduling", message)

    async def _free(self, uid: str, claim: ResourceClaim) -> None:
        try:
            await DeviceBinding(self._client, self._clock, self.observation.devices).free(claim)
        except (errors.StatusError, OSError, TimeoutError) as error:
            _log.warning("Failed to free a claim", claim=claim.metadata.name, error=error)
            # The pod waits for what has not happened: it is to see to it again.
            if self.queue.retry((uid,), self._clock.monotonic(), "ScheduleAttemptFailure"):
                self._work.set()

    async def _say_gated(self) -> None:
        gated, self._gated = self._gated, {}
        for pod in gated.values():
            patch = status_patches.pod_scheduled_false(
                pod, "SchedulingGated", scheduling_gates.MESSAGE, self._clock.now()
            )
            if patch is not None:
                await self._jobs.put(partial(binding.patch_status, self._client, pod, patch))

    def _recorder(self, pod: PodToPlace) -> QueueingRecorder:
        return self._recorders[pod.spec.scheduler_name]

    def _pre_enqueue(self, pod: PodToPlace, info: PodInfo) -> str:
        if scheduling_gates.holds_back(info):
            return scheduling_gates.NAME
        if self.observation.devices.is_held_back(info) and self._plugins_of(info).allocate_devices:
            return device_observation.HELD_BACK
        groups = self.observation.groups
        if groups is not None and groups.why_held(info):
            return pod_groups.PLUGIN
        for plugin in self._plugins_of(info).pre_enqueues:
            if plugin.pre_enqueue(pod, info) is not None:
                return plugin.name
        return ""

    def _activate(self, uids: Iterable[str]) -> None:
        if self.queue.activate(uids, self._clock.monotonic()):
            self._work.set()

    def _plugins_of(self, info: PodInfo) -> Plugins:
        profile = self._config.profiles.get(info.scheduler_name)
        return profile.plugins if profile is not None else self._plugins

    def _latest(self, pod: PodToPlace) -> PodToPlace | None:
        metadata = pod.metadata
        latest = self._pods.store.get(metadata.namespace, metadata.name)
        return latest if latest is not None and latest.metadata.uid == metadata.uid else None

    def _note(self, queued: QueuedPod, result: str, started: float) -> None:
        self.metrics.attempted(queued.info.scheduler_name, result, self._clock.monotonic() - started)


def _without_declared_features(plugins: Plugins, config: SchedulerConfig) -> tuple[Plugins, SchedulerConfig]:
    name = NodeDeclaredFeatures.name
    profiles = {
        scheduler_name: dataclasses.replace(profile, plugins=profile.plugins.without_filter(name))
        for scheduler_name, profile in config.profiles.items()
    }
    return plugins.without_filter(name), dataclasses.replace(config, profiles=profiles)


def _wakes_on(used: Iterable[Plugins]) -> dict[str, frozenset[Event]]:
    wakes_on: dict[str, frozenset[Event]] = {}
    everything = frozenset(Event)
    for plugins in used:
        # What does not say after which events it thinks again is asked after each.
        wakes_on |= {plugin.name: getattr(plugin, "wakes_on", everything) for plugin in plugins.all()}
    for name, events in wakes_on.items():
        if Event.ASSIGNED_POD_REMOVED in events:
            wakes_on[name] = events | {Event.VICTIM_REMOVED}
    return wakes_on


def _key(pod: PodToPlace) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"
