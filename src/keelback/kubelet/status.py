"""The API's picture of a pod, worked out from what the runtime has of it: phase, conditions, statuses. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from keelback.api import pods
from keelback.api.core_v1 import (
    Container,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    HostIP,
    Pod,
    PodCondition,
    PodIP,
    PodStatus,
    ResourceRequirements,
)
from keelback.apimachinery.meta import replace
from keelback.cri import values
from keelback.cri.values import SandboxState
from keelback.kubelet.observed import PodRuntime, instant, is_running
from keelback.kubelet.plan import AnyContainer, should_restart

OWNED_CONDITIONS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the kubelet knows of a pod beside what the runtime tells.

    `problems` says why a container could not be started, by name. By container id: `messages` are termination messages,
    `given` the resources that a running container has where they are not its spec's.
    `ready` and `started` are the probes' results by container id.
    """

    host_ips: tuple[str, ...] = ()
    problems: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[str, str], bool] = lambda _name, _container_id: True
    started: Callable[[str, str], bool] = lambda _name, _container_id: True
    given: Mapping[str, ResourceRequirements] = field(default_factory=dict)
    runtime_name: str = "containerd"
    is_finished: bool = False
    """The pod will run nothing any more, and nothing of it runs."""
    reason: str = ""
    message: str = ""


def status_of(pod: Pod, observed: PodRuntime, knowledge: Knowledge, now: datetime) -> PodStatus:
    """The status to write; what other components own in the present status stays."""
    old = pod.status
    main = _statuses(pod, pod.spec.containers, old.container_statuses, observed, knowledge, has_init=_has_init(pod))
    init = _statuses(pod, pod.spec.init_containers, old.init_container_statuses, observed, knowledge, is_init=True)
    ephemeral = tuple(
        one
        for one in _statuses(pod, pod.spec.ephemeral_containers, old.ephemeral_container_statuses, observed, knowledge)
    )
    phase = compute_phase(pod, main, init, is_finished=knowledge.is_finished)
    if old.phase in ("Succeeded", "Failed"):
        # An end is final, whatever the runtime still remembers.
        phase = old.phase
    elif knowledge.is_finished:
        phase = "Failed" if knowledge.reason else phase
    elif phase in ("Succeeded", "Failed"):
        # Not an end yet: a sidecar, or what the node itself ends, still runs.
        phase = old.phase or "Pending"
    pod_ips = _pod_ips(pod, observed, knowledge)
    status = replace(
        old,
        phase=phase,
        reason=knowledge.reason or old.reason,
        message=knowledge.message or old.message,
        start_time=old.start_time or _whole(now),
        host_ip=knowledge.host_ips[0] if knowledge.host_ips else "",
        host_ips=tuple(HostIP(ip=address) for address in knowledge.host_ips),
        pod_ip=pod_ips[0] if pod_ips else "",
        pod_ips=tuple(PodIP(ip=address) for address in pod_ips),
        qos_class=old.qos_class or pods.compute_qos_class(pod.spec),
        container_statuses=main,
        init_container_statuses=init,
        ephemeral_container_statuses=ephemeral,
        observed_generation=pod.metadata.generation,
    )
    return replace(status, conditions=_conditions(pod, status, observed, now))


def rejected_status(pod: Pod, reason: str, message: str, now: datetime) -> PodStatus:
    """The status of a pod that the node does not take."""
    return replace(
        pod.status,
        phase="Failed",
        reason=reason,
        message=message,
        start_time=pod.status.start_time or _whole(now),
        observed_generation=pod.metadata.generation,
        qos_class=pod.status.qos_class or pods.compute_qos_class(pod.spec),
    )


# Containers


def _has_init(pod: Pod) -> bool:
    return bool(pod.spec.init_containers)


def _statuses(
    pod: Pod,
    containers: Sequence[AnyContainer],
    old: Sequence[ContainerStatus],
    observed: PodRuntime,
    knowledge: Knowledge,
    *,
    has_init: bool = False,
    is_init: bool = False,
) -> tuple[ContainerStatus, ...]:
    told = {one.name: one for one in old}
    written = []
    for one in containers:
        history = observed.history(one.name)
        before = told.get(one.name)
        if history:
            written.append(_status_from(pod, one, history, before, observed, knowledge, is_init=is_init))
        else:
            written.append(_status_without(pod, one, before, knowledge, initializing=has_init or is_init))
    return tuple(written)


def _status_from(
    pod: Pod,
    one: AnyContainer,
    history: Sequence[values.ContainerStatus],
    before: ContainerStatus | None,
    observed: PodRuntime,
    knowledge: Knowledge,
    *,
    is_init: bool,
) -> ContainerStatus:
    latest = history[0]
    state = _state(latest, knowledge)
    last = _state(history[1], knowledge) if len(history) > 1 else (before.last_state if before else ContainerState())
    if last.terminated is None or (
        # It waited to be started again, and then was not: its end is its state, not its last state.
        state.terminated is not None and last.terminated.container_id == state.terminated.container_id
    ):
        last = ContainerState()
    container_id = latest.container.id
    running = is_running(latest)
    problem = knowledge.problems.get(one.name)
    if problem is not None and not running and not knowledge.is_finished:
        # It ended and was to be started again, which did not work: it waits, and its end is its last state.
        if state.terminated is not None:
            last = state
        state = ContainerState(waiting=ContainerStateWaiting(reason=problem[0], message=problem[1]))
    if isinstance(one, Container) and is_init and not pods.is_restartable_init(one):
        ready = latest.container.state == values.ContainerState.EXITED and latest.exit_code == 0
        started = False if not running else knowledge.started(one.name, container_id)
    else:
        ready = running and knowledge.ready(one.name, container_id)
        started = running and knowledge.started(one.name, container_id)
    return ContainerStatus(
        name=one.name,
        state=state,
        last_state=last,
        ready=ready and (running or is_init),
        started=started,
        restart_count=max(latest.container.attempt, before.restart_count if before else 0),
        image=one.image if latest.container.image.startswith("sha256:") else latest.container.image or one.image,
        image_id=latest.container.image_ref,
        container_id=f"{knowledge.runtime_name}://{container_id}",
        allocated_resources=dict(one.resources.requests),
        resources=_resources(one, latest, knowledge),
        volume_mounts=() if before is None else before.volume_mounts,
    )


def _status_without(
    pod: Pod, one: AnyContainer, before: ContainerStatus | None, knowledge: Knowledge, *, initializing: bool
) -> ContainerStatus:
    reason = "PodInitializing" if initializing else "ContainerCreating"
    waiting = ContainerState(waiting=ContainerStateWaiting(reason=reason))
    problem = knowledge.problems.get(one.name)
    if problem is not None:
        waiting = ContainerState(waiting=ContainerStateWaiting(reason=problem[0], message=problem[1]))
    fresh = ContainerStatus(name=one.name, image=one.image, state=waiting, started=False, resources=None, ready=False)
    if before is None:
        return fresh
    if before.state.terminated is not None:
        return before
    if before.state.running is not None:
        # The runtime has lost a container that ran: say so, as nobody knows how it ended.
        lost = ContainerStateTerminated(
            reason="ContainerStatusUnknown",
            message="The container could not be located when the pod was terminated"
            if knowledge.is_finished
            else "The container could not be located when the pod was deleted.  The container used to be Running",
            exit_code=137,
            container_id=before.container_id,
        )
        if knowledge.is_finished or not should_restart(one, pod, None):
            return replace(before, state=ContainerState(terminated=lost), ready=False, started=False)
        return replace(fresh, last_state=ContainerState(terminated=lost), restart_count=before.restart_count + 1)
    return replace(fresh, last_state=before.last_state, restart_count=before.restart_count)


def _state(status: values.ContainerStatus, knowledge: Knowledge) -> ContainerState:
    match status.container.state:
        case values.ContainerState.RUNNING:
            return ContainerState(running=ContainerStateRunning(started_at=_whole(instant(status.started_at))))
        case values.ContainerState.EXITED:
            return ContainerState(
                terminated=ContainerStateTerminated(
                    exit_code=status.exit_code,
                    reason=status.reason or ("Completed" if status.exit_code == 0 else "Error"),
                    message=knowledge.messages.get(status.container.id, "") or status.message,
                    started_at=_whole(instant(status.started_at)),
                    finished_at=_whole(instant(status.finished_at)),
                    container_id=f"{knowledge.runtime_name}://{status.container.id}",
                )
            )
        case _:
            return ContainerState(waiting=ContainerStateWaiting(reason="ContainerCreating"))


def _whole(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(microsecond=0)


def _resources(one: AnyContainer, latest: values.ContainerStatus, knowledge: Knowledge) -> ResourceRequirements:
    given = knowledge.given.get(latest.container.id, one.resources)
    return ResourceRequirements(limits=dict(given.limits), requests=dict(given.requests))


def _pod_ips(pod: Pod, observed: PodRuntime, knowledge: Knowledge) -> tuple[str, ...]:
    sandbox = observed.sandbox
    if pod.spec.host_network:
        return knowledge.host_ips if sandbox is not None or pod.status.pod_ip else ()
    if sandbox is not None and sandbox.sandbox.state == SandboxState.READY and sandbox.ips:
        return tuple(sandbox.ips)
    if knowledge.is_finished or sandbox is not None:
        # A stopped sandbox no longer tells its addresses; the pod had them all the same.
        return tuple(one.ip for one in pod.status.pod_ips)
    return ()


# Phase


@dataclass(frozen=True, slots=True)
class _Count:
    missing: int = 0
    waiting: int = 0
    running: int = 0
    stopped: int = 0
    succeeded: int = 0


def compute_phase(
    pod: Pod, main: Sequence[ContainerStatus], init: Sequence[ContainerStatus], *, is_finished: bool = False
) -> str:
    """Kubernetes' getPhase."""
    pending, failed = _initialization(pod, init)
    if failed and pod.spec.restart_policy == "Never":
        return "Failed"
    count = _count(main, len(pod.spec.containers))
    if pending and not count.running and not (is_finished and count.stopped):
        return "Failed" if is_finished and pod.metadata.deletion_timestamp is None else "Pending"
    if count.waiting:
        return "Pending"
    if count.running and not count.missing:
        return "Running"
    if not count.running and count.stopped and not count.missing:
        if count.stopped == count.succeeded and (is_finished or pod.spec.restart_policy != "Always"):
            return "Succeeded"
        if is_finished or pod.spec.restart_policy == "Never":
            return "Failed"
        return "Running"
    return "Pending"


def _initialization(pod: Pod, init: Sequence[ContainerStatus]) -> tuple[int, int]:
    """How many init containers are still to be waited for, and how many have failed."""
    told = {one.name: one for one in init}
    pending = failed = 0
    for one in pod.spec.init_containers:
        status = told.get(one.name)
        if status is None:
            pending += 1
        elif pods.is_restartable_init(one):
            if status.state.running is not None:
                pending += 0 if status.started else 1
            elif status.state.terminated is None:
                pending += 1
        elif status.state.terminated is not None:
            failed += 1 if status.state.terminated.exit_code else 0
        elif status.state.waiting is not None and status.last_state.terminated is not None:
            if status.last_state.terminated.exit_code:
                failed += 1
            pending += 1
        else:
            pending += 1
    return pending, failed


def _count(statuses: Iterable[ContainerStatus], wanted: int) -> _Count:
    waiting = running = stopped = succeeded = seen = 0
    for one in statuses:
        seen += 1
        if one.state.running is not None:
            running += 1
        elif one.state.terminated is not None:
            stopped += 1
            succeeded += one.state.terminated.exit_code == 0
        elif one.last_state.terminated is not None:
            stopped += 1
        else:
            waiting += 1
    return _Count(wanted - seen, waiting, running, stopped, succeeded)


# Conditions


def _conditions(pod: Pod, status: PodStatus, observed: PodRuntime, now: datetime) -> tuple[PodCondition, ...]:
    sandbox = observed.sandbox
    has_sandbox = (
        sandbox is not None
        and sandbox.sandbox.state == SandboxState.READY
        and (pod.spec.host_network or bool(sandbox.ips))
    )
    containers_ready = _containers_ready(pod, status)
    wanted = (
        PodCondition(type="PodReadyToStartContainers", status="True" if has_sandbox else "False"),
        _initialized(pod, status),
        _ready(pod, containers_ready),
        containers_ready,
        PodCondition(type="PodScheduled", status="True"),
    )
    return merged_conditions(pod, wanted, now)


def merged_conditions(pod: Pod, wanted: Sequence[PodCondition], now: datetime) -> tuple[PodCondition, ...]:
    """The present conditions with `wanted` put into them; one that keeps its status keeps its transition time."""
    present = {one.type: one for one in pod.status.conditions}
    for one in wanted:
        before = present.get(one.type)
        since = before.last_transition_time if before is not None and before.status == one.status else None
        present[one.type] = replace(
            one,
            last_transition_time=since or now.replace(microsecond=0),
            observed_generation=pod.metadata.generation,
        )
    return tuple(present.values())


def _initialized(pod: Pod, status: PodStatus) -> PodCondition:
    kind = "Initialized"
    if status.phase == "Succeeded":
        return PodCondition(type=kind, status="True", reason="PodCompleted")
    told = {one.name: one for one in status.init_container_statuses}
    main_started = any(
        one.state.running is not None or one.state.terminated is not None or one.last_state.terminated is not None
        for one in status.container_statuses
    )
    incomplete = []
    for one in pod.spec.init_containers:
        state = told.get(one.name)
        done = state is not None and (bool(state.started) if pods.is_restartable_init(one) else state.ready)
        if not done and not main_started:
            incomplete.append(one.name)
    if not incomplete:
        return PodCondition(type=kind, status="True")
    return PodCondition(
        type=kind,
        status="False",
        reason="ContainersNotInitialized",
        message=f"containers with incomplete status: [{' '.join(incomplete)}]",
    )


def _containers_ready(pod: Pod, status: PodStatus) -> PodCondition:
    kind = "ContainersReady"
    if status.phase == "Succeeded":
        return PodCondition(type=kind, status="False", reason="PodCompleted")
    if status.phase == "Failed":
        return PodCondition(type=kind, status="False", reason="PodFailed")
    told = {one.name: one for one in (*status.init_container_statuses, *status.container_statuses)}
    serving = (*pods.sidecars(pod.spec), *pod.spec.containers)
    unknown = [one.name for one in serving if one.name not in told]
    unready = [one.name for one in serving if one.name in told and not told[one.name].ready]
    if not unknown and not unready:
        return PodCondition(type=kind, status="True")
    messages = []
    if unknown:
        messages.append(f"containers with unknown status: [{' '.join(unknown)}]")
    if unready:
        messages.append(f"containers with unready status: [{' '.join(unready)}]")
    return PodCondition(type=kind, status="False", reason="ContainersNotReady", message=", ".join(messages))


def _ready(pod: Pod, containers_ready: PodCondition) -> PodCondition:
    if containers_ready.status != "True":
        return replace(containers_ready, type="Ready")
    told = {one.type: one.status for one in pod.status.conditions}
    messages = []
    for gate in pod.spec.readiness_gates:
        state = told.get(gate.condition_type)
        if state is None:
            messages.append(f'corresponding condition of pod readiness gate "{gate.condition_type}" does not exist.')
        elif state != "True":
            messages.append(f'the status of pod readiness gate "{gate.condition_type}" is not "True", but {state}')
    if messages:
        return PodCondition(type="Ready", status="False", reason="ReadinessGatesNotReady", message=", ".join(messages))
    return PodCondition(type="Ready", status="True")
