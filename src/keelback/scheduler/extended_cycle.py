"""A scheduling cycle that also asks extenders: as `cycle`, with waiting where they are asked.

As upstream, the pods behind one wait with it, so that nobody of lower priority takes its place; but what happens in the
cluster meanwhile is seen, and bindings go on. A node that has filled up or gone meanwhile is found out before it is
given.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from keelback.api.core_v1 import Node, Pod
from keelback.apimachinery import codecs
from keelback.apimachinery.meta import Object
from keelback.client import Client
from keelback.client.informer import Informer
from keelback.component import logs
from keelback.concurrency.clock import Clock
from keelback.scheduler.configuration_types import ExtenderConfiguration
from keelback.scheduler.cycle import Assigned, Cycle, Refused
from keelback.scheduler.extenders import NAME, Asked, Extender, ExtenderError, Victims
from keelback.scheduler.observation import Observation
from keelback.scheduler.queued_pod import QueuedPod
from keelback.scheduling import default_preemption
from keelback.scheduling.default_preemption import Candidate, Preemption
from keelback.scheduling.evaluation import Evaluator
from keelback.scheduling.fit_error import Answers, Diagnosis
from keelback.scheduling.framework import Mask, Unschedulable
from keelback.scheduling.node_table import PlacedPod
from keelback.scheduling.pod_to_place import PodToPlace

_TRIES: Final = 3
_SKIPPED: Final = "Skipping extender as it returned error and has ignorable flag set"
_NO_SCORE: Final = "Failed to run extender's priority function. No score given by this extender."
_NO_CANDIDATE: Final = "preemption: no candidate node for preemption"

_log = logs.logger("scheduler")


class CompleteObjects:
    """Nodes and pods with all their fields, encoded, for extenders that keep none themselves."""

    def __init__(self, client: Client, clock: Clock, chance: random.Random, extenders: Sequence[Extender]) -> None:
        asking = [one for one in extenders if not one.keeps_nodes]
        self._client = client
        self._nodes = Informer(client, Node, clock=clock, chance=chance)
        self._pods = Informer(client, Pod, clock=clock, chance=chance)
        self.informers: list[Informer[Any]] = []
        """Those that are needed, to be run by the owner."""
        if any(one.filters or one.prioritizes for one in asking):
            self.informers.append(self._nodes)
        if any(one.preempts for one in asking):
            self.informers.append(self._pods)
        self._encoded: dict[str, tuple[str, bytes]] = {}

    async def pod(self, pod: PodToPlace) -> bytes:
        """The whole pod. Raises NotFound where it is gone."""
        return codecs.encode(await self._client.get(Pod, pod.metadata.name, pod.metadata.namespace))

    def nodes(self, names: Sequence[str]) -> dict[str, bytes]:
        """The nodes of these names, as far as they are known."""
        found = ((name, self._nodes.store.get("", name)) for name in names)
        return {name: self._encode(name, node) for name, node in found if node is not None}

    def victims(self, candidates: Sequence[Candidate]) -> dict[str, bytes]:
        """The victims, by uid, as far as they are known."""
        victims = [one for candidate in candidates for one in candidate.victims]
        found = ((one.uid, self._pods.store.get(one.namespace, one.name)) for one in victims)
        return {uid: codecs.encode(pod) for uid, pod in found if pod is not None}

    def _encode(self, name: str, node: Object) -> bytes:
        # As many as there are nodes are asked for each pod: a node is encoded once for each of its states.
        version = node.metadata.resource_version
        known = self._encoded.get(name)
        if known is None or known[0] != version:
            known = self._encoded[name] = version, codecs.encode(node)
        return known[1]


@dataclass(slots=True)
class _Found:
    # What is left of the nodes after extenders, and why the others are not.
    mask: Mask
    failures: dict[str, Unschedulable] = field(default_factory=dict)


class ExtenderBinder:
    """Has pods bound by the extender that binds, where one does."""

    def __init__(self, extenders: Sequence[Extender]) -> None:
        self._binders = [one for one in extenders if one.binds]

    async def bind(self, pod: PodToPlace, node_name: str) -> bool:
        """Whether one has bound the pod. Raises ExtenderError where one that cannot be ignored failed."""
        for extender in self._binders:
            if not extender.is_interested(pod):
                continue
            try:
                await extender.bind(pod, node_name)
                return True
            except ExtenderError as error:
                if not extender.is_ignorable:
                    raise
                _log.info(_SKIPPED, extender=extender.name, error=error)
        return False


class ExtendedCycle:
    """Decides for one pod after another, of those that an extender is interested in."""

    def __init__(
        self,
        configs: Sequence[ExtenderConfiguration],
        client: Client,
        clock: Clock,
        chance: random.Random,
        cycle: Cycle,
        observation: Observation,
        is_waiting: Callable[[QueuedPod], bool],
    ) -> None:
        self._cycle = cycle
        self._observation = observation
        self._is_waiting = is_waiting
        self._extenders = [Extender(one, clock) for one in configs]
        self._complete = CompleteObjects(client, clock, chance, self._extenders)
        self._chance = chance
        self.binder = ExtenderBinder(self._extenders)

    @property
    def informers(self) -> Sequence[Informer[Any]]:
        """What is to be run for it."""
        return self._complete.informers

    async def close(self) -> None:
        """Give up the connections to extenders."""
        for extender in self._extenders:
            await extender.close()

    def concerns(self, pod: PodToPlace) -> bool:
        """Whether an extender is to be asked about the pod."""
        return any(
            (one.filters or one.prioritizes or one.preempts) and one.is_interested(pod) for one in self._extenders
        )

    async def decide(self, queued: QueuedPod) -> Assigned | Refused | None:
        """Choose the pod's node and count it there, or say why it has none; None where it is gone meanwhile.

        Raises ExtenderError where one that cannot be ignored does not answer, NotFound where the pod is gone.
        """
        asking = [one for one in self._extenders if one.is_interested(queued.pod)]
        encoded = await self._complete.pod(queued.pod)
        for _ in range(_TRIES):
            nominated = self._cycle.promised_before(queued)
            evaluator = self._cycle.evaluator(queued.info)
            promised = self._cycle.promised_node(queued, nominated)
            found = _Found(np.zeros(len(self._observation.nodes), np.bool_))
            node_name = None
            if promised is not None:
                node_name = await self._if_passed(asking, encoded, promised)
            if node_name is None:
                mask = evaluator.passing(queued.info, nominated)
                if mask is not None and mask.any():
                    found = await self._filtered(asking, encoded, mask)
                    node_name = await self._best(asking, encoded, queued, evaluator, found.mask)
            if node_name is None:
                refused = await self._refuse(asking, encoded, queued, found)
                return refused if self._is_waiting(queued) else None
            if not self._is_waiting(queued):
                return None
            row = self._observation.nodes.row_of.get(node_name)
            if row is not None and evaluator.fits(queued.info, row, self._cycle.promised_before(queued)) is None:
                return self._cycle.assume(queued, node_name)
        raise ExtenderError(f"the node chosen with extenders was taken by others {_TRIES} times")

    async def _if_passed(self, asking: Sequence[Extender], pod: bytes, node_name: str) -> str | None:
        mask = np.zeros(len(self._observation.nodes), np.bool_)
        mask[self._observation.nodes.row_of[node_name]] = True
        return node_name if node_name in self._names((await self._filtered(asking, pod, mask)).mask) else None

    async def _filtered(self, asking: Sequence[Extender], pod: bytes, mask: Mask) -> _Found:
        names = self._names(mask)
        failures: dict[str, Unschedulable] = {}
        for extender in asking:
            if not extender.filters or not names:
                continue
            asked = self._asked(extender, pod, names)
            try:
                answer = await extender.filter(asked)
            except ExtenderError as error:
                if not extender.is_ignorable:
                    raise
                _log.info(_SKIPPED, extender=extender.name, error=error)
                continue
            failures |= {name: Unschedulable((why,)) for name, why in answer.failed.items()}
            failures |= {name: Unschedulable((why,), unresolvable=True) for name, why in answer.unresolvable.items()}
            names = answer.fitting
        return _Found(self._mask(names), failures)

    async def _best(
        self, asking: Sequence[Extender], pod: bytes, queued: QueuedPod, evaluator: Evaluator, mask: Mask
    ) -> str | None:
        names = self._names(mask)
        if len(names) < 2:
            return names[0] if names else None
        answers = await asyncio.gather(
            *(
                self._prioritized(extender, self._asked(extender, pod, names))
                for extender in asking
                if extender.prioritizes
            )
        )
        mask = self._mask(names)
        extra = np.zeros(len(mask), np.int64)
        for answer in answers:
            for name, score in answer.items():
                row = self._observation.nodes.row_of.get(name)
                if row is not None:
                    extra[row] += score
        return evaluator.best(queued.info, mask, self._chance, extra)

    async def _prioritized(self, extender: Extender, asked: Asked) -> dict[str, int]:
        try:
            return await extender.prioritize(asked)
        except ExtenderError as error:
            # As upstream: others know what is best, too.
            _log.warning(_NO_SCORE, extender=extender.name, error=error)
            return {}

    async def _refuse(self, asking: Sequence[Extender], pod: bytes, queued: QueuedPod, found: _Found) -> Refused:
        nominated = self._cycle.promised_before(queued)
        diagnosis = self._merged(self._cycle.diagnose(queued.info, nominated), found.failures)
        answered = self._cycle.post_filtered(queued, diagnosis)
        if answered is not None:
            return answered
        preemption = self._cycle.candidates(queued, diagnosis, nominated)
        if not isinstance(preemption, Preemption):
            candidates = await self._agreed(asking, pod, preemption)
            preemption = (
                default_preemption.conclude(candidates)
                if candidates
                else Preemption(message=_NO_CANDIDATE, nominated_node_name="")
            )
        return self._cycle.refused(queued, diagnosis, preemption)

    async def _agreed(
        self, asking: Sequence[Extender], pod: bytes, candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        for extender in asking:
            if not extender.preempts or not candidates:
                continue
            victims = {
                one.node_name: Victims(tuple(victim.uid for victim in one.victims), one.violations)
                for one in candidates
            }
            complete = {} if extender.keeps_nodes else self._complete.victims(candidates)
            try:
                answer = await extender.preempt(pod, victims, complete)
                candidates = [
                    candidate
                    for node_name, one in answer.items()
                    if (candidate := self._candidate(extender, node_name, one)) is not None
                ]
            except ExtenderError as error:
                if not extender.is_ignorable:
                    raise
                _log.info(_SKIPPED, extender=extender.name, error=error)
        return candidates

    def _candidate(self, extender: Extender, node_name: str, victims: Victims) -> Candidate | None:
        if not victims.uids:
            if extender.is_ignorable:
                return None
            raise ExtenderError(f'expected at least one victim pod on node "{node_name}"')
        found: list[PlacedPod] = []
        for uid in victims.uids:
            pod = self._observation.nodes.pod(node_name, uid)
            if pod is None:
                raise ExtenderError(
                    f"extender: {extender.name} claims to preempt pod (UID: {uid}) on node: {node_name}, "
                    "but the pod is not found on that node"
                )
            found.append(pod)
        return Candidate(node_name, tuple(found), victims.violations)

    def _merged(self, diagnosis: Diagnosis, failures: Mapping[str, Unschedulable]) -> Diagnosis:
        if not failures:
            return diagnosis
        answers = Answers(diagnosis.total)
        for number, answer in enumerate(diagnosis.answers):
            answers.add(answer, np.flatnonzero(diagnosis.answer_of == number))
        for name, why in failures.items():
            row = self._observation.nodes.row_of.get(name)
            if row is not None and row < diagnosis.total:
                answers.add(why, row)
        return Diagnosis(
            diagnosis.total, answers.answers, answers.answer_of, plugins=diagnosis.plugins | frozenset((NAME,))
        )

    def _asked(self, extender: Extender, pod: bytes, names: tuple[str, ...]) -> Asked:
        if extender.keeps_nodes:
            return Asked(pod, names, {})
        nodes = self._complete.nodes(names)
        return Asked(pod, tuple(name for name in names if name in nodes), nodes)

    def _names(self, mask: Mask) -> tuple[str, ...]:
        nodes = self._observation.nodes.nodes
        return tuple(nodes[row].name for row in np.flatnonzero(mask).tolist())

    def _mask(self, names: Sequence[str]) -> Mask:
        row_of = self._observation.nodes.row_of
        mask = np.zeros(len(self._observation.nodes), np.bool_)
        mask[[row for row in map(row_of.get, names) if row is not None]] = True
        return mask
