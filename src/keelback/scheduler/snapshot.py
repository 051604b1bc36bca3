"""A cluster's objects at one moment, in the scheduler's own form: to ask what it would decide, and change nothing."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from keelback.api.resource_v1 import DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice
from keelback.api.resource_v1alpha3 import DeviceTaintRule
from keelback.apimachinery.errors import NotFound
from keelback.apimachinery.meta import Object
from keelback.client import Client
from keelback.client.informer import Change
from keelback.concurrency.backoff import Backoff
from keelback.scheduler import group_cycle
from keelback.scheduler.config import Profile
from keelback.scheduler.cycle import Assigned, Cycle, Refused
from keelback.scheduler.group_cycle import GroupDecision
from keelback.scheduler.observation import Observation
from keelback.scheduler.observed_types import (
    Attachment,
    Budget,
    Claim,
    Driver,
    NamespaceLabels,
    NodeDrivers,
    PodGroupToPlace,
    ReplicaSetSelector,
    ReplicationControllerSelector,
    ServiceSelector,
    StatefulSetSelector,
    StorageCapacity,
    Volume,
    VolumeClass,
)
from keelback.scheduler.queue import SchedulingQueue
from keelback.scheduler.queued_pod import QueuedPod
from keelback.scheduling import builtin, explanation, pod_groups
from keelback.scheduling.explanation import Explanation
from keelback.scheduling.framework import PluginError
from keelback.scheduling.node_info import NodeToPlaceOn
from keelback.scheduling.pod_groups import PodGroups
from keelback.scheduling.pod_info import PodInfo
from keelback.scheduling.pod_to_place import PodToPlace

OBSERVED: Final[tuple[type[Any], ...]] = (
    NodeToPlaceOn,
    NamespaceLabels,
    ServiceSelector,
    ReplicaSetSelector,
    StatefulSetSelector,
    ReplicationControllerSelector,
    Claim,
    Volume,
    VolumeClass,
    NodeDrivers,
    Attachment,
    Driver,
    StorageCapacity,
    Budget,
    DeviceClass,
    ResourceSlice,
    DeviceTaintRule,
    ResourceClaim,
    ResourceClaimTemplate,
    PodGroupToPlace,
    PodToPlace,
)
"""The kinds that a decision reads, in the order in which they are to be learnt: pods last."""

FINISHED: Final = ("Succeeded", "Failed")
"""Phases of pods that need no node any more."""

_PAGE: Final = 500
_DEFAULT: Final = Profile()


@dataclass(frozen=True, slots=True)
class GroupExplanation:
    """How it stands with the group of a pod that waits."""

    name: str
    min_count: int | None
    """None of a basic group, and of one that is not there."""
    pods: int
    with_node: int
    message: str
    """Why none of those that wait gets a node; empty where they do."""
    outcomes: tuple[tuple[str, str], ...] = ()
    """Of each pod that waits, the name, and the node it would go to or why it would go nowhere."""


@dataclass(frozen=True, slots=True)
class PodExplanation:
    """Why a pod is where it is, or nowhere."""

    pod: PodToPlace
    explanation: Explanation
    node_name: str
    """Where it would go, were it placed now; empty for nowhere."""
    message: str
    """The scheduler's own words, when it would go nowhere."""
    victims: tuple[str, ...] = ()
    """The pods that would be removed for it, by namespace and name."""
    victims_node: str = ""
    group: GroupExplanation | None = None


@dataclass(slots=True)
class Snapshot:
    """The objects of a cluster, and a scheduler's cycle over them."""

    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """By scheduler name; the default profile for others."""
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    pods: dict[tuple[str, str], PodToPlace] = field(default_factory=dict)
    templates: dict[tuple[str, str], ResourceClaimTemplate] = field(default_factory=dict)
    """No decision reads them: claims are made of them where time is supposed to go on."""
    observation: Observation = field(init=False)
    _cycle: Cycle = field(init=False)
    _groups: PodGroups = field(default_factory=PodGroups)

    def __post_init__(self) -> None:
        queue = SchedulingQueue(Backoff(1.0, 10.0), 300.0, {})
        self.observation = Observation((), queue, lambda: 0.0, lambda: None, self._groups)
        self._cycle = Cycle(builtin.DEFAULT, self.observation, self.chance, self.profiles)

    def put(self, obj: Object) -> None:
        """Learn of an object of one of the `OBSERVED` types, or of its new state."""
        old = None
        if isinstance(obj, ResourceClaimTemplate):
            self.templates[(obj.metadata.namespace, obj.metadata.name)] = obj
            return
        if isinstance(obj, PodToPlace):
            key = (obj.metadata.namespace, obj.metadata.name)
            old, self.pods[key] = self.pods.get(key), obj
            if old is not None and old.spec.node_name and old.spec.node_name != obj.spec.node_name:
                self.observation.nodes.remove_pod(old.spec.node_name, old.metadata.uid)
        _LEARN[type(obj)](self.observation, Change("ADDED" if old is None else "MODIFIED", old, obj))
        if isinstance(obj, PodToPlace) and not obj.spec.node_name and obj.metadata.deletion_timestamp is None:
            # The picture keeps a queue for nobody: it would forget the promise with the pod.
            self.observation.nominate(obj, obj.status.nominated_node_name)

    def remove_pod(self, pod: PodToPlace) -> None:
        """Suppose that the pod is gone."""
        self.pods.pop((pod.metadata.namespace, pod.metadata.name), None)
        self.observation.on_pod(Change("DELETED", pod, None))

    def decide(self, pod: PodToPlace) -> Assigned | Refused:
        """What the scheduler would do with the pod; one that gets a node is counted there from now on."""
        queued = QueuedPod(pod, self.observation.shapes.of(pod), 0.0, 0.0)
        try:
            return self._cycle.decide(queued)
        except PluginError as error:
            return Refused(queued, frozenset(), str(error), None, None)

    def decide_group(self, pod: PodToPlace) -> GroupDecision | str:
        """What the scheduler would do with the pods of a pod's group that wait, or why it tries none of them."""
        info = self.observation.shapes.of(pod)
        held = self._groups.why_held(info)
        return held or group_cycle.decide(self._cycle, self.observation, self._groups, self._waiting_of_group(info))

    def explain(self, pod: PodToPlace) -> PodExplanation:
        """Ask every plugin about every node, as if the pod were still to be placed. The snapshot is as it was."""
        explained = self._explain_alone(pod)
        is_over = pod.status.phase in FINISHED or pod.metadata.deletion_timestamp is not None
        waits = not pod.spec.node_name and not is_over and not pod.spec.scheduling_gates
        if not waits or pod.spec.scheduling_group is None:
            return explained
        observation = self.observation
        promised = dict(observation.nominated)
        decision = self.decide_group(pod)
        if isinstance(decision, str):
            return replace(explained, node_name="", message=decision, group=self._explain_group(pod, decision, ()))
        for one in decision.pods:
            if isinstance(one, Assigned):
                self._cycle.take_back(one)
        observation.nominated.update(promised)
        (own,) = [one for one in decision.pods if one.queued.uid == pod.metadata.uid]
        group = self._explain_group(pod, decision.message, decision.pods)
        if isinstance(own, Assigned):
            return replace(explained, node_name=own.node_name, message="", victims=(), victims_node="", group=group)
        victims, victims_node = _victims(own)
        return replace(
            explained, node_name="", message=own.message, victims=victims, victims_node=victims_node, group=group
        )

    def _explain_group(self, pod: PodToPlace, message: str, pods: Iterable[Assigned | Refused]) -> GroupExplanation:
        key = pod_groups.key_of(self.observation.shapes.of(pod))
        info, members = self._groups.infos.get(key), self._groups.members(key)
        outcomes = (
            (one.queued.pod.metadata.name, one.node_name if isinstance(one, Assigned) else one.message) for one in pods
        )
        with_node = sum(map(bool, members.values()))
        return GroupExplanation(
            key[1], info.min_count if info else None, len(members), with_node, message, tuple(outcomes)
        )

    def _waiting_of_group(self, info: PodInfo) -> list[QueuedPod]:
        members, observation = self._groups.members(pod_groups.key_of(info)), self.observation
        return [
            QueuedPod(one, observation.shapes.of(one), 0.0, 0.0)
            for one in self.pods.values()
            if members.get(one.metadata.uid) == ""
            and one.metadata.uid not in observation.assumed
            and not one.spec.scheduling_gates
            and one.metadata.deletion_timestamp is None
        ]

    def _explain_alone(self, pod: PodToPlace) -> PodExplanation:
        observation = self.observation
        info = observation.shapes.of(pod)
        nominated = [
            one
            for uid, one in observation.nominated.items()
            if uid != pod.metadata.uid and one.info.priority >= info.priority
        ]
        own = observation.nodes.pod(pod.spec.node_name, pod.metadata.uid) if pod.spec.node_name else None
        with observation.nodes.supposing(removed=() if own is None else (own,)):
            plugins = self.profiles.get(info.scheduler_name, _DEFAULT).plugins
            found = explanation.explain(plugins, info, observation.nodes, observation.objects, nominated)
            promised = observation.nominated.get(pod.metadata.uid)
            decision = self.decide(pod)
            if isinstance(decision, Assigned):
                self._cycle.take_back(decision)
                if promised is not None:
                    observation.nominated[pod.metadata.uid] = promised
                return PodExplanation(pod, found, decision.node_name, "")
        return PodExplanation(pod, found, "", decision.message, *_victims(decision))


def _victims(refused: Refused) -> tuple[tuple[str, ...], str]:
    candidate = refused.candidate
    if candidate is None:
        return (), ""
    return tuple(f"{one.namespace}/{one.name}" for one in candidate.victims), candidate.node_name


async def take(client: Client, profiles: Mapping[str, Profile] = MappingProxyType({})) -> Snapshot:
    """Read all that a decision depends on from a cluster. Kinds that it does not serve are left out."""
    snapshot = Snapshot(profiles)
    for cls in OBSERVED:
        for obj in await _all(client, cls):
            snapshot.put(obj)
    return snapshot


async def _all(client: Client, cls: type[Any]) -> Iterable[Object]:
    found: list[Object] = []
    continue_ = ""
    while True:
        try:
            page = await client.list(cls, limit=_PAGE, continue_=continue_)
        except NotFound:
            return found
        found += page.items
        continue_ = page.continue_
        if not continue_:
            return found


_LEARN: Final[Mapping[type[Any], Any]] = {
    NodeToPlaceOn: Observation.on_node,
    NamespaceLabels: Observation.on_namespace,
    ServiceSelector: Observation.on_service,
    ReplicaSetSelector: Observation.on_owner,
    StatefulSetSelector: Observation.on_owner,
    ReplicationControllerSelector: Observation.on_replication_controller,
    Claim: Observation.on_claim,
    Volume: Observation.on_volume,
    VolumeClass: Observation.on_class,
    NodeDrivers: Observation.on_node_drivers,
    Attachment: Observation.on_attachment,
    Driver: Observation.on_driver,
    StorageCapacity: Observation.on_capacity,
    Budget: Observation.on_budget,
    DeviceClass: lambda observation, change: observation.devices.on_class(change),
    ResourceSlice: lambda observation, change: observation.devices.on_slice(change),
    DeviceTaintRule: lambda observation, change: observation.devices.on_taint_rule(change),
    ResourceClaim: lambda observation, change: observation.devices.on_claim(change),
    PodGroupToPlace: Observation.on_pod_group,
    PodToPlace: Observation.on_pod,
}
