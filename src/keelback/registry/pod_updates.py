"""What may change in a pod once it is written: by an update, and by each of the subresources that change its spec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from keelback.api import pods
from keelback.api.core_v1 import Container, Pod, PodSpec, Toleration
from keelback.apimachinery.errors import FieldError, forbidden, invalid
from keelback.apimachinery.meta import replace
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


def validate_update(new: Pod, old: Pod) -> Iterator[FieldError]:
    """Everything that an update of a pod changes and may not."""
    after, before = new.spec, old.spec
    if after == before:
        return
    if len(after.containers) != len(before.containers):
        yield forbidden("spec.containers", "pod updates may not add or remove containers")
        return
    if len(after.init_containers) != len(before.init_containers):
        yield forbidden("spec.initContainers", "pod updates may not add or remove containers")
        return
    yield from _deadline(after.active_deadline_seconds, before.active_deadline_seconds)
    yield from _tolerations(after.tolerations, before.tolerations)
    yield from _gates(after, before)
    expected = replace(
        before,
        containers=_with_images_of(before.containers, after.containers),
        init_containers=_with_images_of(before.init_containers, after.init_containers),
        active_deadline_seconds=after.active_deadline_seconds,
        tolerations=after.tolerations,
        scheduling_gates=after.scheduling_gates,
        **_changeable_while_gated(after, before),
    )
    if before.termination_grace_period_seconds < 0 and after.termination_grace_period_seconds == 1:
        expected = replace(expected, termination_grace_period_seconds=1)
    if after != expected:
        yield forbidden("spec", f"pod updates may not change fields other than {_UPDATABLE}")


def validate_ephemeral_containers_update(new: Pod, old: Pod) -> Iterator[FieldError]:
    """What an update of /ephemeralcontainers may not do: change or remove one that is there."""
    after = {one.name: one for one in new.spec.ephemeral_containers}
    for one in old.spec.ephemeral_containers:
        found = after.get(one.name)
        if found is None:
            yield forbidden(
                "spec.ephemeralContainers", f'existing ephemeral containers "{one.name}" may not be removed\n'
            )
        elif found != one:
            yield forbidden(
                "spec.ephemeralContainers", f'existing ephemeral containers "{one.name}" may not be changed\n'
            )


def validate_resize(new: Pod, old: Pod) -> Iterator[FieldError]:
    """What an update of /resize may not do: change the class of service, or other resources than cpu and memory."""
    if pods.is_static(old):
        yield forbidden("", "static pods cannot be resized")
    old_class = pods.qos_class(old)
    if pods.compute_qos_class(new.spec) != old_class:
        yield invalid("spec", pods.compute_qos_class(new.spec), "Pod QOS Class may not change as a result of resizing")
    for after, before in zip(pods.all_containers(new.spec), pods.all_containers(old.spec), strict=False):
        if _beyond_compute(after) != _beyond_compute(before):
            yield forbidden("spec", "only cpu and memory resources are mutable")
            return


def _beyond_compute(container: Container) -> tuple[dict[str, str], dict[str, str]]:
    resources = container.resources
    return (
        {name: amount for name, amount in resources.requests.items() if name not in ("cpu", "memory")},
        {name: amount for name, amount in resources.limits.items() if name not in ("cpu", "memory")},
    )


def _deadline(after: int | None, before: int | None) -> Iterator[FieldError]:
    path = "spec.activeDeadlineSeconds"
    if after is not None:
        if before is not None and after > before:
            yield invalid(path, after, "must be less than or equal to previous value")
        elif not 0 <= after <= MAX_INT32:
            yield invalid(path, after, f"must be between 0 and {MAX_INT32}, inclusive")
    elif before is not None:
        yield invalid(path, after, "must not update from a positive integer to nil value")


def _tolerations(after: Sequence[Toleration], before: Sequence[Toleration]) -> Iterator[FieldError]:
    kept = {replace(one, toleration_seconds=None) for one in after}
    if any(replace(one, toleration_seconds=None) not in kept for one in before):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")


def _gates(after: PodSpec, before: PodSpec) -> Iterator[FieldError]:
    known = {gate.name for gate in before.scheduling_gates}
    for index, gate in enumerate(after.scheduling_gates):
        if gate.name not in known:
            yield forbidden(
                f"spec.schedulingGates[{index}].name",
                f"only deletion is allowed, but found new scheduling gate '{gate.name}'",
            )


def _changeable_while_gated(after: PodSpec, before: PodSpec) -> dict[str, Any]:
    """A pod that is not yet to be scheduled may still narrow down where it goes."""
    if not before.scheduling_gates:
        return {}
    narrower = all(after.node_selector.get(key) == value for key, value in before.node_selector.items())
    changes: dict[str, Any] = {"node_selector": after.node_selector} if narrower else {}
    if before.affinity is None or before.affinity.node_affinity is None:
        changes["affinity"] = after.affinity
    return changes


def _with_images_of(before: Sequence[Container], after: Sequence[Container]) -> tuple[Container, ...]:
    return tuple(replace(old, image=new.image) for old, new in zip(before, after, strict=True))
