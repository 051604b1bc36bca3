"""PodDisruptionBudgets."""

from __future__ import annotations

from collections.abc import Iterator

from keelback.api.policy_v1 import PodDisruptionBudget
from keelback.apimachinery.errors import FieldError, invalid, not_supported
from keelback.registry import label_selectors
from keelback.registry.int_or_percents import validate_non_negative, validate_percent
from keelback.registry.strategy import AGE, Strategy
from keelback.registry.workloads import number, text

_NOT_GIVEN = "N/A"
_EVICTION_POLICIES = ("AlwaysAllow", "IfHealthyBudget")


class PodDisruptionBudgetStrategy(Strategy[PodDisruptionBudget]):
    kind = PodDisruptionBudget
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
