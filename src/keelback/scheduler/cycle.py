"""One scheduling cycle: the next pod, its node or the reasons why there is none. Decides in memory and does nothing."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from keelback.scheduler.config import Profile
from keelback.scheduler.observation import Observation
from keelback.scheduler.queue import QueuedPod
from keelback.scheduling import default_preemption
from keelback.scheduling.default_preemption import Candidate
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.extension_points import Nominated
from keelback.scheduling.fit_error import Diagnosis
from keelback.scheduling.framework import CycleState
from keelback.scheduling.node_table import PlacedPod
from keelback.scheduling.plugins import Plugins
from keelback.scheduling.pod_info import PodInfo

_MOST_REFUSALS: Final = 256


@dataclass(frozen=True, slots=True)
class Assigned:
    """The pod has a node, as far as this process is concerned."""

    queued: QueuedPod
    node_name: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The pod fits nowhere; perhaps room can be made for it."""

    queued: QueuedPod
    plugins: frozenset[str]
    message: str
    candidate: Candidate | None
    nominated_node_name: str | None
    """The node it is promised from now on; empty for none, None for no change."""


_StateOfTheWorld = tuple[int, int, int, int]


class Cycle:
    """Decides for one pod after another, each on top of the decisions before it."""

    def __init__(
        self,
        plugins: Plugins,
        observation: Observation,
        chance: random.Random,
        profiles: Mapping[str, Profile] = MappingProxyType({}),
    ) -> None:
        """`plugins` are for pods whose scheduler name has none of the `profiles`."""
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

    def decide(self, queued: QueuedPod) -> Assigned | Refused:
        """Choose the pod's node and count it there, or say why it has none."""
        observation = self._observation
        info = queued.info
        nominated = self._promised_before(queued)
        node_name = self._promised_node(queued, nominated)
        if node_name is None and not self._known_refusal(info, nominated):
            node_name = self._evaluator(info).choose(info, self._chance, nominated)
        if node_name is None:
            return self._refuse(queued, nominated)
        observation.nodes.add_pod(observation.placed(queued.pod, node_name))
        observation.assumed[queued.uid] = node_name
        observation.nominated.pop(queued.uid, None)
        return Assigned(queued, node_name)

    def _promised_before(self, queued: QueuedPod) -> list[PlacedPod]:
        return [
            pod
            for uid, pod in self._observation.nominated.items()
            if uid != queued.uid and pod.info.priority >= queued.info.priority
        ]

    def _promised_node(self, queued: QueuedPod, nominated: Sequence[PlacedPod]) -> str | None:
        # Room was made for it there: it goes there if it fits, whatever the scores say.
        promised = self._observation.nominated.get(queued.uid)
        row = self._observation.nodes.row_of.get(promised.node_name) if promised is not None else None
        if promised is None or row is None:
            return None
        refusal = self._evaluator(queued.info).fits(queued.info, row, nominated)
        return promised.node_name if refusal is None else None

    def _refuse(self, queued: QueuedPod, nominated: Sequence[PlacedPod]) -> Refused:
        observation = self._observation
        diagnosis = self._diagnose(queued.info, nominated)
        promised = observation.nominated.get(queued.uid)
        evaluator = self._evaluator(queued.info)
        for plugin in evaluator.plugins.post_filters:
            answer = plugin.post_filter(CycleState(observation.objects), queued.pod, observation.nodes, diagnosis)
            if isinstance(answer, Nominated):
                return Refused(queued, diagnosis.plugins, diagnosis.message(), None, answer.node_name)
            if answer is not None:
                message = diagnosis.message(", ".join(answer.reasons))
                return Refused(queued, diagnosis.plugins, message, None, None)
        limits = evaluator.plugins.preemption
        if limits is None:
            return Refused(queued, diagnosis.plugins, diagnosis.message(), None, None)
        preemption = default_preemption.plan(
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
        return Refused(
            queued,
            diagnosis.plugins,
            diagnosis.message(preemption.message),
            preemption.candidate,
            preemption.nominated_node_name,
        )

    def _evaluator(self, info: PodInfo) -> Evaluator:
        return self._evaluators.get(info.scheduler_name, self._default)

    def _diagnose(self, info: PodInfo, nominated: Sequence[PlacedPod]) -> Diagnosis:
        known = self._known_refusal(info, nominated)
        if known is not None:
            return known
        diagnosis = self._evaluator(info).explain(info, nominated)
        self._refusals[info] = (self._world(nominated), diagnosis)
        if len(self._refusals) > _MOST_REFUSALS:
            self._refusals.popitem(last=False)
        return diagnosis

    def _known_refusal(self, info: PodInfo, nominated: Sequence[PlacedPod]) -> Diagnosis | None:
        known = self._refusals.get(info)
        return known[1] if known is not None and known[0] == self._world(nominated) else None

    def _world(self, nominated: Sequence[PlacedPod]) -> _StateOfTheWorld:
        observation = self._observation
        promises = hash(tuple((pod.uid, pod.node_name) for pod in nominated))
        return observation.nodes.version, observation.nodes.generation, observation.objects.version, promises
