"""The statefulset controller: numbered pods with names and volumes of their own, started and stopped in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from keelback.api import owners, pods
from keelback.api.apps_v1 import ControllerRevision, StatefulSet, StatefulSetStatus
from keelback.api.core_v1 import (
    PersistentVolumeClaim,
    PersistentVolumeClaimVolumeSource,
    Pod,
    PodTemplateSpec,
    Volume,
)
from keelback.apimachinery import errors
from keelback.apimachinery.meta import LabelSelector, Object, ObjectMeta, OwnerReference, replace
from keelback.client import MergePatch
from keelback.controllers import adoption, revisions, statefulset_plan
from keelback.controllers.observed import PodView
from keelback.controllers.pod_control import (
    Outcome,
    Words,
    create_pods,
    delete_pods,
    is_namespace_terminating,
    pod_from_template,
)
from keelback.controllers.revisions import HASH_LABEL, History
from keelback.controllers.statefulset_plan import Counts
from keelback.reconcile import patches
from keelback.reconcile.context import Context
from keelback.reconcile.loop import Source
from keelback.reconcile.result import DONE, Result, again_after

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"

plan = statefulset_plan.plan


def claim_name(stateful_set: StatefulSet, template: PersistentVolumeClaim, ordinal: int) -> str:
    """The name of a pod's claim: it finds the same volume again however often the pod is replaced."""
    return f"{template.metadata.name}-{stateful_set.metadata.name}-{ordinal}"


def make_pod(stateful_set: StatefulSet, template: PodTemplateSpec, ordinal: int, revision: str) -> Pod:
    """The pod of a number: its name is its hostname and leads to its claims."""
    name = f"{stateful_set.metadata.name}-{ordinal}"
    labels = {POD_NAME: name, POD_INDEX: str(ordinal), HASH_LABEL: revision}
    pod = pod_from_template(template, stateful_set, name=name, labels=labels)
    claims = stateful_set.spec.volume_claim_templates
    claimed = {one.metadata.name for one in claims}
    volumes = [one for one in pod.spec.volumes if one.name not in claimed]
    volumes.extend(
        Volume(
            name=one.metadata.name,
            persistent_volume_claim=PersistentVolumeClaimVolumeSource(
                claim_name=claim_name(stateful_set, one, ordinal)
            ),
        )
        for one in claims
    )
    subdomain = stateful_set.spec.service_name
    return replace(pod, spec=replace(pod.spec, hostname=name, subdomain=subdomain, volumes=tuple(volumes)))


def make_claims(stateful_set: StatefulSet, ordinal: int) -> list[PersistentVolumeClaim]:
    """The claims of one pod, labelled as the pods are selected."""
    labels = (stateful_set.spec.selector or LabelSelector()).match_labels
    policy = stateful_set.spec.persistent_volume_claim_retention_policy
    references = (_owner_of_claims(stateful_set),) if policy.when_deleted == "Delete" else ()
    return [
        PersistentVolumeClaim(
            metadata=ObjectMeta(
                name=claim_name(stateful_set, template, ordinal),
                namespace=stateful_set.metadata.namespace,
                labels={**template.metadata.labels, **labels},
                annotations=template.metadata.annotations,
                owner_references=references,
            ),
            spec=template.spec,
        )
        for template in stateful_set.spec.volume_claim_templates
    ]


def is_leaving(claim: PersistentVolumeClaim, stateful_set: StatefulSet) -> bool:
    """Whether a claim is being deleted, or will be: with a set of the same name that there was before."""
    own = _owner_of_claims(stateful_set)
    return claim.metadata.deletion_timestamp is not None or any(
        (one.kind, one.name) == (own.kind, own.name) and one.uid != own.uid for one in claim.metadata.owner_references
    )


def compute_status(stateful_set: StatefulSet, counts: Counts, current: str, update: str) -> StatefulSetStatus:
    """The status; once every pod is of the update, the update is what is current."""
    is_done = (
        counts.updated == counts.replicas == counts.ready == stateful_set.spec.replicas
        and stateful_set.spec.update_strategy.type == "RollingUpdate"
    )
    return replace(
        stateful_set.status,
        observed_generation=stateful_set.metadata.generation,
        replicas=counts.replicas,
        ready_replicas=counts.ready,
        available_replicas=counts.available,
        current_replicas=counts.updated if is_done else counts.current,
        updated_replicas=counts.updated,
        current_revision=update if is_done else current,
        update_revision=update,
        collision_count=stateful_set.status.collision_count or 0,
    )


@dataclass(frozen=True, slots=True)
class StatefulSetReconciler:
    """Observes, takes the next step, reports."""

    context: Context
    name: ClassVar = "statefulset-controller"
    role: ClassVar = "statefulset-controller"
    component: ClassVar = "statefulset-controller"
    kind: ClassVar = StatefulSet
    owns: ClassVar = (PodView,)
    reads: ClassVar = (ControllerRevision,)

    def sources(self) -> Sequence[Source]:
        return (Source(PersistentVolumeClaim, self._sets_of, lambda change: change.type == "DELETED"),)

    def may_adopt(self, stateful_set: StatefulSet, pod: Object) -> bool:
        return adoption.by_selector(stateful_set.spec.selector)(pod.metadata.labels)

    async def reconcile(self, stateful_set: StatefulSet) -> Result:
        if stateful_set.metadata.deletion_timestamp is not None:
            return DONE
        selects = adoption.by_selector(stateful_set.spec.selector)
        labels = dict((stateful_set.spec.selector or LabelSelector()).match_labels)
        count = stateful_set.status.collision_count
        try:
            history = await revisions.sync(
                self.context, stateful_set, stateful_set.spec.template, labels, selects, count
            )
        except revisions.Collision:
            status = replace(stateful_set.status, collision_count=(count or 0) + 1)
            await patches.write_status(self.context.client, stateful_set, stateful_set.status, status)
            return again_after(0)
        store = self.context.caches.index_by_controller(PodView)
        mine = await adoption.claim(self.context.client, stateful_set, selects, store)
        by_ordinal = {
            ordinal: pod
            for pod in mine
            if (ordinal := statefulset_plan.ordinal_of(stateful_set, pod.metadata.name)) is not None
        }
        update = history.current.metadata.name
        current = self._current(stateful_set, history)
        await self._own_claims(stateful_set)
        outcome = await self._step(stateful_set, by_ordinal, current, history)
        live = frozenset({one.metadata.labels.get(HASH_LABEL, "") for one in mine} | {current, update})
        await revisions.clean_up(self.context, _by_name(history), live, stateful_set.spec.revision_history_limit)
        counts = statefulset_plan.count(stateful_set, list(by_ordinal.values()), current, update, self._now())
        status = compute_status(stateful_set, counts, current, update)
        await patches.write_status(self.context.client, stateful_set, stateful_set.status, status)
        if outcome.error is not None and not is_namespace_terminating(outcome.error):
            raise outcome.error
        waits = stateful_set.spec.min_ready_seconds and counts.available < counts.ready
        return again_after(stateful_set.spec.min_ready_seconds) if waits else DONE

    def _now(self) -> datetime:
        return self.context.now()

    def _current(self, stateful_set: StatefulSet, history: History) -> str:
        """The revision pods are rolled back to below the partition; the newest one where there was none."""
        known = {history.current.metadata.name, *(one.metadata.name for one in history.others)}
        held = stateful_set.status.current_revision
        return held if held in known else history.current.metadata.name

    async def _step(
        self, stateful_set: StatefulSet, by_ordinal: dict[int, PodView], current: str, history: History
    ) -> Outcome:
        update = history.current.metadata.name
        decided = plan(stateful_set, by_ordinal, current, update, self._now())
        templates = {one.metadata.name: one for one in (history.current, *history.others)}
        for ordinal in statefulset_plan.pending(stateful_set, by_ordinal):
            await self._create_claims(stateful_set, ordinal)
        wanted = []
        for ordinal, revision in decided.create:
            template = stateful_set.spec.template
            if revision != update and revision in templates:
                template = revisions.restored_template(templates[revision])
            if await self._create_claims(stateful_set, ordinal):
                wanted.append(make_pod(stateful_set, template, ordinal, revision))
        await self._say_recreating(stateful_set, decided.delete)
        words = _words(stateful_set)
        made = await create_pods(self.context, stateful_set, wanted, words)
        deleted = await delete_pods(self.context, stateful_set, decided.delete, words)
        if stateful_set.spec.persistent_volume_claim_retention_policy.when_scaled == "Delete":
            await self._delete_claims_beyond(stateful_set, by_ordinal)
        return Outcome(made.count + deleted.count, made.error or deleted.error)

    async def _say_recreating(self, stateful_set: StatefulSet, doomed: Sequence[PodView]) -> None:
        metadata = stateful_set.metadata
        for pod in doomed:
            if not pods.is_terminal(pod):
                continue
            where = f"StatefulSet {metadata.namespace}/{metadata.name} is recreating"
            event, name = self.context.events.event, pod.metadata.name
            if pod.status.phase == "Failed":
                await event(stateful_set, "Warning", "RecreatingFailedPod", f"{where} failed Pod {name}")
            else:
                await event(stateful_set, "Normal", "RecreatingTerminatedPod", f"{where} terminated Pod {name}")

    async def _own_claims(self, stateful_set: StatefulSet) -> None:
        """Claims go with the set where its policy says so now, whatever it said when they were made."""
        wanted = stateful_set.spec.persistent_volume_claim_retention_policy.when_deleted == "Delete"
        reference = _owner_of_claims(stateful_set)
        for ordinal in statefulset_plan.ordinals(stateful_set):
            for template in stateful_set.spec.volume_claim_templates:
                name, namespace = claim_name(stateful_set, template, ordinal), stateful_set.metadata.namespace
                claim = self.context.caches.store(PersistentVolumeClaim).get(namespace, name)
                if claim is None or is_leaving(claim, stateful_set):
                    continue
                held = claim.metadata.owner_references
                if wanted == any(one.uid == reference.uid for one in held):
                    continue
                # A claim that another manages is not ours to give away.
                if wanted and owners.controller_of(claim) is not None:
                    continue
                kept = (*held, reference) if wanted else owners.without(held, reference.uid)
                changed = {"ownerReferences": [patches.tree(one) for one in kept] or None}
                version = claim.metadata.resource_version
                patch = MergePatch({"metadata": changed | {"resourceVersion": version}})
                await self.context.client.patch(PersistentVolumeClaim, name, namespace, patch)

    async def _create_claims(self, stateful_set: StatefulSet, ordinal: int) -> bool:
        """Make those that a pod lacks; whether all are there to stay. Where one leaves, its end calls us again."""
        store = self.context.caches.store(PersistentVolumeClaim)
        all_stay = True
        for claim in make_claims(stateful_set, ordinal):
            name = claim.metadata.name
            held = store.get(claim.metadata.namespace, name)
            if held is not None:
                all_stay &= not is_leaving(held, stateful_set)
                continue
            what = (
                f"Claim {name} Pod {stateful_set.metadata.name}-{ordinal} in StatefulSet {stateful_set.metadata.name}"
            )
            try:
                await self.context.client.create(claim)
            except errors.AlreadyExists:
                raise  # the cache is behind: what it is it tells the next time
            except errors.StatusError as error:
                message = f"create {what} failed error: {error}"
                await self.context.events.event(stateful_set, "Warning", "FailedCreate", message)
                raise
            await self.context.events.event(stateful_set, "Normal", "SuccessfulCreate", f"create {what} success")
        return all_stay

    def _sets_of(self, claim: PersistentVolumeClaim) -> list[tuple[str, str]]:
        return [
            (one.metadata.namespace, one.metadata.name)
            for one in self.context.caches.store(StatefulSet).list(claim.metadata.namespace)
            if any(
                claim.metadata.name.startswith(f"{template.metadata.name}-{one.metadata.name}-")
                for template in one.spec.volume_claim_templates
            )
        ]

    async def _delete_claims_beyond(self, stateful_set: StatefulSet, by_ordinal: dict[int, PodView]) -> None:
        """Claims of numbers no longer wanted go when their pods have gone."""
        wanted = statefulset_plan.ordinals(stateful_set)
        for claim in self.context.caches.store(PersistentVolumeClaim).list(stateful_set.metadata.namespace):
            for template in stateful_set.spec.volume_claim_templates:
                prefix = f"{template.metadata.name}-{stateful_set.metadata.name}-"
                number = claim.metadata.name.removeprefix(prefix)
                if not claim.metadata.name.startswith(prefix) or not number.isdecimal():
                    continue
                if int(number) not in wanted and int(number) not in by_ordinal:
                    name, namespace, uid = claim.metadata.name, claim.metadata.namespace, claim.metadata.uid
                    await self.context.client.delete(PersistentVolumeClaim, name, namespace, uid=uid)


def _words(stateful_set: StatefulSet) -> Words:
    where = f"Pod {{name}} in StatefulSet {stateful_set.metadata.name}"
    return Words(
        created=f"create {where} successful",
        not_created=f"create {where} failed error: {{error}}",
        deleted=f"delete {where} successful",
        not_deleted=f"delete {where} failed error: {{error}}",
    )


def _by_name(history: History) -> History:
    """The history with revisions known by name: pods of a StatefulSet are labelled with the whole name."""

    def labelled(one: ControllerRevision) -> ControllerRevision:
        metadata = one.metadata
        return replace(one, metadata=replace(metadata, labels={**metadata.labels, HASH_LABEL: metadata.name}))

    return History(labelled(history.current), tuple(labelled(one) for one in history.others))


def _owner_of_claims(stateful_set: StatefulSet) -> OwnerReference:
    reference = owners.controller_reference(stateful_set)
    return replace(reference, controller=None, block_owner_deletion=None)
