"""ReplicationControllers: their selector and labels follow from the template where they are not given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from keelback.api.core_v1 import ReplicationController
from keelback.apimachinery.errors import FieldError, required
from keelback.apimachinery.meta import LabelSelector, replace, with_metadata
from keelback.registry import cells, disabled_fields, pod_specs, pod_warnings
from keelback.registry.cells import wide
from keelback.registry.replicasets import ReplicaFields, validate_replicas
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import CONTAINERS, IMAGES, number, twice, validate_counts, validate_template


class ReplicationControllerStrategy(Strategy[ReplicationController]):
    kind = ReplicationController
    checks_metadata_as_new = True
    storage_path = "controllers"
    subresources = ("scale", "status")
    orphans_by_default = True
    columns = (
        number("Desired", lambda one: one.spec.replicas),
        number("Current", lambda one: one.status.replicas),
        number("Ready", lambda one: one.status.ready_replicas),
        AGE,
        CONTAINERS,
        IMAGES,
        wide("Selector", lambda one, _now: cells.label_set(one.spec.selector)),
    )
    field_type: ClassVar[type[msgspec.Struct]] = ReplicaFields
    field_names = ("status.replicas",)

    def fields(self, narrow: Any) -> Mapping[str, str]:
        return {"status.replicas": str(narrow.status.replicas)}

    def default(self, new: ReplicationController, old: ReplicationController | None = None) -> ReplicationController:
        spec = new.spec
        if spec.template is None:
            return new
        template = pod_specs.with_template_defaults(spec.template)
        labels = template.metadata.labels if template.metadata else {}
        selector = spec.selector or labels
        if template is not spec.template or selector is not spec.selector:
            new = replace(new, spec=replace(spec, template=template, selector=selector))
        if labels and not new.metadata.labels:
            new = with_metadata(new, labels=labels)
        return new

    def prepare_for_create(self, new: ReplicationController) -> ReplicationController:
        return _without_disabled(super().prepare_for_create(new))

    def prepare_for_update(self, new: ReplicationController, old: ReplicationController) -> ReplicationController:
        return _without_disabled(super().prepare_for_update(new, old))

    def warnings(self, new: ReplicationController, old: ReplicationController | None) -> Iterable[str]:
        if new.spec.template is not None and (old is None or old.spec != new.spec):
            yield from pod_warnings.of_template(new.spec.template, "spec.template")

    def validate(self, new: ReplicationController) -> Iterator[FieldError]:
        spec = new.spec
        yield from validate_counts(("spec.minReadySeconds", spec.min_ready_seconds))
        if not spec.selector:
            yield required("spec.selector")
        yield from validate_counts(("spec.replicas", spec.replicas))
        if spec.template is None:
            yield required("spec.template")
            return
        yield from validate_template(spec.template, LabelSelector(match_labels=spec.selector), "ReplicationController")

    def validate_update(self, new: ReplicationController, old: ReplicationController) -> Iterator[FieldError]:
        yield from twice(self.validate(new))

    def validate_status_update(self, new: ReplicationController, old: ReplicationController) -> Iterator[FieldError]:
        yield from validate_replicas(new.status)


def _without_disabled(one: ReplicationController) -> ReplicationController:
    if one.spec.template is None:
        return one
    template = disabled_fields.dropped_from_template(one.spec.template)
    return one if template is one.spec.template else replace(one, spec=replace(one.spec, template=template))
