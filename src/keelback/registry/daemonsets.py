"""DaemonSets: they count the changes of their template in an annotation, for clients of old."""

from __future__ import annotations

from keelback.api.apps_v1 import DaemonSet, RollingUpdateDaemonSet
from keelback.apimachinery.meta import replace, with_metadata
from keelback.registry import cells, pod_specs
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import CONTAINERS, IMAGES, SELECTOR, number, text

TEMPLATE_GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"


class DaemonSetStrategy(Strategy[DaemonSet]):
    kind = DaemonSet
    subresources = ("status",)
    columns = (
        number("Desired", lambda one: one.status.desired_number_scheduled),
        number("Current", lambda one: one.status.current_number_scheduled),
        number("Ready", lambda one: one.status.number_ready),
        number("Up-to-date", lambda one: one.status.updated_number_scheduled),
        number("Available", lambda one: one.status.number_available),
        text("Node Selector", lambda one: cells.label_set(one.spec.template.spec.node_selector)),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    )

    def default(self, new: DaemonSet, old: DaemonSet | None = None) -> DaemonSet:
        spec = new.spec
        strategy = spec.update_strategy
        if strategy.type == "RollingUpdate" and strategy.rolling_update is None:
            strategy = replace(strategy, rolling_update=RollingUpdateDaemonSet())
        template = pod_specs.with_template_defaults(spec.template)
        if template is not spec.template or strategy is not spec.update_strategy:
            new = replace(new, spec=replace(spec, template=template, update_strategy=strategy))
        return _with_template_generation(new, old)


def _with_template_generation(new: DaemonSet, old: DaemonSet | None) -> DaemonSet:
    generation = "1"
    if old is not None:
        before = old.metadata.annotations.get(TEMPLATE_GENERATION_ANNOTATION, "0")
        number = int(before) if before.isdigit() else 0
        generation = str(number + (new.spec.template != old.spec.template))
    if new.metadata.annotations.get(TEMPLATE_GENERATION_ANNOTATION) == generation:
        return new
    return with_metadata(new, annotations={**new.metadata.annotations, TEMPLATE_GENERATION_ANNOTATION: generation})
