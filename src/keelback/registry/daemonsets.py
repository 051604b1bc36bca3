"""DaemonSets: they count the changes of their template in an annotation, for clients of old."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keelback.api.apps_v1 import DaemonSet, DaemonSetUpdateStrategy, RollingUpdateDaemonSet
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required
from keelback.apimachinery.meta import replace, with_metadata
from keelback.registry import cells, pod_specs, pod_warnings
from keelback.registry.int_or_percents import validate_non_negative, validate_percent
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import (
    CONTAINERS,
    IMAGES,
    SELECTOR,
    number,
    text,
    validate_counts,
    validate_same_selector,
    validate_selector,
    validate_template,
)

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

    def warnings(self, new: DaemonSet, old: DaemonSet | None) -> Iterable[str]:
        if old is None or old.spec != new.spec:
            yield from pod_warnings.of_spec(new.spec.template.spec, "spec.template.spec")

    def validate(self, new: DaemonSet) -> Iterator[FieldError]:
        spec = new.spec
        yield from validate_selector(spec.selector, "daemonset")
        yield from validate_template(spec.template, spec.selector, "DaemonSet")
        yield from validate_counts(
            ("spec.minReadySeconds", spec.min_ready_seconds),
            ("spec.revisionHistoryLimit", spec.revision_history_limit),
        )
        yield from _strategy(spec.update_strategy)

    def validate_update(self, new: DaemonSet, old: DaemonSet) -> Iterator[FieldError]:
        yield from self.validate(new)
        yield from validate_same_selector(new.spec.selector, old.spec.selector)


def _strategy(strategy: DaemonSetUpdateStrategy) -> Iterator[FieldError]:
    path = "spec.updateStrategy"
    if strategy.type == "OnDelete":
        return
    if strategy.type != "RollingUpdate":
        yield not_supported(f"{path}.type", strategy.type, ("OnDelete", "RollingUpdate"))
        return
    rolling = strategy.rolling_update
    if rolling is None:
        yield required(f"{path}.rollingUpdate")
        return
    for field, value in (("maxUnavailable", rolling.max_unavailable), ("maxSurge", rolling.max_surge)):
        yield from validate_non_negative(value, f"{path}.rollingUpdate.{field}")
        yield from validate_percent(value, f"{path}.rollingUpdate.{field}")
    unavailable, surge = (value not in (0, "0%") for value in (rolling.max_unavailable, rolling.max_surge))
    if unavailable and surge:
        yield invalid(
            f"{path}.rollingUpdate.maxSurge", rolling.max_surge, "may not be set when maxUnavailable is non-zero"
        )
    if not unavailable and not surge:
        yield required(f"{path}.rollingUpdate.maxUnavailable", "cannot be 0 when maxSurge is 0")


def _with_template_generation(new: DaemonSet, old: DaemonSet | None) -> DaemonSet:
    generation = "1"
    if old is not None:
        before = old.metadata.annotations.get(TEMPLATE_GENERATION_ANNOTATION, "0")
        number = int(before) if before.isdigit() else 0
        generation = str(number + (new.spec.template != old.spec.template))
    if new.metadata.annotations.get(TEMPLATE_GENERATION_ANNOTATION) == generation:
        return new
    return with_metadata(new, annotations={**new.metadata.annotations, TEMPLATE_GENERATION_ANNOTATION: generation})
