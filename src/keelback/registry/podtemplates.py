"""PodTemplates."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.core_v1 import PodTemplate
from keelback.apimachinery.errors import FieldError
from keelback.apimachinery.meta import replace
from keelback.registry import cells, pod_specs, pod_templates
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

    def validate(self, new: PodTemplate) -> Iterator[FieldError]:
        yield from pod_templates.validate(new.template, "template")
