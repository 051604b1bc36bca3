"""What becomes of a simulated pod next, and what a kubelet would write of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from keelback.api.core_v1 import Pod
from keelback.apimachinery.meta import ManagedFieldsEntry, Object, ObjectMeta, Value, named, narrow, written
from keelback.simulation import manners
from keelback.simulation.config import SimulatedConfig
from keelback.simulation.manners import EXIT_CODE, KILLED, PREFIX, RUN_SECONDS, START_SECONDS, chance_of

READY = PREFIX + "ready"  # "false" keeps the pod from being Ready; may change at any time
_ENDED = ("Succeeded", "Failed")
_PLAIN: Final = (RUN_SECONDS, EXIT_CODE)


# The narrow view of a pod: thousands are held.


class SimulatedMeta(ObjectMeta):
    """Metadata without `managedFields`, which is often half of a pod and which nobody here reads."""

    # No field on the wire has this name, so nothing is ever decoded into it.
    managed_fields: tuple[ManagedFieldsEntry, ...] = named("-", ())


class SimulatedProbe(Value):
    period_seconds: int = 10
    failure_threshold: int = 3


class SimulatedContainer(Value):
    name: str
    image: str = ""
    restart_policy: str | None = None
    liveness_probe: SimulatedProbe | None = None


class SimulatedReadinessGate(Value):
    condition_type: str


class SimulatedPodSpec(Value):
    node_name: str = ""
    host_network: bool = False
    restart_policy: str = "Always"
    containers: tuple[SimulatedContainer, ...] = ()
    init_containers: tuple[SimulatedContainer, ...] = ()
    readiness_gates: tuple[SimulatedReadinessGate, ...] = ()


class SimulatedPodCondition(Value):
    type: str
    status: str


class SimulatedWaiting(Value):
    reason: str = ""
    message: str = ""


class SimulatedRunning(Value):
    started_at: datetime


class SimulatedTerminated(Value):
    exit_code: int
    started_at: datetime
    finished_at: datetime
    reason: str = ""


class SimulatedState(Value):
    waiting: SimulatedWaiting | None = None
    running: SimulatedRunning | None = None
    terminated: SimulatedTerminated | None = None


class SimulatedContainerStatus(Value):
    name: str
    restart_count: int = 0
    ready: bool = False
    started: bool = False
    state: SimulatedState = SimulatedState()
    last_state: SimulatedState = SimulatedState()


class SimulatedPodStatus(Value):
    observed_generation: int = 0
    phase: str = ""
    pod_ip: str = named("podIP", "")
    start_time: datetime | None = None
    conditions: tuple[SimulatedPodCondition, ...] = ()
    container_statuses: tuple[SimulatedContainerStatus, ...] = ()
    init_container_statuses: tuple[SimulatedContainerStatus, ...] = ()


@narrow(Pod)
class SimulatedPod(Object):
    """What a simulated node reads of a pod."""

    metadata: SimulatedMeta = written(SimulatedMeta())
    spec: SimulatedPodSpec = SimulatedPodSpec()
    status: SimulatedPodStatus = SimulatedPodStatus()


# Deciding


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of a pod next, and how many seconds after the last thing that happened to it, or at what moment."""

    verb: Literal["start", "update", "finish", "kill", "remove", "advance"]
    after_seconds: float = 0.0
    at: datetime | None = None


def plan(pod: SimulatedPod, config: SimulatedConfig) -> Step | None:
    """The pod's next step, or None when it stays as it is."""
    if pod.metadata.deletion_timestamp is not None:
        after = min(float(pod.metadata.deletion_grace_period_seconds or 0), config.stop_seconds)
        # Whoever holds the object by a finalizer wants to see how the pod ended.
        return Step("kill" if pod.metadata.finalizers and pod.status.phase not in _ENDED else "remove", after)
    phase = pod.status.phase
    if phase in _ENDED:
        return None
    if phase != "Running":
        return Step("start", start_seconds(pod, config))
    if (
        condition(pod, "ContainersReady") != truth(is_told_ready(pod))
        or condition(pod, "Ready") != truth(is_ready(pod, is_told_ready(pod)))
        or has_unseen_change(pod)
    ):
        return Step("update")
    run_seconds = _run_seconds(pod, config)
    return None if run_seconds is None else Step("finish", run_seconds)


def start_seconds(pod: SimulatedPod, config: SimulatedConfig) -> float:
    """How long until a pod that was bound to its node runs."""
    told = pod.metadata.annotations.get(START_SECONDS)
    try:
        length = manners.span(told or "")
    except ValueError:
        return config.start_seconds
    return length.draw(chance_of(config.seed, pod.metadata.uid, "", 0, "start"))


def is_eventful(pod: SimulatedPod) -> bool:
    """Whether more can become of the pod's containers than that they all run, and end together."""
    annotations = pod.metadata.annotations
    if manners.has_manners(annotations) and not _is_plain(pod):
        return True
    return any(one.restart_count or one.state.waiting is not None for one in pod.status.container_statuses)


def _is_plain(pod: SimulatedPod) -> bool:
    """Whether what is said is only how long all containers run, and how they end for good."""
    said = [name for name in pod.metadata.annotations if name in manners.PER_CONTAINER]
    values = [pod.metadata.annotations[name] for name in said]
    return (
        pod.spec.restart_policy == "Never"
        and all(name in _PLAIN for name in said)
        and all(value == "forever" or value.replace(".", "", 1).isdecimal() for value in values)
    )


def has_unseen_change(pod: SimulatedPod) -> bool:
    """Whether the spec has changed since the status told of it; versions before 1.34 never keep what it tells."""
    return 0 < pod.status.observed_generation < pod.metadata.generation


def _run_seconds(pod: SimulatedPod, config: SimulatedConfig) -> float | None:
    if pod.spec.restart_policy == "Always":
        return None
    told = pod.metadata.annotations.get(RUN_SECONDS)
    if told is not None:
        return None if told == "forever" else _seconds(told, config.job_seconds)
    owned_by_job = any(owner.kind == "Job" for owner in pod.metadata.owner_references)
    return config.job_seconds if owned_by_job else None


def _seconds(text: str | None, default: float) -> float:
    try:
        return default if text is None else max(0.0, float(text))
    except ValueError:
        return default


def truth(value: bool) -> str:
    """A condition's status for a fact."""
    return "True" if value else "False"


def condition(pod: SimulatedPod, kind: str) -> str:
    """A condition's status; empty where the pod has none of the kind."""
    return next((one.status for one in pod.status.conditions if one.type == kind), "")


def is_told_ready(pod: SimulatedPod) -> bool:
    """Whether nothing keeps the pod's running containers from being ready."""
    return pod.metadata.annotations.get(READY, "true").lower() != "false"


def is_ready(pod: SimulatedPod, containers_ready: bool) -> bool:
    """Whether the pod is, with containers that are or are not."""
    gates = (condition(pod, gate.condition_type) == "True" for gate in pod.spec.readiness_gates)
    return containers_ready and all(gates)


# What a kubelet would write


def running_status(pod: SimulatedPod, host_ip: str, pod_ip: str, now: datetime) -> dict[str, Any]:
    """The status of a pod whose containers run, as a patch's tree."""
    started = pod.status.start_time or now
    ready = is_told_ready(pod)
    return {
        "observedGeneration": pod.metadata.generation,
        "phase": "Running",
        "startTime": wire_time(started),
        **addresses(host_ip, pod_ip),
        "conditions": conditions(pod, now, containers_ready=ready),
        "containerStatuses": [
            _container_status(pod, one, {"running": {"startedAt": wire_time(started)}}, ready=ready)
            for one in pod.spec.containers
        ],
        "initContainerStatuses": [
            _container_status(
                pod,
                one,
                {"running": {"startedAt": wire_time(started)}}
                if one.restart_policy == "Always"
                else {"terminated": _terminated(pod, one, 0, started, started)},
                ready=True,
            )
            for one in pod.spec.init_containers
        ],
    }


def addresses(host_ip: str, pod_ip: str) -> dict[str, Any]:
    """The part of a status that says where a pod is."""
    return {"hostIP": host_ip, "hostIPs": [{"ip": host_ip}], "podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}


def finished_status(pod: SimulatedPod, now: datetime, *, killed: bool = False) -> dict[str, Any]:
    """The status of a pod whose containers have ended, by themselves or because the pod was deleted."""
    started = pod.status.start_time or now
    code = KILLED if killed else int(_seconds(pod.metadata.annotations.get(EXIT_CODE), 0))
    reason = "PodCompleted" if code == 0 else "PodFailed"
    ended = [(one, {"terminated": _terminated(pod, one, code, started, now)}) for one in pod.spec.containers]
    return {
        "observedGeneration": pod.metadata.generation,
        "phase": "Succeeded" if code == 0 else "Failed",
        "conditions": conditions(pod, now, containers_ready=False, reason=reason),
        "containerStatuses": [_container_status(pod, one, state, ready=False) for one, state in ended],
    }


def conditions(
    pod: SimulatedPod,
    now: datetime,
    *,
    containers_ready: bool,
    initialized: bool = True,
    reason: str = "",
    message: str = "",
) -> list[dict[str, Any]]:
    """The conditions that change; `reason` is that of a pod that has ended."""
    wanted = {
        "PodReadyToStartContainers": not reason,
        "Initialized": initialized,
        "ContainersReady": containers_ready,
        "Ready": is_ready(pod, containers_ready),
    }
    why = reason or "ContainersNotReady"
    written = []
    for kind, value in wanted.items():
        # A condition that stays as it is keeps its transition time: only a change is written.
        if condition(pod, kind) == truth(value):
            continue
        told = {} if value else {"reason": why if kind != "Initialized" else "ContainersNotInitialized"}
        if message and not value:
            told["message"] = message
        written.append(
            {
                "type": kind,
                "status": truth(value),
                "lastProbeTime": None,
                "lastTransitionTime": wire_time(now),
                "observedGeneration": pod.metadata.generation,
                **told,
            }
        )
        if value:
            written[-1] |= {"reason": None, "message": None}
    return written


def _container_status(
    pod: SimulatedPod, one: SimulatedContainer, state: dict[str, Any], *, ready: bool
) -> dict[str, Any]:
    return {
        "name": one.name,
        "image": one.image,
        "imageID": f"simulated://{one.image}",
        "containerID": container_id(pod, one),
        "ready": ready,
        "started": "running" in state,
        "restartCount": next(
            (known.restart_count for known in pod.status.container_statuses if known.name == one.name), 0
        ),
        "state": state,
    }


def _terminated(
    pod: SimulatedPod, one: SimulatedContainer, code: int, start: datetime, end: datetime
) -> dict[str, Any]:
    return {
        "exitCode": code,
        "reason": "Completed" if code == 0 else "Error",
        "startedAt": wire_time(start),
        "finishedAt": wire_time(end),
        "containerID": container_id(pod, one),
    }


def container_id(pod: SimulatedPod, one: SimulatedContainer, attempt: int = 0) -> str:
    """What tells one life of a container from others."""
    return f"simulated://{pod.metadata.uid}-{one.name}" + (f"-{attempt}" if attempt else "")


def wire_time(moment: datetime) -> str:
    """A moment as `metav1.Time` is written: whole seconds, in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time(moment: datetime) -> str:
    """A moment as `metav1.MicroTime` is written: with microseconds, in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
