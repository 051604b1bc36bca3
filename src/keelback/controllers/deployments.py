"""The deployment controller: moves pods from old replica sets to the template's own, as fast as the strategy allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from keelback.api import conditions, owners, pods
from keelback.api.apps_v1 import Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet, ReplicaSetSpec
from keelback.apimachinery import errors
from keelback.apimachinery.meta import LabelSelector, Object, ObjectMeta, replace
from keelback.client import MergePatch
from keelback.controllers import adoption, rollout, rollout_status
from keelback.controllers.observed import PodView
from keelback.controllers.pod_control import is_namespace_terminating, without_hash
from keelback.controllers.rollout import DESIRED_REPLICAS, MAX_REPLICAS, REVISION, REVISION_HISTORY
from keelback.controllers.template_hash import compute_hash
from keelback.reconcile import caches, patches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result, again_after

HASH_LABEL = "pod-template-hash"

# Annotations of a Deployment that its replica sets do not inherit.
_NOT_INHERITED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
    }
)
_REVISION_HISTORY_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class Observed:
    """A Deployment's replica sets: the one of its template, if it has been made, and all others."""

    new: ReplicaSet | None
    old: tuple[ReplicaSet, ...]

    @property
    def everyone(self) -> tuple[ReplicaSet, ...]:
        return self.old if self.new is None else (*self.old, self.new)


def split(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> Observed:
    """Find the replica set of the current template: the oldest, should there be several."""
    wanted = without_hash(deployment.spec.template, HASH_LABEL)
    ordered = sorted(replica_sets, key=lambda one: (one.metadata.creation_timestamp, one.metadata.name))
    new = next((one for one in ordered if without_hash(one.spec.template, HASH_LABEL) == wanted), None)
    return Observed(new, tuple(one for one in ordered if one is not new))


def inherited_annotations(deployment: Deployment, replica_set: ReplicaSet | None, revision: int) -> dict[str, str]:
    """The annotations the new replica set should have: the Deployment's, and the revision with those it had before."""
    held = dict(replica_set.metadata.annotations) if replica_set is not None else {}
    wanted = {key: value for key, value in deployment.metadata.annotations.items() if key not in _NOT_INHERITED}
    result = {**held, **wanted}
    before = held.get(REVISION)
    if (rollout.number(before) or 0) < revision:
        result[REVISION] = str(revision)
        if before is not None:
            history = [one for one in held.get(REVISION_HISTORY, "").split(",") if one] + [before]
            while len(",".join(history)) > _REVISION_HISTORY_CHARACTERS:
                history.pop(0)
            result[REVISION_HISTORY] = ",".join(history)
    return result


def make_replica_set(deployment: Deployment, observed: Observed, revision: int) -> ReplicaSet:
    """The replica set of the current template, with as many pods as it may have at once."""
    template = deployment.spec.template
    meta = template.metadata or ObjectMeta()
    template_hash = compute_hash(template, deployment.status.collision_count)
    labels = {**meta.labels, HASH_LABEL: template_hash}
    selector = deployment.spec.selector or LabelSelector()
    annotations = inherited_annotations(deployment, None, revision)
    annotations |= replica_annotations(deployment)
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"{deployment.metadata.name[: 252 - len(template_hash)]}-{template_hash}",
            namespace=deployment.metadata.namespace,
            labels=labels,
            annotations=annotations,
            owner_references=(owners.controller_reference(deployment),),
        ),
        spec=ReplicaSetSpec(
            replicas=rollout.new_size(deployment, rollout.wanted_total(observed.old), 0),
            min_ready_seconds=deployment.spec.min_ready_seconds,
            selector=replace(selector, match_labels={**selector.match_labels, HASH_LABEL: template_hash}),
            template=replace(template, metadata=replace(meta, labels=labels)),
        ),
    )


def replica_annotations(deployment: Deployment) -> dict[str, str]:
    """What each replica set is told of the Deployment's size, so that scaling can be noticed and shared out."""
    wanted = deployment.spec.replicas
    return {DESIRED_REPLICAS: str(wanted), MAX_REPLICAS: str(wanted + rollout.max_surge(deployment))}


def with_pause_condition(deployment: Deployment, now: datetime) -> Deployment:
    """The Deployment with Progressing saying that it was paused or resumed: the deadline stands still."""
    if not rollout_status.has_deadline(deployment):
        return deployment
    current = conditions.find(deployment.status.conditions, rollout_status.PROGRESSING)
    if current is not None and current.reason == rollout_status.TIMED_OUT:
        return deployment
    is_paused = current is not None and current.reason == rollout_status.PAUSED
    if deployment.spec.paused and not is_paused:
        new = rollout_status.progressing("Unknown", rollout_status.PAUSED, "Deployment is paused", now)
    elif not deployment.spec.paused and is_paused:
        new = rollout_status.progressing("Unknown", "DeploymentResumed", "Deployment is resumed", now)
    else:
        return deployment
    return _with_condition(deployment, new)


@dataclass(frozen=True, slots=True)
class DeploymentReconciler:
    """Observes the replica sets, moves one step, and reports."""

    context: Context
    name: ClassVar = "deployment-controller"
    role: ClassVar = "deployment-controller"
    component: ClassVar = "deployment-controller"
    kind: ClassVar = Deployment
    owns: ClassVar = (ReplicaSet,)

    def may_adopt(self, deployment: Deployment, replica_set: Object) -> bool:
        return adoption.by_selector(deployment.spec.selector)(replica_set.metadata.labels)

    def sources(self) -> Sequence[Source]:
        return (Source(PodView, self._keys_of_recreated),)

    async def reconcile(self, deployment: Deployment) -> Result:
        if deployment.spec.selector == LabelSelector():
            return await self._refuse(deployment)
        store = self.context.caches.index_by_controller(ReplicaSet)
        selects = adoption.by_selector(deployment.spec.selector)
        replica_sets = await adoption.claim(self.context.client, deployment, selects, store)
        observed = split(deployment, replica_sets)
        if deployment.metadata.deletion_timestamp is not None:
            return await self._report(deployment, deployment, observed, rolling=False)
        current = with_pause_condition(deployment, self.context.now())
        current, observed = await self._sync_revision(current, observed)
        if current.spec.paused or rollout.needs_scaling(current, observed.everyone):
            observed = await self._resize(current, observed, rollout.scaled_sizes(current, observed.new, observed.old))
            if current.spec.paused:
                await self._clean_up(current, observed)
            return await self._report(deployment, current, observed, rolling=False)
        try:
            if rollout.is_rolling_update(current):
                current, observed = await self._roll(current, observed)
            else:
                current, observed = await self._recreate(current, observed)
        except _CannotCreate as failure:
            await self._report(deployment, failure.deployment, observed, rolling=False)
            raise failure.error from failure
        return await self._report(deployment, current, observed, rolling=True)

    def _keys_of_recreated(self, pod: PodView) -> list[tuple[str, str]]:
        """Recreate waits until the last old pod is gone, which no replica set tells."""
        reference = owners.controller_of(pod)
        if reference is None or reference.kind != "ReplicaSet":
            return []
        replica_set = self.context.caches.store(ReplicaSet).get(pod.metadata.namespace, reference.name)
        rollout_reference = owners.controller_of(replica_set) if replica_set is not None else None
        if rollout_reference is None:
            return []
        deployment = self.context.caches.store(Deployment).get(pod.metadata.namespace, rollout_reference.name)
        if deployment is None or rollout.is_rolling_update(deployment):
            return []
        return [(deployment.metadata.namespace, deployment.metadata.name)]

    async def _refuse(self, deployment: Deployment) -> Result:
        message = "This deployment is selecting all pods. A non-empty selector is required."
        await self.context.events.event(deployment, "Warning", "SelectingAll", message)
        status = replace(deployment.status, observed_generation=deployment.metadata.generation)
        await patches.write_status(self.context.client, deployment, deployment.status, status)
        return DONE

    async def _sync_revision(self, deployment: Deployment, observed: Observed) -> tuple[Deployment, Observed]:
        """Where the template's replica set exists (a rollback finds one), it gets the newest revision."""
        new = observed.new
        if new is None:
            return deployment, observed
        revision = max((rollout.revision(one) for one in observed.old), default=0) + 1
        annotations = inherited_annotations(deployment, new, revision)
        changes: dict[str, object] = {}
        if annotations != dict(new.metadata.annotations):
            changes["metadata"] = {"annotations": patches.difference(dict(new.metadata.annotations), annotations)}
        if new.spec.min_ready_seconds != deployment.spec.min_ready_seconds:
            changes["spec"] = {"minReadySeconds": deployment.spec.min_ready_seconds}
        if changes:
            new = await self._patch(new, changes)
        deployment = _with_revision(deployment, new)
        current = conditions.find(deployment.status.conditions, rollout_status.PROGRESSING)
        if current is None and rollout_status.has_deadline(deployment):
            message = f'Found new replica set "{new.metadata.name}"'
            now = self.context.now()
            found = rollout_status.progressing("True", "FoundNewReplicaSet", message, now)
            deployment = _with_condition(deployment, found)
        return deployment, Observed(new, observed.old)

    async def _create(self, deployment: Deployment, observed: Observed) -> tuple[Deployment, Observed]:
        revision = max((rollout.revision(one) for one in observed.old), default=0) + 1
        wanted = make_replica_set(deployment, observed, revision)
        try:
            new = await self.context.client.create(wanted)
        except errors.AlreadyExists as error:
            raise await self._collision(deployment, wanted, error) from error
        except errors.StatusError as error:
            if is_namespace_terminating(error):
                return deployment, observed
            message = f'Failed to create new replica set "{wanted.metadata.name}": {error}'
            await self.context.events.event(deployment, "Warning", "ReplicaSetCreateError", message)
            now = self.context.now()
            failed = rollout_status.progressing("False", "ReplicaSetCreateError", message, now)
            raise _CannotCreate(_with_condition(deployment, failed), error) from error
        if new.spec.replicas > 0:
            message = f"Scaled up replica set {new.metadata.name} from 0 to {new.spec.replicas}"
            await self.context.events.event(deployment, "Normal", "ScalingReplicaSet", message)
        deployment = _with_revision(deployment, new)
        if rollout_status.has_deadline(deployment):
            message = f'Created new replica set "{new.metadata.name}"'
            now = self.context.now()
            created = rollout_status.progressing("True", "NewReplicaSetCreated", message, now)
            deployment = _with_condition(deployment, created)
        return deployment, Observed(new, observed.old)

    async def _collision(
        self, deployment: Deployment, wanted: ReplicaSet, error: errors.AlreadyExists
    ) -> errors.StatusError | _CannotCreate:
        """The name is taken: by what the cache has not shown yet, or by another template with the same hash."""
        holder = await self.context.client.get(ReplicaSet, wanted.metadata.name, wanted.metadata.namespace)
        same = without_hash(holder.spec.template, HASH_LABEL) == without_hash(deployment.spec.template, HASH_LABEL)
        if owners.is_controlled_by(holder, deployment) and same:
            return errors.Conflict(str(error))
        status = replace(deployment.status, collision_count=(deployment.status.collision_count or 0) + 1)
        return _CannotCreate(replace(deployment, status=status), errors.Conflict(str(error)))

    async def _roll(self, deployment: Deployment, observed: Observed) -> tuple[Deployment, Observed]:
        if observed.new is None:
            deployment, observed = await self._create(deployment, observed)
        new = observed.new
        if new is None:
            return deployment, observed
        size = rollout.new_size(deployment, rollout.wanted_total(observed.old), new.spec.replicas)
        if size != new.spec.replicas:
            return deployment, await self._resize(deployment, observed, {new.metadata.name: size})
        sizes = rollout.old_sizes(deployment, new, observed.old)
        if sizes:
            return deployment, await self._resize(deployment, observed, sizes)
        return deployment, await self._clean_up_when_complete(deployment, observed)

    async def _recreate(self, deployment: Deployment, observed: Observed) -> tuple[Deployment, Observed]:
        sizes = {one.metadata.name: 0 for one in observed.old if one.spec.replicas > 0}
        if sizes:
            return deployment, await self._resize(deployment, observed, sizes)
        if self._is_any_old_pod_left(observed):
            return deployment, observed
        if observed.new is None:
            deployment, observed = await self._create(deployment, observed)
        if observed.new is not None and observed.new.spec.replicas != deployment.spec.replicas:
            sizes = {observed.new.metadata.name: deployment.spec.replicas}
            observed = await self._resize(deployment, observed, sizes)
        return deployment, await self._clean_up_when_complete(deployment, observed)

    def _is_any_old_pod_left(self, observed: Observed) -> bool:
        if rollout.actual_total(observed.old) > 0:
            return True
        store = self.context.caches.index_by_controller(PodView)
        return any(not pods.is_terminal(pod) for one in observed.old for pod in caches.controlled_by(store, one))

    async def _resize(self, deployment: Deployment, observed: Observed, sizes: rollout.Sizes) -> Observed:
        """Give replica sets their sizes, and tell all that run pods how large the Deployment is now."""
        wanted = replica_annotations(deployment)
        result: dict[str, ReplicaSet] = {}
        for one in observed.everyone:
            size = sizes.get(one.metadata.name, one.spec.replicas)
            notes = {key: value for key, value in wanted.items() if one.metadata.annotations.get(key) != value}
            if size == one.spec.replicas and not (notes and (size > 0 or one is observed.new)):
                result[one.metadata.name] = one
                continue
            changes: dict[str, object] = {"metadata": {"annotations": notes}} if notes else {}
            if size != one.spec.replicas:
                changes["spec"] = {"replicas": size}
            result[one.metadata.name] = await self._patch(one, changes)
            if size != one.spec.replicas:
                direction = "up" if size > one.spec.replicas else "down"
                message = f"Scaled {direction} replica set {one.metadata.name} from {one.spec.replicas} to {size}"
                await self.context.events.event(deployment, "Normal", "ScalingReplicaSet", message)
        new = result[observed.new.metadata.name] if observed.new is not None else None
        return Observed(new, tuple(result[one.metadata.name] for one in observed.old))

    async def _clean_up_when_complete(self, deployment: Deployment, observed: Observed) -> Observed:
        if rollout_status.is_complete(deployment, deployment.status):
            await self._clean_up(deployment, observed)
        return observed

    async def _clean_up(self, deployment: Deployment, observed: Observed) -> None:
        for one in rollout.superfluous(deployment, observed.old):
            metadata = one.metadata
            await self.context.client.delete(ReplicaSet, metadata.name, metadata.namespace, uid=metadata.uid)

    async def _patch(self, replica_set: ReplicaSet, changes: dict[str, object]) -> ReplicaSet:
        metadata = replica_set.metadata
        return await self.context.client.patch(ReplicaSet, metadata.name, metadata.namespace, MergePatch(changes))

    async def _report(self, original: Deployment, current: Deployment, observed: Observed, *, rolling: bool) -> Result:
        now = self.context.now()
        compute = rollout_status.rolled_out if rolling else rollout_status.counted
        status: DeploymentStatus = compute(current, observed.everyone, observed.new, now)
        annotations = current.metadata.annotations
        revision = {REVISION: annotations[REVISION]} if REVISION in annotations else {}
        await patches.write_status(self.context.client, original, original.status, status, annotations=revision)
        if not rolling:
            return DONE
        seconds = rollout_status.seconds_to_deadline(current, status, now)
        return DONE if seconds is None else again_after(seconds)


class _CannotCreate(Exception):
    """The new replica set was refused; `deployment` carries what its status should say of that."""

    def __init__(self, deployment: Deployment, error: errors.StatusError) -> None:
        super().__init__(str(error))
        self.deployment = deployment
        self.error = error


def _with_condition(deployment: Deployment, condition: DeploymentCondition) -> Deployment:
    changed = conditions.changed_to(deployment.status.conditions, condition)
    return replace(deployment, status=replace(deployment.status, conditions=changed))


def _with_revision(deployment: Deployment, new: ReplicaSet) -> Deployment:
    """The Deployment with the revision of its newest replica set, which goes out with its status."""
    revision = new.metadata.annotations.get(REVISION)
    if revision is None:
        return deployment
    annotations = {**deployment.metadata.annotations, REVISION: revision}
    return replace(deployment, metadata=replace(deployment.metadata, annotations=annotations))
