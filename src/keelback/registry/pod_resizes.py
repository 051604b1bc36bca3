"""What a resize of a pod may do: change how much cpu and memory its containers get, while they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

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
    problems = [*found, *_problems(new, old)]
    yield from problems
    if not problems and _without_compute(new, old).spec != old.spec:
        yield forbidden("spec", "only cpu and memory resources are mutable")


def _problems(new: Pod, old: Pod) -> Iterator[FieldError]:
    if pods.compute_qos_class(new.spec) != pods.qos_class(old):
        yield invalid("spec", new.status.qos_class, "Pod QOS Class may not change as a result of resizing")
    running = next((one for one in old.status.container_statuses if one.state.running is not None), None)
    if running is not None and running.resources is None:
        yield forbidden("spec", "Pod running on node without support for resize")
    for field, after, before in (
        ("initContainers", new.spec.init_containers, old.spec.init_containers),
        ("containers", new.spec.containers, old.spec.containers),
    ):
        for index, (now, then) in enumerate(zip(after, before, strict=False)):
            if field == "containers" or pods.is_restartable_init(then):
                yield from _removals(now.resources, then.resources, f"spec.{field}[{index}].resources")
    for now, then in zip(new.spec.containers, old.spec.containers, strict=False):
        if _with_compute_of(now, then) != then:
            yield forbidden("spec", "only cpu and memory resources are mutable")
    for now, then in zip(new.spec.init_containers, old.spec.init_containers, strict=False):
        if pods.is_restartable_init(now):
            if _with_compute_of(now, then) != then:
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
        containers=tuple(_with_compute_of(a, b) for a, b in zip(new.spec.containers, old.spec.containers, strict=True)),
        init_containers=tuple(
            _with_compute_of(a, b) if pods.is_restartable_init(a) else a
            for a, b in zip(new.spec.init_containers, old.spec.init_containers, strict=True)
        ),
        resources=old.spec.resources,
    )
    return replace(new, spec=spec)


def _with_compute_of(after: Container, before: Container) -> Container:
    resources = replace(
        after.resources,
        limits=_compute_of(after.resources.limits, before.resources.limits),
        requests=_compute_of(after.resources.requests, before.resources.requests),
    )
    return replace(after, resources=resources, resize_policy=before.resize_policy)


def _compute_of(after: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    kept = {name: amount for name, amount in after.items() if name not in ("cpu", "memory")}
    return {**kept, **{name: amount for name, amount in before.items() if name in ("cpu", "memory")}}
