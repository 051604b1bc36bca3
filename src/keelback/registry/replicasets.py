"""ReplicaSets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from keelback.api.apps_v1 import ReplicaSet, ReplicaSetStatus
from keelback.api.core_v1 import ReplicationControllerStatus
from keelback.apimachinery.errors import FieldError, invalid
from keelback.apimachinery.meta import replace
from keelback.registry import disabled_fields, pod_specs, pod_warnings
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import (
    CONTAINERS,
    IMAGES,
    SELECTOR,
    number,
    twice,
    validate_counts,
    validate_same_selector,
    validate_selector,
    validate_status_counts,
    validate_template,
)


class _Status(msgspec.Struct, frozen=True):
    replicas: int = 0


class ReplicaFields(msgspec.Struct, frozen=True):
    """What ReplicaSets and ReplicationControllers can be selected by."""

    status: _Status = _Status()


class ReplicaSetStrategy(Strategy[ReplicaSet]):
    kind = ReplicaSet
    checks_metadata_as_new = True
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

    def prepare_for_create(self, new: ReplicaSet) -> ReplicaSet:
        return _without_disabled(super().prepare_for_create(new))

    def prepare_for_update(self, new: ReplicaSet, old: ReplicaSet) -> ReplicaSet:
        return _without_disabled(super().prepare_for_update(new, old))

    def warnings(self, new: ReplicaSet, old: ReplicaSet | None) -> Iterable[str]:
        if old is None or old.spec != new.spec:
            yield from pod_warnings.of_template(new.spec.template, "spec.template")

    def validate(self, new: ReplicaSet) -> Iterator[FieldError]:
        spec = new.spec
        yield from validate_counts(("spec.replicas", spec.replicas), ("spec.minReadySeconds", spec.min_ready_seconds))
        yield from validate_selector(spec.selector, "deployment")
        yield from validate_template(spec.template, spec.selector, "ReplicaSet")

    def validate_update(self, new: ReplicaSet, old: ReplicaSet) -> Iterator[FieldError]:
        yield from twice(self.validate(new))
        yield from validate_same_selector(new.spec.selector, old.spec.selector)

    def validate_status_update(self, new: ReplicaSet, old: ReplicaSet) -> Iterator[FieldError]:
        yield from validate_replicas(new.status)


def validate_replicas(status: ReplicaSetStatus | ReplicationControllerStatus) -> Iterator[FieldError]:
    """Everything wrong with the counts in the status of a ReplicaSet, or of its forerunner."""
    yield from validate_status_counts(
        status.replicas,
        ("fullyLabeledReplicas", status.fully_labeled_replicas),
        ("readyReplicas", status.ready_replicas),
        ("availableReplicas", status.available_replicas),
        ("observedGeneration", status.observed_generation),
    )
    if status.available_replicas > status.ready_replicas:
        yield invalid("status.availableReplicas", status.available_replicas, "cannot be greater than readyReplicas")


def _without_disabled(one: ReplicaSet) -> ReplicaSet:
    template = disabled_fields.dropped_from_template(one.spec.template)
    return one if template is one.spec.template else replace(one, spec=replace(one.spec, template=template))
