"""The columns of a pod: the one word for its state, how many containers are ready, how often they restarted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keelback.api import conditions, pods
from keelback.api.core_v1 import ContainerStateTerminated, ContainerStatus, Pod
from keelback.registry.cells import NONE, since, wide
from keelback.registry.strategy import AGE, Column


@dataclass(slots=True)
class _Summary:
    """What is counted while the container statuses are read."""

    reason: str
    ready: int = 0
    total: int = 0
    restarts: int = 0
    last_restart: datetime | None = None

    def count_restarts(self, status: ContainerStatus) -> None:
        self.restarts += status.restart_count
        ended = status.last_state.terminated.finished_at if status.last_state.terminated else None
        if ended is not None and (self.last_restart is None or self.last_restart < ended):
            self.last_restart = ended


def summary(pod: Pod) -> _Summary:
    """The state of a pod in one word, and its counts (kubectl's Ready, Status and Restarts)."""
    found = _Summary(pod.status.reason or pod.status.phase, total=len(pod.spec.containers))
    scheduled = conditions.find(pod.status.conditions, "PodScheduled")
    if scheduled is not None and scheduled.reason == "SchedulingGated":
        found.reason = "SchedulingGated"
    sidecars = {one.name for one in pods.sidecars(pod.spec)}
    found.total += len(sidecars)
    of_sidecars = _Summary("")
    initializing = _read_init_containers(pod, found, of_sidecars, sidecars)
    if not initializing or conditions.is_true(pod.status.conditions, "Initialized"):
        found.restarts, found.last_restart = of_sidecars.restarts, of_sidecars.last_restart
        _read_containers(pod, found)
    if pod.metadata.deletion_timestamp is not None:
        if pod.status.reason == "NodeLost":
            found.reason = "Unknown"
        elif not pods.is_terminal(pod):
            found.reason = "Terminating"
    return found


def _read_init_containers(pod: Pod, found: _Summary, of_sidecars: _Summary, sidecars: set[str]) -> bool:
    """Whether one of them has still to end; then the reason says which."""
    for index, status in enumerate(pod.status.init_container_statuses):
        found.count_restarts(status)
        is_sidecar = status.name in sidecars
        if is_sidecar:
            of_sidecars.count_restarts(status)
        terminated, waiting = status.state.terminated, status.state.waiting
        if terminated is not None and terminated.exit_code == 0:
            continue
        if is_sidecar and status.started:
            found.ready += status.ready
            continue
        if terminated is not None:
            found.reason = f"Init:{_end(terminated)}"
        elif waiting is not None and waiting.reason and waiting.reason != "PodInitializing":
            found.reason = f"Init:{waiting.reason}"
        else:
            found.reason = f"Init:{index}/{len(pod.spec.init_containers)}"
        return True
    return False


def _read_containers(pod: Pod, found: _Summary) -> None:
    has_running = False
    for status in reversed(pod.status.container_statuses):
        found.count_restarts(status)
        state = status.state
        if state.waiting is not None and state.waiting.reason:
            found.reason = state.waiting.reason
        elif state.terminated is not None:
            found.reason = _end(state.terminated)
        elif status.ready and state.running is not None:
            has_running = True
            found.ready += 1
    if found.reason == "Completed" and has_running:
        found.reason = "Running" if pods.is_ready(pod) else "NotReady"


def _end(terminated: ContainerStateTerminated) -> str:
    if terminated.reason:
        return terminated.reason
    return f"Signal:{terminated.signal}" if terminated.signal else f"ExitCode:{terminated.exit_code}"


def _ready(pod: Pod, _now: datetime) -> str:
    found = summary(pod)
    return f"{found.ready}/{found.total}"


def _restarts(pod: Pod, now: datetime) -> str:
    found = summary(pod)
    if found.restarts and found.last_restart is not None:
        return f"{found.restarts} ({since(found.last_restart, now)} ago)"
    return str(found.restarts)


def _readiness_gates(pod: Pod, _now: datetime) -> str:
    gates = pod.spec.readiness_gates
    if not gates:
        return NONE
    passed = sum(conditions.is_true(pod.status.conditions, gate.condition_type) for gate in gates)
    return f"{passed}/{len(gates)}"


def _ip(pod: Pod, _now: datetime) -> str:
    return (pod.status.pod_ips[0].ip if pod.status.pod_ips else pod.status.pod_ip) or NONE


COLUMNS = (
    Column("Ready", _ready, description="The aggregate readiness state of this pod for accepting traffic."),
    Column(
        "Status",
        lambda pod, _now: summary(pod).reason,
        description="The aggregate status of the containers in this pod.",
    ),
    Column(
        "Restarts",
        _restarts,
        description="The number of times the containers in this pod have been restarted and when the last container in "
        "this pod has restarted.",
    ),
    AGE,
    wide(
        "IP",
        _ip,
        "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
    ),
    wide(
        "Node", lambda pod, _now: pod.spec.node_name or NONE, "NodeName indicates in which node this pod is scheduled."
    ),
    wide(
        "Nominated Node",
        lambda pod, _now: pod.status.nominated_node_name or NONE,
        "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right "
        "away as preemption victims receive their graceful termination periods.",
    ),
    wide(
        "Readiness Gates",
        _readiness_gates,
        "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers "
        'are ready AND all conditions specified in the readiness gates have status equal to "True"',
    ),
)
