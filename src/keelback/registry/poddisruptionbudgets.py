"""PodDisruptionBudgets."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.policy_v1 import PodDisruptionBudget
from keelback.apimachinery import names
from keelback.apimachinery.errors import FieldError, invalid, not_supported
from keelback.registry import condition_lists, label_selectors
from keelback.registry.int_or_percents import validate_non_negative, validate_percent
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number, text, validate_counts

_NOT_GIVEN = "N/A"
_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


class PodDisruptionBudgetStrategy(Strategy[PodDisruptionBudget]):
    kind = PodDisruptionBudget
    bare_finalizers = True
    checks_metadata_twice = False
    subresources = ("status",)
    needs_resource_version_to_update = True
    columns = (
        text(
            "Min Available", lambda one: _NOT_GIVEN if one.spec.min_available is None else str(one.spec.min_available)
        ),
        text(
            "Max Unavailable",
            lambda one: _NOT_GIVEN if one.spec.max_unavailable is None else str(one.spec.max_unavailable),
        ),
        number("Allowed Disruptions", lambda one: one.status.disruptions_allowed),
        AGE,
    )

    def validate(self, new: PodDisruptionBudget) -> Iterator[FieldError]:
        spec = new.spec
        if spec.min_available is not None and spec.max_unavailable is not None:
            # Upstream prints its internal type, which has no JSON names.
            shown = {
                "MinAvailable": spec.min_available,
                "Selector": spec.selector,
                "MaxUnavailable": spec.max_unavailable,
                "UnhealthyPodEvictionPolicy": spec.unhealthy_pod_eviction_policy,
            }
            yield invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set")
        for field, value in (("minAvailable", spec.min_available), ("maxUnavailable", spec.max_unavailable)):
            if value is not None:
                yield from validate_non_negative(value, f"spec.{field}")
                yield from validate_percent(value, f"spec.{field}")
        yield from label_selectors.validate(spec.selector, "spec.selector")
        policy = spec.unhealthy_pod_eviction_policy
        if policy is not None and policy not in _EVICTION_POLICIES:
            yield not_supported("spec.unhealthyPodEvictionPolicy", policy, _EVICTION_POLICIES)

    def validate_status_update(self, new: PodDisruptionBudget, old: PodDisruptionBudget) -> Iterator[FieldError]:
        status = new.status
        yield from condition_lists.validate(status.conditions, "status.conditions")
        yield from validate_counts(
            ("status.disruptionsAllowed", status.disruptions_allowed),
            ("status.currentHealthy", status.current_healthy),
            ("status.desiredHealthy", status.desired_healthy),
            ("status.expectedPods", status.expected_pods),
        )

    def validate_name(self, name: str, *, is_prefix: bool) -> names.Complaints:
        # Upstream never looked at what budgets are called.
        return names.path_segment(name, is_prefix=is_prefix)
