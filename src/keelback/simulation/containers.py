"""The lives of simulated containers of which something is said: init containers first, ends, restarts with back-off.

All state is in the pod's status, to the second, but for the back-offs: a kubelet that starts anew forgets them, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from keelback.kubelet.crash_loop import CAP, INITIAL, CrashLoop, after_start, go_duration, waits_until
from keelback.simulation import manners, pods
from keelback.simulation.config import SimulatedConfig
from keelback.simulation.manners import KILLED, Manners, Span, chance_of, end_of
from keelback.simulation.pods import (
    SimulatedContainer,
    SimulatedContainerStatus,
    SimulatedPod,
    SimulatedRunning,
    SimulatedState,
    SimulatedTerminated,
    SimulatedWaiting,
    Step,
    condition,
    conditions,
    container_id,
    has_unseen_change,
    is_eventful,
    is_ready,
    is_told_ready,
    start_seconds,
    truth,
    wire_time,
)

BackOffs = Mapping[str, CrashLoop]
"""Of one pod, by container."""

CRASH_LOOP: Final = "CrashLoopBackOff"
_PULL_FAILED: Final = "ErrImagePull"
_PULL_BACK_OFF: Final = "ImagePullBackOff"
_NOT_STARTED: Final = ("PodInitializing", "ContainerCreating", "")
_FORGOTTEN: Final[BackOffs] = {}
_UNKNOWN: Final = datetime.min.replace(tzinfo=UTC)
_PULL_AGAIN: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Told:
    """An event about a pod's container."""

    type: str
    reason: str
    message: str
    container: str = ""


@dataclass(slots=True)
class Outcome:
    """What has become of a pod's containers at a moment."""

    status: dict[str, Any]
    events: list[Told] = field(default_factory=list)
    back_offs: dict[str, CrashLoop] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Pod:
    """One pod at a moment."""

    pod: SimulatedPod
    config: SimulatedConfig
    back_offs: BackOffs
    now: datetime

    def manners(self, one: SimulatedContainer, *, is_init: bool) -> Manners:
        return manners_of(self.pod, one, self.config, is_init=is_init)[0]

    def drawn(self, length: Span, container: str, attempt: int, what: str) -> timedelta:
        chance = chance_of(self.config.seed, self.pod.metadata.uid, container, attempt, what)
        return timedelta(seconds=length.draw(chance))


def manners_of(
    pod: SimulatedPod, one: SimulatedContainer, config: SimulatedConfig, *, is_init: bool
) -> tuple[Manners, tuple[str, ...]]:
    """How a container of the pod behaves, and what could not be understood of it."""
    annotations = pod.metadata.annotations
    if is_init:
        run = None if one.restart_policy == "Always" else Span(0.0, 0.0)
    else:
        owned_by_job = any(owner.kind == "Job" for owner in pod.metadata.owner_references)
        ends = owned_by_job and pod.spec.restart_policy != "Always"
        is_said_to_end = any(
            manners.value_for(annotations, name, one.name) is not None
            for name in (manners.EXIT_CODE, manners.FAILURE_RATE)
        )
        run = Span(config.job_seconds, config.job_seconds) if ends or is_said_to_end else None
    return manners.manners(annotations, one.name, is_init=is_init, run=run)


def problems_of(pod: SimulatedPod, config: SimulatedConfig) -> tuple[str, ...]:
    """What of the pod's annotations is not understood."""
    found = dict.fromkeys(
        problem
        for some, is_init in ((pod.spec.init_containers, True), (pod.spec.containers, False))
        for one in some
        for problem in manners_of(pod, one, config, is_init=is_init)[1]
    )
    return tuple(found)


def plan(pod: SimulatedPod, config: SimulatedConfig, back_offs: BackOffs = _FORGOTTEN) -> Step | None:
    """The next step of any pod, whether anything is said of its containers or not."""
    has_ended = pod.status.phase in ("Succeeded", "Failed")
    if not is_eventful(pod) or has_ended or pod.metadata.deletion_timestamp is not None:
        return pods.plan(pod, config)
    if pod.status.start_time is None:
        return Step("start", start_seconds(pod, config))
    is_stale = condition(pod, "Ready") != truth(is_ready(pod, condition(pod, "ContainersReady") == "True"))
    if is_stale or has_unseen_change(pod):
        return Step("advance")
    moment = next_moment(pod, config, back_offs)
    if isinstance(moment, timedelta):
        return Step("advance", moment.total_seconds())
    return None if moment is None else Step("advance", at=moment)


def next_moment(
    pod: SimulatedPod, config: SimulatedConfig, back_offs: BackOffs = _FORGOTTEN
) -> datetime | timedelta | None:
    """When something becomes of the containers of a started pod: at a moment, or so long after the last change.

    None where they stay as they are.
    """
    seen = _Pod(pod, config, back_offs, pod.status.start_time or _UNKNOWN)
    moments: list[datetime] = []
    pause: timedelta | None = None
    for one, life, is_init in _active(pod):
        found = _due(seen, one, life, is_init=is_init)
        if isinstance(found, datetime):
            moments.append(found)
        elif found is not None:
            pause = found if pause is None else min(pause, found)
    return pause if pause is not None and (not pause or not moments) else min(moments, default=None)


def settled(
    pod: SimulatedPod,
    config: SimulatedConfig,
    now: datetime,
    addresses: Mapping[str, Any],
    back_offs: BackOffs = _FORGOTTEN,
) -> Outcome:
    """The pod's status once everything has happened that is due; `addresses` are its own and its node's."""
    seen = _Pod(pod, config, back_offs, now)
    outcome = Outcome({}, back_offs=dict(back_offs))
    lives: dict[str, SimulatedContainerStatus] = {}
    failed = False
    initialized = True
    for one in pod.spec.init_containers:
        life = _known(pod, one, is_init=True)
        if initialized and not failed:
            life = _stepped(seen, one, life, outcome, is_init=True)
        lives[one.name] = life
        ended = life.state.terminated
        if one.restart_policy == "Always":
            initialized = initialized and life.state.running is not None
        else:
            initialized = initialized and ended is not None and ended.exit_code == 0
            failed = failed or (ended is not None and ended.exit_code != 0 and pod.spec.restart_policy == "Never")
    for one in pod.spec.containers:
        life = _known(pod, one, is_init=False)
        # Those that run go on when a sidecar before them is started anew.
        if (initialized or _has_begun(life)) and not failed:
            life = _stepped(seen, one, life, outcome, is_init=False)
        lives[one.name] = life
    has_ended = failed or all(_is_over(pod, lives[one.name], is_sidecar=False) for one in pod.spec.containers)
    if has_ended:
        lives = {name: _stopped(pod, life, now) for name, life in lives.items()}
    outcome.status = _status(seen, lives, addresses, initialized=initialized, has_ended=has_ended, failed=failed)
    return outcome


# One container.


def _known(pod: SimulatedPod, one: SimulatedContainer, *, is_init: bool) -> SimulatedContainerStatus:
    statuses = pod.status.init_container_statuses if is_init else pod.status.container_statuses
    for status in statuses:
        if status.name == one.name:
            return status
    reason = "PodInitializing" if pod.spec.init_containers else "ContainerCreating"
    return SimulatedContainerStatus(name=one.name, state=SimulatedState(waiting=SimulatedWaiting(reason=reason)))


def _active(pod: SimulatedPod) -> Iterator[tuple[SimulatedContainer, SimulatedContainerStatus, bool]]:
    """The containers that may change now."""
    is_open = True
    for one in pod.spec.init_containers:
        life = _known(pod, one, is_init=True)
        ended = life.state.terminated
        if one.restart_policy == "Always":
            yield one, life, True
            is_open = life.state.running is not None
        elif ended is None or ended.exit_code != 0:
            yield one, life, True
            is_open = False
        if not is_open:
            break
    for one in pod.spec.containers:
        life = _known(pod, one, is_init=False)
        if is_open or _has_begun(life):
            yield one, life, False


def _has_begun(life: SimulatedContainerStatus) -> bool:
    return life.state.waiting is None or life.restart_count > 0 or life.last_state.terminated is not None


def _is_over(pod: SimulatedPod, life: SimulatedContainerStatus, *, is_sidecar: bool) -> bool:
    """Whether a container has ended for good."""
    ended = life.state.terminated
    return ended is not None and not _comes_back(pod, ended, is_sidecar=is_sidecar, is_init=False)


def _comes_back(pod: SimulatedPod, ended: SimulatedTerminated, *, is_sidecar: bool, is_init: bool) -> bool:
    if is_sidecar:
        return True
    policy = pod.spec.restart_policy
    if ended.exit_code == 0:
        return policy == "Always" and not is_init
    return policy != "Never"


def _due(
    seen: _Pod, one: SimulatedContainer, life: SimulatedContainerStatus, *, is_init: bool
) -> datetime | timedelta | None:
    state, own = life.state, seen.manners(one, is_init=is_init)
    if state.running is not None:
        return _due_of_running(seen, one, life, own)
    if state.terminated is not None:
        is_sidecar = is_init and one.restart_policy == "Always"
        comes_back = _comes_back(seen.pod, state.terminated, is_sidecar=is_sidecar, is_init=is_init)
        return timedelta(0) if comes_back else None
    reason = state.waiting.reason if state.waiting is not None else ""
    if reason == CRASH_LOOP:
        ended = life.last_state.terminated
        entry = _entry(seen, life)
        return timedelta(0) if ended is None or entry is None else ended.finished_at + entry.delay
    if own.image_error:
        return {_PULL_BACK_OFF: None, _PULL_FAILED: _PULL_AGAIN}.get(reason, timedelta(0))
    return timedelta(0)


def _due_of_running(
    seen: _Pod, one: SimulatedContainer, life: SimulatedContainerStatus, own: Manners
) -> datetime | timedelta | None:
    end, _ = _end_of_run(seen, one, life, own)
    if life.ready or not is_told_ready(seen.pod):
        return timedelta(0) if life.ready and not is_told_ready(seen.pod) else end
    ready = _ready_at(seen, one, life, own)
    return ready if end is None else min(ready, end)


def _ready_at(seen: _Pod, one: SimulatedContainer, life: SimulatedContainerStatus, own: Manners) -> datetime:
    assert life.state.running is not None
    return life.state.running.started_at + seen.drawn(own.ready, one.name, life.restart_count, "ready")


def _end_of_run(
    seen: _Pod, one: SimulatedContainer, life: SimulatedContainerStatus, own: Manners
) -> tuple[datetime | None, bool]:
    """When a container that runs ends, and whether its liveness probe ends it."""
    assert life.state.running is not None
    started = life.state.running.started_at
    end = None
    if own.run is not None:
        end = started + seen.drawn(own.run, one.name, life.restart_count, "run")
    probe = one.liveness_probe
    if own.unhealthy is not None and probe is not None:
        began = started + seen.drawn(own.unhealthy, one.name, life.restart_count, "unhealthy")
        killed = began + timedelta(seconds=probe.period_seconds * probe.failure_threshold)
        if end is None or killed < end:
            return killed, True
    return end, False


def _entry(seen: _Pod, life: SimulatedContainerStatus) -> CrashLoop | None:
    known = seen.back_offs.get(life.name)
    if known is not None or not life.restart_count:
        return known
    # Whoever simulates the node began anew: the count says how far it was.
    ended = life.last_state.terminated
    return (
        None if ended is None else CrashLoop(min(INITIAL * 2 ** min(life.restart_count - 1, 10), CAP), ended.started_at)
    )


def _stepped(
    seen: _Pod, one: SimulatedContainer, life: SimulatedContainerStatus, outcome: Outcome, *, is_init: bool
) -> SimulatedContainerStatus:
    due = _due(seen, one, life, is_init=is_init)
    state = life.state
    own = seen.manners(one, is_init=is_init)
    if state.running is not None:
        end, by_probe = _end_of_run(seen, one, life, own)
        if end is not None and end <= seen.now:
            return _ended(seen, one, life, own, outcome, by_probe=by_probe)
        is_ready = is_told_ready(seen.pod) and _ready_at(seen, one, life, own) <= seen.now
        return life if is_ready == life.ready else _replaced(life, state, ready=is_ready)
    if due is None or (isinstance(due, datetime) and due > seen.now):
        return life
    if state.terminated is not None:
        return _after_end(seen, one, life, state.terminated, own, outcome)
    if own.image_error and (state.waiting is None or state.waiting.reason != CRASH_LOOP):
        return _not_pulled(one, life, own, outcome)
    return _started(seen, one, life, own, outcome)


def _started(
    seen: _Pod, one: SimulatedContainer, life: SimulatedContainerStatus, own: Manners, outcome: Outcome
) -> SimulatedContainerStatus:
    ended = life.last_state.terminated
    attempt = life.restart_count
    if ended is not None:
        attempt += 1
        outcome.back_offs[one.name] = after_start(_entry(seen, life), ended.finished_at, seen.now)
    outcome.events.append(Told("Normal", "Started", "Container started", one.name))
    running = SimulatedState(running=SimulatedRunning(started_at=seen.now.replace(microsecond=0)))
    begun = SimulatedContainerStatus(
        name=one.name, restart_count=attempt, state=running, last_state=life.last_state, started=True
    )
    is_ready = is_told_ready(seen.pod) and _ready_at(seen, one, begun, own) <= seen.now
    if own.run is not None and own.run.most == 0:
        return _ended(seen, one, begun, own, outcome, by_probe=False)
    return _replaced(begun, running, ready=is_ready)


def _ended(
    seen: _Pod,
    one: SimulatedContainer,
    life: SimulatedContainerStatus,
    own: Manners,
    outcome: Outcome,
    *,
    by_probe: bool,
) -> SimulatedContainerStatus:
    assert life.state.running is not None
    if by_probe:
        code, reason = KILLED, "Error"
        text = f"Container {one.name} failed liveness probe, will be restarted"
        outcome.events.append(Told("Warning", "Unhealthy", "Liveness probe failed: simulated", one.name))
        outcome.events.append(Told("Normal", "Killing", text, one.name))
    else:
        chance = chance_of(seen.config.seed, seen.pod.metadata.uid, one.name, life.restart_count, "end")
        code, reason = end_of(own, chance)
    terminated = SimulatedTerminated(
        exit_code=code,
        reason=reason,
        started_at=life.state.running.started_at,
        finished_at=seen.now.replace(microsecond=0),
    )
    is_init = one in seen.pod.spec.init_containers
    return _replaced(life, SimulatedState(terminated=terminated), ready=is_init and code == 0)


def _after_end(
    seen: _Pod,
    one: SimulatedContainer,
    life: SimulatedContainerStatus,
    ended: SimulatedTerminated,
    own: Manners,
    outcome: Outcome,
) -> SimulatedContainerStatus:
    """Start it again, or wait as long as the back-off says."""
    life = SimulatedContainerStatus(
        name=life.name, restart_count=life.restart_count, state=life.state, last_state=SimulatedState(terminated=ended)
    )
    entry = _entry(seen, life)
    if waits_until(entry, ended.finished_at, seen.now) is None or entry is None:
        return _started(seen, one, life, own, outcome)
    meta = seen.pod.metadata
    of_pod = f"{meta.name}_{meta.namespace}({meta.uid})"
    text = f"Back-off restarting failed container {one.name} in pod {of_pod}"
    outcome.events.append(Told("Warning", "BackOff", text, one.name))
    message = f"back-off {go_duration(entry.delay)} restarting failed container={one.name} pod={of_pod}"
    return _replaced(life, SimulatedState(waiting=SimulatedWaiting(reason=CRASH_LOOP, message=message)), ready=False)


def _not_pulled(
    one: SimulatedContainer, life: SimulatedContainerStatus, own: Manners, outcome: Outcome
) -> SimulatedContainerStatus:
    is_again = life.state.waiting is not None and life.state.waiting.reason == _PULL_FAILED
    if is_again:
        reason, message = _PULL_BACK_OFF, f'Back-off pulling image "{one.image}": {_PULL_FAILED}: {own.image_error}'
        outcome.events.append(Told("Normal", "BackOff", f'Back-off pulling image "{one.image}"', one.name))
    else:
        reason, message = _PULL_FAILED, own.image_error
        text = f'Failed to pull image "{one.image}": {own.image_error}'
        outcome.events.append(Told("Warning", "Failed", text, one.name))
    outcome.events.append(Told("Warning", "Failed", f"Error: {reason}", one.name))
    return _replaced(life, SimulatedState(waiting=SimulatedWaiting(reason=reason, message=message)), ready=False)


def _stopped(pod: SimulatedPod, life: SimulatedContainerStatus, now: datetime) -> SimulatedContainerStatus:
    """What is left of a container once its pod is over: sidecars are ended, what never ran stays as it is."""
    if life.state.running is None:
        return life
    ended = SimulatedTerminated(
        exit_code=0,
        reason="Completed",
        started_at=life.state.running.started_at,
        finished_at=now.replace(microsecond=0),
    )
    return _replaced(life, SimulatedState(terminated=ended), ready=False)


def _replaced(life: SimulatedContainerStatus, state: SimulatedState, *, ready: bool) -> SimulatedContainerStatus:
    return SimulatedContainerStatus(
        name=life.name,
        restart_count=life.restart_count,
        state=state,
        last_state=life.last_state,
        ready=ready,
        started=state.running is not None,
    )


# What is written.


def _status(
    seen: _Pod,
    lives: Mapping[str, SimulatedContainerStatus],
    addresses: Mapping[str, Any],
    *,
    initialized: bool,
    has_ended: bool,
    failed: bool,
) -> dict[str, Any]:
    pod = seen.pod
    own = [lives[one.name] for one in pod.spec.containers]
    sidecars = [lives[one.name] for one in pod.spec.init_containers if one.restart_policy == "Always"]
    unready = [life.name for life in (*sidecars, *own) if not life.ready]
    phase, reason = "Running", ""
    if has_ended:
        codes = [life.state.terminated.exit_code for life in own if life.state.terminated is not None]
        phase = "Failed" if failed or any(codes) else "Succeeded"
        reason = "PodFailed" if phase == "Failed" else "PodCompleted"
    elif not initialized or any(not _has_begun(life) for life in own):
        phase = "Running" if pod.status.phase == "Running" else "Pending"
    ready = not unready and initialized and is_told_ready(pod) and not has_ended
    return {
        "observedGeneration": pod.metadata.generation,
        "phase": phase,
        "startTime": wire_time(pod.status.start_time or seen.now),
        **addresses,
        "conditions": conditions(
            pod,
            seen.now,
            containers_ready=ready,
            initialized=initialized,
            reason=reason,
            message=f"containers with unready status: [{' '.join(unready)}]" if unready and not reason else "",
        ),
        "containerStatuses": [_written(pod, one, lives[one.name]) for one in pod.spec.containers],
        "initContainerStatuses": [_written(pod, one, lives[one.name]) for one in pod.spec.init_containers],
    }


def _written(pod: SimulatedPod, one: SimulatedContainer, life: SimulatedContainerStatus) -> dict[str, Any]:
    has_begun = _has_begun(life)
    last_attempt = life.restart_count - (0 if life.state.waiting is not None else 1)
    return {
        "name": one.name,
        "image": one.image,
        "imageID": f"simulated://{one.image}" if has_begun else "",
        "containerID": container_id(pod, one, life.restart_count) if has_begun else "",
        "ready": life.ready,
        "started": life.started,
        "restartCount": life.restart_count,
        "state": _written_state(pod, one, life.state, life.restart_count),
        "lastState": _written_state(pod, one, life.last_state, last_attempt),
    }


def _written_state(pod: SimulatedPod, one: SimulatedContainer, state: SimulatedState, attempt: int) -> dict[str, Any]:
    if state.running is not None:
        return {"running": {"startedAt": wire_time(state.running.started_at)}}
    if state.terminated is not None:
        ended = state.terminated
        return {
            "terminated": {
                "exitCode": ended.exit_code,
                "reason": ended.reason,
                "startedAt": wire_time(ended.started_at),
                "finishedAt": wire_time(ended.finished_at),
                "containerID": container_id(pod, one, attempt),
            }
        }
    if state.waiting is not None:
        told = {"message": state.waiting.message} if state.waiting.message else {}
        return {"waiting": {"reason": state.waiting.reason, **told}}
    return {}
