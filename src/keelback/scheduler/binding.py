"""Carrying out decisions: bindings, conditions, events and preemptions, so many at once and no more."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from keelback.api.core_v1 import Binding, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta, Status
from keelback.client import Client
from keelback.client.patches import MergePatch, StrategicMergePatch
from keelback.component import logs
from keelback.concurrency.clock import Clock
from keelback.scheduler import status_patches
from keelback.scheduler.waiting_pods import WaitingPods
from keelback.scheduling import volume_binding
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.default_preemption import Candidate
from keelback.scheduling.node_table import NodeTable, PlacedPod
from keelback.scheduling.pod_to_place import PodToPlace

_log = logs.logger("scheduler")

_VOLUME_POLL_SECONDS: Final = 0.25
_PATIENCE_JOBS: Final = 16
_SERVER_ERRORS: Final = 500
_ASK_AGAIN_SECONDS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)

_VICTIMS_AT_ONCE: Final = 16

Job: TypeAlias = Callable[[], Awaitable[None]]
Tell: TypeAlias = Callable[[PodToPlace, str, str, str], Awaitable[None]]
"""Writes an Event about a pod: its type, reason and message."""


class Recorder(Protocol):
    """Writes Events about objects."""

    async def event(self, obj: Object | ObjectReference, event_type: str, reason: str, message: str, /) -> None:
        """Tell people what happened to the object."""
        ...


class VolumesNotBound(Exception):
    """A pod's claims were not bound in time."""


class Jobs:
    """Writes that wait for one of a number of workers. `put` waits where too many wait already."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._queue: asyncio.Queue[Job] = asyncio.Queue(maxsize=workers * 4)
        self._tasks: asyncio.TaskGroup | None = None
        self._busy = 0
        self._done = 0
        self._at_leisure: list[tuple[int, asyncio.Future[None]]] = []

    async def leisure(self) -> None:
        """Return when no worker has anything to do, or some jobs later: for what should wait, and not for ever."""
        if self._busy or not self._queue.empty():
            turn = asyncio.get_running_loop().create_future()
            self._at_leisure.append((self._done + _PATIENCE_JOBS, turn))
            await turn

    async def put(self, job: Job) -> None:
        """Have a job done."""
        await self._queue.put(job)

    def start(self, job: Job) -> None:
        """Have a job done that may take long, beside those of the workers."""
        assert self._tasks is not None
        self._tasks.create_task(attempt(job))

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for _ in range(self._workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            self._busy += 1
            await attempt(job)
            self._busy -= 1
            self._done += 1
            if self._at_leisure:
                self._give_turns()

    def _give_turns(self) -> None:
        is_idle = not self._busy and self._queue.empty()
        later = []
        for due, turn in self._at_leisure:
            if turn.done():
                continue
            if is_idle or self._done >= due:
                turn.set_result(None)
            else:
                later.append((due, turn))
        self._at_leisure = later


async def attempt(job: Job) -> bool:
    """Carry out a write; False where it failed and might not fail again."""
    try:
        await job()
    except errors.NotFound:
        # What was to be written to is gone, and with it the reason to write.
        pass
    except (errors.StatusError, OSError, TimeoutError) as error:
        _log.warning("Failed to write", error=error)
        return False
    except Exception as error:
        _log.error("A write failed unexpectedly", error=error)
    return True


async def bind(client: Client, clock: Clock, pod: PodToPlace, node_name: str) -> None:
    """Give the pod its node. Raises Conflict where it has one, NotFound where it is gone.

    Where the answer leaves open whether it was carried out, the pod is asked: the room of one that was bound after all
    must not be given to another.
    """
    metadata = pod.metadata
    wanted = Binding(
        metadata=ObjectMeta(name=metadata.name, namespace=metadata.namespace, uid=metadata.uid),
        target=ObjectReference(kind="Node", name=node_name),
    )
    try:
        await client.create_subresource(Pod, metadata.name, metadata.namespace, "binding", wanted, Status)
    except (errors.StatusError, OSError, TimeoutError) as error:
        if not _leaves_open(error) or not await _has_node(client, clock, pod, node_name):
            raise


def _leaves_open(error: Exception) -> bool:
    return not isinstance(error, errors.StatusError) or error.code >= _SERVER_ERRORS


async def _has_node(client: Client, clock: Clock, pod: PodToPlace, node_name: str) -> bool:
    metadata = pod.metadata
    for seconds in _ASK_AGAIN_SECONDS:
        try:
            found = await client.get(PodToPlace, metadata.name, metadata.namespace)
        except errors.NotFound:
            return False
        except (errors.StatusError, OSError, TimeoutError):
            await clock.sleep(seconds)
        else:
            return found.metadata.uid == metadata.uid and found.spec.node_name == node_name
    return False


async def patch_status(client: Client, pod: PodToPlace, patch: StrategicMergePatch) -> None:
    """Write into the pod's status."""
    await client.patch(PodToPlace, pod.metadata.name, pod.metadata.namespace, patch, "status")


async def withdraw_nomination(client: Client, pod: PlacedPod) -> None:
    """Tell a waiting pod that the node it was promised goes to another."""
    await client.patch(PodToPlace, pod.name, pod.namespace, status_patches.no_nomination(), "status")


def unbound_claims(objects: ClusterObjects, namespace: str, claims: tuple[str, ...]) -> list[tuple[str, str]]:
    """Those of a pod's claims that are not bound yet, by namespace and name."""
    keys = [(namespace, name) for name in claims]
    return [key for key in keys if (claim := objects.claims.get(key)) is not None and not claim.is_bound]


async def preempt(
    client: Client,
    clock: Clock,
    tell: Tell,
    preemptor: PodToPlace,
    candidate: Candidate,
    waiting_pods: WaitingPods,
) -> None:
    """Tell each victim why it goes, and delete it; one that is gone already is no failure.

    One that only waits for Permit's word loses its node, and nothing else.
    """
    evicting = (_evict(client, clock, tell, preemptor, victim, waiting_pods) for victim in candidate.victims)
    for some in iter(lambda: list(itertools.islice(evicting, _VICTIMS_AT_ONCE)), []):
        await asyncio.gather(*some)


async def _evict(
    client: Client, clock: Clock, tell: Tell, preemptor: PodToPlace, victim: PlacedPod, waiting_pods: WaitingPods
) -> None:
    waiting = waiting_pods.get(victim.uid)
    if waiting is not None:
        waiting.reject("DefaultPreemption", "preempted")
        return
    patch = status_patches.preempted(preemptor.spec.scheduler_name, clock.now())
    try:
        told = await client.patch(PodToPlace, victim.name, victim.namespace, patch, "status")
    except errors.NotFound:
        return
    try:
        await client.delete(Pod, victim.name, victim.namespace, uid=victim.uid)
    except errors.NotFound:
        return
    except errors.Conflict:
        # Another one of that name has another uid. If it is this one that stays, that is a failure like others.
        found = await client.get(PodToPlace, victim.name, victim.namespace)
        if found.metadata.uid == victim.uid and found.metadata.deletion_timestamp is None:
            raise
        return
    message = f"Preempted by pod {preemptor.metadata.uid} on node {victim.node_name}"
    await tell(told, "Normal", "Preempted", message)


async def bind_volumes(
    client: Client,
    clock: Clock,
    objects: ClusterObjects,
    nodes: NodeTable,
    pod: PodToPlace,
    claims: tuple[str, ...],
    node_name: str,
    timeout_seconds: float,
) -> None:
    """Have the claims that waited for a consumer bound for this node; return when they are. Raises VolumesNotBound."""
    waiting = unbound_claims(objects, pod.metadata.namespace, claims)
    if not waiting:
        return
    row = nodes.row_of.get(node_name)
    if row is None:
        raise VolumesNotBound(f"binding volumes: node {node_name} is gone")
    chosen = volume_binding.choose_volumes(objects, [(key, objects.claims[key]) for key in waiting], nodes, row)
    for key, volume in chosen.items():
        await _start_binding(client, key, volume, node_name)
    deadline = clock.monotonic() + timeout_seconds
    while any(not claim.is_bound for key in waiting if (claim := objects.claims.get(key)) is not None):
        if clock.monotonic() >= deadline:
            raise VolumesNotBound(f"binding volumes: timed out waiting for the condition on node {node_name}")
        await clock.sleep(_VOLUME_POLL_SECONDS)


async def _start_binding(client: Client, key: tuple[str, str], volume: str | None, node_name: str) -> None:
    namespace, name = key
    if volume is not None:
        current = await client.get(PersistentVolumeClaim, name, namespace)
        offered = await client.get(PersistentVolume, volume)
        taken = offered.spec.claim_ref
        if taken is not None and (taken.namespace, taken.name) != key:
            raise VolumesNotBound(f"binding volumes: volume {volume} was taken by {taken.namespace}/{taken.name}")
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": namespace,
            "name": name,
            "uid": current.metadata.uid,
        }
        # The version makes sure that nobody takes the volume in between.
        version = {"resourceVersion": offered.metadata.resource_version}
        tree = {"metadata": version, "spec": {"claimRef": reference}}
        await client.patch(PersistentVolume, volume, "", MergePatch(tree))
        return
    annotations = {"volume.kubernetes.io/selected-node": node_name}
    await client.patch(PersistentVolumeClaim, name, namespace, MergePatch({"metadata": {"annotations": annotations}}))
