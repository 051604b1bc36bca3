"""DynamicResources: a pod runs where the devices of its claims are, or can be had (KEP-4381, structured parameters)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from keelback.api.core_v1 import ContainerExtendedResourceRequest
from keelback.api.resource_v1 import AllocationResult, DeviceClaim, DeviceRequest, ResourceClaim, ResourceClaimSpec
from keelback.apimachinery.meta import ObjectMeta
from keelback.scheduling import device_allocations, device_allocator, extended_resources, pod_claims
from keelback.scheduling.device_allocator import NotOnNode, TookTooLong
from keelback.scheduling.device_answers import DeviceAnswers
from keelback.scheduling.device_objects import EXTENDED_RESOURCE_CLAIM, DeviceObjects, claim_name, spec_key
from keelback.scheduling.device_requests import RequestError
from keelback.scheduling.device_reservations import ClaimReservation, DeviceReservation, ExtendedReservation
from keelback.scheduling.events import Event
from keelback.scheduling.fit_error import Diagnosis
from keelback.scheduling.framework import (
    EVERY,
    CycleState,
    Mask,
    OnlyNodes,
    PluginError,
    Rows,
    Scope,
    Scores,
    Unschedulable,
    default_normalize,
)
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_claims import claims_of
from keelback.scheduling.pod_info import PodInfo

DEFAULT_FILTER_TIMEOUT_SECONDS: Final = 2.0
"""Upstream allows ten, in one of many threads. Here everybody waits."""
DEFAULT_BINDING_TIMEOUT_SECONDS: Final = 600.0

# As upstream without DRAPreemption: removing pods does not help, since nothing says that their devices become free.
NOT_AVAILABLE: Final = Unschedulable(("resourceclaim not available on the node",), unresolvable=True)
_NOT_ALL: Final = Unschedulable(("cannot allocate all claims",), unresolvable=True)
NO_CLAIMS: Final = "no new claims to deallocate"
"""What upstream adds about each pod that fits nowhere and has no claims: from 1.34 on, and no more in 1.37."""
NOTHING_FREED: Final = "still not schedulable"
NOT_ASKED: Final = "not found"
"""What it adds where another plugin said so early that nothing fits that it was not asked at all."""
_EXTENDED_NAME: Final = "<extended-resources>"


@dataclass(frozen=True, slots=True)
class _Question:
    # What some nodes are asked for: `rows` are theirs, None for all. Without answers there is nothing to ask.
    rows: Mask | None
    answers: DeviceAnswers | None = None
    names: tuple[str, ...] = ()
    """What the claims are called, in the order of the answers."""
    claims: tuple[ResourceClaim, ...] = ()
    extended: tuple[DeviceRequest, ...] = ()
    mappings: tuple[ContainerExtendedResourceRequest, ...] = ()

    def is_about(self, row: int) -> bool:
        return self.rows is None or bool(self.rows[row])

    def refuses(self, row: int) -> bool:
        return self.answers is not None and self.is_about(row) and not self.answers.mask[row]


class DynamicResources:
    def __init__(
        self,
        filter_timeout_seconds: float = DEFAULT_FILTER_TIMEOUT_SECONDS,
        binding_timeout_seconds: float = DEFAULT_BINDING_TIMEOUT_SECONDS,
    ) -> None:
        self._filter_timeout_seconds = filter_timeout_seconds
        self._binding_timeout_seconds = binding_timeout_seconds

    name = "DynamicResources"
    scope = Scope.CLUSTER
    wakes_on = frozenset(
        {
            Event.NODE_ADDED,
            Event.NODE_LABELS_CHANGED,
            Event.NODE_ALLOCATABLE_CHANGED,
            Event.DEVICES_CHANGED,
            Event.POD_CHANGED,
        }
    )

    def concerns(self, pod: PodInfo) -> bool:
        """Whether the pod has claims for devices, or asks for what devices may stand for."""
        return pod.devices is not None or bool(pod.extended)

    def asks(self, devices: DeviceObjects, pod: PodInfo) -> bool:
        """Whether the pod wants devices at all, be it by extended resources that they stand for."""
        if pod.devices is not None:
            return True
        return bool(pod.extended) and not devices.class_of.keys().isdisjoint(pod.requests)

    def pre_filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable) -> Unschedulable | OnlyNodes | None:
        """Why the claims themselves keep the pod from every node."""
        return _refusal(state.objects.devices, pod)

    def filter(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Mask | None:
        """True where all claims can be used, or allocated. Raises PluginError where that cannot be said."""
        devices = state.objects.devices
        if not self.asks(devices, pod):
            return None
        if _refusal(devices, pod) is not None:
            return np.zeros(len(nodes), np.bool_)[rows]
        mask = np.ones(len(nodes), np.bool_)
        for claim in claims_of(devices, pod):
            if claim.status.allocation is not None:
                mask &= self._available(devices, claim, nodes)
        for question in self._questions(devices, pod, nodes):
            if question.answers is not None:
                found = _mask(question, question.answers, nodes)
                mask &= found if question.rows is None else found | ~question.rows
        return mask[rows]

    def why_not(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> Unschedulable:
        """Devices that are not to be had come before claims whose devices are elsewhere."""
        refusal = _refusal(state.objects.devices, pod)
        if refusal is not None:
            return refusal
        for question in self._questions(state.objects.devices, pod, nodes):
            if question.answers is not None and question.refuses(row):
                answer = question.answers.answer(row)
                if isinstance(answer, NotOnNode):
                    return Unschedulable((answer.told(question.names),), unresolvable=True)
                return _NOT_ALL
        return NOT_AVAILABLE

    def remedies(self, state: CycleState, pod: PodInfo, nodes: NodeTable, row: int) -> tuple[str, ...]:
        """Which claim has its devices elsewhere, and how many devices match each request, and are free."""
        devices = state.objects.devices
        wishes: list[str] = []
        if _refusal(devices, pod) is not None:
            return ()
        for claim in claims_of(devices, pod):
            allocation = claim.status.allocation
            if allocation is not None and not self._available(devices, claim, nodes)[row]:
                pools = ", ".join(sorted({one.pool for one in allocation.devices.results}))
                wishes.append(f"claim {claim.metadata.name} has its devices in pool {pools}, out of this node's reach")
        for question in self._questions(devices, pod, nodes):
            if question.refuses(row):
                wishes += _lacks(devices, question, row)
        return tuple(wishes)

    def score(self, state: CycleState, pod: PodInfo, nodes: NodeTable, rows: Rows = EVERY) -> Scores | None:
        """The better the alternatives of prioritized lists that are to be had, the better the node."""
        devices = state.objects.devices
        if not self.asks(devices, pod):
            return None
        total: Scores | None = None
        for question in self._questions(devices, pod, nodes):
            points = question.answers.points if question.answers is not None else None
            if points is not None:
                points = points if question.rows is None else np.where(question.rows, points, 0)
                total = points if total is None else total + points
        return None if total is None else total[rows]

    def normalize(self, state: CycleState, scores: Scores) -> Scores:
        return default_normalize(scores)

    def reservation(
        self, devices: DeviceObjects, pod: PodInfo, pod_uid: str, nodes: NodeTable, row: int, make_id: Callable[[], str]
    ) -> DeviceReservation | None:
        """What the pod takes on this node, which has passed the filter; None where it has no claims.

        `make_id` makes the identities of shares of devices. Raises PluginError.
        """
        if not self.asks(devices, pod):
            return None
        question = next(one for one in self._questions(devices, pod, nodes) if one.is_about(row))
        allocations = _allocations(question, row, nodes.nodes[row].name, make_id)
        mine = {claim.metadata.uid: allocation for claim, allocation in zip(question.claims, allocations, strict=False)}
        claims = tuple(
            ClaimReservation(
                key=(claim.metadata.namespace, claim.metadata.name),
                uid=claim.metadata.uid,
                allocation=mine.get(claim.metadata.uid),
                is_reserved=pod_claims.is_reserved_for(claim, pod),
            )
            for claim in claims_of(devices, pod)
        )
        extended = None
        if question.extended:
            uid = f"{pod_uid}/{_EXTENDED_NAME}"
            extended = ExtendedReservation(uid, question.extended, question.mappings, allocations[-1])
        if not claims and extended is None:
            return None
        given = (claim.status.allocation for claim in claims_of(devices, pod))
        waits = any(
            result.binding_conditions
            for allocation in (*allocations, *given)
            if allocation is not None
            for result in allocation.devices.results
        )
        return DeviceReservation(claims, extended, self._binding_timeout_seconds, waits)

    def to_free(
        self, devices: DeviceObjects, pod: PodInfo, nodes: NodeTable, diagnosis: Diagnosis
    ) -> ResourceClaim | None:
        """A claim that keeps the pod from nodes which would take it otherwise, and that nobody else uses."""
        if pod.devices is None or NOT_AVAILABLE not in diagnosis.answers:
            return None
        refused = diagnosis.answer_of == list(diagnosis.answers).index(NOT_AVAILABLE)
        for claim in claims_of(devices, pod):
            if claim.status.allocation is None or any(one.uid != pod.devices.uid for one in claim.status.reserved_for):
                continue
            if (refused & ~self._available(devices, claim, nodes)).any():
                return claim
        return None

    def _available(self, devices: DeviceObjects, claim: ResourceClaim, nodes: NodeTable) -> Mask:
        return pod_claims.available(claim, nodes, devices.now(), self._binding_timeout_seconds)

    def _questions(self, devices: DeviceObjects, pod: PodInfo, nodes: NodeTable) -> list[_Question]:
        claims = tuple(claim for claim in claims_of(devices, pod) if claim.status.allocation is None)
        mapped = [name for name in pod.requests if name in devices.class_of] if pod.extended else []
        if not mapped:
            return [self._question(devices, pod, nodes, claims, None, ())]
        # Where a node offers the resource itself, no device need stand for it.
        sorts = sum(
            ((nodes.allocatable(name) == 0) << place for place, name in enumerate(mapped)),
            start=np.zeros(len(nodes), np.int64),
        )
        return [
            self._question(
                devices,
                pod,
                nodes,
                claims,
                sorts == sort,
                [one for place, one in enumerate(mapped) if sort >> place & 1],
            )
            for sort in np.unique(sorts).tolist()
        ]

    def _question(
        self,
        devices: DeviceObjects,
        pod: PodInfo,
        nodes: NodeTable,
        claims: tuple[ResourceClaim, ...],
        rows: Mask | None,
        resources: Sequence[str],
    ) -> _Question:
        extended, mappings = extended_resources.requests(pod.extended, resources, devices.class_of)
        asked = list(claims)
        if extended:
            metadata = ObjectMeta(namespace=pod.namespace, name=_EXTENDED_NAME)
            asked.append(
                ResourceClaim(metadata=metadata, spec=ResourceClaimSpec(devices=DeviceClaim(requests=extended)))
            )
        if not asked:
            return _Question(rows)
        try:
            answers = devices.answers([(spec_key(one), partial(devices.compiled, one)) for one in asked])
        except RequestError as error:
            raise _failed(str(error)) from None
        answers.bring_up_to_date(nodes, devices.monotonic, self._filter_timeout_seconds)
        return _Question(rows, answers, tuple(map(claim_name, asked)), claims, extended, mappings)


def what_is_done(freed: ResourceClaim) -> str:
    """What a pod is told about a claim that is freed for it."""
    is_extended = EXTENDED_RESOURCE_CLAIM in freed.metadata.annotations
    return f"{'deletion' if is_extended else 'deallocation'} of ResourceClaim completed"


def _refusal(devices: DeviceObjects, pod: PodInfo) -> Unschedulable | None:
    if pod.devices is None:
        return None
    problem = pod_claims.missing_claim(devices, pod) or pod_claims.obstacle(devices, pod)
    return Unschedulable((problem,), unresolvable=True) if problem else None


def _mask(question: _Question, answers: DeviceAnswers, nodes: NodeTable) -> Mask:
    failure = answers.failure()
    if failure is not None and question.is_about(failure[0]):
        row, problem = failure
        if isinstance(problem, TookTooLong):
            raise _failed(f"node {nodes.nodes[row].name}: timed out trying to allocate devices")
        raise _failed(problem.told(question.names))
    return answers.mask


def _allocations(question: _Question, row: int, node_name: str, make_id: Callable[[], str]) -> list[AllocationResult]:
    if question.answers is None:
        return []
    answer = question.answers.answer(row)
    if answer is None or isinstance(answer, Exception):
        raise PluginError(f"claim allocation not found for node {node_name}")
    return [
        device_allocations.allocation(claim, chosen, node_name, make_id)
        for claim, chosen in zip(question.answers.claims, answer, strict=True)
    ]


def _lacks(devices: DeviceObjects, question: _Question, row: int) -> list[str]:
    """Of each request how many devices there are for it within the node's reach."""
    assert question.answers is not None
    views = devices.pools.of(row)
    lacks = []
    for name, claim in zip(question.names, question.answers.claims, strict=True):
        for request in claim.requests:
            for one in request.alternatives:
                matching = [
                    device
                    for view in views
                    for device, match in zip(view.devices, device_allocator.matches(view, one), strict=True)
                    if match is True
                ]
                taken = sum(devices.usage.is_held(device.id) for device in matching)
                wanted = "all" if one.takes_all else str(one.count)
                text = f"claim {name.partition('/')[2]}, request {one.name}: {wanted} of class"
                found = f"{len(matching)} match here, {taken} of them taken"
                lacks.append(f"{text} {one.device_class.metadata.name} wanted; {found}")
    return lacks


def _failed(text: str) -> PluginError:
    return PluginError(f'running "{DynamicResources.name}" filter plugin: {text}')
