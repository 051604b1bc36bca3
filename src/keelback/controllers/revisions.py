"""ControllerRevisions: the history of templates that DaemonSets and StatefulSets keep, to update and roll back by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from keelback.api import owners
from keelback.api.apps_v1 import ControllerRevision
from keelback.api.core_v1 import PodTemplateSpec
from keelback.apimachinery import errors
from keelback.apimachinery.meta import Object, ObjectMeta
from keelback.client import MergePatch, Store
from keelback.controllers import adoption
from keelback.controllers.template_hash import compute_hash
from keelback.reconcile.context import Context
from keelback.reconcile.patches import tree

HASH_LABEL = "controller-revision-hash"


@dataclass(frozen=True, slots=True)
class History:
    """The revision of the present template, and all others, oldest first."""

    current: ControllerRevision
    others: tuple[ControllerRevision, ...]

    @property
    def hash(self) -> str:
        """What pods of the present template are labelled with."""
        return self.current.metadata.labels.get(HASH_LABEL, "")


def snapshot(template: PodTemplateSpec) -> Any:
    """What a revision holds: a strategic merge patch that puts the template back."""
    return {"spec": {"template": {**tree(template), "$patch": "replace"}}}


def content(revision: ControllerRevision) -> Any:
    """The revision's data as a tree."""
    return msgspec.json.decode(revision.data) if revision.data else {}


def restored_template(revision: ControllerRevision) -> PodTemplateSpec:
    """The template that a revision holds."""
    held = dict(content(revision).get("spec", {}).get("template", {}))
    held.pop("$patch", None)
    return msgspec.convert(held, PodTemplateSpec)


def find_equal(revisions: Sequence[ControllerRevision], wanted: Any) -> ControllerRevision | None:
    """The newest revision with this content."""
    return next((one for one in reversed(revisions) if content(one) == wanted), None)


def superfluous(others: Sequence[ControllerRevision], live: frozenset[str], limit: int) -> list[ControllerRevision]:
    """The oldest revisions beyond `limit` that no pod runs any more; `live` are the hashes that pods have."""
    unused = [one for one in others if one.metadata.labels.get(HASH_LABEL, "") not in live]
    return unused[: max(0, len(unused) - limit)]


async def sync(
    context: Context,
    owner: Object,
    template: PodTemplateSpec,
    labels: Mapping[str, str],
    selects: adoption.Selects,
    collision_count: int | None,
) -> History:
    """Make sure that the present template has the highest revision: a new one, or that of an equal template before.

    Raises Collision where another template has taken its name.
    """
    store: Store[ControllerRevision] = context.caches.index_by_controller(ControllerRevision)
    mine = await adoption.claim(context.client, owner, selects, store)
    mine.sort(key=lambda one: (one.revision, one.metadata.name))
    wanted = snapshot(template)
    highest = mine[-1].revision if mine else 0
    equal = find_equal(mine, wanted)
    if equal is None:
        current = await _create(context, owner, template, labels, highest + 1, collision_count)
    elif equal.revision < highest:
        patch = MergePatch({"revision": highest + 1})
        metadata = equal.metadata
        current = await context.client.patch(ControllerRevision, metadata.name, metadata.namespace, patch)
    else:
        current = equal
    return History(current, tuple(one for one in mine if one.metadata.name != current.metadata.name))


class Collision(Exception):
    """Two templates have the same hash: the owner's collision count must grow."""


async def _create(
    context: Context,
    owner: Object,
    template: PodTemplateSpec,
    labels: Mapping[str, str],
    number: int,
    collision_count: int | None,
) -> ControllerRevision:
    template_hash = compute_hash(template, collision_count)
    wanted = snapshot(template)
    kept = "kubectl.kubernetes.io/last-applied-configuration"
    revision = ControllerRevision(
        metadata=ObjectMeta(
            name=f"{owner.metadata.name[:223]}-{template_hash}",
            namespace=owner.metadata.namespace,
            labels={**labels, HASH_LABEL: template_hash},
            annotations={key: value for key, value in owner.metadata.annotations.items() if key != kept},
            owner_references=(owners.controller_reference(owner),),
        ),
        data=msgspec.Raw(msgspec.json.encode(wanted)),
        revision=number,
    )
    try:
        return await context.client.create(revision)
    except errors.AlreadyExists:
        held = await context.client.get(ControllerRevision, revision.metadata.name, revision.metadata.namespace)
        if content(held) == wanted and owners.is_controlled_by(held, owner):
            return held
        raise Collision(revision.metadata.name) from None


async def clean_up(context: Context, history: History, live: frozenset[str], limit: int) -> None:
    """Delete what `superfluous` names."""
    for one in superfluous(history.others, live, limit):
        await context.client.delete(ControllerRevision, one.metadata.name, one.metadata.namespace, uid=one.metadata.uid)
