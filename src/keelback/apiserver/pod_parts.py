"""Binding and eviction of pods: both are posted, and change or delete a pod that others may change meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final

from keelback.api import conditions, core_v1, policy_v1
from keelback.apimachinery import codecs, errors, labels
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import Condition, Status, StatusCause, StatusDetails, replace, with_metadata
from keelback.apiserver import bodies, negotiation, options
from keelback.apiserver.context import RequestContext
from keelback.apiserver.deletion import Deletion
from keelback.apiserver.part_admission import admitted_already, admitted_part
from keelback.apiserver.resource_handler import ResourceHandler
from keelback.apiserver.resource_store import Write, precondition_failure
from keelback.apiserver.watch_cache import ListOptions
from keelback.component.http import AnyResponse
from keelback.registry.strategy import Strategy

_WOULD_VIOLATE: Final = "Cannot evict pod as it would violate the pod's disruption budget."
_MOST_DISRUPTED_PODS: Final = 2000
_DISRUPTION_ALLOWED: Final = "DisruptionAllowed"


class _BindingStrategy(Strategy[core_v1.Binding]):
    kind = core_v1.Binding


class _EvictionStrategy(Strategy[policy_v1.Eviction]):
    kind = policy_v1.Eviction
    earlier_versions = ("policy/v1beta1",)


class PodParts:
    """Answers `pods/binding`, `bindings` and `pods/eviction`."""

    def __init__(self, pods: ResourceHandler, budgets: ResourceHandler) -> None:
        self._pods = pods
        self._budgets = budgets
        self._binding = _BindingStrategy()
        self._eviction = _EvictionStrategy()

    async def bind(self, context: RequestContext) -> AnyResponse:
        """POST …/pods/NAME/binding, and POST …/bindings with the pod's name in the body."""
        chosen = options.write_options(context, "CreateOptions")
        binding = bodies.decode(context, self._binding, chosen.field_validation)
        name = context.info.name or binding.metadata.name
        if binding.metadata.name != name:
            raise errors.BadRequest("name in URL does not match name in Binding object")
        _check_target(binding)
        write = self._pods.write(context, subresource="binding", dry_run=chosen.dry_run)
        binding = await admitted_part(binding, context, write)
        key = self._pods.store.key(context.info.namespace, name)

        async def change(pod: Any) -> Any:
            self._check_preconditions(binding, pod, key)
            why_not = "".join(_why_not_bound(pod))
            if why_not:
                raise errors.Conflict(
                    f'Operation cannot be fulfilled on pods/binding "{name}": {why_not}',
                    details=StatusDetails(name=name, kind="pods/binding"),
                )
            return _bound(pod, binding, context)

        stored = admitted_already(write)
        await self._pods.store.update(context.info.namespace, name, change, stored)
        return _done(context)

    def _check_preconditions(self, binding: core_v1.Binding, pod: Any, key: str) -> None:
        wanted, found = binding.metadata, pod.metadata
        for what, given, held in (
            ("UID", wanted.uid, found.uid),
            ("ResourceVersion", wanted.resource_version, found.resource_version),
        ):
            if given and given != held:
                raise precondition_failure(self._pods.kind, found.name, key, what, given, held)

    async def evict(self, context: RequestContext) -> AnyResponse:
        """POST …/pods/NAME/eviction: a deletion that the disruption budgets may refuse (policy/v1 Eviction)."""
        chosen = options.write_options(context, "CreateOptions")
        eviction = bodies.decode(context, self._eviction, chosen.field_validation)
        if eviction.metadata.name != context.info.name:
            raise errors.BadRequest("name in URL does not match name in Eviction object")
        given = eviction.delete_options
        dry_run = chosen.dry_run or bool(given and given.dry_run)
        write = self._pods.write(context, subresource="eviction", dry_run=dry_run)
        eviction = await admitted_part(eviction, context, write)
        pod = await self._pods.store.get(context.info.namespace, context.info.name)
        spared = await self._take_disruption(context, pod, dry_run=dry_run) if _needs_budget(pod) else ""
        preconditions = given.preconditions if given else None
        version = preconditions.resource_version if preconditions else None
        # A pod that was spared since it is not ready may have become so.
        only = version or (pod.metadata.resource_version if spared else None)
        stored = admitted_already(write)
        try:
            is_meant = not preconditions or preconditions.uid in (None, pod.metadata.uid)
            if is_meant and not dry_run and only in (None, pod.metadata.resource_version):
                marked = await self._mark(context, pod, only, stored)
                only = None if only is None else marked.metadata.resource_version
            await self._pods.store.delete(
                context.info.namespace,
                context.info.name,
                Deletion(
                    grace_period_seconds=given.grace_period_seconds if given else None,
                    propagation_policy=given.propagation_policy if given else None,
                    orphan_dependents=given.orphan_dependents if given else None,
                    uid=preconditions.uid if preconditions else None,
                    resource_version=only,
                ),
                dataclasses.replace(stored, subresource=""),
            )
        except errors.Conflict:
            if spared and version is None:
                raise _still_processed(spared) from None
            raise
        return _done(context)

    async def _mark(self, context: RequestContext, pod: Any, version: str | None, write: Write) -> Any:
        """Say in the pod's status why it goes, for whoever judges its failure (KEP-3329)."""

        async def change(old: Any) -> Any:
            key = self._pods.store.key(old.metadata.namespace, old.metadata.name)
            held = old.metadata.resource_version
            if old.metadata.uid != pod.metadata.uid:
                raise precondition_failure(
                    self._pods.kind, old.metadata.name, key, "UID", pod.metadata.uid, old.metadata.uid
                )
            if version is not None and version != held:
                raise precondition_failure(self._pods.kind, old.metadata.name, key, "ResourceVersion", version, held)
            evicted = core_v1.PodCondition(
                type="DisruptionTarget",
                status="True",
                reason="EvictionByEvictionAPI",
                message="Eviction API: evicting",
                last_transition_time=context.now.replace(microsecond=0),
            )
            return replace(
                old, status=replace(old.status, conditions=conditions.set_in_place(old.status.conditions, evicted))
            )

        written = await self._pods.store.update(pod.metadata.namespace, pod.metadata.name, change, write)
        return written.obj

    async def _take_disruption(self, context: RequestContext, pod: Any, *, dry_run: bool) -> str:
        """Raises TooManyRequests or Forbidden. The name of the budget that counts nothing for this pod, or ""."""
        namespace = pod.metadata.namespace
        page = await self._budgets.cache.list(ListOptions(namespace=namespace))
        all_there = map(self._budgets.strategy.decode, page.objects())
        budgets = [
            one for one in all_there if labels.from_label_selector(one.spec.selector).matches(pod.metadata.labels)
        ]
        if len(budgets) > 1:
            raise errors.StatusError(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                code=500,
            )
        for budget in budgets:
            name: str = budget.metadata.name
            if _is_spared(budget, pod):
                return name
            write = self._budgets.write(context, subresource="status", dry_run=dry_run)

            async def change(old: Any) -> Any:
                return _with_one_disruption_less(old, pod, context)

            await self._budgets.store.update(namespace, name, change, write)
        return ""


def _done(context: RequestContext) -> AnyResponse:
    accepted = negotiation.negotiate(context.request.headers.get("accept", ""))
    done = codecs.encode(Status(status="Success", code=201))
    return negotiation.respond(201, done, accepted, warnings=context.warnings)


def _check_target(binding: core_v1.Binding) -> None:
    """Raises a failure without a reason, as upstream, which has no words for what is wrong with a binding."""
    target = binding.target
    found: list[FieldError] = []
    if target.kind not in ("", "Node"):
        found.append(errors.not_supported("target.kind", target.kind, ("Node", "<empty>"), in_given_order=True))
    if not target.name:
        found.append(errors.required("target.name", ""))
    said = [f"{one.field}: {one.body}" for one in found]
    if said:
        raise errors.StatusError(said[0] if len(said) == 1 else f"[{', '.join(said)}]", code=500)


def _why_not_bound(pod: Any) -> Iterator[str]:
    name = pod.metadata.name
    if pod.metadata.deletion_timestamp is not None:
        yield f"pod {name} is being deleted, cannot be assigned to a host"
    elif pod.spec.node_name:
        yield f'pod {name} is already assigned to node "{pod.spec.node_name}"'
    elif pod.spec.scheduling_gates:
        yield f"pod {name} has non-empty .spec.schedulingGates"


def _bound(pod: Any, binding: core_v1.Binding, context: RequestContext) -> Any:
    """The pod on its node, with what the binding brings."""
    scheduled = core_v1.PodCondition(
        type="PodScheduled", status="True", last_transition_time=context.now.replace(microsecond=0)
    )
    found = conditions.set_in_place(pod.status.conditions, scheduled)
    bound = replace(
        pod,
        spec=replace(pod.spec, node_name=binding.target.name),
        status=replace(pod.status, conditions=found, nominated_node_name=""),
    )
    given, meta = binding.metadata, pod.metadata
    return with_metadata(
        bound, annotations={**meta.annotations, **given.annotations}, labels={**meta.labels, **given.labels}
    )


def _needs_budget(pod: Any) -> bool:
    return pod.status.phase not in ("Succeeded", "Failed", "Pending") and pod.metadata.deletion_timestamp is None


def _is_spared(budget: policy_v1.PodDisruptionBudget, pod: Any) -> bool:
    """Whether a pod that is not ready may go without being counted (KEP-3017)."""
    if conditions.is_true(pod.status.conditions, "Ready"):
        return False
    status = budget.status
    return budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow" or (
        status.current_healthy >= status.desired_healthy > 0
    )


def _still_processed(budget: str) -> errors.TooManyRequests:
    return _too_many(f"The disruption budget {budget} is still being processed by the server.", retry_after_seconds=10)


def _too_many(why: str, *, retry_after_seconds: int = 0) -> errors.TooManyRequests:
    cause = StatusCause(reason="DisruptionBudget", message=why)
    details = StatusDetails(causes=(cause,), retry_after_seconds=retry_after_seconds)
    return errors.TooManyRequests(_WOULD_VIOLATE, details=details)


def _with_one_disruption_less(budget: Any, pod: Any, context: RequestContext) -> Any:
    status, name = budget.status, budget.metadata.name
    if status.observed_generation < budget.metadata.generation:
        raise _still_processed(name)
    if status.disruptions_allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(status.disrupted_pods) > _MOST_DISRUPTED_PODS:
        told = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise _forbidden(name, told)
    if not status.disruptions_allowed:
        raise _too_many(
            f"The disruption budget {name} needs {status.desired_healthy} healthy pods and has "
            f"{status.current_healthy} currently"
        )
    left = status.disruptions_allowed - 1
    now = context.now.replace(microsecond=0)
    disrupted = {**status.disrupted_pods, pod.metadata.name: now}
    changed = replace(status, disruptions_allowed=left, disrupted_pods=disrupted)
    if not left:
        none = Condition(
            type=_DISRUPTION_ALLOWED,
            status="False",
            reason="InsufficientPods",
            observed_generation=status.observed_generation,
            last_transition_time=now,
        )
        changed = replace(changed, conditions=conditions.set_in_place(status.conditions, none))
    return replace(budget, status=changed)


def _forbidden(budget: str, why: str) -> errors.Forbidden:
    return errors.Forbidden(
        f'poddisruptionbudget.policy "{budget}" is forbidden: {why}',
        details=StatusDetails(name=budget, group="policy", kind="poddisruptionbudget"),
    )
