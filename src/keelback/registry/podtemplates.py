"""PodTemplates."""

from __future__ import annotations

from keelback.api.core_v1 import PodTemplate
from keelback.apimachinery.meta import replace
from keelback.registry import cells, pod_specs
from keelback.registry.strategy import Strategy
from keelback.registry.workloads import text


class PodTemplateStrategy(Strategy[PodTemplate]):
    kind = PodTemplate
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
