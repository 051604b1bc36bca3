"""The types of flowcontrol/v1beta2 that are shaped otherwise than those of flowcontrol/v1: a level's shares are
`assuredConcurrencyShares`."""

from __future__ import annotations

from typing import Any

from keelback.api import flowcontrol_v1
from keelback.api.flowcontrol_v1 import (
    ExemptPriorityLevelConfiguration,
    LimitResponse,
    PriorityLevelConfigurationStatus,
)
from keelback.apimachinery.meta import Object, Value, kind, written


class LimitedPriorityLevelConfiguration(Value):
    assured_concurrency_shares: int | None = None
    borrowing_limit_percent: int | None = None
    lendable_percent: int | None = None
    limit_response: LimitResponse = written(LimitResponse())


class PriorityLevelConfigurationSpec(Value):
    exempt: ExemptPriorityLevelConfiguration | None = None
    limited: LimitedPriorityLevelConfiguration | None = None
    type: str = written("")


@kind("flowcontrol.apiserver.k8s.io/v1beta2", "prioritylevelconfigurations", namespaced=False)
class PriorityLevelConfiguration(Object):
    spec: PriorityLevelConfigurationSpec = written(PriorityLevelConfigurationSpec())
    status: PriorityLevelConfigurationStatus = written(PriorityLevelConfigurationStatus())


def level_to_v1(level: PriorityLevelConfiguration) -> flowcontrol_v1.PriorityLevelConfiguration:
    """A level in the version that is stored."""
    limited = level.spec.limited
    made: Any = None
    if limited is not None:
        made = flowcontrol_v1.LimitedPriorityLevelConfiguration(
            nominal_concurrency_shares=limited.assured_concurrency_shares, **_common(limited)
        )
    spec = flowcontrol_v1.PriorityLevelConfigurationSpec(exempt=level.spec.exempt, limited=made, type=level.spec.type)
    return flowcontrol_v1.PriorityLevelConfiguration(metadata=level.metadata, spec=spec, status=level.status)


def level_from_v1(level: flowcontrol_v1.PriorityLevelConfiguration) -> PriorityLevelConfiguration:
    """A stored level in this version."""
    limited = level.spec.limited
    made: Any = None
    if limited is not None:
        made = LimitedPriorityLevelConfiguration(
            assured_concurrency_shares=limited.nominal_concurrency_shares, **_common(limited)
        )
    spec = PriorityLevelConfigurationSpec(exempt=level.spec.exempt, limited=made, type=level.spec.type)
    return PriorityLevelConfiguration(metadata=level.metadata, spec=spec, status=level.status)


def _common(limited: Any) -> dict[str, Any]:
    return {
        "borrowing_limit_percent": limited.borrowing_limit_percent,
        "lendable_percent": limited.lendable_percent,
        "limit_response": limited.limit_response,
    }
