"""One pod's worker: a single task that brings the runtime to what the pod asks for, and ends it when it must go.

It is woken by changes of the pod, runtime events and probes; it looks at the runtime afresh and carries out a plan.
A pod that is to be stopped interrupts whatever is under way, an image pull as well as an earlier, longer grace.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from keelback.api import pods
from keelback.api.core_v1 import Pod, PodStatus
from keelback.apimachinery.meta import replace
from keelback.component.logs import logger
from keelback.cri.runtime import ContainerRuntimeError
from keelback.cri.values import ContainerState
from keelback.kubelet import termination_message
from keelback.kubelet.back_offs import BackOffs
from keelback.kubelet.draining import drain
from keelback.kubelet.garbage import plan_garbage, remove_container_logs, remove_pod_logs
from keelback.kubelet.killing import grace_of, kill_by_id, kill_pod
from keelback.kubelet.observed import PodRuntime, instant
from keelback.kubelet.plan import Actions, AnyContainer, Start, plan
from keelback.kubelet.prober import Probes
from keelback.kubelet.resizing import PodResizer
from keelback.kubelet.services import NodeServices
from keelback.kubelet.starting import SandboxProblem, Starter, StartProblem, field_path, make_sandbox
from keelback.kubelet.status import Knowledge, status_of
from keelback.volume.pod_volumes import SetUpFailed

_RETRY_SECONDS = (1.0, 2.0, 5.0, 10.0)
_log = logger("kubelet.worker")


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a pod is ended by the node itself."""

    reason: str
    message: str
    grace_seconds: float | None = None


class PodWorker:
    """Holds what is remembered of one pod between two looks at the runtime."""

    def __init__(self, pod: Pod, node: NodeServices, *, on_gone: Callable[[str], None]) -> None:
        self.pod = pod
        self.observed = PodRuntime(pod.metadata.uid)
        self.status: PodStatus = pod.status
        self._node = node
        self._on_gone = on_gone
        self._wake = asyncio.Event()
        self._wake.set()
        self._due: float | None = None
        self._failures = 0
        self._resizer = PodResizer(node)
        self._back_offs = BackOffs(node)
        self._problems: dict[str, tuple[str, str]] = {}
        self._messages: dict[str, str] = {}
        self._volumes: Mapping[str, Path] = {}
        self._volumes_at = -1e9
        self._ending: Ending | None = None
        self._is_removed = False
        self._is_finished = pods.is_terminal(pod)
        self._is_torn_down = False
        self._is_drained = False
        self._interrupted = False
        self._current: tuple[Literal["sync", "stop"], float, asyncio.Task[bool]] | None = None
        self._probes = Probes(
            pod,
            node.runtime,
            node.clock,
            self.wake,
            self._report_unhealthy,
            lambda period: node.chance.random() * period,
            node.config.node_ips,
        )

    # What others may do

    def wake(self) -> None:
        """Something may have changed: look."""
        self._wake.set()

    def update(self, pod: Pod) -> None:
        """The API's latest word on the pod."""
        before, self.pod = self.pod.metadata, pod
        if (before.labels, before.annotations) != (pod.metadata.labels, pod.metadata.annotations):
            # Volumes may show them.
            self._volumes_at = -1e9
        self._interrupt_if_needed()
        self._wake.set()

    def remove(self) -> None:
        """The API has no such pod any more: stop what runs and leave nothing."""
        self._is_removed = True
        self._interrupt_if_needed()
        self._wake.set()

    def end(self, reason: str, message: str, *, grace_seconds: float | None = None) -> None:
        """The node ends the pod, within its own grace period or a shorter one: it becomes Failed."""
        self._ending = self._ending or Ending(reason, message, grace_seconds)
        self._interrupt_if_needed()
        self._wake.set()

    @property
    def probe_counts(self) -> Mapping[tuple[str, str, str], int]:
        """How often probes were made, by container, kind and result."""
        return self._probes.counts

    @property
    def is_finished(self) -> bool:
        """Whether its containers have ended for good: it needs nothing of the node any more."""
        return self._is_finished

    def is_running(self, container_id: str) -> bool:
        """Whether the container was running when last looked at."""
        return any(
            one.container.id == container_id and one.container.state == ContainerState.RUNNING
            for one in self.observed.containers
        )

    async def run(self) -> None:
        """Work until nothing of the pod is left, or until cancelled, which stops no container."""
        try:
            while True:
                await self._until_woken()
                if await self._work():
                    return
        finally:
            self._probes.stop()

    # The loop

    async def _until_woken(self) -> None:
        clock = self._node.clock
        if not self._wake.is_set():
            waits: list[asyncio.Task[object]] = [asyncio.create_task(self._wake.wait())]
            pause = self._node.config.resync_seconds * (1 + 0.5 * self._node.chance.random())
            if self._due is not None:
                pause = min(pause, max(0.0, self._due - clock.monotonic()))
            waits.append(asyncio.create_task(clock.sleep(pause)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        self._wake.clear()
        self._due = None

    async def _work(self) -> bool:
        verb: Literal["sync", "stop"] = "stop" if self._must_stop else "sync"
        grace = self._grace()
        task = asyncio.create_task(self._stop(grace) if verb == "stop" else self._sync())
        self._current = (verb, grace, task)
        self._interrupted = False
        try:
            await asyncio.wait([task])
        finally:
            self._current = None
            if not task.done():
                task.cancel()
        if task.cancelled():
            self.wake()
            return False
        error = task.exception()
        if error is None:
            return task.result()
        if isinstance(error, ContainerRuntimeError | OSError):
            _log.warning("Could not bring a pod on", pod=pods.full_name(self.pod), error=str(error))
        else:
            _log.exception("A pod's worker met an error", error, pod=pods.full_name(self.pod))
        self._retry()
        return False

    @property
    def _must_stop(self) -> bool:
        return (
            self._is_removed
            or self._is_finished
            or self._ending is not None
            or self.pod.metadata.deletion_timestamp is not None
        )

    def _grace(self) -> float:
        grace = float(pods.grace_period_seconds(self.pod))
        if self._ending is not None and self._ending.grace_seconds is not None:
            return min(grace, self._ending.grace_seconds)
        return grace

    def _interrupt_if_needed(self) -> None:
        if self._current is None or self._interrupted:
            return
        verb, grace, task = self._current
        if (verb == "sync" and self._must_stop) or (verb == "stop" and self._grace() < grace):
            self._interrupted = True
            task.cancel()

    def _wake_at(self, moment: datetime) -> None:
        self._wake_in((moment - self._node.clock.now()).total_seconds())

    def _wake_in(self, seconds: float) -> None:
        due = self._node.clock.monotonic() + max(0.0, seconds)
        self._due = due if self._due is None else min(self._due, due)

    def _retry(self) -> None:
        self._wake_in(_RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS) - 1)])
        self._failures += 1

    # Running

    async def _sync(self) -> bool:
        await self._look()
        if self._deadline_passed():
            self.end("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")
            return False
        self._probes.follow(self.pod, self.observed)
        actions = plan(self.pod, self.observed, self._node.clock.now(), self._probes.results(), self._back_offs.entries)
        for until in self._back_offs.follow(self.pod, actions.wait, self._problems):
            self._wake_at(until)
        self._tell()
        if actions.kill_pod:
            await kill_pod(self.pod, self.observed, self._grace(), self._node)
            if not actions.create_sandbox:
                # Everything has ended for good.
                self._is_finished = True
                self.wake()
                return False
            self._node.recorder.event(
                self.pod, "Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
            )
        if await self._resizer.resize(self.pod, self.observed, self._grace()):
            await self._look()
            self._tell()
        for kill in actions.kill:
            await kill_by_id(
                self.pod, self.observed, kill.container_id, kill.message, grace_of(self.pod, kill), self._node
            )
        if not await self._refresh_volumes(needed=bool(actions.start)):
            return False
        if actions.create_sandbox and not await self._make_sandbox(actions):
            return False
        await self._start_all(actions)
        await self._collect_garbage()
        if not self._problems and actions.is_nothing:
            self._failures = 0
        if not actions.is_nothing and self._due is None:
            self.wake()
        return False

    async def _collect_garbage(self) -> None:
        containers, sandboxes = plan_garbage(self.observed, self._node.config.dead_containers_per_pod)
        for container_id in containers:
            gone = [one for one in self.observed.containers if one.container.id == container_id]
            await self._node.runtime.remove_container(container_id)
            self._node.observer.forget(container_id)
            await asyncio.to_thread(remove_container_logs, self.pod, gone, self._node.config)
        for sandbox_id in sandboxes:
            await self._node.runtime.remove_pod_sandbox(sandbox_id)

    async def _look(self) -> None:
        self.observed = await self._node.observer.observe(self.pod.metadata.uid)
        for one in self.observed.containers:
            ended = one.container.state == ContainerState.EXITED
            if ended and one.container.id not in self._messages:
                self._messages[one.container.id] = await asyncio.to_thread(termination_message.read, one)

    def _deadline_passed(self) -> bool:
        seconds = self.pod.spec.active_deadline_seconds
        started = self.pod.status.start_time or self.status.start_time
        if seconds is None or started is None:
            return False
        until = started + timedelta(seconds=seconds)
        if self._node.clock.now() >= until:
            return True
        self._wake_at(until)
        return False

    async def _refresh_volumes(self, *, needed: bool) -> bool:
        """Whether the volumes are as they should be."""
        now = self._node.clock.monotonic()
        if not self.pod.spec.volumes:
            return True
        if not needed and now - self._volumes_at < self._node.config.resync_seconds:
            return True
        try:
            self._volumes = await self._node.volumes.set_up(self.pod)
        except SetUpFailed as error:
            self._node.recorder.event(self.pod, "Warning", "FailedMount", str(error))
            self._retry()
            return not needed
        self._volumes_at = now
        return True

    async def _make_sandbox(self, actions: Actions) -> bool:
        try:
            await make_sandbox(self.pod, actions.sandbox_attempt, self._node)
        except SandboxProblem as error:
            message = f"Failed to create pod sandbox: {error}"
            self._node.recorder.event(self.pod, "Warning", "FailedCreatePodSandBox", message)
            self._retry()
            return False
        await self._look()
        self._tell()
        return True

    async def _start_all(self, actions: Actions) -> None:
        containers = _by_name(self.pod)
        starter = Starter(self.pod, self._node, self.observed, self._volumes)
        for start in actions.start:
            container = containers.get(start.name)
            if container is not None:
                await self._start_one(starter, start, container)

    async def _start_one(self, starter: Starter, start: Start, container: AnyContainer) -> None:
        ended = instant(start.after.finished_at) if start.after is not None else None
        if ended is not None:
            # Counted before it is tried: a start that fails backs off as well.
            self._back_offs.count_start(start.name, ended)
        try:
            container_id = await starter.start(start, container)
        except StartProblem as problem:
            self._problems[start.name] = (problem.reason, problem.message)
            await self._look()
            self._tell()
            if problem.reason == "ImagePullBackOff":
                self._wake_in(self._back_offs.pause())
            else:
                self._retry()
            return
        self._problems.pop(start.name, None)
        answer = await starter.post_start(container, container_id)
        if not answer.ok:
            path = field_path(self.pod, start.name)
            message = f"PostStartHook failed: {answer.text}".rstrip(": ")
            self._node.recorder.event(self.pod, "Warning", "FailedPostStartHook", message, container=path)
            await self._look()
            await kill_by_id(self.pod, self.observed, container_id, "FailedPostStartHook", self._grace(), self._node)

    # Stopping

    async def _stop(self, grace_seconds: float) -> bool:
        """Whether nothing of the pod is left and the API knows."""
        await self._look()
        self._probes.follow(self.pod, self.observed, stopping=True)
        if not self.observed.is_gone:
            self._tell()
            await self._drain_and_kill(grace_seconds)
            await self._look()
            if not self.observed.is_gone:
                self._retry()
                return False
        self._probes.stop()
        self._is_finished = True
        self._tell()
        leaving = self._is_removed or self.pod.metadata.deletion_timestamp is not None
        await self._tear_down(keep_logs=not leaving)
        if not leaving:
            return False
        for each in self.observed.sandboxes:
            await self._node.runtime.remove_pod_sandbox(each.sandbox.id)
        self._forget()
        if not self._is_removed:
            self._node.statuses.remove(self.pod, self.status)
        self._on_gone(self.pod.metadata.uid)
        return True

    async def _drain_and_kill(self, grace_seconds: float) -> None:
        """Stop the containers, not before the Services have let go of the pod."""
        if self._is_drained or self._is_removed:
            await kill_pod(self.pod, self.observed, grace_seconds, self._node)
            return
        drained = asyncio.create_task(drain(self.pod, grace_seconds, self._node))
        try:
            await kill_pod(self.pod, self.observed, grace_seconds, self._node, drained)
            self._is_drained = True
        finally:
            drained.cancel()

    async def _tear_down(self, *, keep_logs: bool) -> None:
        uid = self.pod.metadata.uid
        if not self._is_torn_down:
            await self._node.volumes.tear_down(uid)
            await asyncio.to_thread(self._node.cgroups.remove, uid)
            self._is_torn_down = True
        if not keep_logs:
            await asyncio.to_thread(remove_pod_logs, self.pod, self.observed.containers, self._node.config)

    def _forget(self) -> None:
        for one in self.observed.containers:
            self._node.observer.forget(one.container.id)
        self._node.images.forget(self.pod.metadata.uid)

    # Telling

    def _tell(self) -> None:
        if self._is_removed:
            return
        knowledge = Knowledge(
            host_ips=self._node.config.node_ips,
            problems=self._problems,
            messages=self._messages,
            ready=self._probes.ready,
            started=self._probes.started,
            given=self._resizer.given,
            runtime_name=self._node.runtime_name,
            is_finished=self._is_finished and self.observed.is_gone,
            reason=self._ending.reason if self._ending else "",
            message=self._ending.message if self._ending else "",
        )
        told = replace(self.pod, status=self._base())
        self.status = status_of(told, self.observed, knowledge, self._node.clock.now())
        self._node.statuses.write(self.pod, self.status)

    def _base(self) -> PodStatus:
        """The API's status, where it is behind, with what was last worked out here."""
        api, own = self.pod.status, self.status
        if not own.start_time:
            return api
        theirs = {one.type: one for one in api.conditions}
        ours = {one.type: one for one in own.conditions if one.type in _OWNED}
        return replace(own, conditions=tuple((theirs | ours).values()))

    async def _report_unhealthy(self, name: str, message: str) -> None:
        path = field_path(self.pod, name)
        self._node.recorder.event(self.pod, "Warning", "Unhealthy", message, container=path)


_OWNED = frozenset({"PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"})


def _by_name(pod: Pod) -> dict[str, AnyContainer]:
    every: tuple[AnyContainer, ...] = (*pods.all_containers(pod.spec), *pod.spec.ephemeral_containers)
    return {one.name: one for one in every}
