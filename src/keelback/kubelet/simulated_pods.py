"""What becomes of a simulated pod next, and what a kubelet would write of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from keelback.api.core_v1 import Pod
from keelback.apimachinery.meta import ManagedFieldsEntry, Object, ObjectMeta, Value, named, narrow, written
from keelback.kubelet.simulated_config import SimulatedConfig

PREFIX = "simulated.keelback.dev/"
READY = PREFIX + "ready"  # "false" keeps the pod from being Ready; may change at any time
START_SECONDS = PREFIX + "start-seconds"  # how long until it runs
RUN_SECONDS = PREFIX + "run-seconds"  # how long it runs; "forever" for a Job's pod that must not end by itself
EXIT_CODE = PREFIX + "exit-code"  # what its containers end with; 0 unless given
_ENDED = ("Succeeded", "Failed")
_KILLED = 137


# The narrow view of a pod: thousands are held.


class SimulatedMeta(ObjectMeta):
    """Metadata without `managedFields`, which is often half of a pod and which nobody here reads."""

    # No field on the wire has this name, so nothing is ever decoded into it.
    managed_fields: tuple[ManagedFieldsEntry, ...] = named("-", ())


class SimulatedContainer(Value):
    name: str
    image: str = ""
    restart_policy: str | None = None


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


class SimulatedPodStatus(Value):
    observed_generation: int = 0
    phase: str = ""
    pod_ip: str = named("podIP", "")
    start_time: datetime | None = None
    conditions: tuple[SimulatedPodCondition, ...] = ()


@narrow(Pod)
class SimulatedPod(Object):
    """What a simulated node reads of a pod."""

    metadata: SimulatedMeta = written(SimulatedMeta())
    spec: SimulatedPodSpec = SimulatedPodSpec()
    status: SimulatedPodStatus = SimulatedPodStatus()


# Deciding


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of a pod next, and how many seconds after the last thing that happened to it."""

    verb: Literal["start", "update", "finish", "kill", "remove"]
    after_seconds: float = 0.0


def plan(pod: SimulatedPod, config: SimulatedConfig) -> Step | None:
    """The pod's next step, or None when it stays as it is."""
    annotations = pod.metadata.annotations
    if pod.metadata.deletion_timestamp is not None:
        after = min(float(pod.metadata.deletion_grace_period_seconds or 0), config.stop_seconds)
        # Whoever holds the object by a finalizer wants to see how the pod ended.
        return Step("kill" if pod.metadata.finalizers and pod.status.phase not in _ENDED else "remove", after)
    phase = pod.status.phase
    if phase in _ENDED:
        return None
    if phase != "Running":
        return Step("start", _seconds(annotations.get(START_SECONDS), config.start_seconds))
    if (
        _condition(pod, "ContainersReady") != _truth(_containers_ready(pod))
        or _condition(pod, "Ready") != _truth(_is_ready(pod))
        or pod.status.observed_generation < pod.metadata.generation
    ):
        return Step("update")
    run_seconds = _run_seconds(pod, config)
    return None if run_seconds is None else Step("finish", run_seconds)


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


def _truth(value: bool) -> str:
    return "True" if value else "False"


def _condition(pod: SimulatedPod, kind: str) -> str:
    return next((one.status for one in pod.status.conditions if one.type == kind), "")


def _containers_ready(pod: SimulatedPod) -> bool:
    return pod.metadata.annotations.get(READY, "true").lower() != "false"


def _is_ready(pod: SimulatedPod) -> bool:
    gates = (_condition(pod, gate.condition_type) == "True" for gate in pod.spec.readiness_gates)
    return _containers_ready(pod) and all(gates)


# What a kubelet would write


def running_status(pod: SimulatedPod, host_ip: str, pod_ip: str, now: datetime) -> dict[str, Any]:
    """The status of a pod whose containers run, as a patch's tree."""
    started = pod.status.start_time or now
    ready = _containers_ready(pod)
    return {
        "observedGeneration": pod.metadata.generation,
        "phase": "Running",
        "startTime": wire_time(started),
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": pod_ip,
        "podIPs": [{"ip": pod_ip}],
        "conditions": _conditions(pod, now, containers_ready=ready, ready=_is_ready(pod)),
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


def finished_status(pod: SimulatedPod, now: datetime, *, killed: bool = False) -> dict[str, Any]:
    """The status of a pod whose containers have ended, by themselves or because the pod was deleted."""
    started = pod.status.start_time or now
    code = _KILLED if killed else int(_seconds(pod.metadata.annotations.get(EXIT_CODE), 0))
    reason = "PodCompleted" if code == 0 else "PodFailed"
    ended = [(one, {"terminated": _terminated(pod, one, code, started, now)}) for one in pod.spec.containers]
    return {
        "observedGeneration": pod.metadata.generation,
        "phase": "Succeeded" if code == 0 else "Failed",
        "conditions": _conditions(pod, now, containers_ready=False, ready=False, reason=reason),
        "containerStatuses": [_container_status(pod, one, state, ready=False) for one, state in ended],
    }


def _conditions(
    pod: SimulatedPod, now: datetime, *, containers_ready: bool, ready: bool, reason: str = ""
) -> list[dict[str, Any]]:
    wanted = {
        "PodReadyToStartContainers": not reason,
        "Initialized": True,
        "ContainersReady": containers_ready,
        "Ready": ready,
    }
    why = reason or "ContainersNotReady"
    written = []
    for kind, value in wanted.items():
        # A condition that stays as it is keeps its transition time: only a change is written.
        if _condition(pod, kind) == _truth(value):
            continue
        told = {} if value else {"reason": why}
        written.append(
            {
                "type": kind,
                "status": _truth(value),
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
        "containerID": _container_id(pod, one),
        "ready": ready,
        "started": "running" in state,
        "restartCount": 0,
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
        "containerID": _container_id(pod, one),
    }


def _container_id(pod: SimulatedPod, one: SimulatedContainer) -> str:
    return f"simulated://{pod.metadata.uid}-{one.name}"


def wire_time(moment: datetime) -> str:
    """A moment as `metav1.Time` is written: whole seconds, in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_time(moment: datetime) -> str:
    """A moment as `metav1.MicroTime` is written: with microseconds, in UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
