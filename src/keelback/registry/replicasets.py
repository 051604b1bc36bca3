"""ReplicaSets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from keelback.api.apps_v1 import ReplicaSet
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import replace
from keelback.registry import pod_specs, pod_warnings
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import (
    CONTAINERS,
    IMAGES,
    SELECTOR,
    number,
    validate_counts,
    validate_same_selector,
    validate_selector,
    validate_template,
)


class _Status(msgspec.Struct, frozen=True):
    replicas: int = 0


class ReplicaFields(msgspec.Struct, frozen=True):
    """What ReplicaSets and ReplicationControllers can be selected by."""

    status: _Status = _Status()


class ReplicaSetStrategy(Strategy[ReplicaSet]):
    kind = ReplicaSet
    subresources = ("scale", "status")
    columns = (
        number("Desired", lambda one: one.spec.replicas),
        number("Current", lambda one: one.status.replicas),
        number("Ready", lambda one: one.status.ready_replicas),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    )
    field_type: ClassVar[type[msgspec.Struct]] = ReplicaFields
    field_names = ("status.replicas",)

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {"status.replicas": str(narrow.status.replicas)}

    def default(self, new: ReplicaSet, old: ReplicaSet | None = None) -> ReplicaSet:
        template = pod_specs.with_template_defaults(new.spec.template)
        return new if template is new.spec.template else replace(new, spec=replace(new.spec, template=template))

    def warnings(self, new: ReplicaSet, old: ReplicaSet | None) -> Iterable[str]:
        if old is None or old.spec != new.spec:
            yield from pod_warnings.of_spec(new.spec.template.spec, "spec.template.spec")

    def validate(self, new: ReplicaSet) -> Iterator[FieldError]:
        spec = new.spec
        yield from validate_counts(("spec.replicas", spec.replicas), ("spec.minReadySeconds", spec.min_ready_seconds))
        yield from validate_selector(spec.selector, "deployment")
        yield from validate_template(spec.template, spec.selector, "ReplicaSet")

    def validate_update(self, new: ReplicaSet, old: ReplicaSet) -> Iterator[FieldError]:
        yield from self.validate(new)
        yield from validate_same_selector(new.spec.selector, old.spec.selector)
