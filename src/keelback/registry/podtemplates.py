"""PodTemplates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keelback.api.core_v1 import PodTemplate
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import replace
from keelback.registry import cells, disabled_fields, pod_specs, pod_templates, pod_warnings
from keelback.registry.strategy import Strategy
from keelback.registry.workloads import text


class PodTemplateStrategy(Strategy[PodTemplate]):
    kind = PodTemplate
    answers_deleted_object = True
    columns = (
        text("Containers", lambda one: cells.container_names(one.template)),
        text("Images", lambda one: cells.images(one.template)),
        text(
            "Pod Labels",
            lambda one: cells.label_set(one.template.metadata.labels if one.template.metadata else {}),
        ),
    )

    def default(self, new: PodTemplate, old: PodTemplate | None = None) -> PodTemplate:
        template = pod_specs.with_template_defaults(new.template)
        return new if template is new.template else replace(new, template=template)

    def prepare_for_create(self, new: PodTemplate) -> PodTemplate:
        return _without_disabled(new)

    def prepare_for_update(self, new: PodTemplate, old: PodTemplate) -> PodTemplate:
        return _without_disabled(new)

    def warnings(self, new: PodTemplate, old: PodTemplate | None) -> Iterable[str]:
        if old is None or old.template != new.template:
            yield from pod_warnings.of_template(new.template, "template")

    def validate(self, new: PodTemplate) -> Iterator[FieldError]:
        yield from pod_templates.validate(new.template, "template")


def _without_disabled(one: PodTemplate) -> PodTemplate:
    template = disabled_fields.dropped_from_template(one.template)
    return one if template is one.template else replace(one, template=template)
