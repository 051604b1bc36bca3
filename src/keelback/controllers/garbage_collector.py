"""The garbage collector: deletes what lost its owners, orphans what was to be orphaned, lets waiting owners go.

It watches the metadata of every resource the server has, custom ones too, and asks the server before it deletes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from keelback.api.apiextensions_v1 import CustomResourceDefinition
from keelback.api.apiregistration_v1 import APIService
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Kind, Object, ObjectMeta, OwnerReference, narrow
from keelback.client import Change, Informer, MergePatch
from keelback.component import logs
from keelback.concurrency.rounds import Round, next_round
from keelback.controllers import ownership
from keelback.controllers.ownership import FOREGROUND, ORPHAN, Graph, Node, Work
from keelback.reconcile.context import Context
from keelback.reconcile.discovery import discover, metadata_type
from keelback.reconcile.patches import tree
from keelback.reconcile.work_queue import WorkQueue

# Events own nothing and nobody owns them; they are too many to watch for nothing.
_IGNORED = frozenset({("", "events"), ("events.k8s.io", "events")})
_NEEDED_VERBS = frozenset({"delete", "list", "watch"})
_RESYNC_SECONDS = 300.0
_SETTLE_SECONDS = 0.5

_log = logs.logger("garbage-collector-controller")


@narrow(CustomResourceDefinition)
class _CRD(Object):
    """That a custom resource came or went is all that is asked."""


@narrow(APIService)
class _APIService(Object):
    """That an API came or went is all that is asked."""


@dataclass(slots=True)
class _Monitor:
    """One resource's watch; its task is None where the informer belongs to the shared caches."""

    kind: Kind
    informer: Informer[Any]
    unsubscribe: Callable[[], None]
    task: asyncio.Task[None] | None


@dataclass(slots=True)
class GarbageCollector:
    """Runs for as long as the manager does."""

    context: Context
    workers: int = 20
    name: ClassVar = "garbage-collector-controller"
    role: ClassVar = "generic-garbage-collector"
    component: ClassVar = "garbage-collector-controller"
    graph: Graph = field(default_factory=Graph, init=False)
    _monitors: dict[tuple[str, str], _Monitor] = field(default_factory=dict, init=False)
    _kinds: dict[tuple[str, str], Kind] = field(default_factory=dict, init=False)
    _unsure: set[str] = field(default_factory=set, init=False)
    _resync: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _queue: WorkQueue[tuple[Work, str]] = field(init=False)

    def __post_init__(self) -> None:
        self._queue = WorkQueue(self.context.clock, chance=self.context.chance)
        for cls in (_CRD, _APIService):
            self.context.caches.subscribe(cls, lambda change: self._resync.set())

    async def run(self) -> None:
        """Follow the server's resources and collect, until cancelled."""
        self._forget()
        async with asyncio.TaskGroup() as tasks:
            await self._synchronize(tasks)
            for uid in list(self.graph.absent_owners()):
                self._queue.add((Work.DELETE, uid))
            tasks.create_task(self._queue.run_timers())
            for _ in range(self.workers):
                tasks.create_task(self._work())
            while True:
                await self._wait_resync()
                await self._synchronize(tasks)

    def _forget(self) -> None:
        """Begin anew: what an earlier run, ended by a failure, was watching is not watched any more."""
        for monitor in self._monitors.values():
            monitor.unsubscribe()
        self._monitors.clear()
        self.graph = Graph()

    async def _wait_resync(self) -> None:
        """Return some time after a resource may have come or gone, or when a longer time has passed anyway."""

        has_ticked = False

        async def tick() -> None:
            nonlocal has_ticked
            # Definitions and API services tell of their changes: this is for what was missed.
            await next_round(self.context.clock, _RESYNC_SECONDS, Round.WATCH)
            has_ticked = not self._resync.is_set()
            self._resync.set()

        ticking = asyncio.get_running_loop().create_task(tick())
        try:
            await self._resync.wait()
        finally:
            ticking.cancel()
        if not has_ticked:
            # A new custom resource is served a moment after its definition is written.
            await self.context.clock.sleep(_SETTLE_SECONDS)
        self._resync.clear()

    async def _synchronize(self, tasks: asyncio.TaskGroup) -> None:
        """Watch what the server has now, and stop watching what it no longer has."""
        try:
            discovered = await discover(self.context.client.client)
        except (errors.StatusError, OSError, TimeoutError) as error:
            _log.warning("Failed to discover resources", error=error)
            await self.context.clock.sleep(_SETTLE_SECONDS)
            self._resync.set()
            return
        wanted: dict[tuple[str, str], Kind] = {}
        for resource in discovered.resources:
            key = (resource.kind.group, resource.kind.plural)
            self._kinds[resource.kind.group, resource.kind.kind] = resource.kind
            if resource.verbs >= _NEEDED_VERBS and key not in _IGNORED:
                wanted[key] = resource.kind
        unknown = {key for key, one in self._monitors.items() if one.kind.api_version in discovered.stale}
        # What cannot be asked has not gone: its objects are nobody's loss yet.
        for key in self._monitors.keys() - wanted.keys() - unknown:
            self._stop(self._monitors.pop(key))
        started = [self._start(kind, tasks) for key, kind in wanted.items() if key not in self._monitors]
        for monitor in started:
            self._monitors[monitor.kind.group, monitor.kind.plural] = monitor
        if self._monitors and started:
            await self._wait_synced(started)
        # What could not be judged while a kind was unknown is judged by what is known now.
        unsure, self._unsure = self._unsure, set()
        for uid in unsure:
            self._queue.add((Work.DELETE, uid))

    def _start(self, kind: Kind, tasks: asyncio.TaskGroup) -> _Monitor:
        shared = self.context.caches.informer_of(kind.group, kind.plural)
        context = self.context
        informer = shared or Informer(
            context.client.client, metadata_type(kind), clock=context.clock, chance=context.chance
        )
        unsubscribe = informer.subscribe(lambda change: self._changed(kind, change))
        task = None if shared else tasks.create_task(informer.run(), name=f"gc informer {kind.resource}")
        return _Monitor(kind, informer, unsubscribe, task)

    async def _wait_synced(self, monitors: list[_Monitor]) -> None:
        # A resource that cannot be listed (its webhook is down) must not stop the collection of all others.
        try:
            async with asyncio.timeout(30):
                for monitor in monitors:
                    await monitor.informer.wait_synced()
        except TimeoutError:
            pending = [one.kind.resource for one in monitors if not one.informer.synced]
            _log.warning("Some resources cannot be listed, going on without them", resources=", ".join(pending))

    def _stop(self, monitor: _Monitor) -> None:
        monitor.unsubscribe()
        if monitor.task is not None:
            monitor.task.cancel()
        # Its objects went with the resource; their dependents have no owner any more.
        for obj in monitor.informer.store.list():
            self._enqueue(self.graph.remove(obj.metadata.uid))

    def _changed(self, kind: Kind, change: Change[Any]) -> None:
        if change.new is None:
            self._enqueue(self.graph.remove(change.object.metadata.uid))
        else:
            self._enqueue(self.graph.put(Node.of(kind, change.new)))

    def _enqueue(self, work: list[tuple[Work, str]]) -> None:
        for item in work:
            self._queue.add(item)

    async def _work(self) -> None:
        while True:
            item = await self._queue.get()
            try:
                await self._process(*item)
            except (errors.StatusError, OSError, TimeoutError) as error:
                _log.debug("Error syncing item", item=item[1], error=error)
                self._queue.add_rate_limited(item)
            except Exception as error:
                _log.exception("Failed to process item", error, item=item[1])
                self._queue.add_rate_limited(item)
            else:
                self._queue.forget(item)
            finally:
                self._queue.done(item)

    async def _process(self, work: Work, uid: str) -> None:
        node = self.graph.nodes.get(uid)
        if node is None:
            return
        if work is Work.ORPHAN:
            await self._orphan(node)
        elif node.is_deleting_dependents:
            await self._delete_dependents(node)
        elif not node.is_deleting and not self.graph.is_settled(node):
            await self._attempt_to_delete(node)

    async def _orphan(self, owner: Node) -> None:
        """Take the owner out of its dependents' references, then let it go."""
        for dependent in self.graph.dependents(owner.uid):
            await self._drop_owners(dependent, (owner.uid,))
        await self._remove_finalizer(owner, ORPHAN)

    async def _delete_dependents(self, owner: Node) -> None:
        """Let the owner go when nothing blocks it any more; until then see that what blocks it is being deleted."""
        blocking = self.graph.blocking_dependents(owner.uid)
        if not blocking:
            await self._remove_finalizer(owner, FOREGROUND)
            return
        for dependent in blocking:
            if not dependent.is_deleting_dependents:
                self._queue.add((Work.DELETE, dependent.uid))

    async def _attempt_to_delete(self, node: Node) -> None:
        latest = await self._get(node)
        if latest is None:
            return  # the watch will say so too
        solid: list[str] = []
        dangling: list[str] = []
        waiting: list[str] = []
        for reference in latest.metadata.owner_references:
            await self._say_elsewhere(latest, reference)
            found = await self._owner_state(node, reference)
            {"solid": solid, "dangling": dangling, "waiting": waiting}[found].append(reference.uid)
        verdict = ownership.judge(solid, dangling, waiting, node, self.graph, latest.metadata.finalizers)
        if verdict.drop:
            await self._drop_owners(node, verdict.drop)
        if verdict.unblock:
            await self._unblock_owners(node, latest.metadata)
        if verdict.delete:
            # As it was judged: who has got an owner since, or changed at all, is looked at once more.
            await self.context.client.delete(
                metadata_type(node.kind),
                node.name,
                node.namespace,
                uid=node.uid,
                resource_version=latest.metadata.resource_version,
                propagation_policy=verdict.delete,
            )

    async def _owner_state(self, node: Node, reference: OwnerReference) -> str:
        """Whether an owner is `solid`, `dangling` (gone) or `waiting` for its dependents to be deleted."""
        group, _, _ = reference.api_version.rpartition("/")
        kind = self._kinds.get((group, reference.kind))
        if kind is None:
            # Not a resource the server has: perhaps an API that is down. Only a sure absence deletes anything.
            self._unsure.add(node.uid)
            return "solid"
        if kind.namespaced and not node.namespace:
            _log.info("A cluster-scoped object names a namespaced owner", name=node.name, owner=reference.name)
            return "solid"
        namespace = node.namespace if kind.namespaced else ""
        owner = self.graph.nodes.get(reference.uid)
        if owner is not None and (owner.namespace, owner.name) == (namespace, reference.name):
            return "waiting" if owner.is_deleting_dependents else "solid"
        try:
            found = await self.context.client.get(metadata_type(kind), reference.name, namespace)
        except errors.NotFound:
            return "dangling"
        if found.metadata.uid != reference.uid:
            return "dangling"
        is_waiting = found.metadata.deletion_timestamp is not None and FOREGROUND in found.metadata.finalizers
        return "waiting" if is_waiting else "solid"

    async def _say_elsewhere(self, obj: Object, reference: OwnerReference) -> None:
        """An owner is in another namespace, and so none of the object's."""
        owner, namespace = self.graph.nodes.get(reference.uid), obj.metadata.namespace
        if owner is None or owner.namespace in ("", namespace):
            return
        meant = f"{reference.api_version}/{reference.kind}, namespace: {namespace}, name: {reference.name}"
        message = f'ownerRef [{meant}, uid: {reference.uid}] does not exist in namespace "{namespace}"'
        await self.context.events.event(obj, "Warning", "OwnerRefInvalidNamespace", message)

    async def _get(self, node: Node) -> Object | None:
        try:
            latest = await self.context.client.get(metadata_type(node.kind), node.name, node.namespace)
        except errors.NotFound:
            return None
        return latest if latest.metadata.uid == node.uid else None

    async def _drop_owners(self, node: Node, uids: tuple[str, ...]) -> None:
        def without(metadata: ObjectMeta) -> dict[str, object] | None:
            kept = [one for one in metadata.owner_references if one.uid not in uids]
            if len(kept) == len(metadata.owner_references):
                return None
            return {"ownerReferences": [tree(one) for one in kept] or None}

        await self._change_metadata(node, without)

    async def _unblock_owners(self, node: Node, metadata: ObjectMeta) -> None:
        def unblocked(metadata: ObjectMeta) -> dict[str, object] | None:
            references = [tree(one) for one in metadata.owner_references]
            for one in references:
                one.pop("blockOwnerDeletion", None)
            return {"ownerReferences": references}

        if any(one.block_owner_deletion for one in metadata.owner_references):
            await self._change_metadata(node, unblocked)

    async def _remove_finalizer(self, node: Node, finalizer: str) -> None:
        def removed(metadata: ObjectMeta) -> dict[str, object] | None:
            if finalizer not in metadata.finalizers:
                return None
            return {"finalizers": [one for one in metadata.finalizers if one != finalizer] or None}

        await self._change_metadata(node, removed)

    async def _change_metadata(self, node: Node, change: Callable[[ObjectMeta], dict[str, object] | None]) -> None:
        """Patch lists of the metadata as they are now, in a way that custom resources know too. Raises Conflict."""
        latest = await self._get(node)
        if latest is None:
            return
        changed = change(latest.metadata)
        if changed is None:
            return
        changed |= {"uid": node.uid, "resourceVersion": latest.metadata.resource_version}
        patch = MergePatch({"metadata": changed})
        try:
            await self.context.client.patch(metadata_type(node.kind), node.name, node.namespace, patch)
        except errors.NotFound:
            return
