"""The types of policy/v1: shape, defaults and merge keys, one class per upstream type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from keelback.apimachinery.meta import (
    Atomic,
    Condition,
    DeleteOptions,
    IntOrString,
    LabelSelector,
    ListMap,
    Object,
    Time,
    Value,
    kind,
    written,
)


@kind("policy/v1", "evictions")
class Eviction(Object):
    delete_options: DeleteOptions | None = None


class PodDisruptionBudgetSpec(Value):
    max_unavailable: IntOrString | None = None
    min_available: IntOrString | None = None
    selector: Annotated[LabelSelector | None, Atomic()] = None
    unhealthy_pod_eviction_policy: str | None = None


class PodDisruptionBudgetStatus(Value):
    conditions: Annotated[tuple[Condition, ...], ListMap("type", merge_key="type")] = ()
    current_healthy: int = written(0)
    desired_healthy: int = written(0)
    disrupted_pods: Mapping[str, Time] = {}
    disruptions_allowed: int = written(0)
    expected_pods: int = written(0)
    observed_generation: int = 0


@kind("policy/v1", "poddisruptionbudgets", short_names=("pdb",))
class PodDisruptionBudget(Object):
    spec: PodDisruptionBudgetSpec = written(PodDisruptionBudgetSpec())
    status: PodDisruptionBudgetStatus = written(PodDisruptionBudgetStatus())
