"""Pods and nodes that go through Stages: each change decides which comes next, and it comes when its delay is over.

Its rule: one stage at a time for an object, decided on nothing older than what the last stage wrote.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from keelback.api.core_v1 import Node, Pod
from keelback.apimachinery import yaml_documents
from keelback.apimachinery.errors import BadRequest, Invalid
from keelback.apimachinery.meta import Object, narrow, written
from keelback.apimachinery.yaml import YAMLError
from keelback.client import Change, Client, Informer, JSONPatch, MergePatch, StrategicMergePatch
from keelback.client.events import EventRecorder, reference_to
from keelback.client.patches import Patch
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.simulation import stages
from keelback.simulation.due_steps import DueSteps
from keelback.simulation.go_templates import Functions, Template
from keelback.simulation.pods import SimulatedMeta
from keelback.simulation.stages import Stage, Tree
from keelback.simulation.template_functions import TemplateFailure

_log = logger("kubelet.simulated")

Key = tuple[str, str]


class StagedObject(Object):
    """An object of which stages may read anything but its managed fields."""

    metadata: SimulatedMeta = written(SimulatedMeta())
    spec: dict[str, Any] = {}
    status: dict[str, Any] = {}


@narrow(Pod)
class StagedPod(StagedObject):
    """A pod."""


@narrow(Node)
class StagedNode(StagedObject):
    """A node."""


T = TypeVar("T", bound=StagedObject)


@dataclass(frozen=True, slots=True, eq=False)
class _Coming:
    """The stage that an object comes to next."""

    stage: Stage
    uid: str
    timing: tuple[Any, Any]

    def goes_on(self, uid: str, choices: Sequence[tuple[Stage, int]], tree: Tree) -> bool:
        """Whether the wait that has begun goes on, whatever else has changed of the object."""
        is_possible = uid == self.uid and any(one is self.stage for one, _ in choices)
        return is_possible and self.timing == self.stage.timing(tree)


class StagedObjects(Generic[T]):
    """Takes objects of a kind through stages: of those that the selectors (labels, fields) find, those that are ours.

    `surroundings` gives the functions of templates that know where an object is.
    """

    def __init__(
        self,
        kind: type[T],
        selectors: tuple[str, str],
        is_ours: Callable[[T], bool],
        surroundings: Callable[[T], Functions],
        client: Client,
        clock: Clock,
        chance: random.Random,
        recorder: EventRecorder,
    ) -> None:
        self._informer = Informer(client, kind, "", *selectors, clock=clock, chance=chance)
        self._is_ours = is_ours
        self._surroundings = surroundings
        self._client = client
        self._clock = clock
        self._chance = chance
        self._recorder = recorder
        self._stages: tuple[Stage, ...] = ()
        self._steps: DueSteps[Key, _Coming] = DueSteps(clock, self._carry_out)
        self._busy: set[Key] = set()
        self._written: dict[Key, int] = {}

    async def run(self) -> None:
        """Carry stages out until cancelled."""
        self._informer.subscribe(self._observe)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._informer.run())
            tasks.create_task(self._steps.run())

    def use(self, wanted: Sequence[Stage]) -> None:
        """From now on these."""
        self._stages = tuple(wanted)
        for obj in self._informer.store.list():
            if self._is_ours(obj):
                self._plan((obj.metadata.namespace, obj.metadata.name), obj)

    def look_again(self, concerns: Callable[[T], bool]) -> None:
        """Decide anew on some: what kept them from being ours has gone."""
        for obj in self._informer.store.list():
            if concerns(obj):
                self._observe(Change("MODIFIED", obj, obj))

    def _observe(self, change: Change[T]) -> None:
        metadata = change.object.metadata
        key = (metadata.namespace, metadata.name)
        if change.type == "DELETED":
            self._steps.drop(key)
            self._written.pop(key, None)
        elif self._is_ours(change.object) and key not in self._busy and not self._is_stale(key, change.object):
            self._plan(key, change.object)

    def _is_stale(self, key: Key, obj: T) -> bool:
        """Whether it is older than what a stage wrote: the news of that are still on the way."""
        return int(obj.metadata.resource_version) < self._written.get(key, 0)

    def _plan(self, key: Key, obj: T) -> None:
        tree = tree_of(obj)
        choices = stages.possible(self._stages, tree)
        coming = self._steps.planned(key)
        if coming is not None and coming.goes_on(obj.metadata.uid, choices, tree):
            return
        stage = stages.chosen(choices, self._chance)
        if stage is None:
            self._steps.drop(key)
            return
        after = stage.seconds(tree, self._clock.now(), self._chance)
        self._steps.plan(key, _Coming(stage, obj.metadata.uid, stage.timing(tree)), after)

    async def _carry_out(self, key: Key, coming: _Coming) -> None:
        obj = self._informer.store.get(*key)
        self._steps.drop(key)
        if obj is None or not self._is_ours(obj):
            return
        if obj.metadata.uid != coming.uid or not coming.stage.matches(tree_of(obj)):
            # It has changed while a step that failed was waited with.
            self._observe(Change("MODIFIED", obj, obj))
            return
        self._busy.add(key)
        try:
            result = await self._do(obj, coming.stage)
        except (TemplateFailure, YAMLError, Invalid, BadRequest) as error:
            # To try again is of no use before the object has changed.
            why = f"Stage {coming.stage.name}: {error}"
            _log.info("A stage cannot be carried out", object=key, error=why)
            await self._recorder.event(reference_to(obj), "Warning", "InvalidStage", why)
            return
        finally:
            self._busy.discard(key)
        if result is not None and result.metadata.resource_version != obj.metadata.resource_version:
            self._follow(key, result, is_immediate=coming.stage.is_immediate)

    def _follow(self, key: Key, result: T, *, is_immediate: bool) -> None:
        """Decide on what the stage wrote: now, or when the watch tells of it, which it may have done meanwhile."""
        version = self._written[key] = int(result.metadata.resource_version)
        held = self._informer.store.get(*key)
        if held is not None and int(held.metadata.resource_version) >= version:
            self._plan(key, held)
        elif is_immediate:
            self._plan(key, result)

    async def _do(self, obj: T, stage: Stage) -> T | None:
        """Do all steps of a stage; the object afterwards, None when it is deleted."""
        functions = self._surroundings(obj)
        # All templates see the object as it came to the stage, whatever earlier steps have made of it.
        tree, result = tree_of(obj), obj
        name, namespace = obj.metadata.name, obj.metadata.namespace
        for step in stage.steps:
            if step.event is not None:
                text = step.event.message.render(tree, functions)
                await self._recorder.event(reference_to(obj), step.event.type, step.event.reason, text)
            if step.finalizers is not None:
                wanted = step.finalizers.changed(result.metadata.finalizers)
                if wanted != tuple(result.metadata.finalizers):
                    known = {"uid": obj.metadata.uid, "resourceVersion": result.metadata.resource_version}
                    change = MergePatch({"metadata": {**known, "finalizers": list(wanted)}})
                    result = await self._client.patch(type(obj), name, namespace, change)
            if step.delete:
                await self._client.delete(type(obj), name, namespace, grace_period_seconds=0, uid=obj.metadata.uid)
                return None
            if step.patch is not None:
                body = _rendered(step.patch.template, tree, functions)
                patch = patch_of(body, step.patch.type, step.patch.root, obj.metadata.uid)
                subresource = step.patch.subresource
                result = await self._client.patch(type(obj), name, namespace, patch, subresource=subresource)
        return result


def tree_of(obj: StagedObject) -> dict[str, Any]:
    """The object as queries and templates see it."""
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(obj))
    return {"apiVersion": obj.api_version, "kind": obj.kind, **tree}


def patch_of(body: Any, kind: stages.PatchType, root: str, uid: str) -> Patch:
    """The patch that a template's text is, of the object with this uid only. Raises TemplateFailure."""
    if kind == "json":
        if not isinstance(body, list) or not all(isinstance(one, Mapping) for one in body):
            raise TemplateFailure("a json patch is a list of operations")
        below = f"/{root}" if root else ""
        moved = [{**one, "path": f"{below}{one.get('path', '')}"} for one in body]
        return JSONPatch([{"op": "test", "path": "/metadata/uid", "value": uid}, *moved])
    if not isinstance(body, Mapping):
        raise TemplateFailure("the template gives no fields")
    whole: Tree = {root: body} if root else body
    guarded = {**whole, "metadata": {**whole.get("metadata", {}), "uid": uid}}
    return MergePatch(guarded) if kind == "merge" else StrategicMergePatch(guarded)


def _rendered(template: Template, tree: Tree, functions: Functions) -> Any:
    text = template.render(tree, functions)
    found, duplicates = yaml_documents.load(text)
    if duplicates:
        raise TemplateFailure(duplicates[0])
    return found
