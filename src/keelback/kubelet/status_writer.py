"""Writes pod statuses to the API: patches of the fields a kubelet owns, only the latest, retried until it is in."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from keelback.api.core_v1 import Pod, PodStatus
from keelback.apimachinery.errors import Conflict, Invalid, NotFound, StatusError
from keelback.client import Client, StrategicMergePatch
from keelback.component.logs import logger
from keelback.concurrency.backoff import Backoff
from keelback.concurrency.clock import Clock
from keelback.kubelet.status import OWNED_CONDITIONS

_OWNED: Final = (
    "phase",
    "reason",
    "message",
    "startTime",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
    "observedGeneration",
    "qosClass",
)
_WORKERS = 4
_BACKOFF = Backoff(initial_seconds=0.25, cap_seconds=10.0, jitter=0.5)
_log = logger("kubelet.status")


def patch_of(old: PodStatus, new: PodStatus) -> dict[str, Any]:
    """What turns the one status into the other, of the fields that a kubelet owns; empty where nothing differs."""
    before, after = _tree(old), _tree(new)
    patch: dict[str, Any] = {}
    for key in _OWNED:
        if before.get(key) != after.get(key):
            patch[key] = after.get(key)
    for key in ("podIPs", "hostIPs"):
        if patch.get(key):
            # Without this the merge would keep the addresses of an earlier sandbox.
            patch[key] = [{"$patch": "replace"}, *patch[key]]
    conditions = _condition_patches(before.get("conditions") or [], after.get("conditions") or [])
    if conditions:
        patch["conditions"] = conditions
    return patch


def _tree(status: PodStatus) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(status))
    return tree


def _condition_patches(old: list[Mapping[str, Any]], new: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    told = {one["type"]: one for one in old}
    patches = []
    for one in new:
        before = told.get(one["type"])
        if one["type"] not in OWNED_CONDITIONS or one == before:
            continue
        gone = {key: None for key in (before or {}) if key not in one}
        patches.append({**one, **gone})
    return patches


@dataclass(slots=True)
class _Wanted:
    pod: Pod
    status: PodStatus
    remove: bool = False
    failures: int = 0


class StatusWriter:
    """One node's statuses on their way to the API."""

    def __init__(self, client: Client, clock: Clock, chance: random.Random) -> None:
        self._client = client
        self._clock = clock
        self._chance = chance
        self._wanted: dict[str, _Wanted] = {}
        self._known: dict[str, Pod] = {}
        # Holds each pod at most once, so it is bounded by the pods of the node.
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()

    def write(self, pod: Pod, status: PodStatus) -> None:
        """Bring this status to the API; an earlier one that is not there yet is dropped."""
        uid = pod.metadata.uid
        wanted = self._wanted.get(uid)
        if wanted is not None:
            wanted.pod, wanted.status = pod, status
        elif patch_of(self._latest(pod).status, status):
            self._wanted[uid] = _Wanted(pod, status)
        else:
            return
        self._enqueue(uid)

    def remove(self, pod: Pod, status: PodStatus) -> None:
        """Bring the last status to the API, then delete the pod for good."""
        self._wanted[pod.metadata.uid] = _Wanted(pod, status, remove=True)
        self._enqueue(pod.metadata.uid)

    def forget(self, uid: str) -> None:
        """The API has no such pod any more."""
        self._wanted.pop(uid, None)
        self._known.pop(uid, None)

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_WORKERS):
                tasks.create_task(self._run_one())

    def _enqueue(self, uid: str) -> None:
        if uid not in self._queued:
            self._queued.add(uid)
            self._queue.put_nowait(uid)

    def _latest(self, pod: Pod) -> Pod:
        """The newer of what the watch brought and what the last write answered."""
        known = self._known.get(pod.metadata.uid)
        if known is None or _version(pod) >= _version(known):
            return pod
        return known

    async def _run_one(self) -> None:
        while True:
            uid = await self._queue.get()
            self._queued.discard(uid)
            wanted = self._wanted.get(uid)
            if wanted is None:
                continue
            status = wanted.status
            try:
                await self._write(wanted.pod, status)
                if wanted.remove:
                    await self._delete(wanted.pod)
            except (NotFound, Conflict):
                # It is gone, or another pod has its name: there is nobody to tell.
                self._wanted.pop(uid, None)
                continue
            except Invalid as error:
                _log.error("The API refuses a pod's status", pod=wanted.pod.metadata.name, error=str(error))
                self._wanted.pop(uid, None)
                continue
            except (StatusError, OSError, TimeoutError) as error:
                wanted.failures += 1
                _log.warning("Could not write a pod's status", pod=wanted.pod.metadata.name, error=str(error))
                await self._clock.sleep(_BACKOFF.delay(wanted.failures, self._chance))
                self._enqueue(uid)
                continue
            if self._wanted.get(uid) is wanted:
                if wanted.status is status:
                    del self._wanted[uid]
                else:
                    self._enqueue(uid)

    async def _write(self, pod: Pod, status: PodStatus) -> None:
        patch = patch_of(self._latest(pod).status, status)
        if not patch:
            return
        meta = pod.metadata
        tree = {"metadata": {"uid": meta.uid}, "status": patch}
        written = await self._client.patch(
            Pod, meta.name, meta.namespace, StrategicMergePatch(tree), subresource="status"
        )
        self._known[meta.uid] = written

    async def _delete(self, pod: Pod) -> None:
        meta = pod.metadata
        await self._client.delete(Pod, meta.name, meta.namespace, grace_period_seconds=0, uid=meta.uid)


def _version(pod: Pod) -> int:
    version = pod.metadata.resource_version
    return int(version) if version.isdigit() else 0
