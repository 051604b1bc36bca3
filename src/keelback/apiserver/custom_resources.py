"""Serves custom resources: follows the CustomResourceDefinitions, routes what they define, cleans up what they end.

A definition is established only once its routes work, so that who waits for the condition can use the resource.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec

from keelback.api.apiextensions_v1 import CustomResourceDefinition, CustomResourceDefinitionVersion
from keelback.api.apiregistration_v1 import APIService
from keelback.apimachinery import codecs, errors
from keelback.apimachinery.meta import StatusDetails, replace, with_metadata
from keelback.apiserver import custom_resource_status as status
from keelback.apiserver import subresources
from keelback.apiserver.cache_follower import Followed
from keelback.apiserver.context import RequestContext
from keelback.apiserver.custom_api_services import CustomAPIServices
from keelback.apiserver.custom_resource_versions import ServedVersion, VersionMaker
from keelback.apiserver.custom_scale import CustomScaleHandler
from keelback.apiserver.deletion import Deletion
from keelback.apiserver.discovery import Discovery, Served
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.openapi import OpenAPI
from keelback.apiserver.openapi_schemas import custom_resource_schemas
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.resource_store import ResourceStore, Write
from keelback.apiserver.routes import Route
from keelback.apiserver.server import APIServer
from keelback.apiserver.watch_cache import WatchOptions
from keelback.component.http import AnyResponse
from keelback.component.logs import logger
from keelback.concurrency.clock import Clock
from keelback.storage.protocol import StorageError

RETRY_SECONDS = 1.0
_FORCED_POLL_SECONDS = 0.5
_MANAGER = "kube-apiserver"

_PART_VERBS = frozenset(("get", "update", "patch"))
_VERBS = _PART_VERBS | {"list", "watch", "create", "delete", "deletecollection"}

log = logger("custom_resources")


class _NoAdmission:
    """The server's own writes are not subject to admission."""

    async def admit(self, operation: str, obj: Any, old: Any) -> Any:
        return obj

    async def validate(self, operation: str, obj: Any, old: Any) -> None:
        return None


@dataclass(slots=True)
class _Resource:
    """One served definition. What it says is not kept: the schemas are large."""

    group: str
    digest: bytes
    """Of the spec it is served by."""

    versions: dict[str, ServedVersion]
    is_terminating: bool = False


class CustomResources:
    """All custom resources of one server. `load` serves those that exist, `run` follows the definitions."""

    def __init__(
        self,
        *,
        server: APIServer,
        discovery: Discovery,
        openapi: OpenAPI,
        maker: VersionMaker,
        lookup: CacheLookup,
        handlers: dict[tuple[str, str], ResourceHandler],
        clock: Clock,
    ) -> None:
        self._server = server
        self._discovery = discovery
        self._openapi = openapi
        self._maker = maker
        self._lookup = lookup
        self._handlers = handlers
        self._clock = clock
        self._served: dict[str, _Resource] = {}
        self._ending: set[str] = set()
        self._retiring: set[asyncio.Task[None]] = set()
        # The cache may be behind this object's own writes: two definitions must not both get a name.
        self._names = status.AcceptedNames()
        self._refused: dict[str, str] = {}
        self._cache = lookup.cache(CustomResourceDefinition.__kind__)
        self._followed = Followed(self._cache)
        self._api_services = CustomAPIServices(handlers["apiregistration.k8s.io", "apiservices"].store, lookup)
        self._definitions: ResourceStore[CustomResourceDefinition] = handlers[
            "apiextensions.k8s.io", "customresourcedefinitions"
        ].store

    async def load(self) -> None:
        """Serve what is established already, before the first request is answered."""
        for definition in self._lookup.scan(CustomResourceDefinition):
            self._names.put(definition)
            self._api_services.load(definition)
            if status.is_true(definition, status.ESTABLISHED):
                await self._serve(definition)
        self._followed.note(self._cache.last_change)

    async def settle(self) -> None:
        """Wait until what the cache knows of the definitions has been acted on, or for some seconds."""
        await self._followed.settle()

    async def run(self) -> NoReturn:
        """Follow the definitions until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._restore_api_services())
                while True:
                    await self._follow(group)
                    await self._clock.sleep(RETRY_SECONDS)
        finally:
            versions = [one for resource in self._served.values() for one in resource.versions.values()]
            for task in (*self._retiring, *(one.following for one in versions if one.following is not None)):
                task.cancel()
            await self._maker.caller.close()

    async def _follow(self, group: asyncio.TaskGroup) -> None:
        watcher = await self._cache.watch(WatchOptions())
        self._followed.begin()
        self._end_what_is_gone()
        while records := await watcher.next_records():
            for record in records:
                if record.type != "BOOKMARK":
                    definition = codecs.decode(CustomResourceDefinition, record.object)
                    await self._reconcile(definition, group, is_gone=record.type == "DELETED")
                self._followed.acted(record.revision)

    async def _restore_api_services(self) -> NoReturn:
        """Those that are needed are there again as soon as somebody deletes them."""
        while True:
            try:
                await self._api_services.take_back_orphans(self._write(""))
                watcher = await self._lookup.cache(APIService.__kind__).watch(WatchOptions())
                while records := await watcher.next_records():
                    for record in records:
                        if record.type == "DELETED":
                            gone = codecs.decode(APIService, record.object)
                            await self._api_services.restore(gone, self._write(""))
            except (errors.StatusError, StorageError) as error:
                log.warning("The APIServices of custom resources cannot be kept up", error=str(error))
            await self._clock.sleep(RETRY_SECONDS)

    def _end_what_is_gone(self) -> None:
        """A watch that starts again does not tell what was deleted meanwhile."""
        for name in list(self._served):
            if self._lookup.peek(CustomResourceDefinition, name) is None:
                self._end(name)
                self._names.remove(name)

    async def _reconcile(
        self, definition: CustomResourceDefinition, group: asyncio.TaskGroup, *, is_gone: bool
    ) -> None:
        name = definition.metadata.name
        try:
            if is_gone:
                self._end(name)
                self._names.remove(name)
                self._refused.pop(name, None)
                await self._api_services.remove(name, self._write(""))
                await self._reconsider(definition.spec.group)
            elif definition.metadata.deletion_timestamp is not None:
                await self._begin_to_terminate(definition, group)
            else:
                await self._accept(definition)
        except (errors.StatusError, StorageError) as error:
            log.warning("A CustomResourceDefinition could not be served yet", name=name, error=str(error))
            group.create_task(self._retry(name, group))
        except Exception as error:  # the edge: one definition must not end the serving of the others
            log.exception("A CustomResourceDefinition cannot be served", error, name=name)

    async def _retry(self, name: str, group: asyncio.TaskGroup) -> None:
        await self._clock.sleep(RETRY_SECONDS)
        definition = self._lookup.peek(CustomResourceDefinition, name)
        if definition is not None:
            await self._reconcile(definition, group, is_gone=False)

    async def _accept(self, definition: CustomResourceDefinition) -> None:
        """Give a definition its names, serve it, then say so."""
        name = definition.metadata.name
        wanted = status.plan(definition, self._names, self._clock.now())
        accepted = replace(definition, status=wanted)
        self._names.put(accepted)
        if status.is_true(accepted, status.NAMES_ACCEPTED):
            self._refused.pop(name, None)
        else:
            self._refused[name] = definition.spec.group
        if status.is_true(accepted, status.ESTABLISHED):
            await self._serve(accepted)
        await self._api_services.put(definition, self._write(""))
        if wanted == definition.status:
            return

        async def change(old: CustomResourceDefinition) -> CustomResourceDefinition:
            if old.metadata.generation != definition.metadata.generation:
                # Another spec than the one that is served: its own event brings it here.
                return old
            return replace(old, status=replace(wanted, stored_versions=old.status.stored_versions))

        # Where another server said something first, its event brings the definition here again.
        with contextlib.suppress(errors.NotFound, errors.Conflict):
            await self._definitions.update("", name, change, self._write("status"))

    async def _reconsider(self, group: str) -> None:
        """Names that came free may be wanted by others."""
        for name in [name for name, of in self._refused.items() if of == group]:
            other = self._lookup.peek(CustomResourceDefinition, name)
            if other is not None and other.metadata.deletion_timestamp is None:
                await self._accept(other)

    def _write(self, subresource: str) -> Write:
        return Write(now=self._clock.now(), manager=_MANAGER, admission=_NoAdmission(), subresource=subresource)

    # Routes.

    async def _serve(self, definition: CustomResourceDefinition) -> None:
        name = definition.metadata.name
        known = self._served.get(name)
        digest = hashlib.sha256(msgspec.json.encode(definition.spec)).digest()
        if known is not None and known.digest == digest:
            return
        is_terminating = definition.metadata.deletion_timestamp is not None
        made = _Resource(definition.spec.group, digest, {}, is_terminating)
        for version in definition.spec.versions:
            if version.served:
                made.versions[version.name] = await self._maker.make(definition, version)
        if known is not None:
            self._end(name, keep=frozenset(made.versions))
        self._served[name] = made
        self._server.routes.custom_groups.add(definition.spec.group)
        for version in definition.spec.versions:
            if version.name in made.versions:
                self._route(made, version, _deprecation(definition, version))
                self._describe(made.versions[version.name])

    def _route(self, resource: _Resource, version: CustomResourceDefinitionVersion, warning: str) -> None:
        served = resource.versions[version.name]
        handler = served.handler
        kind, strategy = handler.kind, handler.strategy
        self._handlers[kind.group, kind.plural] = handler
        self._handlers[kind.api_version, kind.plural] = handler

        def route(subresource: str, answer: Route | None, verbs: frozenset[str] = _PART_VERBS) -> None:
            checked = _missing(handler) if answer is None else _limited(answer, verbs)
            place = (kind.group, kind.version, kind.plural, subresource)
            self._server.routes.add_resource(*place, _guarded(resource, served, checked, warning))
            self._server.routes.scope_resource(*place, namespaced=kind.namespaced)

        route("", handler.handle, _VERBS)
        scale = version.subresources.scale if version.subresources else None
        part = subresources.PartHandler(handler, "status", None)
        route("status", part.handle if "status" in strategy.subresources else None)
        route("scale", CustomScaleHandler(handler, scale).handle if scale else None)
        self._discovery.add(Served(kind, strategy.verbs, strategy.subresources))

    def _describe(self, served: ServedVersion) -> None:
        """Tell OpenAPI what a version serves."""
        kind = served.handler.kind
        schemas = custom_resource_schemas(
            kind.group, kind.version, kind.kind, kind.list_kind, served.strategy.unpacked(), served.selectable
        )
        self._openapi.set_schemas(kind.group, kind.version, kind.plural, schemas)

    def _end(self, name: str, *, keep: frozenset[str] = frozenset()) -> None:
        """Serve a definition no more; the routes of the versions to keep are about to be replaced."""
        resource = self._served.pop(name, None)
        if resource is None:
            return
        for version, served in resource.versions.items():
            kind = served.handler.kind
            task = asyncio.create_task(served.retire(self._clock))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
            if version in keep:
                continue
            for subresource in ("", "status", "scale"):
                self._server.routes.remove_resource(kind.group, kind.version, kind.plural, subresource)
            self._discovery.remove(kind)
            self._openapi.set_schemas(kind.group, kind.version, kind.plural, {})
            self._handlers.pop((kind.api_version, kind.plural), None)
            self._handlers.pop((kind.group, kind.plural), None)
        self._server.routes.custom_groups = {one.group for one in self._served.values()}

    # The end of a definition.

    async def _begin_to_terminate(self, definition: CustomResourceDefinition, group: asyncio.TaskGroup) -> None:
        name = definition.metadata.name
        served = self._served.get(name)
        if served is not None:
            served.is_terminating = True
        if status.FINALIZER in definition.metadata.finalizers and name not in self._ending:
            self._ending.add(name)
            group.create_task(self._terminate(definition))

    async def _terminate(self, definition: CustomResourceDefinition) -> None:
        """Delete the objects, wait for those that finalizers hold, then let the definition go."""
        name = definition.metadata.name
        try:
            while True:
                try:
                    if not await self._delete_objects(definition):
                        await self._release(name)
                        return
                except errors.NotFound:
                    return
                except Exception as error:  # the loop's edge: the cleaning up goes on
                    log.exception("The objects of a CustomResourceDefinition cannot be deleted", error, name=name)
                await self._clock.sleep(_FORCED_POLL_SECONDS)
        finally:
            self._ending.discard(name)

    async def _delete_objects(self, definition: CustomResourceDefinition) -> int:
        """Delete every object; tells how many are left."""
        objects, store = self._maker.objects(definition)
        found = await store.range(objects.prefix)
        left = 0
        for one in found.kvs:
            namespace, _, object_name = one.key.removeprefix(objects.prefix).rpartition("/")
            try:
                written = await objects.delete(namespace, object_name, Deletion(), self._write(""))
            except errors.NotFound:
                continue
            left += not written.is_gone
        return left

    async def _release(self, name: str) -> None:
        done = status.terminating("InstanceDeletionCompleted", "removed all instances", is_done=True)
        now = self._clock.now()

        async def change(old: CustomResourceDefinition) -> CustomResourceDefinition:
            kept = tuple(one for one in old.metadata.finalizers if one != status.FINALIZER)
            told = replace(old, status=status.with_condition(old.status, done, now))
            # Whatever else is written meanwhile: this is done on top of it.
            return with_metadata(told, finalizers=kept, resource_version="")

        # Unserved first: who sees the definition gone must not find its resource.
        self._end(name)
        await self._definitions.update("", name, change, self._write(""))


def _deprecation(definition: CustomResourceDefinition, version: CustomResourceDefinitionVersion) -> str:
    if not version.deprecated:
        return ""
    if version.deprecation_warning:
        return version.deprecation_warning
    group, kind = definition.spec.group, definition.spec.names.kind
    text = f"{group}/{version.name} {kind} is deprecated"
    better = [one.name for one in definition.spec.versions if one.served and not one.deprecated]
    if not better:
        return text
    from keelback.apiserver.discovery import version_rank

    preferred = min(better, key=version_rank)
    is_newer = version_rank(preferred) < version_rank(version.name)
    return f"{text}; use {group}/{preferred} {kind}" if is_newer else text


def _guarded(resource: _Resource, served: ServedVersion, answer: Route, warning: str) -> Route:
    async def handle(context: RequestContext) -> AnyResponse:
        if warning:
            context.warn(warning)
        await served.check()
        if context.info.verb == "create" and resource.is_terminating:
            raise errors.MethodNotSupported(
                "create not allowed while custom resource definition is terminating", details=None
            )
        return await answer(context)

    return handle


def _limited(answer: Route, verbs: frozenset[str]) -> Route:
    """Upstream has no routes for custom resources that would keep other methods away: it says so in other words."""

    async def handle(context: RequestContext) -> AnyResponse:
        info = context.info
        if info.verb not in verbs:
            raise errors.MethodNotSupported(
                f'{info.verb} is not supported on resources of kind "{info.resource}.{info.group}"',
                details=StatusDetails(group=info.group, kind=info.resource),
            )
        if info.verb in ("update", "patch") and not info.name:
            raise errors.BadRequest("name must be provided")
        return await answer(context)

    return handle


def _missing(handler: ResourceHandler) -> Route:
    async def handle(context: RequestContext) -> AnyResponse:
        raise errors.NotFound.of(handler.kind, context.info.name)

    return handle
