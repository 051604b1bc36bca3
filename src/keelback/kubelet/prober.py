"""The probes of one pod: when each is made, how results add up to a state, and who is told when it changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias

from keelback.api import pods
from keelback.api.core_v1 import Container, ContainerStatus, Pod, Probe
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.cri.runtime import ContainerRuntime
from keelback.kubelet.observed import PodRuntime, instant, is_running
from keelback.kubelet.plan import ProbeResults
from keelback.kubelet.probing import Answer, probe

Sort: TypeAlias = Literal["startup", "liveness", "readiness"]
ReportUnhealthy = Callable[[str, str], Awaitable[None]]
"""Tells of a failed probe: container name, message."""

_log = logger("kubelet.prober")


@dataclass(frozen=True, slots=True)
class Tally:
    """Results in a row, and the state they have added up to: None until a threshold is reached."""

    last: bool | None = None
    run: int = 0
    state: bool | None = None

    def after(self, ok: bool, success_threshold: int, failure_threshold: int) -> Tally:
        """The tally with one more result."""
        run = self.run + 1 if ok == self.last else 1
        if run < (success_threshold if ok else failure_threshold):
            return replace(self, last=ok, run=run)
        return Tally(ok, run, ok)


class Probes:
    """All probes of one pod. Results belong to a container id: a restarted container starts afresh."""

    def __init__(
        self,
        pod: Pod,
        runtime: ContainerRuntime,
        clock: Clock,
        changed: Callable[[], None],
        unhealthy: ReportUnhealthy,
        first_delay: Callable[[float], float],
        node_ips: Sequence[str],
    ) -> None:
        self.pod = pod
        self._node_ips = node_ips
        self._runtime = runtime
        self._clock = clock
        self._changed = changed
        self._unhealthy = unhealthy
        self._first_delay = first_delay
        self._tallies: dict[tuple[str, Sort], Tally] = {}
        self._tasks: dict[tuple[str, Sort], asyncio.Task[None]] = {}
        self._ids: dict[str, str] = {}
        self._pod_ip = ""
        self._since: dict[str, datetime] = {}
        self._complained: dict[tuple[str, Sort], float] = {}
        self.counts: Counter[tuple[str, str, str]] = Counter()
        """How often each container's probes succeeded, failed or could not be made."""

    def follow(self, pod: Pod, observed: PodRuntime, *, stopping: bool = False) -> None:
        """Probe the containers that run, and stop probing those that do not."""
        self.pod = pod
        self._pod_ip = observed.ip_of(pod, self._node_ips)
        wanted: set[tuple[str, Sort]] = set()
        for one in pods.all_containers(pod.spec):
            status = observed.latest_in_sandbox(one.name)
            if status is None or not is_running(status):
                continue
            container_id = status.container.id
            if self._ids.get(one.name) != container_id:
                self._ids[one.name] = container_id
            self._since[container_id] = instant(status.started_at) or self._clock.now()
            for sort, spec in _probes(one).items():
                if spec is None or (stopping and sort != "readiness"):
                    continue
                key = (container_id, sort)
                wanted.add(key)
                if key not in self._tasks:
                    self._tasks[key] = asyncio.create_task(self._probe_forever(one, container_id, sort))
        for key in [key for key in self._tasks if key not in wanted]:
            self._tasks.pop(key).cancel()

    def stop(self) -> None:
        """Make no more probes."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def results(self) -> ProbeResults:
        """What the plan needs to know."""
        failed = [key for key, tally in self._tallies.items() if tally.state is False]
        liveness = frozenset(one for one, sort in failed if sort == "liveness")
        startup = frozenset(one for one, sort in failed if sort == "startup")
        waiting = frozenset(
            container_id for name, container_id in self._ids.items() if not self.started(name, container_id)
        )
        return ProbeResults(liveness, startup, waiting)

    def started(self, name: str, container_id: str) -> bool:
        """Whether the container has passed its startup probe, or has none."""
        one = pods.container(self.pod.spec, name)
        if one is None or one.startup_probe is None:
            return True
        tally = self._tallies.get((container_id, "startup"))
        if tally is not None:
            return tally.state is True
        told = _told(self.pod, name, container_id)
        return bool(told and told.started)

    def ready(self, name: str, container_id: str) -> bool:
        """Whether the container may be sent to: started up and, where it has a readiness probe, passing it."""
        one = pods.container(self.pod.spec, name)
        if one is None or not self.started(name, container_id):
            return False
        if one.readiness_probe is None:
            return True
        tally = self._tallies.get((container_id, "readiness"))
        if tally is not None and tally.state is not None:
            return tally.state
        # A container found running after a restart of the kubelet was as ready as the API says.
        told = _told(self.pod, name, container_id)
        return bool(told and told.ready)

    async def _probe_forever(self, one: Container, container_id: str, sort: Sort) -> None:
        spec = _probes(one)[sort]
        assert spec is not None
        key = (container_id, sort)
        since = self._since[container_id]
        # After a restart of the kubelet the first probes are spread over a period; a fresh container is asked at once.
        age = (self._clock.now() - since).total_seconds()
        if age > spec.period_seconds:
            await self._clock.sleep(self._first_delay(spec.period_seconds))
        await self._clock.sleep(max(0.0, spec.initial_delay_seconds - age))
        while True:
            if sort == "startup" or self.started(one.name, container_id):
                answer = await self._ask(one, spec, container_id)
                result = ("successful" if answer.ok else "failed") if answer.is_known else "unknown"
                self.counts[one.name, sort, result] += 1
                if answer.is_known and await self._count(key, one, spec, answer):
                    return
            await self._clock.sleep(self._pause(spec, sort, one, container_id))

    async def _count(self, key: tuple[str, Sort], one: Container, spec: Probe, answer: Answer) -> bool:
        """Whether this probe is done with this container."""
        sort = key[1]
        before = self._tallies.get(key, Tally())
        after = before.after(answer.ok, spec.success_threshold, spec.failure_threshold)
        self._tallies[key] = after
        if not answer.ok and self.pod.metadata.deletion_timestamp is None and self._may_complain(key, spec):
            await self._unhealthy(one.name, f"{sort.capitalize()} probe failed: {answer.text}".rstrip())
        if after.state == before.state:
            return False
        self._changed()
        # A startup probe has said what it can; a container that failed its liveness probe is about to be killed.
        return sort == "startup" or (sort == "liveness" and after.state is False)

    def _may_complain(self, key: tuple[str, Sort], spec: Probe) -> bool:
        """Once a period: a container that starts is asked more often than that."""
        now = self._clock.monotonic()
        last = self._complained.get(key)
        if last is not None and now - last < 0.9 * (spec.period_seconds or 10):
            return False
        self._complained[key] = now
        return True

    def _pause(self, spec: Probe, sort: Sort, one: Container, container_id: str) -> float:
        period = float(spec.period_seconds or 10)
        if sort != "startup" and not self.started(one.name, container_id):
            # Waiting for the startup probe: look often, so that the first result does not come a period late.
            return min(1.0, period)
        if sort == "readiness" and self._tallies.get((container_id, sort), Tally()).state is None:
            return min(1.0, period) if spec.initial_delay_seconds == 0 and spec.success_threshold == 1 else period
        return period

    async def _ask(self, one: Container, spec: Probe, container_id: str) -> Answer:
        timeout = float(spec.timeout_seconds or 1)
        try:
            return await probe(spec, one, self.pod, container_id, self._pod_ip, self._runtime, timeout)
        except Exception as error:
            _log.exception("A probe could not be made", error, container=one.name)
            return Answer(False, str(error), is_known=False)


def _probes(one: Container) -> dict[Sort, Probe | None]:
    return {"startup": one.startup_probe, "liveness": one.liveness_probe, "readiness": one.readiness_probe}


def _told(pod: Pod, name: str, container_id: str) -> ContainerStatus | None:
    told = pods.container_status(pod.status, name)
    return told if told is not None and told.container_id.endswith(f"//{container_id}") else None
