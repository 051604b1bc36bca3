"""A Python function as a controller: it says which objects should be there because of one, and they are."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from keelback.apimachinery import errors
from keelback.apimachinery.meta import make_kind
from keelback.client import Change, Client, Informer
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.reconcile.discovery import Metadata, metadata_type
from keelback.reconcile.work_queue import WorkQueue
from keelback.testing.cluster_objects import Objects, Resource, Tree, Trees

ControllerFunction: TypeAlias = Callable[[Tree, Trees], Iterable[Tree]]
"""Given an object, and what there is because of it: what there should be. The object itself among it has its status
written."""

_log = logger("testing")
_Key: TypeAlias = tuple[str, str]
_LISTED_SECONDS: Final = 30.0


class FunctionController:
    """Calls the function for each object of a resource whenever it or something of its own has changed."""

    def __init__(
        self, name: str, resource: Resource, function: ControllerFunction, client: Client, clock: Clock, seed: int
    ) -> None:
        self._name = name
        self._resource = resource
        self._function = function
        self._client = client
        self._clock = clock
        self._chance = random.Random(seed)
        self._objects = Objects(client)
        self._queue: WorkQueue[_Key] = WorkQueue(clock, chance=self._chance)
        self._watched: dict[Resource, Informer[Metadata]] = {}

    async def run(self) -> None:
        """Work until cancelled. Run again, it begins anew, and knows only which kinds it has made."""
        kinds = {self._resource: None, **dict.fromkeys(self._watched)}
        self._watched = {}
        self._queue = WorkQueue(self._clock, chance=self._chance)
        async with asyncio.TaskGroup() as tasks:
            for kind in kinds:
                await self._watch(kind, tasks)
            tasks.create_task(self._queue.run_timers())
            while True:
                key = await self._queue.get()
                try:
                    await self._reconcile(key, tasks)
                except (errors.StatusError, OSError, TimeoutError) as error:
                    _log.info("A function's object is tried again", controller=self._name, key=key, error=str(error))
                    self._queue.add_rate_limited(key)
                else:
                    self._queue.forget(key)
                finally:
                    self._queue.done(key)

    async def _watch(self, resource: Resource, tasks: asyncio.TaskGroup) -> None:
        if resource in self._watched:
            return
        api_version = f"{resource.group}/{resource.version}" if resource.group else resource.version
        kind = make_kind(api_version, resource.kind, resource.plural, namespaced=resource.is_namespaced)
        informer = Informer(self._client, metadata_type(kind), clock=self._clock, chance=self._chance)
        informer.subscribe(lambda change: self._changed(resource, change))
        self._watched[resource] = informer
        tasks.create_task(informer.run())
        async with asyncio.timeout(_LISTED_SECONDS):
            await informer.wait_synced()

    def _changed(self, resource: Resource, change: Change[Metadata]) -> None:
        metadata = change.object.metadata
        if resource == self._resource:
            self._queue.add((metadata.namespace, metadata.name))
            return
        for owner in metadata.owner_references:
            if owner.controller and owner.kind == self._resource.kind:
                self._queue.add((metadata.namespace, owner.name))

    async def _reconcile(self, key: _Key, tasks: asyncio.TaskGroup) -> None:
        namespace, name = key
        try:
            parent = await self._objects.request("GET", self._resource.path(namespace, name))
        except errors.NotFound:
            return
        if "deletionTimestamp" in parent["metadata"]:
            return
        children = [one async for one in self._children(parent)]
        kept: set[tuple[str, str]] = set()
        for wanted in self._function(parent, [tree for _, tree in children]):
            if _names(wanted) == _names(parent):
                await self._write_status(parent, wanted)
                continue
            resource = await self._objects.resource_of(wanted)
            await self._watch(resource, tasks)
            owned = _owned(wanted, parent)
            if resource.is_namespaced:
                owned["metadata"].setdefault("namespace", namespace)
            applied = await self._objects.apply(owned, namespace, self._name)
            kept.add((resource.plural, applied["metadata"]["uid"]))
        for resource, child in children:
            if (resource.plural, child["metadata"]["uid"]) not in kept:
                await self._delete(resource, child)

    async def _children(self, parent: Tree) -> Any:
        """What belongs to the object, of the kinds that the function has ever asked for."""
        uid, namespace = parent["metadata"]["uid"], parent["metadata"].get("namespace", "")
        for resource in [one for one in self._watched if one != self._resource]:
            listed = await self._objects.request("GET", resource.path(namespace))
            for item in listed["items"]:
                owners = item["metadata"].get("ownerReferences", ())
                if any(one["uid"] == uid and one.get("controller") for one in owners):
                    yield resource, {"apiVersion": listed["apiVersion"], "kind": resource.kind, **item}

    async def _write_status(self, parent: Tree, wanted: Tree) -> None:
        if wanted.get("status") == parent.get("status"):
            return
        namespace, name = parent["metadata"].get("namespace", ""), parent["metadata"]["name"]
        path = self._resource.path(namespace, name, "status")
        await self._objects.request("PUT", path, body=parent | {"status": wanted.get("status")})

    async def _delete(self, resource: Resource, child: Tree) -> None:
        metadata = child["metadata"]
        try:
            options = {"preconditions": {"uid": metadata["uid"]}, "propagationPolicy": "Background"}
            path = resource.path(metadata.get("namespace", ""), metadata["name"])
            await self._objects.request("DELETE", path, body=options)
        except errors.NotFound:
            return


def _names(tree: Tree) -> tuple[str, str, str]:
    return tree["apiVersion"], tree["kind"], tree["metadata"]["name"]


def _owned(tree: Tree, parent: Tree) -> Tree:
    owner = {
        "apiVersion": parent["apiVersion"],
        "kind": parent["kind"],
        "name": parent["metadata"]["name"],
        "uid": parent["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return tree | {"metadata": tree["metadata"] | {"ownerReferences": [owner]}}
