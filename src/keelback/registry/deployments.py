"""Deployments."""

from __future__ import annotations

from keelback.api.apps_v1 import Deployment, RollingUpdateDeployment
from keelback.apimachinery.meta import replace, with_metadata
from keelback.registry import pod_specs
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import CONTAINERS, IMAGES, SELECTOR, number, text


class DeploymentStrategy(Strategy[Deployment]):
    kind = Deployment
    subresources = ("scale", "status")
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

    def prepare_for_status_update(self, new: Deployment, old: Deployment) -> Deployment:
        return with_metadata(replace(new, spec=old.spec), labels=old.metadata.labels)
