"""One scheduling cycle of a pod group: all its waiting pods at once, each on top of those before it.

Nothing of it is kept, and nobody is preempted, unless at least `minCount` pods of the group have a node then: so gangs
never hold what they cannot use, and cannot wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from keelback.scheduler.cycle import Assigned, Cycle, Refused
from keelback.scheduler.observation import Observation
from keelback.scheduler.queued_pod import QueuedPod
from keelback.scheduling import pod_groups
from keelback.scheduling.node_table import PlacedPod
from keelback.scheduling.pod_groups import GroupKey, PodGroups


@dataclass(frozen=True, slots=True)
class GroupDecision:
    """What becomes of each pod that waited, and of the group."""

    key: GroupKey
    pods: tuple[Assigned | Refused, ...]
    result: str
    """As metrics have it: scheduled, unschedulable, waiting_on_preemption or error."""
    message: str = ""
    """What the group's condition says."""


def decide(cycle: Cycle, observation: Observation, groups: PodGroups, waiting: Sequence[QueuedPod]) -> GroupDecision:
    """Place the waiting pods of a group, as many as can be, or none: the important first, then who came first."""
    key = pod_groups.key_of(waiting[0].info)
    first, *others = dict.fromkeys(one.info.scheduler_name for one in waiting)
    if others:
        return _mixed(key, waiting, first, others[0])
    waiting = sorted(waiting, key=lambda one: (-one.info.priority, one.arrived_at))
    has_node = sum(bool(node) or uid in observation.assumed for uid, node in groups.members(key).items())
    trial = _Trial(cycle, observation)
    for queued in waiting:
        trial.decide(queued)
    is_enough = has_node + trial.placed >= groups.min_count(key) and trial.placed > 0
    if is_enough and not trial.promised:
        return GroupDecision(key, _told_of_others(trial.decisions), "scheduled")
    trial.undo()
    if is_enough:
        message = f"{pod_groups.UNSCHEDULABLE}, {pod_groups.AWAITS_VICTIMS}"
        pods = tuple(trial.waiting(one, message) for one in trial.decisions)
        return GroupDecision(key, _told_of_others(pods), "waiting_on_preemption", message)
    message = f"{pod_groups.UNSCHEDULABLE}, {pod_groups.TOO_FEW_PLACED}"
    pods = tuple(trial.given_up(one, message) for one in trial.decisions)
    return GroupDecision(key, _told_of_others(pods), "unschedulable", pod_groups.UNSCHEDULABLE)


@dataclass(slots=True)
class _Trial:
    """Decisions that may be taken back."""

    cycle: Cycle
    observation: Observation
    decisions: list[Assigned | Refused] = field(default_factory=list)
    promised: dict[str, str] = field(default_factory=dict)
    """By uid, the node that a pod will have when its victims are gone."""
    _removed: list[PlacedPod] = field(default_factory=list)

    @property
    def placed(self) -> int:
        """How many pods have a node, or will have."""
        return len(self.promised) + sum(isinstance(one, Assigned) for one in self.decisions)

    def decide(self, queued: QueuedPod) -> None:
        """Choose a node, by preemption if need be, and count the pod there for those that come after it."""
        with self._undone_on_failure():
            before = self.observation.nominated.get(queued.uid)
            decision = self.cycle.decide(queued)
            self.decisions.append(decision)
            if isinstance(decision, Assigned):
                return
            if decision.candidate is not None:
                self._promise(queued, decision.candidate.node_name, decision.candidate.victims)
            elif before is not None and decision.nominated_node_name is None:
                going = [
                    one
                    for one in self.observation.nodes.pods_on(before.node_name)
                    if one.preempted and one.terminating and one.info.priority < queued.info.priority
                ]
                if going:
                    self._promise(queued, before.node_name, going)

    def undo(self) -> None:
        """Have the table as it was. Promises of nodes are not: each decision says what becomes of them."""
        nodes = self.observation.nodes
        for one in self.decisions:
            uid = one.queued.uid
            if isinstance(one, Assigned):
                self.cycle.take_back(one)
            elif uid in self.promised:
                nodes.remove_pod(self.promised[uid], uid)
        for pod in self._removed:
            nodes.add_pod(pod)

    def waiting(self, decision: Assigned | Refused, message: str) -> Refused:
        """The decision for a group that has a place for all it needs once victims are gone."""
        if isinstance(decision, Refused):
            return decision
        return _refused(decision.queued, message, decision.node_name)

    def given_up(self, decision: Assigned | Refused, message: str) -> Refused:
        """The decision for a group that has not enough room: whoever had found a node says what it waits for."""
        if isinstance(decision, Assigned) or decision.queued.uid in self.promised:
            return _refused(decision.queued, message, "")
        return replace(decision, candidate=None, nominated_node_name="")

    def _promise(self, queued: QueuedPod, node_name: str, victims: Sequence[PlacedPod]) -> None:
        observation = self.observation
        for victim in victims:
            if observation.nodes.remove_pod(node_name, victim.uid) is not None:
                self._removed.append(victim)
        observation.nodes.add_pod(observation.placed(queued.pod, node_name))
        observation.nominated.pop(queued.uid, None)
        self.promised[queued.uid] = node_name

    @contextmanager
    def _undone_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.undo()
            raise


def _told_of_others(pods: Sequence[Assigned | Refused]) -> tuple[Assigned | Refused, ...]:
    # What helps one of them helps them all, so all wait for the same.
    plugins = frozenset((pod_groups.PLUGIN,)).union(*(one.plugins for one in pods if isinstance(one, Refused)))
    return tuple(replace(one, plugins=plugins) if isinstance(one, Refused) else one for one in pods)


def _refused(queued: QueuedPod, message: str, nominated_node_name: str) -> Refused:
    return Refused(queued, frozenset(), message, None, nominated_node_name)


def _mixed(key: GroupKey, waiting: Sequence[QueuedPod], name: str, other: str) -> GroupDecision:
    message = (
        f'all pods in a single pod group should have the same .spec.schedulerName set, got: "{name}" and "{other}"'
    )
    return GroupDecision(key, _told_of_others([_refused(one, message, "") for one in waiting]), "error", message)
