"""StatefulSets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keelback.api.apps_v1 import (
    RollingUpdateStatefulSetStrategy,
    StatefulSet,
    StatefulSetPersistentVolumeClaimRetentionPolicy,
    StatefulSetSpec,
    StatefulSetUpdateStrategy,
    VolumeClaimTemplate,
)
from keelback.api.core_v1 import PersistentVolumeClaim
from keelback.apimachinery import labels, names
from keelback.apimachinery.errors import FieldError, forbidden, invalid, not_supported, required
from keelback.apimachinery.meta import ObjectMeta, replace
from keelback.apimachinery.validation import annotation_map, label_map
from keelback.registry import claim_warnings, disabled_fields, pod_annotations, pod_specs, pod_warnings
from keelback.registry.int_or_percents import is_nothing, validate_non_negative, validate_percent
from keelback.registry.internal_forms import internal
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import (
    CONTAINERS,
    IMAGES,
    text,
    validate_collisions,
    validate_counts,
    validate_long_running,
    validate_selected,
    validate_selector,
    validate_status_counts,
)


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
        if not strategy.type:
            # Who names the strategy gets no parameters of it.
            rolling = strategy.rolling_update or RollingUpdateStatefulSetStrategy()
            strategy = replace(strategy, type="RollingUpdate", rolling_update=rolling)
        template = pod_specs.with_template_defaults(spec.template)
        claims = tuple(_with_claim_defaults(claim) for claim in spec.volume_claim_templates)
        spec = replace(spec, template=template, update_strategy=strategy, volume_claim_templates=claims)
        return replace(new, spec=spec)

    def prepare_for_create(self, new: StatefulSet) -> StatefulSet:
        return _without_disabled(super().prepare_for_create(new))

    def prepare_for_update(self, new: StatefulSet, old: StatefulSet) -> StatefulSet:
        return _without_disabled(super().prepare_for_update(new, old))

    def warnings(self, new: StatefulSet, old: StatefulSet | None) -> Iterable[str]:
        if old is None or old.spec != new.spec:
            yield from pod_warnings.of_template(new.spec.template, "spec.template")
            for index, claim in enumerate(new.spec.volume_claim_templates):
                yield from claim_warnings.of_spec(claim.spec, f"spec.volumeClaimTemplates[{index}].spec")
        if old is None and new.spec.revision_history_limit < 0:
            yield (
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; "
                "a value >= 0 is recommended"
            )

    def validate(self, new: StatefulSet) -> Iterator[FieldError]:
        yield from _spec(new.spec, may_check_name=True)

    def validate_update(self, new: StatefulSet, old: StatefulSet) -> Iterator[FieldError]:
        yield from _spec(new.spec, may_check_name=False)
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

    def validate_status_update(self, new: StatefulSet, old: StatefulSet) -> Iterator[FieldError]:
        status = new.status
        yield from validate_status_counts(
            status.replicas,
            ("readyReplicas", status.ready_replicas),
            ("currentReplicas", status.current_replicas),
            ("updatedReplicas", status.updated_replicas),
            ("availableReplicas", status.available_replicas),
            ("observedGeneration", status.observed_generation),
            ("collisionCount", status.collision_count),
        )
        if status.available_replicas > status.ready_replicas:
            why = "cannot be greater than status.readyReplicas"
            yield invalid("status.availableReplicas", status.available_replicas, why)
        yield from validate_collisions(status.collision_count, old.status.collision_count)

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        # Its pods have the name as part of their host names.
        return names.name_is_dns_label(name, is_prefix=is_prefix)


_IMMUTABLE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _spec(spec: StatefulSetSpec, *, may_check_name: bool) -> Iterator[FieldError]:
    """A service's name that was let through before there was a rule for it may stay."""
    if not spec.pod_management_policy:
        yield required("spec.podManagementPolicy")
    elif spec.pod_management_policy not in ("OrderedReady", "Parallel"):
        yield invalid("spec.podManagementPolicy", spec.pod_management_policy, "must be 'OrderedReady' or 'Parallel'")
    yield from _strategy(spec.update_strategy)
    yield from _retention(spec.persistent_volume_claim_retention_policy)
    yield from validate_counts(
        ("spec.replicas", spec.replicas),
        ("spec.minReadySeconds", spec.min_ready_seconds),
        ("spec.ordinals.start", spec.ordinals.start if spec.ordinals else None),
    )
    if may_check_name:
        for complaint in names.dns1123_label(spec.service_name) if spec.service_name else ():
            yield invalid("spec.serviceName", spec.service_name, complaint)
    yield from validate_selector(spec.selector, "statefulset")
    yield from _template(spec)


def _strategy(strategy: StatefulSetUpdateStrategy) -> Iterator[FieldError]:
    path = "spec.updateStrategy"
    rolling = strategy.rolling_update
    if not strategy.type:
        yield required(path)
    elif strategy.type == "OnDelete":
        if rolling is not None:
            yield invalid(f"{path}.rollingUpdate", internal(rolling), "only allowed for updateStrategy 'RollingUpdate'")
    elif strategy.type == "RollingUpdate":
        if rolling is not None:
            yield from validate_counts((f"{path}.rollingUpdate.partition", rolling.partition))
            if rolling.max_unavailable is not None:
                yield from _max_unavailable(rolling.max_unavailable, f"{path}.rollingUpdate.maxUnavailable")
    else:
        yield invalid(path, internal(strategy), "must be 'RollingUpdate' or 'OnDelete'")


def _max_unavailable(value: int | str, path: str) -> Iterator[FieldError]:
    yield from validate_non_negative(value, path)
    if is_nothing(value):
        yield invalid(path, value, "cannot be 0")
    yield from validate_percent(value, path)


def _retention(policy: StatefulSetPersistentVolumeClaimRetentionPolicy) -> Iterator[FieldError]:
    for field, value in (("whenDeleted", policy.when_deleted), ("whenScaled", policy.when_scaled)):
        if value not in ("Delete", "Retain"):
            yield not_supported(
                f"spec.persistentVolumeClaimRetentionPolicy.{field}", value, ("Retain", "Delete"), in_given_order=True
            )


def _template(spec: StatefulSetSpec) -> Iterator[FieldError]:
    """What is wrong with the template. Upstream leaves the pods' spec to the pods: they get volumes of their own."""
    template, selector = spec.template, spec.selector
    try:
        labels.from_label_selector(selector)
    except labels.LabelSelectorError:
        yield invalid("spec.selector", selector, "")
        return
    yield from validate_selected(template, selector)
    metadata = template.metadata or ObjectMeta()
    yield from label_map(metadata.labels, "spec.template.labels")
    yield from annotation_map(metadata.annotations, "spec.template.annotations")
    if pod_annotations.concern(metadata.annotations):
        yield from pod_annotations.validate(metadata.annotations, template.spec, "spec.template.annotations")
    yield from validate_long_running(template, "StatefulSet")


def _with_claim_defaults(claim: VolumeClaimTemplate) -> VolumeClaimTemplate:
    spec = pod_specs.with_claim_spec_defaults(claim.spec)
    kind = PersistentVolumeClaim.__kind__
    return replace(claim, spec=spec, type_kind=kind.kind, type_api_version=kind.api_version)


def _without_disabled(one: StatefulSet) -> StatefulSet:
    template = disabled_fields.dropped_from_template(one.spec.template)
    return one if template is one.spec.template else replace(one, spec=replace(one.spec, template=template))
