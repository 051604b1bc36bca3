"""The parts of resources with paths of their own: status, scale, binding, eviction, token, approval, finalize."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from keelback.api import authentication_v1, autoscaling_v1, conditions, core_v1, policy_v1
from keelback.apimachinery import codecs, errors, labels, managed_fields, scale_ownership
from keelback.apimachinery.meta import ObjectMeta, Status, StatusCause, StatusDetails, replace, with_metadata
from keelback.apiserver import bodies, negotiation, options, patching
from keelback.apiserver.context import RequestContext
from keelback.apiserver.lookup import CacheLookup
from keelback.apiserver.part_admission import AdmittedAlready, ProjectedAdmission, admitted_part
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.resource_store import Deletion
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

        async def change(old: Any) -> Any:
            return self._merged(sent, old)

        must_name_version = self._handler.strategy.needs_resource_version_to_update
        return await self._write(context, change, dry_run=chosen.dry_run, must_name_version=must_name_version)

    async def _patch(self, context: RequestContext) -> AnyResponse:
        chosen = options.write_options(context, "PatchOptions")
        patch = patching.parse(context, self._handler.strategy, chosen.field_validation, self._subresource)

        async def change(old: Any) -> Any:
            return patching.unconditional(self._merged(patch.apply(old), old), old)

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


class _ScaleStrategy(Strategy[autoscaling_v1.Scale]):
    kind = autoscaling_v1.Scale


class ScaleHandler:
    """`/scale`: the number of replicas of anything that has one (autoscaling/v1 Scale)."""

    def __init__(self, handler: ResourceHandler) -> None:
        self._handler = handler
        self._strategy = _ScaleStrategy()

    async def handle(self, context: RequestContext) -> AnyResponse:
        accepted = negotiation.negotiate(context.request.headers.get("accept", ""))
        store = self._handler.store
        is_apply = False
        match context.info.verb:
            case "get":
                parent = await store.get(context.info.namespace, context.info.name)
                return negotiation.respond(200, codecs.encode(scale_of(parent)), accepted)
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
            scale = wanted(old)
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
        return negotiation.respond(200, codecs.encode(scale_of(written.obj)), accepted, warnings=context.warnings)

    def _check(self, scale: autoscaling_v1.Scale, old: Any, name: str) -> None:
        if scale.spec.replicas < 0:
            problem = errors.invalid("spec.replicas", scale.spec.replicas, "must be greater than or equal to 0")
            raise errors.Invalid.of(autoscaling_v1.Scale.__kind__, name, [problem])
        if scale.metadata.uid and scale.metadata.uid != old.metadata.uid:
            raise errors.Conflict.of(
                self._handler.kind,
                name,
                f"Precondition failed: UID in precondition: {scale.metadata.uid}, "
                f"UID in object meta: {old.metadata.uid}",
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


class _BindingStrategy(Strategy[core_v1.Binding]):
    kind = core_v1.Binding


class _EvictionStrategy(Strategy[policy_v1.Eviction]):
    kind = policy_v1.Eviction


class _TokenRequestStrategy(Strategy[authentication_v1.TokenRequest]):
    kind = authentication_v1.TokenRequest


class PodParts:
    """Binding and eviction of pods."""

    def __init__(self, pods: ResourceHandler, budgets: ResourceHandler, lookup: CacheLookup) -> None:
        self._pods = pods
        self._budgets = budgets
        self._lookup = lookup
        self._binding = _BindingStrategy()
        self._eviction = _EvictionStrategy()

    async def bind(self, context: RequestContext) -> AnyResponse:
        """POST …/pods/NAME/binding, and POST …/bindings with the pod's name in the body."""
        chosen = options.write_options(context, "CreateOptions")
        binding = bodies.decode(context, self._binding, chosen.field_validation)
        name = context.info.name or binding.metadata.name
        target = binding.target
        if not target.name:
            raise errors.StatusError("Binding.target.name: Required value", code=500)
        write = self._pods.write(context, subresource="binding", dry_run=chosen.dry_run)
        binding = await admitted_part(binding, context, write)

        async def change(pod: Any) -> Any:
            if binding.metadata.uid and binding.metadata.uid != pod.metadata.uid:
                raise errors.Conflict.of(
                    self._pods.kind,
                    name,
                    f"Precondition failed: UID in precondition: {binding.metadata.uid}, "
                    f"UID in object meta: {pod.metadata.uid}",
                )
            if pod.metadata.deletion_timestamp is not None:
                raise errors.Conflict.of(
                    self._pods.kind, name, f"pod {name} is being deleted, cannot be assigned to a host"
                )
            if pod.spec.node_name:
                raise errors.Conflict.of(
                    self._pods.kind, name, f'pod {name} is already assigned to node "{pod.spec.node_name}"'
                )
            if pod.spec.scheduling_gates:
                raise errors.Conflict.of(self._pods.kind, name, f"pod {name} has non-empty .spec.schedulingGates")
            return _bound(pod, binding, context)

        stored = dataclasses.replace(write, admission=AdmittedAlready())
        await self._pods.store.update(context.info.namespace, name, change, stored)
        done = Status(status="Success", code=201)
        accepted = negotiation.negotiate(context.request.headers.get("accept", ""))
        return negotiation.respond(201, codecs.encode(done), accepted, warnings=context.warnings)

    async def evict(self, context: RequestContext) -> AnyResponse:
        """POST …/pods/NAME/eviction: a deletion that the disruption budgets may refuse (policy/v1 Eviction)."""
        chosen = options.write_options(context, "CreateOptions")
        eviction = bodies.decode(context, self._eviction, chosen.field_validation)
        if eviction.metadata.name and eviction.metadata.name != context.info.name:
            raise errors.BadRequest("name in URL does not match name in Eviction object")
        dry_run = chosen.dry_run or bool(eviction.delete_options and eviction.delete_options.dry_run)
        write = self._pods.write(context, subresource="eviction", dry_run=dry_run)
        eviction = await admitted_part(eviction, context, write)
        pod = await self._pods.store.get(context.info.namespace, context.info.name)
        if self._needs_budget(pod):
            await self._take_disruption(context, pod, dry_run=dry_run)
        given = eviction.delete_options
        preconditions = given.preconditions if given else None
        await self._pods.store.delete(
            context.info.namespace,
            context.info.name,
            Deletion(
                grace_period_seconds=given.grace_period_seconds if given else None,
                uid=preconditions.uid if preconditions else None,
                resource_version=preconditions.resource_version if preconditions else None,
            ),
            dataclasses.replace(write, subresource="", admission=AdmittedAlready()),
        )
        accepted = negotiation.negotiate(context.request.headers.get("accept", ""))
        done = codecs.encode(Status(status="Success", code=201))
        return negotiation.respond(201, done, accepted, warnings=context.warnings)

    @staticmethod
    def _needs_budget(pod: Any) -> bool:
        return pod.status.phase not in ("Succeeded", "Failed", "Pending") and pod.metadata.deletion_timestamp is None

    async def _take_disruption(self, context: RequestContext, pod: Any, *, dry_run: bool) -> None:
        budgets = [
            one
            for one in await self._lookup.list(policy_v1.PodDisruptionBudget, pod.metadata.namespace)
            if labels.from_label_selector(one.spec.selector).matches(pod.metadata.labels)
        ]
        if len(budgets) > 1:
            raise errors.StatusError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                code=500,
            )
        for budget in budgets:
            write = self._budgets.write(context, subresource="status", dry_run=dry_run)

            async def change(old: Any) -> Any:
                return _with_one_disruption_less(old, pod, context)

            await self._budgets.store.update(pod.metadata.namespace, budget.metadata.name, change, write)


def _bound(pod: Any, binding: core_v1.Binding, context: RequestContext) -> Any:
    """The pod on its node, with what the binding brings: labels it has already stay as they are."""
    scheduled = core_v1.PodCondition(
        type="PodScheduled", status="True", last_transition_time=context.now.replace(microsecond=0)
    )
    kept = (one for one in pod.status.conditions if one.type != "PodScheduled")
    bound = replace(
        pod,
        spec=replace(pod.spec, node_name=binding.target.name),
        status=replace(pod.status, conditions=(*kept, scheduled), nominated_node_name=""),
    )
    given, meta = binding.metadata, pod.metadata
    return with_metadata(
        bound, annotations={**meta.annotations, **given.annotations}, labels={**given.labels, **meta.labels}
    )


def _with_one_disruption_less(budget: Any, pod: Any, context: RequestContext) -> Any:
    status = budget.status
    is_ready = conditions.is_true(pod.status.conditions, "Ready")
    policy = budget.spec.unhealthy_pod_eviction_policy
    if not is_ready and (policy == "AlwaysAllow" or status.current_healthy >= status.desired_healthy):
        return budget
    name = budget.metadata.name
    if status.observed_generation < budget.metadata.generation:
        raise errors.TooManyRequests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            details=StatusDetails(
                causes=(
                    StatusCause(
                        reason="DisruptionBudget",
                        message=f"The disruption budget {name} is still being processed by the server.",
                    ),
                ),
                retry_after_seconds=10,
            ),
        )
    if status.disruptions_allowed < 1:
        raise errors.TooManyRequests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            details=StatusDetails(
                causes=(
                    StatusCause(
                        reason="DisruptionBudget",
                        message=f"The disruption budget {name} needs {status.desired_healthy} healthy pods and has "
                        f"{status.current_healthy} currently",
                    ),
                )
            ),
        )
    disrupted = {**status.disrupted_pods, pod.metadata.name: context.now.replace(microsecond=0)}
    return replace(
        budget,
        status=replace(status, disruptions_allowed=status.disruptions_allowed - 1, disrupted_pods=disrupted),
    )


def token_route(create: Any, new_token_id: Callable[[], str], accounts: ResourceHandler) -> Route:
    """POST …/serviceaccounts/NAME/token."""
    strategy = _TokenRequestStrategy()

    async def route(context: RequestContext) -> Response:
        chosen = options.write_options(context, "CreateOptions")
        request = bodies.decode(context, strategy, chosen.field_validation)
        write = accounts.write(context, subresource="token", dry_run=chosen.dry_run)
        request = await admitted_part(request, context, write)
        answered = await create(
            context.info.namespace, context.info.name, request, now=context.now, token_id=new_token_id()
        )
        accepted = negotiation.negotiate(context.request.headers.get("accept", ""))
        return negotiation.respond(201, codecs.encode(answered), accepted, warnings=context.warnings)

    return route
