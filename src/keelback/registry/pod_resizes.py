"""What a resize of a pod may do: change how much cpu and memory its containers get, while they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keelback.api import pods
from keelback.api.core_v1 import Container, Pod, ResourceRequirements
from keelback.apimachinery.errors import FieldError, forbidden, invalid
from keelback.apimachinery.meta import replace


def validate(new: Pod, old: Pod, found: Sequence[FieldError]) -> Iterator[FieldError]:
    """Everything wrong with a resize. `found` is what is wrong with the new pod as such."""
    if pods.is_mirror(old):
        yield forbidden("", "static pods cannot be resized")
        return
    if old.spec.os is not None and old.spec.os.name == "windows":
        yield forbidden("", "windows pods cannot be resized")
        return
    problems = [*found, *_support(new, old), *_pod_level(new, old)]
    disorder = [*_order(new, old)]
    if not disorder:
        problems.extend(_changes(new, old))
    yield from (*problems, *disorder)
    if not problems and not disorder and _without_compute(new, old).spec != old.spec:
        yield forbidden("spec", "only cpu and memory resources are mutable")


def merged(new: Pod, old: Pod) -> Pod:
    """The old pod with the resources sent. Another list of containers is passed on as it is, to be refused."""
    changes: dict[str, Any] = {"resources": new.spec.resources}
    for field in ("containers", "init_containers"):
        after, before = getattr(new.spec, field), getattr(old.spec, field)
        changes[field] = after
        if [one.name for one in after] == [one.name for one in before]:
            changes[field] = tuple(
                replace(then, resources=now.resources, resize_policy=now.resize_policy)
                for now, then in zip(after, before, strict=True)
            )
    return replace(old, spec=replace(old.spec, **changes))


def _support(new: Pod, old: Pod) -> Iterator[FieldError]:
    if pods.compute_qos_class(new.spec) != pods.qos_class(old):
        yield invalid("spec", new.status.qos_class, "Pod QOS Class may not change as a result of resizing")
    running = next((one for one in old.status.container_statuses if one.state.running is not None), None)
    if running is not None and running.resources is None:
        yield forbidden("spec", "Pod running on node without support for resize")


def _pod_level(new: Pod, old: Pod) -> Iterator[FieldError]:
    after, before = new.spec.resources, old.spec.resources
    if after is None:
        if before is not None and (before.requests or before.limits):
            yield forbidden("spec.resources", "pod-level resources cannot be removed")
        return
    if before is not None:
        for field, now, then in (
            ("requests", after.requests, before.requests),
            ("limits", after.limits, before.limits),
        ):
            if then.keys() - now.keys():
                yield forbidden(f"spec.resources.{field}", f"pod-level resource {field} cannot be removed")
    was = before or ResourceRequirements()
    if _with_compute_of(after, was) != was:
        yield forbidden("spec", "only cpu and memory resources are mutable at pod-level")


def _order(new: Pod, old: Pod) -> Iterator[FieldError]:
    for field, after, before in (
        ("containers", new.spec.containers, old.spec.containers),
        ("initContainers", new.spec.init_containers, old.spec.init_containers),
    ):
        if len(after) != len(before):
            yield forbidden(f"spec.{field}", f"{field} may not be added or removed on resize")
            continue
        for index, (now, then) in enumerate(zip(after, before, strict=True)):
            if now.name != then.name:
                yield forbidden(f"spec.{field}[{index}].name", f"{field} may not be renamed or reordered on resize")


def _changes(new: Pod, old: Pod) -> Iterator[FieldError]:
    for field, after, before in (
        ("initContainers", new.spec.init_containers, old.spec.init_containers),
        ("containers", new.spec.containers, old.spec.containers),
    ):
        for index, (now, then) in enumerate(zip(after, before, strict=True)):
            if field == "containers" or pods.is_restartable_init(then):
                yield from _removals(now.resources, then.resources, f"spec.{field}[{index}].resources")
    for now, then in zip(new.spec.containers, old.spec.containers, strict=True):
        if _with_old_compute(now, then) != then:
            yield forbidden("spec", "only cpu and memory resources are mutable")
    for now, then in zip(new.spec.init_containers, old.spec.init_containers, strict=True):
        if pods.is_restartable_init(now):
            if _with_old_compute(now, then) != then:
                yield forbidden("spec", "only cpu and memory resources for sidecar containers are mutable")
        elif now != then:
            yield forbidden("spec", "resources for non-sidecar init containers are immutable")


def _removals(after: ResourceRequirements, before: ResourceRequirements, path: str) -> Iterator[FieldError]:
    if before.requests.keys() - after.requests.keys():
        yield forbidden(f"{path}.requests", "resource requests cannot be removed")
    if before.limits.keys() - after.limits.keys():
        yield forbidden(f"{path}.limits", "resource limits cannot be removed")


def _without_compute(new: Pod, old: Pod) -> Pod:
    """The new pod with the old one's cpu and memory."""
    spec = replace(
        new.spec,
        containers=tuple(map(_with_old_compute, new.spec.containers, old.spec.containers)),
        init_containers=tuple(
            _with_old_compute(now, then) if pods.is_restartable_init(now) else now
            for now, then in zip(new.spec.init_containers, old.spec.init_containers, strict=True)
        ),
        resources=old.spec.resources,
    )
    return replace(new, spec=spec)


def _with_old_compute(after: Container, before: Container) -> Container:
    return replace(after, resources=replace(_with_compute_of(after.resources, before.resources), claims=()))


def _with_compute_of(after: ResourceRequirements, before: ResourceRequirements) -> ResourceRequirements:
    limits, requests = _compute_of(after.limits, before.limits), _compute_of(after.requests, before.requests)
    return replace(after, limits=limits, requests=requests)


def _compute_of(after: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    kept = {name: amount for name, amount in after.items() if name not in ("cpu", "memory")}
    return {**kept, **{name: amount for name, amount in before.items() if name in ("cpu", "memory")}}
