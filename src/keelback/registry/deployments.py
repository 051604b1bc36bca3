"""Deployments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keelback.api.apps_v1 import Deployment, DeploymentStrategy, RollingUpdateDeployment
from keelback.apimachinery import field_set
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import replace, with_metadata
from keelback.registry import disabled_fields, pod_specs, pod_warnings
from keelback.registry.int_or_percents import is_nothing, validate_non_negative, validate_percent
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import (
    CONTAINERS,
    IMAGES,
    SELECTOR,
    number,
    text,
    validate_collisions,
    validate_counts,
    validate_same_selector,
    validate_selector,
    validate_status_counts,
    validate_template,
)


class DeploymentsStrategy(Strategy[Deployment]):
    kind = Deployment
    subresources = ("scale", "status")
    not_owned_by_status = field_set.of(("spec",), ("metadata", "labels"))
    columns = (
        text("Ready", lambda one: f"{one.status.ready_replicas}/{one.spec.replicas}"),
        number("Up-to-date", lambda one: one.status.updated_replicas),
        number("Available", lambda one: one.status.available_replicas),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    )

    def default(self, new: Deployment, old: Deployment | None = None) -> Deployment:
        spec = new.spec
        strategy = spec.strategy
        if strategy.type == "RollingUpdate" and strategy.rolling_update is None:
            strategy = replace(strategy, rolling_update=RollingUpdateDeployment())
        template = pod_specs.with_template_defaults(spec.template)
        if template is spec.template and strategy is spec.strategy:
            return new
        return replace(new, spec=replace(spec, template=template, strategy=strategy))

    def prepare_for_create(self, new: Deployment) -> Deployment:
        return _without_disabled(super().prepare_for_create(new))

    def prepare_for_update(self, new: Deployment, old: Deployment) -> Deployment:
        return _without_disabled(super().prepare_for_update(new, old))

    def warnings(self, new: Deployment, old: Deployment | None) -> Iterable[str]:
        if old is None or old.spec != new.spec:
            yield from pod_warnings.of_template(new.spec.template, "spec.template")

    def validate(self, new: Deployment) -> Iterator[FieldError]:
        spec = new.spec
        yield from validate_counts(("spec.replicas", spec.replicas))
        yield from validate_selector(spec.selector, "deployment")
        yield from validate_template(spec.template, spec.selector, "ReplicaSet")
        yield from _strategy(spec.strategy)
        yield from validate_counts(
            ("spec.minReadySeconds", spec.min_ready_seconds),
            ("spec.revisionHistoryLimit", spec.revision_history_limit),
            ("spec.progressDeadlineSeconds", spec.progress_deadline_seconds),
        )
        if spec.progress_deadline_seconds <= spec.min_ready_seconds:
            yield invalid(
                "spec.progressDeadlineSeconds", spec.progress_deadline_seconds, "must be greater than minReadySeconds"
            )

    def validate_update(self, new: Deployment, old: Deployment) -> Iterator[FieldError]:
        yield from self.validate(new)
        yield from validate_same_selector(new.spec.selector, old.spec.selector)

    def validate_status_update(self, new: Deployment, old: Deployment) -> Iterator[FieldError]:
        status = new.status
        yield from validate_status_counts(
            status.replicas,
            ("observedGeneration", status.observed_generation),
            ("updatedReplicas", status.updated_replicas),
            ("readyReplicas", status.ready_replicas),
            ("availableReplicas", status.available_replicas),
            ("unavailableReplicas", status.unavailable_replicas),
            ("terminatingReplicas", status.terminating_replicas),
            ("collisionCount", status.collision_count),
        )
        if status.available_replicas > status.ready_replicas:
            yield invalid("status.availableReplicas", status.available_replicas, "cannot be greater than readyReplicas")
        yield from validate_collisions(status.collision_count, old.status.collision_count)

    def spec_changed(self, new: Deployment, old: Deployment) -> bool:
        """Annotations count, since they are copied to replica sets."""
        return new.metadata.annotations != old.metadata.annotations or super().spec_changed(new, old)

    def prepare_for_status_update(self, new: Deployment, old: Deployment) -> Deployment:
        return with_metadata(replace(new, spec=old.spec), labels=old.metadata.labels)


def _strategy(strategy: DeploymentStrategy) -> Iterator[FieldError]:
    path = "spec.strategy"
    rolling = strategy.rolling_update
    match strategy.type:
        case "Recreate":
            if rolling is not None:
                yield forbidden(f"{path}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
        case "RollingUpdate":
            if rolling is None:
                yield required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")
                return
            yield from validate_non_negative(rolling.max_unavailable, f"{path}.rollingUpdate.maxUnavailable")
            yield from validate_non_negative(rolling.max_surge, f"{path}.rollingUpdate.maxSurge")
            if is_nothing(rolling.max_unavailable) and is_nothing(rolling.max_surge):
                yield invalid(
                    f"{path}.rollingUpdate.maxUnavailable", rolling.max_unavailable, "may not be 0 when `maxSurge` is 0"
                )
            yield from validate_percent(rolling.max_unavailable, f"{path}.rollingUpdate.maxUnavailable")
        case _:
            # Upstream shows the whole of it.
            shown = {"Type": strategy.type, "RollingUpdate": internal(rolling)}
            yield not_supported(path, shown, ("Recreate", "RollingUpdate"))


def _without_disabled(one: Deployment) -> Deployment:
    template = disabled_fields.dropped_from_template(one.spec.template)
    return one if template is one.spec.template else replace(one, spec=replace(one.spec, template=template))
