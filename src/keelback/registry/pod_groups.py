"""What the feature gate GenericWorkload adds to pods and their templates: `schedulingGroup`, else dropped.

Only a server that was asked for the gate loads this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from keelback.api.core_v1 import PodSpec
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, required
from keelback.apimachinery.meta import replace
from keelback.registry.strategy import Strategy

_SPECS: Final[Mapping[str, tuple[str, ...]]] = {
    "pods": ("spec",),
    "podtemplates": ("template", "spec"),
    "cronjobs": ("spec", "job_template", "spec", "template", "spec"),
    **dict.fromkeys(
        ("daemonsets", "deployments", "jobs", "replicasets", "replicationcontrollers", "statefulsets"),
        ("spec", "template", "spec"),
    ),
}
"""Where each resource has the spec of a pod."""


def keeping(strategy: Strategy[Any]) -> Strategy[Any]:
    """The strategy with the field: kept where it was given, and validated. One without pods stays as it is."""
    found = _SPECS.get(strategy.kind.__kind__.plural)
    if found is None:
        return strategy
    path: tuple[str, ...] = found
    base: Any = type(strategy)

    class Keeping(base):  # type: ignore[misc]  # which class it is of is known when a server starts
        def prepare_for_create(self, new: Any) -> Any:
            return _with_group(super().prepare_for_create(new), new, path)

        def prepare_for_update(self, new: Any, old: Any) -> Any:
            return _with_group(super().prepare_for_update(new, old), new, path)

        def validate(self, new: Any) -> Iterator[FieldError]:
            yield from super().validate(new)
            yield from _problems(new, path)

    Keeping.__name__ = base.__name__
    made: Strategy[Any] = Keeping()
    return made


def _with_group(made: Any, given: Any, path: tuple[str, ...]) -> Any:
    spec = _at(given, path)
    if spec is None or spec.scheduling_group is None:
        return made
    return _changed(made, path, lambda one: replace(one, scheduling_group=spec.scheduling_group))


def _problems(new: Any, path: tuple[str, ...]) -> Iterator[FieldError]:
    spec = _at(new, path)
    group = spec.scheduling_group if spec is not None else None
    if group is None:
        return
    field = ".".join("jobTemplate" if part == "job_template" else part for part in path) + ".schedulingGroup"
    if not group.pod_group_name:
        yield required(f"{field}.podGroupName")
        return
    for complaint in names.dns1123_subdomain(group.pod_group_name):
        yield invalid(f"{field}.podGroupName", group.pod_group_name, complaint)


def _at(obj: Any, path: tuple[str, ...]) -> PodSpec | None:
    for part in path:
        obj = getattr(obj, part)
        if obj is None:
            return None
    found: PodSpec = obj
    return found


def _changed(obj: Any, path: tuple[str, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return change(obj)
    return replace(obj, **{path[0]: _changed(getattr(obj, path[0]), path[1:], change)})
