"""DaemonSets: they count the changes of their template in an annotation, for clients of old."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keelback.api.apps_v1 import DaemonSet, DaemonSetUpdateStrategy, RollingUpdateDaemonSet
from keelback.apimachinery.errors import FieldError, invalid, not_supported, required
from keelback.apimachinery.meta import replace, with_metadata
from keelback.registry import cells, disabled_fields, label_selectors, pod_specs, pod_templates, pod_warnings
from keelback.registry.int_or_percents import is_nothing, validate_non_negative, validate_percent
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import (
    CONTAINERS,
    IMAGES,
    SELECTOR,
    number,
    text,
    twice,
    validate_collisions,
    validate_counts,
    validate_long_running,
    validate_not_empty,
    validate_same_selector,
    validate_selected,
)

TEMPLATE_GENERATION_ANNOTATION = "deprecated.daemonset.template.generation"


class DaemonSetStrategy(Strategy[DaemonSet]):
    kind = DaemonSet
    checks_metadata_as_new = True
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

    def prepare_for_create(self, new: DaemonSet) -> DaemonSet:
        return _without_disabled(super().prepare_for_create(new))

    def prepare_for_update(self, new: DaemonSet, old: DaemonSet) -> DaemonSet:
        return _without_disabled(super().prepare_for_update(new, old))

    def warnings(self, new: DaemonSet, old: DaemonSet | None) -> Iterable[str]:
        if old is None or old.spec != new.spec:
            yield from pod_warnings.of_template(new.spec.template, "spec.template")

    def validate(self, new: DaemonSet) -> Iterator[FieldError]:
        spec = new.spec
        yield from label_selectors.validate(spec.selector, "spec.selector")
        yield from validate_selected(spec.template, spec.selector)
        yield from validate_not_empty(spec.selector, "daemonset")
        yield from pod_templates.validate(spec.template, "spec.template")
        yield from validate_long_running(spec.template, "DaemonSet")
        yield from validate_counts(
            ("spec.minReadySeconds", spec.min_ready_seconds),
            ("spec.revisionHistoryLimit", spec.revision_history_limit),
        )
        yield from _strategy(spec.update_strategy)

    def validate_update(self, new: DaemonSet, old: DaemonSet) -> Iterator[FieldError]:
        yield from twice(self.validate(new))
        yield from validate_same_selector(new.spec.selector, old.spec.selector)

    def validate_status_update(self, new: DaemonSet, old: DaemonSet) -> Iterator[FieldError]:
        status = new.status
        yield from validate_counts(
            ("status.currentNumberScheduled", status.current_number_scheduled),
            ("status.numberMisscheduled", status.number_misscheduled),
            ("status.desiredNumberScheduled", status.desired_number_scheduled),
            ("status.numberReady", status.number_ready),
            ("status.observedGeneration", status.observed_generation),
            ("status.updatedNumberScheduled", status.updated_number_scheduled),
            ("status.numberAvailable", status.number_available),
            ("status.numberUnavailable", status.number_unavailable),
            ("status.collisionCount", status.collision_count),
        )
        yield from validate_collisions(status.collision_count, old.status.collision_count)


def _strategy(strategy: DaemonSetUpdateStrategy) -> Iterator[FieldError]:
    path = "spec.updateStrategy"
    if strategy.type == "OnDelete":
        return
    if strategy.type != "RollingUpdate":
        # Upstream shows the whole of it.
        shown = {"Type": strategy.type, "RollingUpdate": internal(strategy.rolling_update)}
        yield not_supported(path, shown, ("RollingUpdate", "OnDelete"), in_given_order=True)
        return
    rolling = strategy.rolling_update
    if rolling is None:
        yield required(f"{path}.rollingUpdate")
        return
    for rule in (validate_non_negative, validate_percent):
        yield from rule(rolling.max_unavailable, f"{path}.rollingUpdate.maxUnavailable")
        yield from rule(rolling.max_surge, f"{path}.rollingUpdate.maxSurge")
    unavailable, surge = (not is_nothing(value) for value in (rolling.max_unavailable, rolling.max_surge))
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


def _without_disabled(one: DaemonSet) -> DaemonSet:
    template = disabled_fields.dropped_from_template(one.spec.template)
    return one if template is one.spec.template else replace(one, spec=replace(one.spec, template=template))
