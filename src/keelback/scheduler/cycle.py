"""One scheduling cycle: the next pod, its node or the reasons why there is none. Decides in memory and does nothing."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeVar
from uuid import UUID

from keelback.api.resource_v1 import ResourceClaim
from keelback.scheduler.config import Profile
from keelback.scheduler.observation import Observation
from keelback.scheduler.queued_pod import QueuedPod
from keelback.scheduling import default_preemption, device_reservations, dynamic_resources
from keelback.scheduling.default_preemption import Candidate, Preemption
from keelback.scheduling.device_reservations import DeviceReservation
from keelback.scheduling.evaluation import Evaluator, Observer
from keelback.scheduling.extension_points import Nominated
from keelback.scheduling.fit_error import Diagnosis
from keelback.scheduling.framework import CycleState
from keelback.scheduling.node_table import PlacedPod
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_info import PodInfo

R = TypeVar("R")

_MOST_REFUSALS: Final = 256


@dataclass(frozen=True, slots=True)
class Assigned:
    """The pod has a node, as far as this process is concerned."""

    queued: QueuedPod
    node_name: str
    devices: DeviceReservation | None = None
    """What it takes of devices there."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The pod fits nowhere; perhaps room can be made for it."""

    queued: QueuedPod
    plugins: frozenset[str]
    message: str
    candidate: Candidate | None
    nominated_node_name: str | None
    """The node it is promised from now on; empty for none, None for no change."""
    frees: ResourceClaim | None = None
    """A claim that is to give its devices back: elsewhere the pod might run."""


_StateOfTheWorld = tuple[int, int, int, int]


class Cycle:
    """Decides for one pod after another, each on top of the decisions before it."""

    def __init__(
        self,
        plugins: Plugins,
        observation: Observation,
        chance: random.Random,
        profiles: Mapping[str, Profile] = MappingProxyType({}),
        observer_of: Callable[[str], Observer | None] = lambda profile: None,
        *,
        speaks_of_claims: bool = True,
    ) -> None:
        """`plugins` are for pods whose scheduler name has none of the `profiles`; `observer_of` says for each pod who
        measures what its profile's plugins take; `speaks_of_claims` where DynamicResources adds its words to each
        refusal."""
        self._observer_of = observer_of
        self._speaks_of_claims = speaks_of_claims
        self._observation = observation
        self._chance = chance
        self._default = Evaluator(plugins, observation.nodes, observation.objects)
        self._evaluators = {
            name: Evaluator(
                profile.plugins, observation.nodes, observation.objects, profile.percentage_of_nodes_to_score
            )
            for name, profile in profiles.items()
        }
        # Why a shape fits nowhere, for as long as nothing changes: alike pods are refused at the price of one.
        self._refusals: OrderedDict[PodInfo, tuple[_StateOfTheWorld, Diagnosis]] = OrderedDict()
        # And what was said of a shape, with the diagnosis, for which no room could be made either.
        self._in_vain: dict[PodInfo, tuple[Diagnosis, Refused]] = {}

    def decide(self, queued: QueuedPod) -> Assigned | Refused:
        """Choose the pod's node and count it there, or say why it has none."""
        info = queued.info
        evaluator = self.evaluator(info)
        evaluator.observer = self._observer_of(info.scheduler_name)
        nominated = self.promised_before(queued)
        node_name = self.promised_node(queued, nominated)
        if node_name is None and not self._known_refusal(info, nominated):
            node_name = evaluator.choose(info, self._chance, nominated)
        if node_name is None:
            return self._refuse(queued, nominated)
        return self.assume(queued, node_name)

    def assume(self, queued: QueuedPod, node_name: str) -> Assigned:
        """Count the pod on its node from now on, and its devices as taken."""
        observation = self._observation
        devices = self._reserve(queued, node_name)
        observation.nodes.add_pod(observation.placed(queued.pod, node_name, queued.info))
        observation.assumed[queued.uid] = node_name
        observation.nominated.pop(queued.uid, None)
        return Assigned(queued, node_name, devices)

    def take_back(self, assigned: Assigned) -> None:
        """Undo a decision that is not to be carried out; a promise that it fulfilled is not given again."""
        observation = self._observation
        observation.nodes.remove_pod(assigned.node_name, assigned.queued.uid)
        observation.assumed.pop(assigned.queued.uid, None)
        if assigned.devices is not None:
            device_reservations.give_back(observation.objects.devices, assigned.devices)

    def _reserve(self, queued: QueuedPod, node_name: str) -> DeviceReservation | None:
        observation, plugin = self._observation, self.evaluator(queued.info).devices
        devices = observation.objects.devices
        if plugin is None or not plugin.asks(devices, queued.info):
            return None
        row = observation.nodes.row_of[node_name]
        reservation = plugin.reservation(devices, queued.info, queued.uid, observation.nodes, row, self._new_id)
        if reservation is not None:
            device_reservations.take(devices, reservation)
        return reservation

    def _new_id(self) -> str:
        return str(UUID(int=self._chance.getrandbits(128), version=4))

    def promised_before(self, queued: QueuedPod) -> list[PlacedPod]:
        """The other pods that are promised a node and are no less important."""
        return [
            pod
            for uid, pod in self._observation.nominated.items()
            if uid != queued.uid and pod.info.priority >= queued.info.priority
        ]

    def promised_node(self, queued: QueuedPod, nominated: Sequence[PlacedPod]) -> str | None:
        """The node that the pod was promised, if it fits there."""
        # Room was made for it there: it goes there if it fits, whatever the scores say.
        promised = self._observation.nominated.get(queued.uid)
        row = self._observation.nodes.row_of.get(promised.node_name) if promised is not None else None
        if promised is None or row is None:
            return None
        refusal = self.evaluator(queued.info).fits(queued.info, row, nominated)
        return promised.node_name if refusal is None else None

    def _refuse(self, queued: QueuedPod, nominated: Sequence[PlacedPod]) -> Refused:
        diagnosis = self.diagnose(queued.info, nominated)
        answered = self.post_filtered(queued, diagnosis)
        if answered is not None:
            return answered
        known = self._in_vain.get(queued.info)
        if known is not None and known[0] is diagnosis and queued.uid not in self._observation.nominated:
            return replace(known[1], queued=queued)
        evaluator = self.evaluator(queued.info)
        preemption = (
            self._preemption(default_preemption.plan, queued, diagnosis, nominated)
            if evaluator.observer is None
            else evaluator.observer.point(
                "PostFilter", self._preemption, default_preemption.plan, queued, diagnosis, nominated
            )
        )
        refused = self.refused(queued, diagnosis, preemption)
        if preemption.candidate is None and queued.uid not in self._observation.nominated:
            self._in_vain[queued.info] = diagnosis, refused
        return refused

    def post_filtered(self, queued: QueuedPod, diagnosis: Diagnosis) -> Refused | None:
        """What is done for a pod that fits nowhere but to preempt others; None where that is left to preemption."""
        observation = self._observation
        freed = self._freed(queued, diagnosis)
        if freed is not None:
            message = diagnosis.message(dynamic_resources.what_is_done(freed))
            return Refused(queued, diagnosis.plugins, message, None, None, freed)
        for plugin in self.evaluator(queued.info).plugins.post_filters:
            answer = plugin.post_filter(CycleState(observation.objects), queued.pod, observation.nodes, diagnosis)
            if isinstance(answer, Nominated):
                return Refused(queued, diagnosis.plugins, diagnosis.message(), None, answer.node_name)
            if answer is not None:
                message = diagnosis.message(", ".join(answer.reasons))
                return Refused(queued, diagnosis.plugins, message, None, None)
        return None

    def candidates(
        self, queued: QueuedPod, diagnosis: Diagnosis, nominated: Sequence[PlacedPod]
    ) -> Sequence[Candidate] | Preemption:
        """Where room could be made for the pod; where nowhere, what came of it."""
        return self._preemption(default_preemption.find_candidates, queued, diagnosis, nominated)

    def _preemption(
        self, find: Callable[..., R], queued: QueuedPod, diagnosis: Diagnosis, nominated: Sequence[PlacedPod]
    ) -> R | Preemption:
        observation = self._observation
        promised = observation.nominated.get(queued.uid)
        evaluator = self.evaluator(queued.info)
        limits = evaluator.plugins.preemption
        if limits is None:
            return Preemption()
        return find(
            queued.info,
            promised.node_name if promised is not None else "",
            diagnosis,
            evaluator,
            observation.nodes,
            observation.objects,
            nominated,
            self._chance,
            limits,
        )

    def refused(self, queued: QueuedPod, diagnosis: Diagnosis, preemption: Preemption) -> Refused:
        """What is made of all that."""
        return Refused(
            queued,
            diagnosis.plugins,
            diagnosis.message(self._what_was_tried(queued.info, diagnosis, preemption)),
            preemption.candidate,
            preemption.nominated_node_name,
        )

    def _what_was_tried(self, info: PodInfo, diagnosis: Diagnosis, preemption: Preemption) -> str:
        """What PostFilter plugins say, in upstream's order; nothing where room is to be made."""
        evaluator = self.evaluator(info)
        plugin = evaluator.devices
        if plugin is None or not self._speaks_of_claims or preemption.candidate is not None:
            return preemption.message
        if diagnosis.pre_filter is not None:
            for one in evaluator.plugins.pre_filters:
                if one.name == plugin.name:
                    break
                if one.name in diagnosis.plugins:
                    return dynamic_resources.NOT_ASKED
        asks = plugin.asks(self._observation.objects.devices, info)
        words = dynamic_resources.NOTHING_FREED if asks else dynamic_resources.NO_CLAIMS
        return f"{words}, {preemption.message}" if preemption.message else words

    def _freed(self, queued: QueuedPod, diagnosis: Diagnosis) -> ResourceClaim | None:
        observation, plugin = self._observation, self.evaluator(queued.info).devices
        if plugin is None:
            return None
        devices = observation.objects.devices
        # What is left of an attempt that nobody could end, as where the scheduler was stopped amidst it.
        left_behind = devices.extended_claim(queued.uid)
        return left_behind or plugin.to_free(devices, queued.info, observation.nodes, diagnosis)

    def evaluator(self, info: PodInfo) -> Evaluator:
        """What judges pods of this shape."""
        return self._evaluators.get(info.scheduler_name, self._default)

    def diagnose(self, info: PodInfo, nominated: Sequence[PlacedPod]) -> Diagnosis:
        """Why pods of this shape fit nowhere."""
        known = self._known_refusal(info, nominated)
        if known is not None:
            return known
        diagnosis = self.evaluator(info).explain(info, nominated)
        self._refusals[info] = (self._world(nominated), diagnosis)
        if len(self._refusals) > _MOST_REFUSALS:
            dropped, _ = self._refusals.popitem(last=False)
            self._in_vain.pop(dropped, None)
        return diagnosis

    def _known_refusal(self, info: PodInfo, nominated: Sequence[PlacedPod]) -> Diagnosis | None:
        known = self._refusals.get(info)
        return known[1] if known is not None and known[0] == self._world(nominated) else None

    def _world(self, nominated: Sequence[PlacedPod]) -> _StateOfTheWorld:
        observation = self._observation
        promises = hash(tuple((pod.uid, pod.node_name) for pod in nominated))
        return observation.nodes.version, observation.nodes.generation, observation.objects.version, promises
