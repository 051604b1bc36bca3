"""What may change in a pod once it is written: by an update, and in its ephemeral containers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from keelback.api.core_v1 import Affinity, Container, NodeAffinity, NodeSelectorTerm, Pod, PodSpec, Toleration
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, required
from keelback.apimachinery.meta import replace
from keelback.registry import containers, placement
from keelback.registry.internal_forms import difference, internal
from keelback.registry.pod_templates import MAX_INT32

_UPDATABLE: Final = ",".join(
    (
        "`spec.containers[*].image`",
        "`spec.initContainers[*].image`",
        "`spec.activeDeadlineSeconds`",
        "`spec.tolerations` (only additions to existing tolerations)",
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    )
)
_ONLY_ADDITIONS: Final = "only additions are allowed (no mutations or deletions)"


def validate_update(new: Pod, old: Pod) -> Iterator[FieldError]:
    """Everything that an update of a pod changes and may not."""
    after, before = new.spec, old.spec
    if after == before:
        return
    for field, now, then in (
        ("containers", after.containers, before.containers),
        ("initContainers", after.init_containers, before.init_containers),
    ):
        if len(now) != len(then):
            yield forbidden(f"spec.{field}", "pod updates may not add or remove containers")
            return
        for index, container in enumerate(now):
            if not container.image:
                yield required(f"spec.{field}[{index}].image")
            yield from containers.validate_image_of_pod(container, f"spec.{field}[{index}]")
    deadline = list(_deadline(after.active_deadline_seconds, before.active_deadline_seconds))
    yield from deadline
    if deadline and after.active_deadline_seconds is not None:
        return
    yield from _tolerations(after.tolerations, before.tolerations)
    yield from _gates(after, before)
    if before.scheduling_gates:
        yield from _narrowing(after, before)
    reverted = _reverted(after, before)
    if reverted != before:
        shown = difference(before, reverted)
        yield forbidden("spec", f"pod updates may not change fields other than {_UPDATABLE}\n{shown}")


def validate_ephemeral_containers_update(new: Pod, old: Pod) -> Iterator[FieldError]:
    """What an update of /ephemeralcontainers may not do: change or remove one that is there."""
    path = "spec.ephemeralContainers"
    after = {one.name: one for one in new.spec.ephemeral_containers}
    for one in old.spec.ephemeral_containers:
        found = after.get(one.name)
        if found is None:
            yield forbidden(path, f'existing ephemeral containers "{one.name}" may not be removed\n')
        elif found != one:
            shown = difference(one, found)
            yield forbidden(path, f'existing ephemeral containers "{one.name}" may not be changed\n{shown}')


def _reverted(after: PodSpec, before: PodSpec) -> PodSpec:
    """The new spec with what may change as it was: what still differs may not."""
    changes: dict[str, Any] = {}
    if before.scheduling_gates:
        changes = {"node_selector": before.node_selector, "affinity": _affinity_reverted(after, before)}
    if before.termination_grace_period_seconds < 0 and after.termination_grace_period_seconds == 1:
        changes["termination_grace_period_seconds"] = before.termination_grace_period_seconds
    return replace(
        after,
        containers=_with_images_of(after.containers, before.containers),
        init_containers=_with_images_of(after.init_containers, before.init_containers),
        active_deadline_seconds=before.active_deadline_seconds,
        tolerations=before.tolerations,
        scheduling_gates=before.scheduling_gates,
        **changes,
    )


def _affinity_reverted(after: PodSpec, before: PodSpec) -> Affinity | None:
    """The affinity with the node affinity there was: that alone may change while a pod is gated."""
    now, then = after.affinity, before.affinity
    of_node = then.node_affinity if then is not None else None
    if now is None:
        return None if of_node is None else Affinity(node_affinity=of_node)
    if then is None and now.pod_affinity is None and now.pod_anti_affinity is None:
        return None
    return replace(now, node_affinity=of_node)


def _deadline(after: int | None, before: int | None) -> Iterator[FieldError]:
    path = "spec.activeDeadlineSeconds"
    if after is not None:
        if not 0 <= after <= MAX_INT32:
            yield invalid(path, after, names.inclusive_range_error(0, MAX_INT32))
        elif before is not None and after > before:
            yield invalid(path, after, "must be less than or equal to previous value")
    elif before is not None:
        yield invalid(path, after, "must not update from a positive integer to nil value")


def _tolerations(after: Sequence[Toleration], before: Sequence[Toleration]) -> Iterator[FieldError]:
    kept = {replace(one, toleration_seconds=None) for one in after}
    if any(replace(one, toleration_seconds=None) not in kept for one in before):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    else:
        yield from placement.validate_tolerations(after, "spec.tolerations")


def _gates(after: PodSpec, before: PodSpec) -> Iterator[FieldError]:
    known = {gate.name for gate in before.scheduling_gates}
    for index, gate in enumerate(after.scheduling_gates):
        if gate.name not in known:
            yield forbidden(
                f"spec.schedulingGates[{index}].name",
                f"only deletion is allowed, but found new scheduling gate '{gate.name}'",
            )


def _narrowing(after: PodSpec, before: PodSpec) -> Iterator[FieldError]:
    """A pod that is not yet to be scheduled may still narrow down where it goes, and nothing else."""
    if any(after.node_selector.get(key) != value for key, value in before.node_selector.items()):
        why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        yield invalid("spec.nodeSelector", dict(after.node_selector) or None, why)
    then, now = _required_terms(before.affinity), _required_terms(after.affinity)
    path = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    if then and len(then) != len(now):
        why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        yield invalid(path, internal(now), why)
        return
    for index, term in enumerate(then):
        if not _has_only_additions(now[index], term):
            yield invalid(f"{path}[{index}]", internal(now[index]), _ONLY_ADDITIONS)


def _required_terms(affinity: Affinity | None) -> tuple[NodeSelectorTerm, ...]:
    of_node: NodeAffinity | None = affinity.node_affinity if affinity is not None else None
    wanted = of_node.required_during_scheduling_ignored_during_execution if of_node is not None else None
    return wanted.node_selector_terms if wanted is not None else ()


def _has_only_additions(new: NodeSelectorTerm, old: NodeSelectorTerm) -> bool:
    if not old.match_expressions and not old.match_fields:
        return not new.match_expressions and not new.match_fields
    return (
        new.match_expressions[: len(old.match_expressions)] == old.match_expressions
        and new.match_fields[: len(old.match_fields)] == old.match_fields
    )


def _with_images_of(after: Sequence[Container], before: Sequence[Container]) -> tuple[Container, ...]:
    return tuple(replace(new, image=old.image) for new, old in zip(after, before, strict=True))
