"""StatefulSets."""

from __future__ import annotations

from keelback.api.apps_v1 import RollingUpdateStatefulSetStrategy, StatefulSet
from keelback.api.core_v1 import PersistentVolumeClaim
from keelback.apimachinery.meta import replace
from keelback.registry import pod_specs
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import CONTAINERS, IMAGES, text


class StatefulSetStrategy(Strategy[StatefulSet]):
    kind = StatefulSet
    subresources = ("scale", "status")
    columns = (
        text("Ready", lambda one: f"{one.status.ready_replicas}/{one.spec.replicas}"),
        AGE,
        CONTAINERS,
        IMAGES,
    )

    def default(self, new: StatefulSet, old: StatefulSet | None = None) -> StatefulSet:
        spec = new.spec
        strategy = spec.update_strategy
        if strategy.type == "RollingUpdate" and strategy.rolling_update is None:
            strategy = replace(strategy, rolling_update=RollingUpdateStatefulSetStrategy())
        template = pod_specs.with_template_defaults(spec.template)
        claims = tuple(_with_claim_defaults(claim) for claim in spec.volume_claim_templates)
        spec = replace(spec, template=template, update_strategy=strategy, volume_claim_templates=claims)
        return replace(new, spec=spec)


def _with_claim_defaults(claim: PersistentVolumeClaim) -> PersistentVolumeClaim:
    spec = pod_specs.with_claim_spec_defaults(claim.spec)
    return claim if spec is claim.spec else replace(claim, spec=spec)
