"""What to do with a pod, given what the runtime has of it: Kubernetes' computePodActions. It only decides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from keelback.api import pods
from keelback.api.core_v1 import Container, EphemeralContainer, Pod
from keelback.cri.values import ContainerState, ContainerStatus, NamespaceMode, SandboxState
from keelback.kubelet.crash_loop import CrashLoop, waits_until
from keelback.kubelet.observed import HASH_ANNOTATION, PodRuntime, instant, is_running

Sort: TypeAlias = Literal["init", "main", "ephemeral"]
AnyContainer: TypeAlias = Container | EphemeralContainer


@dataclass(frozen=True, slots=True)
class Start:
    """Create and start a container. `attempt` counts from 0; `after` is the container that it follows."""

    name: str
    sort: Sort
    attempt: int = 0
    after: ContainerStatus | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """Stop a container, for `message`; `cause` is the probe that failed, if one did."""

    container_id: str
    name: str
    message: str
    cause: Literal["", "liveness", "startup"] = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """A container that is to be started, but not before `until`."""

    name: str
    until: datetime
    entry: CrashLoop


@dataclass(frozen=True, slots=True)
class Actions:
    """What is to be done, in this order: kill the pod or the containers, make the sandbox, start."""

    kill_pod: bool = False
    create_sandbox: bool = False
    sandbox_id: str = ""
    sandbox_attempt: int = 0
    kill: tuple[Kill, ...] = ()
    start: tuple[Start, ...] = ()
    wait: tuple[Wait, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Whether the pod is as it should be, for now."""
        return not (self.kill_pod or self.create_sandbox or self.kill or self.start)


@dataclass(frozen=True, slots=True)
class ProbeResults:
    """The containers, by id, whose liveness or startup probe has failed, and those that have started up."""

    liveness_failed: frozenset[str] = frozenset()
    startup_failed: frozenset[str] = frozenset()
    not_started: frozenset[str] = frozenset()


NO_RESULTS = ProbeResults()


@dataclass
class _Draft:
    """The plan while it is being made."""

    kill: list[Kill] = field(default_factory=list)
    start: list[Start] = field(default_factory=list)
    wait: list[Wait] = field(default_factory=list)


def plan(
    pod: Pod,
    observed: PodRuntime,
    now: datetime,
    results: ProbeResults = NO_RESULTS,
    crash_loops: Mapping[str, CrashLoop] | None = None,
) -> Actions:
    """What brings the pod one step nearer to its spec. Not for pods that are being deleted: those are only stopped."""
    loops = crash_loops or {}
    changed, attempt, sandbox_id = _sandbox_changed(pod, observed)
    if changed:
        return _plan_new_sandbox(pod, observed, attempt, sandbox_id)
    draft = _Draft()
    _plan_ephemeral(pod, observed, draft)
    step = _plan_init(pod, observed, now, results, loops, draft)
    if step == "failed":
        return Actions(kill_pod=True, sandbox_id=sandbox_id, sandbox_attempt=attempt)
    kept = 0
    if step == "done":
        kept = _plan_main(pod, observed, now, results, loops, draft)
        if not kept and not any(one.sort == "main" for one in draft.start) and not _waits_for_main(pod, draft):
            # All containers have ended for good: the sandbox and the sidecars go too.
            return Actions(kill_pod=True, sandbox_id=sandbox_id, sandbox_attempt=attempt)
    return Actions(
        sandbox_id=sandbox_id,
        sandbox_attempt=attempt,
        kill=tuple(draft.kill),
        start=tuple(draft.start),
        wait=tuple(draft.wait),
    )


def should_restart(container: AnyContainer, pod: Pod, status: ContainerStatus | None) -> bool:
    """Whether a container that does not run is to be started (again)."""
    if pod.metadata.deletion_timestamp is not None:
        return False
    if status is None:
        return True
    state = status.container.state
    if state == ContainerState.RUNNING:
        return False
    if state in (ContainerState.UNKNOWN, ContainerState.CREATED):
        return True
    policy = pods.restart_policy(container, pod.spec, status.exit_code)
    return policy == "Always" or (policy == "OnFailure" and status.exit_code != 0)


def container_hash(container: AnyContainer) -> str:
    """What must stay the same for a container to be left running: its name and image."""
    return hashlib.sha256(f"{container.name}\0{container.image}".encode()).hexdigest()[:8]


def has_initialized(pod: Pod, observed: PodRuntime) -> bool:
    """Whether its main containers have been let loose in the present sandbox: init containers never run again then."""
    return any(observed.latest_in_sandbox(one.name) is not None for one in pod.spec.containers)


# Sandbox


def _sandbox_changed(pod: Pod, observed: PodRuntime) -> tuple[bool, int, str]:
    sandbox = observed.sandbox
    if sandbox is None:
        return True, 0, ""
    ready = sum(1 for one in observed.sandboxes if one.sandbox.state == SandboxState.READY)
    following = sandbox.sandbox.attempt + 1
    if ready > 1 or sandbox.sandbox.state != SandboxState.READY:
        return True, following, sandbox.sandbox.id
    if (sandbox.network == NamespaceMode.NODE) != pod.spec.host_network:
        return True, following, ""
    if not pod.spec.host_network and not sandbox.ips:
        return True, following, sandbox.sandbox.id
    return False, sandbox.sandbox.attempt, sandbox.sandbox.id


def _plan_new_sandbox(pod: Pod, observed: PodRuntime, attempt: int, sandbox_id: str) -> Actions:
    stop_only = Actions(kill_pod=True, sandbox_id=sandbox_id, sandbox_attempt=attempt)
    if pod.spec.restart_policy == "Never" and attempt != 0 and observed.containers:
        return stop_only
    to_start = [
        one
        for one in pod.spec.containers
        if not (pod.spec.restart_policy == "OnFailure" and _succeeded(observed.latest(one.name)))
    ]
    if not to_start:
        return stop_only
    first = pod.spec.init_containers[:1] or to_start
    sort: Sort = "init" if pod.spec.init_containers else "main"
    return Actions(
        kill_pod=bool(observed.sandboxes),
        create_sandbox=True,
        sandbox_id=sandbox_id,
        sandbox_attempt=attempt,
        start=tuple(_start(one, sort, pod, observed) for one in first),
    )


def _succeeded(status: ContainerStatus | None) -> bool:
    return status is not None and status.container.state == ContainerState.EXITED and status.exit_code == 0


# Containers


def _start(container: AnyContainer, sort: Sort, pod: Pod, observed: PodRuntime) -> Start:
    latest = observed.latest(container.name)
    if latest is not None:
        return Start(container.name, sort, latest.container.attempt + 1, latest)
    told = pods.container_status(pod.status, container.name)
    # The runtime has lost its containers; the API still knows how often this one was started.
    counted = told is not None and (told.state.running is not None or told.state.terminated is not None)
    return Start(container.name, sort, told.restart_count + 1 if told is not None and counted else 0)


def _start_or_wait(
    container: AnyContainer,
    sort: Sort,
    pod: Pod,
    observed: PodRuntime,
    now: datetime,
    loops: Mapping[str, CrashLoop],
    draft: _Draft,
) -> None:
    latest = observed.latest(container.name)
    ended = None
    if latest is not None and latest.container.state == ContainerState.EXITED:
        ended = instant(latest.finished_at)
    entry = loops.get(container.name)
    until = waits_until(entry, ended, now) if ended is not None else None
    if until is not None and entry is not None:
        draft.wait.append(Wait(container.name, until, entry))
        return
    if latest is not None and latest.container.state == ContainerState.UNKNOWN:
        message = f"Container is in {latest.container.state.name!r} state, try killing it before restart"
        draft.kill.append(Kill(latest.container.id, container.name, message))
    draft.start.append(_start(container, sort, pod, observed))


def _plan_ephemeral(pod: Pod, observed: PodRuntime, draft: _Draft) -> None:
    for one in pod.spec.ephemeral_containers:
        if observed.latest(one.name) is None:
            draft.start.append(_start(one, "ephemeral", pod, observed))


def _plan_init(
    pod: Pod,
    observed: PodRuntime,
    now: datetime,
    results: ProbeResults,
    loops: Mapping[str, CrashLoop],
    draft: _Draft,
) -> Literal["done", "waiting", "failed"]:
    initialized = has_initialized(pod, observed)
    for one in pod.spec.init_containers:
        status = observed.latest_in_sandbox(one.name)
        if pods.is_restartable_init(one):
            ready = _plan_sidecar(one, status, pod, observed, now, results, loops, draft)
            if not ready and not initialized:
                return "waiting"
            continue
        if initialized or _succeeded(status):
            continue
        if status is not None and is_running(status):
            if status.container.id in results.startup_failed | results.liveness_failed:
                draft.kill.append(_kill(status, one, results))
            return "waiting"
        if (
            status is not None
            and status.container.state == ContainerState.EXITED
            and not should_restart(one, pod, status)
        ):
            return "failed"
        _start_or_wait(one, "init", pod, observed, now, loops, draft)
        return "waiting"
    return "done"


def _plan_sidecar(
    one: Container,
    status: ContainerStatus | None,
    pod: Pod,
    observed: PodRuntime,
    now: datetime,
    results: ProbeResults,
    loops: Mapping[str, CrashLoop],
    draft: _Draft,
) -> bool:
    """Whether the containers after it may start."""
    if status is None or not is_running(status):
        if status is None:
            draft.start.append(_start(one, "init", pod, observed))
        else:
            _start_or_wait(one, "init", pod, observed, now, loops, draft)
        return False
    if status.container.id in results.startup_failed | results.liveness_failed:
        draft.kill.append(_kill(status, one, results, restart=True))
        return False
    return status.container.id not in results.not_started


def _plan_main(
    pod: Pod,
    observed: PodRuntime,
    now: datetime,
    results: ProbeResults,
    loops: Mapping[str, CrashLoop],
    draft: _Draft,
) -> int:
    """How many containers are left running or are to be killed and looked at again."""
    kept = 0
    for one in pod.spec.containers:
        status = observed.latest_in_sandbox(one.name)
        if status is None or not is_running(status):
            if should_restart(one, pod, status):
                _start_or_wait(one, "main", pod, observed, now, loops, draft)
            continue
        kept += 1
        restarts = pod.spec.restart_policy != "Never"
        if status.container.annotations.get(HASH_ANNOTATION, container_hash(one)) != container_hash(one):
            message = f"Container {one.name} definition changed, will be restarted"
            draft.kill.append(Kill(status.container.id, one.name, message))
        elif status.container.id in results.liveness_failed | results.startup_failed:
            draft.kill.append(_kill(status, one, results, restart=restarts))
    return kept


def _kill(status: ContainerStatus, one: Container, results: ProbeResults, *, restart: bool = False) -> Kill:
    cause: Literal["liveness", "startup"] = "startup" if status.container.id in results.startup_failed else "liveness"
    message = f"Container {one.name} failed {cause} probe"
    return Kill(status.container.id, one.name, message + (", will be restarted" if restart else ""), cause)


def _waits_for_main(pod: Pod, draft: _Draft) -> bool:
    names = {one.name for one in pod.spec.containers}
    return any(one.name in names for one in draft.wait)
