"""The parts of resources with paths of their own: status, scale, token, approval, finalize and their like."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from keelback.api import authentication_v1, autoscaling_v1
from keelback.apimachinery import codecs, errors, labels, managed_fields, scale_ownership
from keelback.apimachinery.meta import ObjectMeta, StatusDetails, replace, with_metadata
from keelback.apiserver import bodies, negotiation, options, patching, scale_answers
from keelback.apiserver.context import RequestContext
from keelback.apiserver.ownership import ManagedFields
from keelback.apiserver.part_admission import ProjectedAdmission, admitted_part
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.resource_store import precondition_failure, without_system_fields
from keelback.component.http import AnyResponse, Response
from keelback.registry import pod_resizes
from keelback.registry.strategy import Strategy

Route = Callable[[RequestContext], Awaitable[AnyResponse]]


class PartHandler:
    """A subresource that shows the whole object and writes a part of it: status, finalize, approval, resize,
    ephemeralcontainers. `merge` gives the object to store from the one sent and the one there is."""

    def __init__(
        self, handler: ResourceHandler, subresource: str, merge: Callable[[Any, Any], Any] | None = None
    ) -> None:
        self._handler = handler
        self._subresource = subresource
        self._merge = merge

    async def handle(self, context: RequestContext) -> AnyResponse:
        match context.info.verb:
            case "get":
                return await self._handler.get(context)
            case "update":
                return await self._update(context)
            case "patch":
                return await self._patch(context)
        raise errors.MethodNotSupported.unrouted()

    async def _update(self, context: RequestContext) -> AnyResponse:
        chosen = options.write_options(context, "UpdateOptions")
        sent = bodies.decode(context, self._handler.strategy, chosen.field_validation)
        sent = self._handler.addressed(sent, context)

        async def change(old: Any) -> Any:
            return self._merged(sent, old)

        must_name_version = self._handler.strategy.needs_resource_version_to_update
        return await self._write(context, change, dry_run=chosen.dry_run, must_name_version=must_name_version)

    async def _patch(self, context: RequestContext) -> AnyResponse:
        chosen = options.write_options(context, "PatchOptions")
        patch = patching.parse(context, self._handler.strategy, chosen.field_validation, self._subresource)

        async def change(old: Any) -> Any:
            patched = self._handler.addressed(patch.apply(old), context)
            return patching.unconditional(self._merged(patched, old), old)

        return await self._write(context, change, dry_run=chosen.dry_run, is_apply=patch.is_apply)

    def _merged(self, new: Any, old: Any) -> Any:
        return new if self._merge is None else self._merge(new, old)

    async def _write(
        self,
        context: RequestContext,
        change: Any,
        *,
        dry_run: bool,
        is_apply: bool = False,
        must_name_version: bool = False,
    ) -> AnyResponse:
        accepted = self._handler.accepted(context)
        write = self._handler.write(context, subresource=self._subresource, dry_run=dry_run, is_apply=is_apply)
        written = await self._handler.store.update(
            context.info.namespace, context.info.name, change, write, must_name_version=must_name_version
        )
        return negotiation.respond(200, written.wire, accepted, warnings=context.warnings)


def finalized(new: Any, old: Any) -> Any:
    """A namespace whose finalizers are those sent."""
    return replace(old, spec=replace(old.spec, finalizers=new.spec.finalizers), metadata=_version_of(new, old))


def approved(new: Any, old: Any) -> Any:
    """A certificate signing request whose conditions are those sent."""
    return replace(old, status=replace(old.status, conditions=new.status.conditions), metadata=_version_of(new, old))


def with_ephemeral_containers(new: Any, old: Any) -> Any:
    """A pod with the ephemeral containers sent."""
    spec = replace(old.spec, ephemeral_containers=new.spec.ephemeral_containers)
    return replace(old, spec=spec, metadata=_version_of(new, old))


def resized(new: Any, old: Any) -> Any:
    """A pod with the resources sent."""
    return replace(pod_resizes.merged(new, old), metadata=_version_of(new, old))


def _version_of(new: Any, old: Any) -> ObjectMeta:
    written: ObjectMeta = new.metadata
    metadata: ObjectMeta = old.metadata
    return replace(metadata, resource_version=written.resource_version, managed_fields=written.managed_fields)


PARTS: dict[str, Callable[[Any, Any], Any] | None] = {
    "status": None,
    "finalize": finalized,
    "approval": approved,
    "ephemeralcontainers": with_ephemeral_containers,
    "resize": resized,
}


class ScaleHandler:
    """`/scale`: the number of replicas of anything that has one (autoscaling/v1 Scale)."""

    def __init__(self, handler: ResourceHandler) -> None:
        self._handler = handler
        self._strategy = scale_answers.ScaleStrategy()

    async def handle(self, context: RequestContext) -> AnyResponse:
        accepted = scale_answers.accepted(context)
        store = self._handler.store
        is_apply = False
        match context.info.verb:
            case "get":
                parent = await store.get(context.info.namespace, context.info.name)
                return scale_answers.respond(self._strategy, scale_of(parent), context, accepted)
            case "update":
                chosen = options.write_options(context, "UpdateOptions")
                sent = bodies.decode(context, self._strategy, chosen.field_validation)
                wanted: Callable[[Any], Any] = lambda old: sent  # noqa: E731 - two ways to the same wish
            case "patch":
                chosen = options.write_options(context, "PatchOptions")
                patch = patching.parse(context, self._strategy, chosen.field_validation, "scale")
                is_apply = patch.is_apply
                wanted = lambda old: patch.apply(_owned_scale_of(old) if is_apply else scale_of(old))  # noqa: E731
            case _:
                raise errors.MethodNotSupported.unrouted()

        async def change(old: Any) -> Any:
            scale = self._handler.addressed(wanted(old), context)
            if context.info.verb == "update" and scale.metadata.uid not in ("", old.metadata.uid):
                # The store looks at what a whole object says of itself before anybody else does.
                key, uid = store.key(context.info.namespace, context.info.name), scale.metadata.uid
                raise precondition_failure(store.kind, context.info.name, key, "UID", uid, old.metadata.uid)
            self._check(scale, old, context.info.name)
            changed = replace(old, spec=replace(old.spec, replicas=scale.spec.replicas))
            version = scale.metadata.resource_version
            if context.info.verb == "patch" and version == old.metadata.resource_version:
                version = ""
            changed = with_metadata(changed, resource_version=version)
            return _owned_by(changed, old, scale, self._handler.kind.api_version) if is_apply else changed

        write = self._handler.write(context, subresource="scale", dry_run=chosen.dry_run, is_apply=is_apply)
        write = dataclasses.replace(write, admission=ProjectedAdmission(write.admission, scale_of, _with_scale))
        written = await store.update(context.info.namespace, context.info.name, change, write)
        return scale_answers.respond(self._strategy, scale_of(written.obj), context, accepted)

    def _check(self, scale: autoscaling_v1.Scale, old: Any, name: str) -> None:
        if scale.spec.replicas < 0:
            problem = errors.invalid("spec.replicas", scale.spec.replicas, "must be greater than or equal to 0")
            raise errors.Invalid.of(autoscaling_v1.Scale.__kind__, name, [problem])
        if scale.metadata.uid and scale.metadata.uid != old.metadata.uid:
            kind = self._handler.kind
            place = f"{kind.plural}/scale"
            subject = f"{place}.{kind.group}" if kind.group else place
            raise errors.Conflict(
                f'Operation cannot be fulfilled on {subject} "{name}": Precondition failed: UID in precondition: '
                f"{scale.metadata.uid}, UID in object meta: {old.metadata.uid}",
                details=StatusDetails(name=name, group=kind.group, kind=place),
            )


def _with_scale(parent: Any, scale: autoscaling_v1.Scale) -> Any:
    return replace(parent, spec=replace(parent.spec, replicas=scale.spec.replicas))


def scale_of(parent: Any) -> autoscaling_v1.Scale:
    """A workload seen as its number of replicas."""
    meta = parent.metadata
    selector = parent.spec.selector
    text = ",".join(f"{k}={v}" for k, v in sorted(selector.items())) if isinstance(selector, dict) else None
    return autoscaling_v1.Scale(
        metadata=ObjectMeta(
            name=meta.name,
            namespace=meta.namespace,
            uid=meta.uid,
            resource_version=meta.resource_version,
            creation_timestamp=meta.creation_timestamp,
        ),
        spec=autoscaling_v1.ScaleSpec(replicas=parent.spec.replicas or 0),
        status=autoscaling_v1.ScaleStatus(
            replicas=parent.status.replicas,
            selector=text if text is not None else str(labels.from_label_selector(selector)),
        ),
    )


def _owned_scale_of(parent: Any) -> autoscaling_v1.Scale:
    """The same with who owns the replicas: an apply to it must not take them unasked."""
    seen = scale_ownership.to_scale(managed_fields.from_meta(parent.metadata.managed_fields))
    return with_metadata(scale_of(parent), managed_fields=managed_fields.to_meta(seen))


def _owned_by(changed: Any, old: Any, scale: autoscaling_v1.Scale, api_version: str) -> Any:
    """The workload with its replicas owned by who owns them in its Scale."""
    before = managed_fields.from_meta(old.metadata.managed_fields)
    after = managed_fields.from_meta(scale.metadata.managed_fields)
    owners = scale_ownership.to_parent(before, after, api_version)
    return with_metadata(changed, managed_fields=managed_fields.to_meta(owners))


class _TokenRequestStrategy(Strategy[authentication_v1.TokenRequest]):
    kind = authentication_v1.TokenRequest


def token_route(create: Any, new_token_id: Callable[[], str], accounts: ResourceHandler) -> Route:
    """POST …/serviceaccounts/NAME/token."""
    strategy = _TokenRequestStrategy()
    ownership = ManagedFields(strategy.schema)

    async def route(context: RequestContext) -> Response:
        chosen = options.write_options(context, "CreateOptions")
        request = bodies.decode(context, strategy, chosen.field_validation)
        write = accounts.write(context, subresource="token", dry_run=chosen.dry_run)
        request = without_system_fields(request)
        request = with_metadata(request, managed_fields=ownership.track(None, request, write))
        request = await admitted_part(request, context, write)
        token_id = new_token_id()
        # What ties a token's later use to the one who had it made.
        context.audit_annotations["authentication.kubernetes.io/issued-credential-id"] = f"JTI={token_id}"
        answered = await create(
            context.info.namespace, context.info.name, request, now=context.now, token_id=token_id, warn=context.warn
        )
        accepted = negotiation.negotiate(context.request.headers.get("accept", ""), has_table=False)
        return negotiation.respond(201, codecs.encode(answered), accepted, warnings=context.warnings)

    return route
