"""Carrying out decisions: bindings, conditions, events and preemptions, so many at once and no more."""

from __future__ import annotations

import asyncio
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
from keelback.scheduling import volume_binding
from keelback.scheduling.cluster_objects import ClusterObjects
from keelback.scheduling.default_preemption import Candidate
from keelback.scheduling.node_table import NodeTable
from keelback.scheduling.pod_info import PodToPlace

_log = logs.logger("scheduler")

_VOLUME_POLL_SECONDS: Final = 0.25

Job: TypeAlias = Callable[[], Awaitable[None]]


class Recorder(Protocol):
    """Writes Events about objects."""

    async def event(self, obj: Object, event_type: str, reason: str, message: str, /) -> None:
        """Tell people what happened to the object."""
        ...


class VolumesNotBound(Exception):
    """A pod's claims were not bound in time."""


class Jobs:
    """Writes that wait for one of a number of workers. `put` waits where too many wait already."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._queue: asyncio.Queue[Job] = asyncio.Queue(maxsize=workers * 4)

    async def put(self, job: Job) -> None:
        """Have a job done."""
        await self._queue.put(job)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._workers):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            try:
                await job()
            except errors.NotFound:
                # What was to be written to is gone, and with it the reason to write.
                pass
            except (errors.StatusError, OSError, TimeoutError) as error:
                _log.warning("Failed to write", error=error)
            except Exception as error:
                _log.error("A write failed unexpectedly", error=error)


async def bind(client: Client, pod: PodToPlace, node_name: str) -> None:
    """Give the pod its node. Raises Conflict where it has one, NotFound where it is gone."""
    metadata = pod.metadata
    binding = Binding(
        metadata=ObjectMeta(name=metadata.name, namespace=metadata.namespace, uid=metadata.uid),
        target=ObjectReference(kind="Node", name=node_name),
    )
    await client.create_subresource(Pod, metadata.name, metadata.namespace, "binding", binding, Status)


async def patch_status(client: Client, pod: PodToPlace, patch: StrategicMergePatch) -> None:
    """Write into the pod's status."""
    await client.patch(PodToPlace, pod.metadata.name, pod.metadata.namespace, patch, "status")


async def preempt(
    client: Client, clock: Clock, recorder: Recorder, preemptor: PodToPlace, candidate: Candidate
) -> None:
    """Tell each victim why it goes, and delete it; one that is gone already is no failure."""
    for victim in candidate.victims:
        try:
            told = await client.patch(
                PodToPlace,
                victim.name,
                victim.namespace,
                status_patches.preempted(preemptor.spec.scheduler_name, clock.now()),
                "status",
            )
            await client.delete(Pod, victim.name, victim.namespace, uid=victim.uid)
        except (errors.NotFound, errors.Conflict):
            continue
        message = f"Preempted by pod {preemptor.metadata.uid} on node {candidate.node_name}"
        await recorder.event(told, "Normal", "Preempted", message)


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
    namespace = pod.metadata.namespace
    waiting = [
        (namespace, name) for name in claims if (found := objects.claims.get((namespace, name))) and not found.is_bound
    ]
    if not waiting:
        return
    for key in waiting:
        await _start_binding(client, objects, nodes, key, node_name)
    deadline = clock.monotonic() + timeout_seconds
    while any(not claim.is_bound for key in waiting if (claim := objects.claims.get(key)) is not None):
        if clock.monotonic() >= deadline:
            raise VolumesNotBound(f"binding volumes: timed out waiting for the condition on node {node_name}")
        await clock.sleep(_VOLUME_POLL_SECONDS)


async def _start_binding(
    client: Client, objects: ClusterObjects, nodes: NodeTable, key: tuple[str, str], node_name: str
) -> None:
    namespace, name = key
    claim, row = objects.claims[key], nodes.row_of.get(node_name)
    if row is None:
        raise VolumesNotBound(f"binding volumes: node {node_name} is gone")
    volume = volume_binding.choose_volume(objects, key, claim, nodes, row)
    if volume is not None:
        current = await client.get(PersistentVolumeClaim, name, namespace)
        reference = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": namespace,
            "name": name,
            "uid": current.metadata.uid,
        }
        await client.patch(PersistentVolume, volume, "", MergePatch({"spec": {"claimRef": reference}}))
        return
    annotations = {"volume.kubernetes.io/selected-node": node_name}
    await client.patch(PersistentVolumeClaim, name, namespace, MergePatch({"metadata": {"annotations": annotations}}))
