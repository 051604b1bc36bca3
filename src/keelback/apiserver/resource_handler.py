"""The verbs of one resource over HTTP: from a request's context to a response. What is written is up to ResourceStore,
what is read comes as bytes from the watch cache."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import msgspec

from keelback.apimachinery import codecs, errors, protobuf_encoding
from keelback.apimachinery.meta import Kind, Status, StatusDetails, with_metadata
from keelback.apiserver import bodies, negotiation, options, owner_references, patching, tables
from keelback.apiserver.admission_binding import AdmissionBinder
from keelback.apiserver.context import RequestContext
from keelback.apiserver.deletion import Deletion
from keelback.apiserver.resource_store import ResourceStore, Write, Written
from keelback.apiserver.steps import OFFER
from keelback.apiserver.watch_answers import WatchAnswers
from keelback.apiserver.watch_cache import MESSAGES_AT_ONCE, WatchCache
from keelback.component.http import AnyResponse, Response
from keelback.concurrency.clock import Clock
from keelback.registry.strategy import Strategy


class ResourceHandler:
    """One resource in one version."""

    def __init__(
        self,
        strategy: Strategy[Any],
        store: ResourceStore[Any],
        cache: WatchCache,
        admission: AdmissionBinder,
        clock: Clock,
    ) -> None:
        self.strategy = strategy
        self.kind: Kind = strategy.kind.__kind__
        self.store = store
        self.cache = cache
        self._admission = admission
        self._watches = WatchAnswers(strategy, cache, clock)

    @cached_property
    def _has_message(self) -> bool:
        is_custom = self.cache.resource.keeps_type
        return not is_custom and protobuf_encoding.is_known(self.kind.api_version, self.kind.kind)

    def accepted(self, context: RequestContext) -> negotiation.Accepted:
        """The form of the answer. Raises NotAcceptable."""
        accept = context.request.headers.get("accept", "")
        if not accept or accept == negotiation.JSON:
            return negotiation.PLAIN
        found = negotiation.negotiate(
            accept,
            has_message=self._has_message,
            is_routed=self.strategy.takes_strategic_merge_patches,
            streams=context.info.verb in ("list", "watch"),
        )
        if found.transform:
            self._check_transform(found.transform, context)
        return found

    def _check_transform(self, transform: str, context: RequestContext) -> None:
        """Raises NotAcceptable for what is no list and asked for as one, or the other way round."""
        if transform == "Table":
            tables.check_include_object(context.query.get("includeObject", ""))
        elif (transform == "PartialObjectMetadataList") is not (context.info.verb in ("list", "deletecollection")):
            is_list = transform == "PartialObjectMetadata"
            shown = self._go_type(is_list=is_list)
            told = f"is a list ({shown})" if is_list else f"is not a list ({shown})"
            raise errors.NotAcceptable(f"you requested {transform}, but the requested object {told}")

    def _go_type(self, *, is_list: bool) -> str:
        """The type of an answer as Go prints it."""
        if not self.strategy.takes_strategic_merge_patches:
            return "*unstructured.UnstructuredList" if is_list else "*unstructured.Unstructured"
        group = self.kind.group.partition(".")[0]
        package = "core" if not group or group == "events" else group
        return f"*{package}.{self.kind.list_kind if is_list else self.kind.kind}"

    async def handle(self, context: RequestContext) -> AnyResponse:
        """Answer a request for the resource itself, not for a subresource."""
        if self.strategy.deprecation_warning:
            context.warn_of_deprecation(self.strategy.deprecation_warning)
        if context.info.verb == "get":
            # By far the most frequent: it gets by without one more coroutine.
            return await self.get(context)
        return await self._serve(context)

    async def _serve(self, context: RequestContext) -> AnyResponse:
        match context.info.verb:
            case "list":
                return await self.list(context)
            case "watch":
                return await self.watch(context)
            case "create" if not context.info.name or not self.strategy.takes_strategic_merge_patches:
                # Nobody looks at the name in the path of a custom resource.
                return await self.create(context)
            case "update" if context.info.name:
                return await self.update(context)
            case "patch" if context.info.name:
                return await self.patch(context)
            case "delete":
                return await self.delete(context)
            case "deletecollection":
                return await self.delete_collection(context)
        raise errors.MethodNotSupported.unrouted()

    async def get(self, context: RequestContext) -> Response:
        accepted = self.accepted(context)
        version = context.query.get("resourceVersion", "") if context.request.query else ""
        at = options.version_number(version) if version else None
        entry = await self.cache.entry(context.info.namespace, context.info.name, at)
        if entry is None:
            raise errors.NotFound.of(self.kind, context.info.name)
        if accepted.media_type == negotiation.PROTOBUF and not accepted.transform:
            return negotiation.respond_protobuf(200, self.cache.wire.protobuf(entry), warnings=context.warnings)
        return self._respond_object(200, self.cache.wire.object(entry.item), context, accepted)

    async def list(self, context: RequestContext) -> Response:
        accepted = self.accepted(context)
        page = await self.cache.list(options.list_options(context, self.strategy))
        await OFFER
        if not accepted.transform:
            if accepted.media_type == negotiation.PROTOBUF:
                return negotiation.respond_protobuf(200, await page.encode_protobuf(), warnings=context.warnings)
            whole = page.encode()
            await OFFER
            return negotiation.respond(200, whole, accepted, warnings=context.warnings)
        meta = page.meta()
        if accepted.transform == "Table":
            body = tables.table(
                self.strategy,
                page.objects(),
                context.now,
                version=accepted.transform_version,
                include_object=context.query.get("includeObject", "Metadata"),
                list_meta=meta,
            )
            return negotiation.respond(200, body, accepted, warnings=context.warnings)
        if accepted.media_type == negotiation.PROTOBUF:
            pieces = await _metadata_list(page.objects(), meta, accepted.transform_version)
            return negotiation.respond_protobuf(200, pieces, warnings=context.warnings)
        body = b"".join(
            tables.partial_metadata_list(page.objects(), msgspec.json.encode(meta), accepted.transform_version)
        )
        return negotiation.respond(200, body, accepted, warnings=context.warnings)

    async def watch(self, context: RequestContext) -> AnyResponse:
        return await self._watches.answer(context, self.accepted(context))

    async def create(self, context: RequestContext) -> Response:
        accepted = self.accepted(context)
        chosen = options.write_options(context, "CreateOptions")
        obj = bodies.decode(context, self.strategy, chosen.field_validation)
        if obj.metadata.resource_version and obj.metadata.resource_version != "0":
            raise errors.StatusError("resourceVersion should not be set on objects to be created", code=500)
        obj = self._in_namespace(obj, context.info.namespace)
        obj = owner_references.without_repeated(obj, context.warn)
        obj = self.strategy.asked_by(obj, context.user)
        written = await self.store.create(obj, self.write(context, dry_run=chosen.dry_run))
        self._warn(context, written.obj, None)
        return self._respond_object(201, written.wire, context, accepted)

    async def update(self, context: RequestContext) -> Response:
        accepted = self.accepted(context)
        chosen = options.write_options(context, "UpdateOptions")
        obj = bodies.decode(context, self.strategy, chosen.field_validation)
        obj = owner_references.without_repeated(self.addressed(obj, context), context.warn)
        before: Any = None

        async def change(old: Any) -> Any:
            nonlocal before
            before = old
            return obj

        async def create() -> Any:
            return with_metadata(obj, resource_version="")

        written = await self.store.update(
            context.info.namespace,
            context.info.name,
            change,
            self.write(context, dry_run=chosen.dry_run),
            create=create if self.strategy.is_created_by_update else None,
            must_name_version=True,
        )
        self._warn(context, written.obj, before)
        return self._respond_object(201 if written.is_created else 200, written.wire, context, accepted)

    async def patch(self, context: RequestContext) -> Response:
        accepted = self.accepted(context)
        chosen = options.write_options(context, "PatchOptions")
        written = await self.patch_with(context, chosen)
        self._warn(context, written.obj, written.old)
        return self._respond_object(201 if written.is_created else 200, written.wire, context, accepted)

    async def patch_with(
        self, context: RequestContext, chosen: options.WriteOptions, *, subresource: str = ""
    ) -> Written[Any]:
        """Carry out the patch in a request's body on the object, or on the part of it that is a subresource."""
        patch = patching.parse(context, self.strategy, chosen.field_validation, subresource)
        write = self.write(context, subresource=subresource, dry_run=chosen.dry_run, is_apply=patch.is_apply)

        async def change(old: Any) -> Any:
            return patching.unconditional(self.addressed(patch.apply(old), context), old)

        async def create() -> Any:
            made = self.addressed(patch.apply(None), context)
            return self.strategy.asked_by(made, context.user)

        return await self.store.update(
            context.info.namespace,
            context.info.name,
            change,
            write,
            create=create if patch.is_apply and not subresource else None,
        )

    async def delete(self, context: RequestContext) -> Response:
        accepted = self.accepted(context)
        chosen, dry_run = options.deletion(context)
        why_not = self.strategy.why_not_delete(context.info.name)
        if why_not:
            raise errors.Forbidden.of(self.kind, context.info.name, why_not)
        self._warn_of_orphans(context, chosen)
        written = await self.store.delete(
            context.info.namespace, context.info.name, chosen, self.write(context, dry_run=dry_run)
        )
        status = 200
        if not written.is_gone and chosen.orphan_dependents is False:
            status = 202
        if written.is_gone and not self.strategy.answers_deleted_object:
            return negotiation.respond(
                status, codecs.encode(self._deleted_status(written.obj)), accepted, warnings=context.warnings
            )
        return self._respond_object(status, written.wire, context, accepted)

    def _deleted_status(self, obj: Any) -> Status:
        details = StatusDetails(
            name=obj.metadata.name, group=self.kind.group, kind=self.kind.plural, uid=obj.metadata.uid
        )
        return Status(status="Success", details=details)

    def _warn_of_orphans(self, context: RequestContext, chosen: Deletion) -> None:
        if self.kind.kind == "Job" and chosen.propagation_policy is None and chosen.orphan_dependents is None:
            context.warn(
                "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove "
                "them or set propagationPolicy=Orphan to suppress this warning"
            )

    async def delete_collection(self, context: RequestContext) -> Response:
        accepted = self.accepted(context)
        chosen, dry_run = options.deletion(context)
        page = await self.cache.list(options.list_options(context, self.strategy))
        write = self.write(context, dry_run=dry_run)
        wires = []
        for wire in page.objects():
            obj = self.strategy.decode(wire)
            with contextlib.suppress(errors.NotFound):
                await self.store.delete(obj.metadata.namespace, obj.metadata.name, chosen, write)
            wires.append(wire)
        return negotiation.respond(200, self._list_of(wires, page.revision), accepted, warnings=context.warnings)

    def _list_of(self, wires: Iterable[bytes], revision: int) -> bytes:
        kind = self.kind
        head = b'{"kind":"%b","apiVersion":"%b","metadata":{"resourceVersion":"%d"},"items":[' % (
            kind.list_kind.encode(),
            kind.api_version.encode(),
            revision,
        )
        return head + b",".join(self._item(one) for one in wires) + b"]}"

    def _item(self, wire: bytes) -> bytes:
        """An object as lists hold it: without kind and apiVersion, but for custom resources."""
        return wire if self.cache.resource.keeps_type else b"{" + wire[wire.index(b'"metadata":') :]

    # What the verbs share.

    def write(
        self, context: RequestContext, *, subresource: str = "", dry_run: bool = False, is_apply: bool = False
    ) -> Write:
        """How this request's writes are made."""
        return Write(
            now=context.now,
            manager=context.field_manager,
            admission=self._admission.bind(context, self.kind, subresource=subresource, dry_run=dry_run),
            subresource=subresource,
            dry_run=dry_run,
            is_apply=is_apply,
            warn=context.warn,
        )

    def addressed(self, obj: Any, context: RequestContext) -> Any:
        """An object that is sent to replace the one at the request's path. Raises BadRequest for another's."""
        return self._named(self._in_namespace(obj, context.info.namespace), context.info.name)

    def _in_namespace(self, obj: Any, namespace: str) -> Any:
        given = obj.metadata.namespace
        if not self.kind.namespaced:
            return with_metadata(obj, namespace="") if given else obj
        if given and given != namespace:
            raise errors.BadRequest(
                "the namespace of the provided object does not match the namespace sent on the request"
                if namespace
                else "an empty namespace may not be set during creation"
            )
        if not namespace:
            raise errors.BadRequest("an empty namespace may not be set during creation")
        return obj if given else with_metadata(obj, namespace=namespace)

    def _named(self, obj: Any, name: str) -> Any:
        if not obj.metadata.name:
            raise errors.BadRequest(
                f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )
        if obj.metadata.name != name:
            raise errors.BadRequest(
                f"the name of the object ({obj.metadata.name}) does not match the name on the URL ({name})"
            )
        return obj

    def _warn(self, context: RequestContext, new: Any, old: Any) -> None:
        for text in self.strategy.warnings(new, old):
            context.warn(text)

    def _respond_object(
        self, status: int, wire: bytes, context: RequestContext, accepted: negotiation.Accepted
    ) -> Response:
        if accepted.transform == "Table":
            wire = tables.table(
                self.strategy,
                [wire],
                context.now,
                version=accepted.transform_version,
                include_object=context.query.get("includeObject", "Metadata"),
                list_meta={"resourceVersion": self.strategy.decode(wire).metadata.resource_version},
            )
        elif accepted.transform:
            wire = tables.partial_metadata(wire, accepted.transform_version)
        return negotiation.respond(status, wire, accepted, warnings=context.warnings)


async def _metadata_list(wires: list[bytes], meta: dict[str, Any], version: str) -> list[bytes]:
    """A PartialObjectMetadataList in protobuf, in pieces."""
    api_version = f"meta.k8s.io/{version}"
    encoder = protobuf_encoding.KindEncoder(api_version, "PartialObjectMetadata")
    messages = []
    for made, wire in enumerate(wires, 1):
        messages.append(encoder.raw(tables.partial_metadata(wire, version)))
        if not made % MESSAGES_AT_ONCE:
            await asyncio.sleep(0)
    list_encoder = protobuf_encoding.KindEncoder(api_version, "PartialObjectMetadataList")
    return list_encoder.enveloped_list(meta, messages)
