"""StatefulSets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keelback.api.apps_v1 import (
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetUpdateStrategy,
    VolumeClaimTemplate,
)
from keelback.api.core_v1 import PersistentVolumeClaim
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import replace
from keelback.registry import pod_specs, pod_warnings
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import CONTAINERS, IMAGES, text, validate_counts, validate_selector, validate_template


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

    def warnings(self, new: StatefulSet, old: StatefulSet | None) -> Iterable[str]:
        if old is None or old.spec != new.spec:
            yield from pod_warnings.of_spec(new.spec.template.spec, "spec.template.spec")

    def validate(self, new: StatefulSet) -> Iterator[FieldError]:
        spec = new.spec
        if not spec.pod_management_policy:
            yield required("spec.podManagementPolicy")
        elif spec.pod_management_policy not in ("OrderedReady", "Parallel"):
            yield invalid(
                "spec.podManagementPolicy", spec.pod_management_policy, "must be 'OrderedReady' or 'Parallel'"
            )
        yield from _strategy(spec.update_strategy)
        yield from _retention(spec.persistent_volume_claim_retention_policy)
        yield from validate_counts(
            ("spec.replicas", spec.replicas),
            ("spec.minReadySeconds", spec.min_ready_seconds),
            ("spec.ordinals.start", spec.ordinals.start if spec.ordinals else None),
        )
        yield from validate_selector(spec.selector, "statefulset")
        yield from validate_template(spec.template, spec.selector, "StatefulSet")

    def validate_update(self, new: StatefulSet, old: StatefulSet) -> Iterator[FieldError]:
        yield from self.validate(new)
        after = new.spec
        expected = replace(
            old.spec,
            replicas=after.replicas,
            ordinals=after.ordinals,
            template=after.template,
            update_strategy=after.update_strategy,
            min_ready_seconds=after.min_ready_seconds,
            revision_history_limit=after.revision_history_limit,
            persistent_volume_claim_retention_policy=after.persistent_volume_claim_retention_policy,
        )
        if after != expected:
            yield forbidden("spec", _IMMUTABLE)


_IMMUTABLE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _strategy(strategy: StatefulSetUpdateStrategy) -> Iterator[FieldError]:
    path = "spec.updateStrategy"
    rolling = strategy.rolling_update
    if not strategy.type:
        yield required(path)
    elif strategy.type == "OnDelete":
        if rolling is not None:
            yield invalid(f"{path}.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")
    elif strategy.type == "RollingUpdate":
        if rolling is not None:
            yield from validate_counts((f"{path}.rollingUpdate.partition", rolling.partition))
    else:
        yield invalid(path, strategy, "must be 'RollingUpdate' or 'OnDelete'")


def _retention(policy: StatefulSetPersistentVolumeClaimRetentionPolicy) -> Iterator[FieldError]:
    for field, value in (("whenDeleted", policy.when_deleted), ("whenScaled", policy.when_scaled)):
        if value not in ("Delete", "Retain"):
            yield not_supported(f"spec.persistentVolumeClaimRetentionPolicy.{field}", value, ("Delete", "Retain"))


def _with_claim_defaults(claim: VolumeClaimTemplate) -> VolumeClaimTemplate:
    spec = pod_specs.with_claim_spec_defaults(claim.spec)
    kind = PersistentVolumeClaim.__kind__
    return replace(claim, spec=spec, type_kind=kind.kind, type_api_version=kind.api_version)
