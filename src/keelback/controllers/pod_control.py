"""How workload controllers make and delete pods: from a template, with events, a few at first lest none be allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from keelback.api import owners
from keelback.api.core_v1 import Pod, PodTemplateSpec
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta, replace
from keelback.reconcile.context import Context

T = TypeVar("T", bound=Object)

#: How many pods one reconciliation makes or deletes at most (upstream's BurstReplicas).
BURST = 500


@dataclass(frozen=True, slots=True)
class Outcome:
    """How many of the pods asked for were made or deleted, and what the first failure was."""

    count: int = 0
    error: errors.StatusError | None = field(default=None)


def pod_from_template(
    template: PodTemplateSpec,
    owner: Object,
    *,
    name: str = "",
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    finalizers: tuple[str, ...] = (),
) -> Pod:
    """A pod of the owner's, named `name` or, without one, by the server after the owner: upstream says how it would
    be named in either case."""
    meta = template.metadata or ObjectMeta()
    return Pod(
        metadata=ObjectMeta(
            name=name,
            generate_name=pod_name_prefix(owner.metadata.name),
            namespace=owner.metadata.namespace,
            labels={**meta.labels, **(labels or {})},
            annotations={**meta.annotations, **(annotations or {})},
            finalizers=(*meta.finalizers, *finalizers),
            owner_references=(owners.controller_reference(owner),),
        ),
        spec=template.spec,
    )


def pod_name_prefix(owner_name: str) -> str:
    """What generated pod names start with: without the dash where the server would refuse it for length."""
    return f"{owner_name}-" if len(owner_name) < 253 else owner_name


@dataclass(frozen=True, slots=True)
class Words:
    """How events speak of pods made and deleted; `{name}` is the pod's, `{error}` what went wrong."""

    created: str = "Created pod: {name}"
    not_created: str = "Error creating: {error}"
    deleted: str = "Deleted pod: {name}"
    not_deleted: str = "Error deleting: {error}"


_WORDS = Words()


async def create_pod(context: Context, owner: Object, pod: Pod, words: Words = _WORDS) -> Pod:
    """Make one pod and say so in an event; a failure too. Raises StatusError."""
    try:
        created = await context.client.create(pod)
    except errors.StatusError as error:
        if not is_namespace_terminating(error):
            await context.events.event(
                owner, "Warning", "FailedCreate", words.not_created.format(name=pod.metadata.name, error=error)
            )
        raise
    await context.events.event(owner, "Normal", "SuccessfulCreate", words.created.format(name=created.metadata.name))
    return created


async def create_pods(context: Context, owner: Object, wanted: Iterable[Pod], words: Words = _WORDS) -> Outcome:
    """Make the pods in batches of 1, 2, 4, …: where a quota forbids them all, one request finds out and not 500."""
    queue = list(wanted)
    made = 0
    size = 1
    while queue:
        batch, queue = queue[:size], queue[size:]
        outcome = await _together(lambda pod: create_pod(context, owner, pod, words), batch)
        made += outcome.count
        if outcome.error is not None:
            return Outcome(made, outcome.error)
        size *= 2
    return Outcome(made)


async def delete_pod(context: Context, owner: Object, pod: Object, words: Words = _WORDS) -> bool:
    """Delete one pod and say so in an event; False where it was gone already. Raises StatusError."""
    metadata = pod.metadata
    try:
        deleted = await context.client.delete(Pod, metadata.name, metadata.namespace, uid=metadata.uid)
    except errors.Conflict:
        return False  # another pod has taken the name: the one meant is gone
    except errors.StatusError as error:
        await context.events.event(
            owner, "Warning", "FailedDelete", words.not_deleted.format(name=metadata.name, error=error)
        )
        raise
    if deleted:
        await context.events.event(owner, "Normal", "SuccessfulDelete", words.deleted.format(name=metadata.name))
    return deleted


async def delete_pods(context: Context, owner: Object, pods: Iterable[Object], words: Words = _WORDS) -> Outcome:
    """Delete the pods, all at once."""
    return await _together(lambda pod: delete_pod(context, owner, pod, words), list(pods))


def is_namespace_terminating(error: errors.StatusError) -> bool:
    """Whether a creation failed because its namespace is going: nothing to report, nothing to retry."""
    details = error.status.details
    return details is not None and any(cause.reason == "NamespaceTerminating" for cause in details.causes)


def without_hash(template: PodTemplateSpec, label: str) -> PodTemplateSpec:
    """The template without the label that a controller put there."""
    meta = template.metadata or ObjectMeta()
    labels = {key: value for key, value in meta.labels.items() if key != label}
    return replace(template, metadata=replace(meta, labels=labels))


async def _together(act: Callable[[T], Awaitable[object]], on: list[T]) -> Outcome:
    results = await asyncio.gather(*(act(one) for one in on), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    for failure in failures:
        if not isinstance(failure, errors.StatusError):
            raise failure
    first = failures[0] if failures else None
    assert first is None or isinstance(first, errors.StatusError)
    return Outcome(len(results) - len(failures), first)
